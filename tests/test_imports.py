"""Who may import whom, and what importing the package may load."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "irs_marl_env"
HEAVY = {"torch", "matplotlib", "numba", "llvmlite", "PIL", "tqdm", "scipy", "ray", "stable_baselines3", "supersuit"}
HEAVY |= {"tyro", "tensorboard", "safetensors", "mpe2", "pygame", "hypothesis"}
BASE = {"numpy", "gymnasium", "pettingzoo", "array_api_compat"}
LAZY = {"render", "kernels", "training"}  # imported where used only
PHYSICS = {"link", "association", "channel", "geometry", "decoder", "solvers", "kernels"}
SHELLS = ["parallel_env.py", "vector_env.py", "mdlbi_v0.py", "registration.py"]


def top_level_imports(path):
    """Names of modules imported when ``path`` is."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
            if node.module == "irs_marl_env":
                names |= {f"irs_marl_env.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("name", ["link.py", "association.py", "units.py"])
def test_leaves_import_nothing_of_ours(name):
    assert not [module for module in top_level_imports(PACKAGE / name) if module.startswith("irs_marl_env")]


@pytest.mark.parametrize("name", SHELLS)
def test_shells_hold_no_physics(name):
    modules = top_level_imports(PACKAGE / name)
    assert not [module for module in modules if module.split(".")[-1] in PHYSICS]


def reachable(name):
    """Our modules that importing one of ours imports, directly or through others."""
    seen, waiting = set(), [name]
    while waiting:
        module = waiting.pop()
        path = PACKAGE / module
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        ours = {m.split(".")[1] for m in top_level_imports(path) if m.startswith("irs_marl_env.")}
        waiting += [m for m in ours - seen if (PACKAGE / m).is_dir() or (PACKAGE / f"{m}.py").exists()]
        seen |= ours
    return seen


FLOW = ["scenario", "geometry", "channel", "core", "parallel_env"]


@pytest.mark.parametrize("name", FLOW)
def test_data_flows_one_way(name):
    assert not reachable(name) & set(FLOW[FLOW.index(name) :])
    assert set(FLOW[1 : FLOW.index(name)]) <= reachable(name)  # and it does flow


def test_the_layout_table_is_complete():
    """CONTRIBUTING.md says what every module is for, and names none that is gone."""
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text().split("## Where things are")[1].split("\n## ")[0]
    table = "".join(line for line in text.splitlines() if line.startswith("|"))
    named = {name for pair in re.findall(r"`(\w+)\.py`|`(\w+)/`", table) for name in pair if name}
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert named == ({path.stem for path in PACKAGE.glob("*.py")} | folders) - {"__init__"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_heavy_modules_are_imported_where_used(path):
    if not {path.stem, path.parent.name} & LAZY:
        assert not {module.split(".")[0] for module in top_level_imports(path)} & HEAVY


def test_importing_the_package_loads_nothing_heavy():
    code = f"import sys, irs_marl_env; print(sorted({HEAVY!r} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_importing_the_package_loads_the_base_install_alone():
    """Beyond what numpy, gymnasium, pettingzoo and array-api-compat load by themselves: the standard library and us."""
    code = (
        f"import sys; [__import__(name) for name in {sorted(BASE)!r}]; before = set(sys.modules); "
        "import irs_marl_env; roots = {name.split('.')[0] for name in set(sys.modules) - before}; "
        f"print(sorted(roots - set(sys.stdlib_module_names) - {BASE!r}))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "['irs_marl_env']"


def test_stepping_loads_nothing_heavy_either():
    """A base install has to do for an episode; the kernels are an extra, used when installed."""
    code = (
        "import sys, irs_marl_env; env = irs_marl_env.make_env('mdlbi-small-v0', fast=False); env.reset(seed=0); "
        "env.step({a: env.action_space(a).sample() for a in env.agents}); "
        f"env.state(); print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
