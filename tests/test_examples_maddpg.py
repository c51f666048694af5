"""The trainer: its arithmetic by hand, its memory, and that a killed run goes on as if never stopped."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tyro")
pytest.importorskip("safetensors")
pytest.importorskip("tqdm")

from irs_marl_env import make_vec_env  # noqa: E402

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "examples" / "maddpg.py"


def _load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


maddpg = _load("maddpg_example", SCRIPT)

TINY = {
    "scenario": "mdlbi-small-v0",
    "width": 16,
    "num_envs": 4,
    "batch": 16,
    "buffer": 200,
    "critic_warmup": 5,
    "eval_episodes": 2,
    "eval_slots": 4,
    "yardsticks": False,
    "tensorboard": False,
    "progress": False,
    "device": "cpu",
}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _args(**changes):
    return replace(maddpg.Args(), **{**TINY, **changes})


def _run(**changes):
    return maddpg.Run(_args(**changes))


def _random_batch(run, size=5, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {name: array.shape[1:] for name, array in run.replay.arrays.items()}
    return {
        name: torch.from_numpy(rng.uniform(-1, 1, (size, *shape)).astype(np.float32)) for name, shape in shapes.items()
    }


# --- arithmetic -------------------------------------------------------------------------------------------------------


def _linear(net, name):
    layer = dict(net.named_modules())[name]
    return (p.detach().double().numpy().copy() for p in (layer.weight, layer.bias[:, 0]))


def test_one_update_equals_the_one_by_hand():
    """Without hidden layers mu = tanh(W o + b) and Q = u [o, a] + c: every gradient in closed form."""
    run = _run(
        net="mlp", depth=0, gamma=0.9, critic_warmup=0, lr_decay=False, pretanh_penalty=0.1, tau=0.25, reward_scale=0.5
    )
    learner, batch = run.learner, _random_batch(run)
    with torch.no_grad():  # targets that differ from the networks
        for parameter in learner.targets.parameters():
            parameter.mul_(0.5)
    W, b = _linear(learner.nets["actor"], "heads.action")
    u, c = _linear(learner.nets["critic"], "head")
    o, a, r, o2 = (batch[k].double().numpy().swapaxes(0, 1) for k in ("obs", "action", "reward", "next_obs"))
    B, D = o.shape[1], o.shape[-1]

    a2 = np.tanh(o2 @ (W / 2) + b[:, None] / 2)
    target = 0.5 * r + 0.9 * (np.concatenate([o2, a2], -1) @ (u / 2) + c[:, None] / 2)[..., 0]
    x = np.concatenate([o, a], -1)
    error = (x @ u + c[:, None])[..., 0] - target
    grad_u = 2 / B * np.einsum("mb,mbi->mi", error, x)[..., None]
    grad_c = 2 / B * error.sum(1)[:, None]

    def adam(value, gradient, rate):  # first step: both moments are unbiased at the gradient and its square
        return value - rate * gradient / (abs(gradient) + 1e-8)

    u_new = adam(u, grad_u, 1e-3)
    pre = o @ W + b[:, None]
    on_pre = -u_new[:, None, D:, 0] * (1 - np.tanh(pre) ** 2) / B + 0.1 * 2 * pre / (B * pre.shape[-1])
    grad_W, grad_b = np.einsum("mbi,mbj->mij", o, on_pre), on_pre.sum(1)

    losses = learner.update(batch)
    assert losses["critic_loss"] == pytest.approx((error**2).mean(1).sum(), rel=1e-5)
    critic, actor = learner.nets["critic"].head, learner.nets["actor"].heads["action"]
    assert np.allclose(critic.weight.grad.numpy(), grad_u, rtol=1e-4, atol=1e-6)
    assert np.allclose(critic.bias.grad[:, 0].numpy(), grad_c, rtol=1e-4, atol=1e-6)
    assert np.allclose(actor.weight.grad.numpy(), grad_W, rtol=1e-4, atol=1e-6)
    assert np.allclose(actor.bias.grad[:, 0].numpy(), grad_b, rtol=1e-4, atol=1e-6)
    assert np.allclose(critic.weight.detach().numpy(), u_new, atol=1e-6)
    assert np.allclose(actor.weight.detach().numpy(), adam(W, grad_W, 3e-4), atol=1e-6)
    followed = learner.targets["critic"].head.weight.numpy()
    assert np.allclose(followed, 0.75 * u / 2 + 0.25 * u_new, atol=1e-6)


def test_polyak_moves_targets_by_tau():
    run = _run()
    nets, targets = run.learner.nets, run.learner.targets
    with torch.no_grad():
        for parameter in nets.parameters():
            parameter.add_(1.0)
    before = [p.clone() for p in targets.parameters()]
    maddpg.polyak(targets, nets, 0.1)
    for old, new, net in zip(before, targets.parameters(), nets.parameters(), strict=True):
        assert torch.allclose(new, 0.9 * old + 0.1 * net, atol=1e-6)


def test_targets_without_discount_are_scaled_rewards():
    run = _run(gamma=0.0, reward_scale=0.3)
    batch = _random_batch(run)
    assert torch.equal(run.learner.target(batch), 0.3 * batch["reward"].T)


@pytest.mark.parametrize(("delay", "given", "used"), [(0, None, 0.0), (1, None, 0.9), (1, 0.0, 0.0), (0, 0.5, 0.5)])
def test_discount_follows_the_delay(delay, given, used):
    assert maddpg.discount(_args(gamma=given), delay) == used


def test_central_critic_sees_the_others_replayed_actions():
    run = _run(algo="maddpg", net="mlp")
    seen = {}

    class Spy(torch.nn.Module):
        def forward(self, state, joint):
            seen["state"], seen["joint"] = state, joint
            return joint.sum((-1, -2))

    batch = _random_batch(run)
    replayed = batch["action"].transpose(0, 1)
    own = replayed + 1.0
    run.learner._q(Spy(), batch, batch["obs"].transpose(0, 1), own, "state", others=replayed)
    assert torch.equal(seen["state"][0], batch["state"])
    assert torch.equal(seen["state"][1], batch["state"])
    for m in range(2):
        for other in range(2):
            expected = own if m == other else replayed
            assert torch.equal(seen["joint"][m, :, other], expected[other])


def test_replay_keeps_the_last_and_samples_rows_together():
    replay = maddpg.Replay(5, {"a": (2,), "b": ()})
    for start in (0, 3, 6):
        rows = np.arange(start, start + 3, dtype=np.float32)
        replay.add(a=np.stack([rows, rows + 0.5], -1), b=rows)
    assert replay.size == 5
    assert sorted(replay.arrays["b"].tolist()) == [4, 5, 6, 7, 8]
    sample = replay.sample(100, np.random.default_rng(0))
    assert torch.equal(sample["a"][:, 0], sample["b"])
    assert torch.equal(sample["a"][:, 1], sample["b"] + 0.5)
    assert set(sample["b"].tolist()) == {4, 5, 6, 7, 8}
    with pytest.raises(ValueError, match="6 transitions"):
        replay.add(a=np.zeros((6, 2)), b=np.zeros(6))


# --- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [False, True])
def test_deepsets_are_equivariant_in_users_and_irss(share):
    run = _run(share_actor=share, actor_init=1.0)
    actor, codec = run.learner.nets["actor"], run.env.observation_codec
    obs = torch.from_numpy(run.obs).transpose(0, 1).contiguous()
    named = codec.decode(obs)
    users, irs = torch.tensor([2, 0, 3, 1]), torch.tensor([1, 0])
    permuted = {
        "own_user": named["own_user"][..., users],
        "direct_gain": named["direct_gain"][..., users],
        "irs_gain": named["irs_gain"][..., irs, :][..., users],
        "held": named["held"][..., irs],
        "rho": named["rho"][..., irs],
    }
    layout = run.env.action_codec.layout
    plain = {k: layout.take(actor(obs)[0], k) for k in layout.shapes}
    moved = {k: layout.take(actor(codec.encode(permuted))[0], k) for k in layout.shapes}
    assert torch.allclose(moved["bids"], plain["bids"][..., irs], atol=1e-5)
    assert torch.allclose(moved["powers"], plain["powers"][..., users], atol=1e-5)
    assert torch.allclose(moved["focus"], plain["focus"][..., irs, :][..., users], atol=1e-5)
    assert torch.allclose(moved["regularizer"], plain["regularizer"], atol=1e-5)


@pytest.mark.parametrize("net", ["deepsets", "mlp"])
def test_a_shared_critic_values_every_bs_alike(net):
    run = _run(net=net, share_critic=True)
    batch = _random_batch(run)
    obs, action = batch["obs"].transpose(0, 1), batch["action"].transpose(0, 1)
    q = run.learner.nets["critic"](obs, action)
    assert torch.allclose(run.learner.nets["critic"](obs.flip(0), action.flip(0)), q.flip(0), atol=1e-6)
    alone = _run(net=net).learner.nets["critic"]
    assert not torch.allclose(alone(obs.flip(0), action.flip(0)), alone(obs, action).flip(0), atol=1e-3)
    per_bs = sum(p.numel() for p in alone.parameters()) // 2
    assert sum(p.numel() for p in run.learner.nets["critic"].parameters()) == per_bs


def test_exploration_stays_inside_the_bounds_of_the_decoder_entries():
    run = _run(decoder_scale=0.0, batch=4)
    run.step()
    decoder = slice(run.env.scenario.num_irs, None)
    assert not run.replay.arrays["action"][: run.replay.size, :, decoder].any()


@pytest.mark.parametrize("algo", ["mdlbi", "maddpg", "ddpg", "fixed"])
@pytest.mark.parametrize("net", ["deepsets", "mlp"])
def test_every_algorithm_learns_on_every_net(algo, net):
    run = _run(algo=algo, net=net, set=("num_bs=3", "association_delay=1"))
    before = [p.clone() for p in run.learner.nets.parameters()]
    for _ in range(8):
        run.advance()
    assert run.learner.finite()
    changed = [not torch.equal(a, b) for a, b in zip(before, run.learner.nets.parameters(), strict=True)]
    assert all(changed) or (algo == "fixed" and sum(changed) > len(changed) // 2)


def test_paper_preset_runs_on_raw_actions():
    args = maddpg.parse(["--preset", "paper", "--scenario", "mdlbi-small-v0"])
    assert (args.gamma, args.actor_lr, args.critic_lr, args.tau) == (0.99, 1e-4, 1e-3, 1e-3)  # Table I
    assert (args.buffer, args.batch, args.layer_norm) == (10_000, 64, False)
    run = maddpg.Run(replace(args, width=8, buffer=100, batch=8))
    for _ in range(3):
        run.advance()
    assert run.env.scenario.action == "raw"
    assert run.env.scenario.fading == "frozen"
    assert maddpg.parse(["--preset=paper", "--stabilised", "--tau", "0.5"]).layer_norm


def test_fixed_association_is_held_for_an_episode():
    run = _run(algo="fixed", set=("horizon=6",))
    owners = []
    for _ in range(12):
        run.step()
        owners.append(run.env._state.owner if run.env._state.slot.all() else None)
    assert all(np.array_equal(owner, owners[0]) for owner in owners[:5])
    assert all(np.array_equal(owner, owners[6]) for owner in owners[6:11])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"set": ("num_irs",)}, "key=value"),
        ({"set": ("num_irss=1",)}, "num_irs"),
        ({"set": ("observation=csi",)}, "deepsets"),
        ({"set": ("num_irs=0",)}, "num_irs=0"),
        ({"buffer": 8}, "buffer=8"),
        ({"gamma": 1.0}, "gamma=1.0"),
        ({"num_envs": 0}, "num_envs=0"),
    ],
)
def test_impossible_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        _run(**changes)


# --- learning ---------------------------------------------------------------------------------------------------------


class _ConstantReward:
    """An environment whose reward is 1, whatever happens."""

    def __init__(self, env):
        self._env = env

    def __getattr__(self, name):
        return getattr(self._env, name)

    def step(self, action):
        obs, reward, terminated, truncated, infos = self._env.step(action)
        return obs, np.ones_like(reward), terminated, truncated, infos


def test_value_looks_beyond_the_time_limit():
    """Reward 1, discount 0.9, episodes cut after 5 steps: worth 10, and 4.1 at most if the limit were an end."""
    args = _args(
        net="mlp", gamma=0.9, reward_scale=1.0, critic_lr=3e-3, tau=0.05, batch=64, buffer=2000, lr_decay=False
    )
    env = _ConstantReward(make_vec_env("mdlbi-small-v0", 4, horizon=5, **maddpg.overrides(args)))
    run = maddpg.Run(args, env)
    for _ in range(1200):
        run.advance()
    batch = run.replay.sample(256, np.random.default_rng(0))
    q = run.learner.nets["critic"](batch["obs"].transpose(0, 1), batch["action"].transpose(0, 1))
    assert q.mean().item() == pytest.approx(10.0, abs=0.3)


def test_200_updates_improve_on_the_start():
    gains = []
    for seed in (1, 2):
        run = _run(
            seed=seed,
            scenario="mdlbi-blocked-small-v0",
            width=32,
            num_envs=16,
            batch=128,
            buffer=10_000,
            updates=200,
            critic_warmup=60,
            actor_lr=1e-3,
            eval_episodes=32,
            eval_slots=10,
            eval_network="online",
        )
        start = run.evaluate()["score"]
        while run.learner.updates < 200:
            run.advance()
        gains.append(run.evaluate()["score"] / start)
    assert sum(gains) / len(gains) > 1.05  # the seeds together: one alone scatters by several per cent


def test_a_loss_that_is_not_finite_stops_with_the_last_good_checkpoint(tmp_path):
    run = _run(updates=20, checkpoint_every=4, eval_every=50)
    learner_update = run.learner.update

    def poisoned(batch):
        if run.learner.updates == 10:
            batch["reward"][0] = float("nan")
        return learner_update(batch)

    run.learner.update = poisoned
    with pytest.raises(
        maddpg.Diverged, match=r"critic loss is nan in update 10; the last good checkpoint is .*checkpo"
    ):
        maddpg.train(run, tmp_path)
    again = _run(updates=20, checkpoint_every=4, eval_every=50)
    again.load(tmp_path / maddpg.CHECKPOINT)
    assert again.learner.updates == 8
    assert again.learner.finite()


# --- saving -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algo", ["mdlbi", "maddpg", "fixed"])
def test_resumed_run_equals_the_uninterrupted_one(tmp_path, algo):
    settings = {"algo": algo, "updates": 24, "eval_every": 8, "set": ("horizon=30", "association_delay=1")}
    whole, first, second = (_run(**settings) for _ in range(3))
    for _ in range(13):
        first.advance()
    first.save(tmp_path / "c.safetensors")
    second.load(tmp_path / "c.safetensors")
    for _ in range(24):
        whole.advance()
    for _ in range(11):
        second.advance()
    for a, b in zip(whole.learner.nets.parameters(), second.learner.nets.parameters(), strict=True):
        assert torch.equal(a, b)
    for name, array in whole.replay.arrays.items():
        assert torch.equal(array, second.replay.arrays[name])
    assert whole.evaluate() == second.evaluate()


def test_checkpoint_is_replaced_only_when_complete(tmp_path, monkeypatch):
    run = _run()
    run.advance()
    run.save(tmp_path / "c.safetensors")
    before = (tmp_path / "c.safetensors").read_bytes()
    run.advance()

    def dies(partial, path):
        raise KeyboardInterrupt

    monkeypatch.setattr(maddpg, "replace_file", dies)
    with pytest.raises(KeyboardInterrupt):
        run.save(tmp_path / "c.safetensors")
    assert (tmp_path / "c.safetensors").read_bytes() == before


KILLS = int(os.environ.get("IRS_MARL_KILLS", "3"))  # IRS_MARL_KILLS=10 for the long version


def _command(out, name):
    flags = ["--scenario", "mdlbi-small-v0", "--width", "16", "--num-envs", "4", "--batch", "16", "--buffer", "2000"]
    flags += ["--updates", str(50 * KILLS), "--eval-every", "25", "--checkpoint-every", "10"]
    flags += ["--critic-warmup", "20", "--eval-episodes", "2", "--eval-slots", "3", "--no-yardsticks"]
    flags += ["--no-tensorboard", "--no-progress", "--device", "cpu", "--out", str(out), "--name", name]
    return [sys.executable, str(SCRIPT), *flags]


def test_killed_at_random_moments_the_curve_is_the_same(tmp_path):
    """A moment is a number of checkpoints after a process began and a time; of every third kill, a time alone."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    timeout = 120 * KILLS
    subprocess.run(_command(tmp_path, "whole"), env=env, check=True, capture_output=True, timeout=timeout)
    moments, folder, kills = random.Random(0), tmp_path / "killed", []
    while len(kills) < KILLS:
        command = _command(tmp_path, "killed")
        if (folder / maddpg.ARGS).is_file():
            command = [sys.executable, str(SCRIPT), "--resume", str(folder)]
        stamp, deadline = _stamp(folder), time.monotonic() + timeout
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        early = len(kills) % 3 == 2
        to_see = 0 if early else moments.randint(2, 9)
        while to_see and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
            seen, stamp = stamp, _stamp(folder)
            to_see -= seen != stamp
        time.sleep(moments.uniform(0.0, 3.0 if early else 0.1))
        if process.poll() is not None:
            break  # it was done sooner
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills.append(_updates(folder))
    print(f"killed {len(kills)} times; updates in the checkpoint found: {kills}")
    assert len(kills) >= max(2, KILLS - 2)
    command = [sys.executable, str(SCRIPT), "--resume", str(folder)]
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=timeout)
    whole, killed = (json.loads((tmp_path / name / maddpg.RESULT).read_text()) for name in ("whole", "killed"))
    assert whole["curve"] == killed["curve"]
    assert whole["final"] == killed["final"]
    assert len(whole["curve"]) == 2 * KILLS + 1


