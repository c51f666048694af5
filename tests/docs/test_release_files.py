"""What a release needs: one version everywhere, a short README that is right, valid files for GitHub and citations."""

import re
from pathlib import Path

import pytest

import irs_marl_env
from irs_marl_env import get_scenario, scenario_ids

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_one_version_stands_everywhere() -> None:
    version = irs_marl_env.__version__
    assert re.search(r'^version = "(.+)"$', text("pyproject.toml"), re.M).group(1) == version
    assert re.search(r"^version: (.+)$", text("CITATION.cff"), re.M).group(1) == version
    assert f"version = {{{version}}}" in README
    released = re.search(rf"^## {re.escape(version)} \((\d{{4}}-\d\d-\d\d)\)$", text("CHANGELOG.md"), re.M)
    assert released.group(1) == re.search(r"^date-released: (.+)$", text("CITATION.cff"), re.M).group(1)


def test_the_readme_is_short() -> None:
    assert README.count("\n") <= 110


def test_the_readme_names_every_scenario_and_its_sizes() -> None:
    found = {}
    for row in re.findall(r"^\| (`mdlbi-.*)$", README, re.M):
        ids, sizes, _ = row.split(" | ")
        found |= dict(zip(re.findall(r"`(.+?)`", ids), sizes.split("; "), strict=True))
    scenarios = {name: get_scenario(name) for name in scenario_ids()}
    assert found == {name: f"{s.num_bs}, {s.num_users}, {s.num_irs}" for name, s in scenarios.items()}


@pytest.mark.parametrize(
    "path", sorted([*ROOT.glob(".github/**/*.yml"), ROOT / "CITATION.cff"]), ids=lambda path: path.name
)
def test_files_for_github_are_yaml_with_what_they_need(path: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="reads YAML")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.parent.name == "workflows":
        assert {"name", "permissions", "jobs"} <= content.keys()
        for job in content["jobs"].values():
            assert job["timeout-minutes"] <= 30
            assert all(step.keys() & {"uses", "run"} for step in job["steps"])
    elif path.parent.name == "ISSUE_TEMPLATE" and path.name != "config.yml":
        assert {"name", "description", "body"} <= content.keys()
        assert all(part["attributes"]["label"] and part["id"] for part in content["body"])
    elif path.name == "CITATION.cff":
        required = {"cff-version", "message", "title", "authors", "version", "date-released", "license"}
        assert required <= content.keys()


def test_only_the_job_that_publishes_may_speak_for_the_repository() -> None:
    yaml = pytest.importorskip("yaml", reason="reads YAML")
    workflow = yaml.safe_load(text(".github/workflows/release.yml"))
    assert workflow["permissions"] == {"contents": "read"}
    assert {name for name, job in workflow["jobs"].items() if "permissions" in job} == {"publish"}
    assert workflow["jobs"]["publish"]["permissions"] == {"id-token": "write"}
    assert "build" in workflow["jobs"]["publish"]["needs"]
