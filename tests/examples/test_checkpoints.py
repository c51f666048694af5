"""The trained policies that ship with the examples: they load, and are worth what is said of them."""

import json
import re
from pathlib import Path

import pytest

for needed in ("torch", "safetensors"):
    pytest.importorskip(needed, reason="needs the extra 'train'")

from irs_marl_env import evaluate, load_policy  # noqa: E402

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "checkpoints"
BEST_RULE = {
    "mdlbi-city-v0": "structured-marginal",
    "mdlbi-blocked-small-v0": "structured-local-gain",
    "mdlbi-collision-v0": "release",
    "mdlbi-interference-v0": "quiet-marginal",
    "mdlbi-switching-v0": "hysteresis",
}
METHOD = {  # of the leaderboard, that made the file which has a task's name alone
    "mdlbi-city-v0": "joint-bids",
    "mdlbi-collision-v0": "claims",
    "mdlbi-interference-v0": "joint-bids",
    "mdlbi-switching-v0": "foresight",
}
OF_THE_LEADERBOARD = sorted(path.stem for path in FOLDER.glob("*-v?-*.safetensors"))


def test_every_file_has_its_rule_or_its_row():
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == {*BEST_RULE, *OF_THE_LEADERBOARD}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.filterwarnings("ignore:policy 'quiet-marginal' neglects")
@pytest.mark.parametrize(("name", "rule"), BEST_RULE.items())
def test_a_shipped_policy_beats_the_rule(name, rule):
    policy = load_policy(FOLDER / f"{name}.safetensors")
    length = {"episodes": 2, "slots": 5} if name == "mdlbi-city-v0" else {"episodes": 16}  # many cells: a slot is dear
    trained, other = (evaluate(one, policy.scenario, seed=4_000, every=5, **length) for one in (policy, rule))
    assert trained.mean > other.mean


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", OF_THE_LEADERBOARD)
def test_a_shipped_policy_has_the_episodes_of_its_row(name):
    task, method = re.fullmatch(r"(.*-v\d)-(.*-s\d+)", name).groups()
    row = json.loads((ROOT / "results" / "leaderboard" / task / f"{method}.json").read_text(encoding="utf-8"))
    policy, bank = load_policy(FOLDER / f"{name}.safetensors"), row["bank"] | {"episodes": 2}
    found = evaluate(policy, policy.scenario, **bank)
    assert found.episodes == pytest.approx(row["episodes"][:2], rel=1e-3)


def test_the_best_two_of_every_task_ship():
    leaderboard = pytest.importorskip("experiments.leaderboard", reason="needs scipy and tyro")
    board = leaderboard.Board()
    for task in board.tasks():
        shares = {name: board.shares(task, name) for name in leaderboard.METHODS}
        scores = {name: leaderboard.interquartile([found]).mean for name, found in shares.items() if len(found)}
        for name in sorted(scores, key=lambda name: -scores[name])[:2]:
            assert METHOD.get(task) == name or list(FOLDER.glob(f"{task}-{name}-s*.safetensors")), (task, name)