def _updates(folder):
    path = folder / maddpg.CHECKPOINT
    return maddpg.read_tensors(path)[1]["updates"] if path.is_file() else 0


def _stamp(folder):
    path = folder / maddpg.CHECKPOINT
    return path.stat().st_mtime_ns if path.is_file() else None


def test_main_writes_everything_and_evaluates_its_policy(tmp_path, capsys):
    flags = ["--scenario", "mdlbi-small-v0", "--width", "16", "--num-envs", "4", "--batch", "16", "--updates", "6"]
    flags += ["--eval-episodes", "2", "--eval-slots", "2", "--eval-every", "3", "--critic-warmup", "2", "--no-progress"]
    flags += ["--eval-sweeps", "5", "--no-tensorboard", "--out", str(tmp_path), "--name", "run"]
    result = maddpg.main(flags)
    folder = tmp_path / "run"
    for name in (maddpg.RESULT, maddpg.CURVE, maddpg.POLICY, maddpg.CHECKPOINT, maddpg.ARGS):
        assert (folder / name).stat().st_size > 0
    stored = json.loads((folder / maddpg.RESULT).read_text())
    assert [point["update"] for point in stored["curve"]] == [0, 3, 6]
    assert stored["curve"] == result["curve"]
    assert set(stored["curve"][-1]["sweeps"]) == {"5"}
    assert {"random", "structured-auction", "exhaustive-ao"} <= set(stored["final"]["yardsticks"])
    assert "exhaustive-ao" in capsys.readouterr().out
    assert stored["versions"]["torch"] == torch.__version__
    assert (stored["versions"]["numba"] is not None) == (importlib.util.find_spec("numba") is not None)
    learner, scenario = maddpg.load_policy(folder / maddpg.POLICY)
    again = maddpg.on_bank(maddpg.LearnedPolicy(learner), replace(_args(), eval_slots=2), scenario)
    assert again.mean == stored["final"]["last"]
    with pytest.raises(SystemExit, match="--resume"):
        maddpg.main(flags)
    maddpg.main(["--eval", str(folder / maddpg.POLICY), "--no-yardsticks", "--eval-episodes", "2", "--eval-slots", "2"])
    assert "mdlbi" in capsys.readouterr().out


