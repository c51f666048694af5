"""Examples in docstrings run and print what they say, and every public function has one."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import irs_marl_env
from irs_marl_env import layouts, link, solvers

ROOT = Path(__file__).parents[2]
PACKAGE = Path(irs_marl_env.__file__).parent
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
MODULES = [
    ".".join(["irs_marl_env", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]
PUBLIC = [
    *((module, name) for module in (link, solvers, layouts) for name in module.__all__),
    *((irs_marl_env, name) for name in irs_marl_env.__all__ if inspect.isfunction(getattr(irs_marl_env, name))),
    (irs_marl_env, "Scenario"),
]
NEEDS = {"irs_marl_env.load_policy": "torch"}  # what an example needs beyond the base install


def examples(module):
    """The examples of a module by name, those of what it only imports left out."""
    found = doctest.DocTestFinder(exclude_empty=True).find(module)
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name, monkeypatch):
    monkeypatch.chdir(ROOT)  # some read files of the repository
    try:
        tests = examples(importlib.import_module(name))
    except ImportError as error:
        if not name.startswith("irs_marl_env.adapters."):
            raise
        pytest.skip(str(error))
    assert tests
    for test in tests:
        if test.name in NEEDS and importlib.util.find_spec(NEEDS[test.name]) is None:
            continue
        told = []
        failed = doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=told.append).failed
        assert not failed, "".join(told)


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=lambda x: x if isinstance(x, str) else x.__name__)
def test_every_public_function_has_an_example(module, name):
    doc = inspect.getdoc(getattr(module, name))
    head, found, example = doc.partition("\nExample:\n")
    assert found, "no section Example:"
    assert len(head.strip()) > 20
    assert doctest.DocTestParser().get_examples(example)
