"""Who may import whom, and what importing the package may load."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "irs_marl_env"
HEAVY = {"torch", "matplotlib", "numba", "llvmlite", "PIL", "tqdm", "scipy", "ray", "stable_baselines3", "supersuit"}
HEAVY |= {"tyro", "tensorboard", "safetensors", "mpe2", "pygame", "hypothesis", "imageio_ffmpeg"}
BASE = {"numpy", "gymnasium", "pettingzoo", "array_api_compat"}
LAZY = {"render", "charts", "kernels", "training", "compiled", "adapters", "philox_triton"}  # imported where used only
MODULES = sorted(PACKAGE.rglob("*.py"))
# who may import whom: a module those of the layers before its own, and its neighbours inside a folder
LAYERS = (
    {"units", "checks", "sizes", "presets", "output_files"},
    {"arrays", "figure_style"},
    {"json_text", "array_files", "shapes"},
    {"service_area"},
    {"link_budget", "layouts", "scenario_fields"},
    {"recordings", "scenario_help"},
    {"scenario_record"},
    {"scenario"},
    {"scenario_text", "philox", "philox_triton"},
    {"streams"},
    {"physics"},
    {"link", "solvers", "spaces", "rewards", "estimate"},
    {"metrics", "tables"},
    {"engine"},
    {"vector_language"},
    {"parallel_env", "vector_env"},
    {"result_arrays"},
    {"adapters", "mdlbi_v0", "registration", "policies", "result"},
    {"workers", "ray_tasks", "signals", "channel_report", "episodes", "progress"},
    {"evaluation", "render", "films"},
    {"charts", "replay"},
    {"comparison"},
    {"training", "cli_arguments"},
    {"cli_studies", "cli_channels", "cli_pictures", "cli_replay"},
    {"cli"},
)
SHELLS = ["parallel_env.py", "vector_env.py", "vector_language.py", "mdlbi_v0.py", "registration.py"]


def top_level_imports(path):
    """Names of modules imported when ``path`` is."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
            if node.module.startswith("irs_marl_env"):  # a module of a package, if it is one
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def layer(module):
    """Index of the layer of a module ``irs_marl_env.x.y``."""
    name = module.split(".")[1]
    return next((i for i, names in enumerate(LAYERS) if name in names), None)


def test_every_module_has_a_layer():
    known = set().union(*LAYERS) | {"__init__", "__main__"}
    assert {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")} == known


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_data_flows_one_way(path):
    name = ".".join(["irs_marl_env", *path.relative_to(PACKAGE).with_suffix("").parts])
    if layer(name) is None:  # the package itself gathers them all
        return
    for module in top_level_imports(path):
        inside = module.startswith(name.rpartition(".")[0] + ".") and name.count(".") > 1
        if module.startswith("irs_marl_env.") and not inside and layer(module) is not None:
            assert layer(module) < layer(name) or module.split(".")[1] == name.split(".")[1], f"{name} -> {module}"


def test_and_it_does_flow():
    """From a shell one comes down to the leaves, so that the test above looks at something."""
    seen, waiting = set(), ["irs_marl_env.parallel_env"]
    while waiting:
        path = PACKAGE.parent / waiting.pop().replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if path.exists():
            ours = {m for m in top_level_imports(path) if m.startswith("irs_marl_env.")}
            waiting += ours - seen
            seen |= ours
    assert {"engine", "spaces", "solvers", "physics", "streams", "scenario", "checks"} <= {
        m.split(".")[1] for m in seen
    }


@pytest.mark.parametrize("name", SHELLS)
def test_shells_hold_no_physics(name):
    folders = {module.split(".")[1] for module in top_level_imports(PACKAGE / name) if module.count(".")}
    assert not folders & {"physics", "solvers", "spaces", "rewards"}


def test_one_module_alone_knows_the_kernels():
    kernels = PACKAGE / "engine" / "kernels"
    importing = re.compile(r"^\s*(from|import)\s.*\bkernels\b", re.MULTILINE)
    outside = [path for path in MODULES if kernels not in path.parents]
    found = [path.name for path in outside if importing.search(path.read_text(encoding="utf-8"))]
    assert found == ["compiled.py"]


def test_speed_stands_apart_from_meaning():
    """Physics, spaces and streams say nothing of how something is computed quickly."""
    plain = [*(PACKAGE / "physics").glob("*.py"), *(PACKAGE / "spaces").glob("*.py"), PACKAGE / "streams.py"]
    assert len(plain) > 10
    assert not [
        path.name
        for path in plain
        if re.search(r"fast|kernel|compiled", path.read_text(encoding="utf-8"), re.IGNORECASE)
    ]


def test_the_layout_table_is_complete():
    """CONTRIBUTING.md says what every module is for, and names none that is gone."""
    text = (
        (PACKAGE.parent / "CONTRIBUTING.md")
        .read_text(encoding="utf-8")
        .split("## Where things are")[1]
        .split("\n## ")[0]
    )
    table = "".join(line.split("|")[1] for line in text.splitlines() if line.startswith("|"))
    named = {name for pair in re.findall(r"`(\w+)\.py`|`(\w+)/`", table) for name in pair if name}
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert named == ({path.stem for path in PACKAGE.glob("*.py")} | folders) - {"__init__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
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


def test_modules_of_tests_have_names_of_their_own():
    """Two of one name cannot be collected in one run."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert len(names) == len(set(names))