def test_logs_of_a_run(tmp_path, monkeypatch):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = _run(updates=4, eval_every=2, tensorboard=True)
    maddpg.train(run, tmp_path)
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    logged = {point.step: point.value for point in events.Scalars("score")}
    assert logged == pytest.approx({point["update"]: point["score"] for point in run.progress.curve})
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match="pip install wandb"):
        maddpg.logger(_args(wandb=True), tmp_path, 0)
    begun = {}
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **settings: begun.update(settings)))
    maddpg.logger(_args(wandb=True, seed=7), tmp_path, 0).close()
    assert begun["sync_tensorboard"]
    assert begun["config"]["seed"] == 7
    assert (begun["id"], begun["resume"]) == (tmp_path.name, "allow")  # a resumed run goes on where it was


def test_the_shipped_policy_does_what_the_table_says():
    path = SCRIPT.parent / "checkpoints" / "mdlbi-blocked-small-v0.safetensors"
    assert path.stat().st_size < 100_000
    learner, scenario = maddpg.load_policy(path)
    bank = replace(_args(), eval_episodes=32, eval_slots=5)
    trained = maddpg.on_bank(maddpg.LearnedPolicy(learner), bank, scenario)
    fixed, auction = (maddpg.on_bank(name, bank, scenario) for name in ("structured-fixed", "structured-auction"))
    assert trained.mean > 1.15 * fixed.mean
    assert trained.mean > 0.97 * auction.mean


def test_the_tables_in_the_docs_come_from_the_files_beside_them():
    benchmark = _load("training_benchmark", ROOT / "benchmarks" / "training.py")
    page = benchmark.PAGE.read_text()
    assert benchmark.written(page, benchmark.tables()) == page
