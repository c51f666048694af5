"""Who may import whom, and what importing the package may load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "irs_marl_env"
HEAVY = {"torch", "matplotlib", "numba", "llvmlite", "PIL", "tqdm", "scipy", "ray", "stable_baselines3", "supersuit"}
LAZY = {"render.py", "draws.py", "radio.py", "street.py", "observation.py"}  # imported where used only
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


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_heavy_modules_are_imported_where_used(path):
    if path.name not in LAZY:
        assert not {module.split(".")[0] for module in top_level_imports(path)} & HEAVY


def test_importing_the_package_loads_nothing_heavy():
    code = f"import sys, irs_marl_env; print(sorted({HEAVY!r} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
