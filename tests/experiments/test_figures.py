"""The figures: their statistics by hand, stacked training against the trainer's own, and a tiny run of each command."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tyro")
pytest.importorskip("safetensors")
pytest.importorskip("matplotlib")

from examples.maddpg import Learner  # noqa: E402
from experiments.figures import fig3_collision, fig3_frozen, fig4, fig5, tools  # noqa: E402
from experiments.figures.stacked import Stacked  # noqa: E402
from irs_marl_env import evaluate, get_scenario  # noqa: E402
from irs_marl_env.training.networks import Sizes  # noqa: E402
from irs_marl_env.training.settings import Args  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


# --- statistics ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("freedom", "t"), [(1, 12.7062), (2, 4.3027), (15, 2.1314), (47, 2.0117), (3.7, 2.8675)])
def test_quantiles_of_student_t_are_those_of_tables(freedom, t):
    assert tools.t_quantile(freedom) == pytest.approx(t, abs=2e-4)
    assert tools.t_tail(t, freedom) == pytest.approx(0.05, abs=1e-5)


def test_mean_by_hand():
    # 1, 2, 3, 4: mean 2.5, variance 5/3, error sqrt(5/12)
    found = tools.mean_of([1, 2, 3, 4])
    assert (found.mean, found.n) == (2.5, 4)
    assert found.standard_error == pytest.approx((5 / 12) ** 0.5)
    assert found.high - found.mean == pytest.approx(3.1824 * (5 / 12) ** 0.5, abs=1e-3)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)


def test_a_single_value_has_no_interval():
    found = tools.mean_of([3.0])
    assert found.mean == 3.0
    assert np.isnan([found.standard_error, found.low, found.high, found.p]).all()


def test_pairs_take_out_what_they_share():
    shared = np.array([0.0, 10.0, -20.0, 30.0])
    a, b = shared + np.array([1.0, 1.2, 0.8, 1.0]), shared
    assert tools.paired(a, b).mean == pytest.approx(1.0)
    assert tools.paired(a, b).p == pytest.approx(0.00117, abs=1e-5)  # t = 12.247, 3 degrees of freedom
    assert tools.welch(a, b).mean == pytest.approx(1.0)
    assert tools.welch(a, b).p > 0.9
    with pytest.raises(ValueError, match="4 and 3 values"):
        tools.paired(a, b[:3])


def test_welch_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.4, 2.0, 5), rng.normal(0.0, 3.0, 9)
    theirs = stats.ttest_ind(a, b, equal_var=False)
    interval = theirs.confidence_interval(0.95)
    found = tools.welch(a, b)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-4)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-4)


# --- runs made once, and what is watched ------------------------------------------------------------------------------


def test_a_finished_run_is_not_made_again(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return {"rate": np.array([1.0, np.nan]), "count": np.int64(3)}

    first = tools.once(tmp_path / "a" / "run.json", make)
    again = tools.once(tmp_path / "a" / "run.json", make)
    assert len(calls) == 1
    assert first == again == json.loads((tmp_path / "a" / "run.json").read_text(encoding="utf-8"))
    assert first["rate"] == [1.0, None]
    assert {"cpu_seconds", "versions"} <= first.keys()


def test_contested_and_unclaimed_slots_are_counted_by_policy():
    fields = {"action": "structured", "observation": "large_scale", "contention": "collision"}
    scenario = get_scenario("mdlbi-small-v0", **fields)
    bids = np.array([[[1, 1], [1, -1]], [[-1, 0], [-1, 1]]], np.float32)  # (policy, BS, IRS)

    def act(obs):
        action = np.zeros((2, *obs.shape[1:3], 15), np.float32)
        action[..., :2] = bids[:, None]
        return action

    seen = tools.watch(act, 2, scenario, episodes=3, slots=4)
    assert seen.rate.shape == (2, 3, 4)
    # policy 0: IRS 0 claimed twice, IRS 1 once; policy 1: IRS 0 by nobody, IRS 1 once (a bid of 0 is no claim)
    assert seen.contested[:, 0, 0].tolist() == [0.5, 0.0]
    assert seen.unclaimed[:, 0, 0].tolist() == [0.0, 0.5]


def test_watching_every_slot_agrees_with_the_evaluation():
    scenario = get_scenario("mdlbi-small-v0", action="structured", observation="large_scale")
    result = evaluate("structured-local-gain", scenario, 3, tools.BANK, slots=4)
    seen = tools.watch_rule("structured-local-gain", scenario, 3, 4)
    assert seen.rate[0] == pytest.approx(result.rates.sum(-1), abs=1e-4)
    assert not seen.contested.any()  # in an auction no IRS is lost, whatever the bids
    assert not seen.unclaimed.any()


# --- stacked training -------------------------------------------------------------------------------------------------


def _stack(members=3, **changes):
    small = {"net": "mlp", "width": 8, "num_envs": 2, "batch": 4, "buffer": 50, "critic_warmup": 1, "updates": 20}
    args = replace(Args(), scenario="mdlbi-small-v0", device="cpu", **{**small, **changes})
    return Stacked(args, members)


@pytest.mark.parametrize("gamma", [0.0, 0.9])
def test_a_stacked_training_is_the_one_the_trainer_would_make(gamma):
    stack = _stack(gamma=gamma)
    S, M = stack.members, stack.bs
    alone = []
    for member in range(S):
        learner = Learner(Sizes.of(stack.env), stack.args, gamma)
        for kind in ("nets", "targets"):
            weights = getattr(stack.learner, kind).state_dict()
            getattr(learner, kind).load_state_dict({k: v[member * M : (member + 1) * M] for k, v in weights.items()})
        alone.append(learner)
    stack.step(), stack.step()
    for _ in range(4):
        batch = stack.sample()
        stack.learner.update(batch)
        for member, learner in enumerate(alone):
            learner.update({name: value[:, member * M : (member + 1) * M] for name, value in batch.items()})
    for member, learner in enumerate(alone):
        for name, value in learner.nets.state_dict().items():
            theirs = stack.learner.nets.state_dict()[name][member * M : (member + 1) * M]
            assert torch.allclose(theirs, value, atol=1e-6), name


def test_stacked_trainings_see_their_own_data_alone():
    stack = _stack()
    stack.step()
    stack.step()
    S, M = stack.members, stack.bs
    obs = stack.replay.arrays["obs"][: stack.replay.size]  # (rows, S, M, D)
    sampled = stack.sample()["obs"].unflatten(1, (S, M))
    for member in range(S):
        for row in sampled[:, member]:
            assert (obs[:, member] == row).all((1, 2)).any()
            assert not (obs[:, (member + 1) % S] == row).all((1, 2)).any()
    # the action of a member depends on its own observation and weights alone
    changed = stack.obs.copy()
    changed[0] += 1.0
    before, after = stack.act(stack.obs), stack.act(changed)
    assert (before[1:] == after[1:]).all()
    assert not (before[0] == after[0]).all()


def test_algorithms_begin_alike_and_members_differ():
    stacks = [_stack(algo=algo) for algo in ("mdlbi", "ddpg")]
    for a, b in zip(stacks[0].learner.nets.parameters(), stacks[1].learner.nets.parameters(), strict=True):
        assert torch.equal(a, b)
    weight = stacks[0].learner.nets["actor"].heads["action"].weight
    assert not torch.equal(weight[0], weight[2])  # BS 0 of members 0 and 1
    rho = stacks[0].env.observation_codec.layout.slices["rho"]
    assert stacks[0].obs[..., rho].any()
    assert not stacks[1].obs[..., rho].any()


def test_what_does_not_stack_is_refused():
    with pytest.raises(ValueError, match="deepsets"):
        _stack(net="deepsets")
    with pytest.raises(ValueError, match="maddpg"):
        _stack(algo="maddpg")


# --- the commands --------------------------------------------------------------------------------------------------


def _places(tmp_path):
    return ["--raw", str(tmp_path / "raw"), "--picture", str(tmp_path / "figure.png")]


def _once_then_plot(module, argv, tmp_path, capsys, runs):
    """The command makes its runs and a picture; with --plot it makes the picture anew from what is there."""
    places = _places(tmp_path)
    module.main([*argv, *places])
    first = capsys.readouterr().out
    assert first.count(" s of one core") == runs
    picture = tmp_path / "figure.png"
    assert picture.stat().st_size > 10_000
    picture.unlink()
    module.main([*argv, *places, "--plot"])
    again = capsys.readouterr().out
    assert " s of one core" not in again
    assert picture.is_file()
    assert again.splitlines() == first.splitlines()[runs:]
    return again


def test_figure_3_frozen(tmp_path, capsys):
    argv = ["--blocks", "1", "2", "--members", "2", "--updates", "6", "--curve-every", "3", "--width", "8"]
    out = _once_then_plot(fig3_frozen, argv, tmp_path, capsys, runs=2 * (5 + 2))
    assert "stabilised ddpg" in out
    assert "n 4;" in out


def test_figure_3_collision(tmp_path, capsys):
    blocks = "--waypoint 1 2 --group 1 --team 1"
    argv = f"{blocks} --members 2 --updates 20 --curve-every 10 --curve-episodes 2 --episodes 2 --slots 3".split()
    out = _once_then_plot(fig3_collision, argv, tmp_path, capsys, runs=2 * 4 + 3)
    assert "rate, MDLBI - DDPG: paired" in out
    assert "team       ddpg" in out


def test_figure_4(tmp_path, capsys):
    sizes = "--users 3 4 --irs 1 2 --seeds 1"
    argv = f"{sizes} --updates 26 25 --episodes 2 --slots 2 --every 2".split()
    out = _once_then_plot(fig4, argv, tmp_path, capsys, runs=2 + 4 * 5 + 2 * 4)
    assert "K=4 L=2 mdlbi - structured-local-gain" in out


def test_figure_5(tmp_path, capsys):
    argv = ["--scenarios", "mdlbi-small-v0", "--seeds", "1", "--updates", "26", "--episodes", "2", "--slots", "10"]
    out = _once_then_plot(fig5, argv, tmp_path, capsys, runs=4 + 2 * 2)
    assert "mdlbi - fixed: first slot" in out


@pytest.mark.parametrize(
    ("module", "folder", "quoted"),
    [
        (fig3_frozen, "fig3a", ["2.044 ± 0.060", "2.928 ± 0.104", "-0.102 ± 0.059"]),
        (fig3_collision, "fig3b", ["-0.032 ± 0.036", "-0.059 ± 0.043", "0.042 ± 0.026", "3.029 ± 0.053"]),
        (fig4, "fig4", ["12.745 ± 0.367", "17.300 ± 0.317", "19.302 ± 0.568", "22.538 ± 0.527"]),
        (fig5, "fig5", ["0.960", "1.088", "1.267", "1.322", "0.983"]),
    ],
)
def test_the_committed_data_give_what_the_document_quotes(module, folder, quoted, tmp_path, capsys):
    module.main(["--plot", "--raw", str(tools.RAW / folder), "--picture", str(tmp_path / "figure.png")])
    out = capsys.readouterr().out
    assert " s of one core" not in out
    document = (tools.ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    for number in quoted:
        assert number in out
        assert number in document
