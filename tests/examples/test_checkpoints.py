"""The trained policies that ship with the examples: they load, and do better than the best rule of their task."""

from pathlib import Path

import pytest

for needed in ("torch", "safetensors"):
    pytest.importorskip(needed, reason="needs the extra 'train'")

from irs_marl_env import evaluate, load_policy  # noqa: E402

FOLDER = Path(__file__).parents[2] / "examples" / "checkpoints"
BEST_RULE = {
    "mdlbi-city-v0": "structured-marginal",
    "mdlbi-blocked-small-v0": "structured-local-gain",
    "mdlbi-collision-v0": "release",
    "mdlbi-interference-v0": "quiet-marginal",
    "mdlbi-switching-v0": "hysteresis",
}


def test_every_file_has_its_rule():
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == set(BEST_RULE)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.filterwarnings("ignore:policy 'quiet-marginal' neglects")
@pytest.mark.parametrize(("name", "rule"), BEST_RULE.items())
def test_a_shipped_policy_beats_the_rule(name, rule):
    policy = load_policy(FOLDER / f"{name}.safetensors")
    length = {"episodes": 2, "slots": 5} if name == "mdlbi-city-v0" else {"episodes": 16}  # many cells: a slot is dear
    trained, other = (evaluate(one, policy.scenario, seed=4_000, every=5, **length) for one in (policy, rule))
    assert trained.mean > other.mean
