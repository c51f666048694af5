"""Settings: how a command line is read, which values are refused, and settings of earlier versions."""

import math
from dataclasses import asdict, fields, replace

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "safetensors", "tqdm", "matplotlib"):
    pytest.importorskip(needed, reason="needs the extra 'train'")
from tiny_training import tiny_args, tiny_run  # noqa: E402

from irs_marl_env import get_scenario  # noqa: E402
from irs_marl_env.training.settings import (  # noqa: E402
    QUICK,
    Args,
    check,
    discount,
    parse,
    restored_args,
    scenario_of,
)


@pytest.mark.parametrize(("delay", "given", "used"), [(0, None, 0.0), (1, None, 0.9), (1, 0.0, 0.0), (0, 0.5, 0.5)])
def test_discount_follows_the_delay(delay, given, used):
    assert discount(tiny_args(gamma=given), delay) == used


def test_presets_change_defaults_and_flags_override_presets():
    paper = parse(["--preset", "paper", "--scenario", "mdlbi-small-v0"])
    assert (paper.gamma, paper.actor_lr, paper.critic_lr, paper.tau) == (0.99, 1e-4, 1e-3, 1e-3)  # Table I
    assert (paper.buffer, paper.batch, paper.layer_norm) == (10_000, 64, False)
    assert paper.scenario == "mdlbi-small-v0"
    stabilised = parse(["--preset=paper", "--stabilised", "--tau", "0.5"])
    assert (stabilised.layer_norm, stabilised.tau, stabilised.batch) == (True, 0.5, 128)
    assert parse(["--quick"]) == replace(Args(), quick=True, **QUICK)
    assert parse(["--quick", "--batch", "7"]).batch == 7
    assert parse([]) == Args()


@pytest.mark.parametrize(
    ("flag", "wanted"), [("--baselines", True), ("--no-baselines", False), ("--no-yardsticks", False)]
)
def test_baselines_also_answer_to_their_former_flag(flag, wanted):
    assert parse([flag]).baselines is wanted


def test_set_wins_over_algorithm_and_preset():
    args = tiny_args(algo="ddpg", set=("reward=mixed", "num_irs=1", "phase_bits=None"))
    found = scenario_of(args)
    chosen = (found.action, found.observation, found.reward, found.rho, found.num_irs, found.phase_bits)
    assert chosen == ("structured", "large_scale", "mixed", "none", 1, None)
    assert scenario_of(replace(args, set=("rho=bids",))).rho == "bids"


def test_a_scenario_file_does_what_an_id_does(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(get_scenario("mdlbi-small-v0", num_users=3).to_json(), encoding="utf-8")
    scenario = scenario_of(tiny_args(scenario=str(path), set=("num_irs=1",)))
    assert scenario == get_scenario(
        "mdlbi-small-v0", num_users=3, num_irs=1, action="structured", observation="large_scale", reward="team"
    )


def own_reward(outcome, state):
    """Somebody's reward."""
    return outcome.sum_rate


def test_a_files_own_reward_and_observation_stay(tmp_path):
    """Whoever wrote them there would not notice that the preset had replaced them."""
    path = tmp_path / "mine.json"
    written = get_scenario("mdlbi-small-v0", reward=own_reward)
    path.write_text(written.to_json(), encoding="utf-8")
    found = scenario_of(tiny_args(scenario=str(path), trusted=True))
    assert (found.reward, found.observation, found.action) == (own_reward, "large_scale", "structured")
    path.write_text(written.replace(reward="min_rate").to_json(), encoding="utf-8")
    assert scenario_of(tiny_args(scenario=str(path))).reward == "min_rate"
    assert scenario_of(tiny_args(scenario=str(path), set=("reward=local",))).reward == "local"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"set": ("num_irs",)}, "FIELD=VALUE"),
        ({"set": ("num_irss=1",)}, "num_irs"),
        ({"set": ("observation=csi",)}, "deepsets"),
        ({"set": ("num_irs=0",)}, "num_irs=0"),
        ({"buffer": 8}, "buffer=8"),
        ({"gamma": 1.0}, "gamma=1.0"),
        ({"num_envs": 0}, "num_envs=0"),
        ({"algo": "ppo"}, "algo='ppo': must be one of 'mdlbi'"),
        ({"net": "cnn"}, "net='cnn'"),
        ({"tau": 1.5}, r"tau=1.5: must be a finite number in \[0, 1\]"),
        ({"depth": -1}, r"depth=-1: must be an integer in \[0, 64\]"),
        ({"noise_start": float("nan")}, "noise_start=nan"),
        ({"actor_lr": -1e-3}, "actor_lr=-0.001"),
        ({"reward_scale": 0.0}, r"reward_scale=0.0: must be a finite number in \[1e-06, "),
        ({"eval_sweeps": (2, -1)}, "eval_sweeps"),
        ({"seed": -1}, "seed=-1"),
        ({"device": "gpu"}, "device='gpu'"),
        ({"device": "meta"}, "device='meta'"),
        ({"device": "cuda:77"}, "device='cuda:77'"),
        ({"stabilised": True}, "stabilised=True: must be False with preset='structured'"),
        ({"width": 1}, "width=1: must be at least 2 with net='deepsets'"),
        ({"eval_sweeps": (10**9,)}, r"eval_sweeps=\(1000000000,\)"),
        ({"width": 16384, "depth": 64, "net": "mlp"}, r"width=16384, depth=64, batch=16: would need at least .* TiB"),
        ({"batch": 10**6, "buffer": 10**6, "width": 16384}, r"batch=1000000: would need at least .* TiB; must be at"),
        ({"reward_scale": 1e-320}, r"reward_scale=1e-320"),  # Q divided by it would overflow
        ({"buffer": 10**9}, r"buffer=1000000000: would need at least .* GiB; must be at most"),
        ({"set": ("action=raw", "observation=csi"), "net": "mlp", "eval_sweeps": (5,)}, "eval_sweeps.*action='raw'"),
    ],
)
def test_impossible_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny_run(**changes)


NOT_NUMBERS = (None, True, "1", [1], (1,), {}, 1j)
HOSTILE = {
    int: (*NOT_NUMBERS, math.nan, math.inf, -math.inf, -1, -(10**30), 10**30, 0.5, 2.0),
    float: (*NOT_NUMBERS, math.nan, math.inf, -math.inf, -1e-9, -1, 1e300, 10**400),
}
OPTIONAL = {"gamma"}  # numbers that may be None
NUMBERS = {
    field.name: int if type(field.default) is int else float
    for field in fields(Args)
    if type(field.default) in (int, float) or field.name in OPTIONAL
}


@pytest.mark.parametrize("name", NUMBERS)
def test_hostile_numbers_are_refused_by_name(name):
    check(Args())
    for value in HOSTILE[NUMBERS[name]]:
        if value is None and name in OPTIONAL:
            continue
        with pytest.raises(ValueError, match=rf"^{name}=.*: must be an? (integer|finite number)") as refused:
            check(replace(Args(), **{name: value}))
        assert "in [" in str(refused.value) or "in (" in str(refused.value) or ">=" in str(refused.value)


def test_every_setting_has_a_limit():
    assert len(NUMBERS) > 25
    for field in fields(Args):
        for value in (object(), b"", [], {}, "", 1.5j):
            with pytest.raises(ValueError, match=rf"^{field.name}="):
                check(replace(Args(), **{field.name: value}))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tau", "nan"], "tau=nan"),
        (["--threads", "0"], "threads=0"),
        (["--eval-apart", "0"], "eval_apart=0: must be an integer in"),
        (["--eval", "x", "--scenario", "mdlbi-v0"], "--scenario: has no effect beside --eval"),
        (["--eval", "x", "--seed=3", "--batch", "2"], "--batch, --seed: has no effect beside --eval"),
        (["--eval=x", "--resume", "y"], "has no effect beside"),
        (["--resume", "x", "--no_baselines"], "--no-baselines: has no effect beside --resume"),
        (["--resume", "x", "--quick"], "--quick: has no effect beside --resume"),
        (["--stabilised"], "stabilised=True"),
    ],
)
def test_a_command_line_that_contradicts_itself_is_refused(flags, message):
    with pytest.raises(ValueError, match=message):
        parse(flags)
    assert parse(["--eval", "x", "--set", "num_irs=1", "--eval_slots", "3", "--no-baselines"]).eval == "x"
    assert parse(["--resume", "x"]).resume == "x"


def test_settings_of_an_earlier_version_are_read_and_unknown_ones_refused():
    stored = asdict(tiny_args(eval_sweeps=(5, 10)))
    stored["eval_sweeps"], stored["set"] = [5, 10], []
    stored["yardsticks"] = stored.pop("baselines")
    del stored["decoder_scale"]  # did not exist yet
    assert restored_args(stored, "args.json") == tiny_args(eval_sweeps=(5, 10))
    with pytest.raises(ValueError, match=r"args.json: tau=nan: must be a finite number in \[0, 1\]"):
        restored_args({**stored, "tau": math.nan}, "args.json")
    with pytest.raises(ValueError, match=r"runs/x/args.json: this version of the trainer has no setting optimizer"):
        restored_args({**stored, "optimizer": "adam"}, "runs/x/args.json")


def test_the_defaults_pass_their_own_check():
    check(Args())
