"""examples/maddpg.py: its arithmetic by hand, that it learns, and that a killed run goes on as if never stopped."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "safetensors", "tqdm", "matplotlib"):
    pytest.importorskip(needed, reason="needs the extra 'train'")
from tiny_training import random_batch, tiny_args, tiny_run  # noqa: E402

from examples import maddpg  # noqa: E402
from examples.maddpg import advance, prepare, train  # noqa: E402
from irs_marl_env import get_scenario, load_policy, make_vec_env  # noqa: E402
from irs_marl_env.training.bank import on_bank  # noqa: E402
from irs_marl_env.training.files import read_tensors, write_tensors  # noqa: E402
from irs_marl_env.training.folder import ARGS, CHECKPOINT, CURVE, POLICY, RESULT  # noqa: E402
from irs_marl_env.training.loop import Diverged  # noqa: E402
from irs_marl_env.training.settings import parse, usual_fields  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "maddpg.py"


# --- arithmetic -------------------------------------------------------------------------------------------------------


def _linear(net, name):
    layer = dict(net.named_modules())[name]
    return (p.detach().double().numpy().copy() for p in (layer.weight, layer.bias[:, 0]))


def test_one_update_equals_the_one_by_hand():
    """Without hidden layers mu = tanh(W o + b) and Q = u [o, a] + c: every gradient in closed form."""
    run = tiny_run(
        net="mlp", depth=0, gamma=0.9, critic_warmup=0, lr_decay=False, pretanh_penalty=0.1, tau=0.25, reward_scale=0.5
    )
    learner, batch = run.learner, random_batch(run)
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


def test_learning_rates_fall_to_a_tenth():
    run = tiny_run(updates=10, lr_decay=True, critic_lr=1e-3)
    learner, rates = run.learner, []
    for updates in (0, 5, 10):
        learner.updates = updates
        learner.update(random_batch(run))
        rates.append(learner.optimisers["critic"].param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3, 5.5e-4, 1e-4])


def test_targets_without_discount_are_scaled_rewards():
    run = tiny_run(gamma=0.0, reward_scale=0.3)
    batch = random_batch(run)
    assert torch.equal(run.learner.target(batch), 0.3 * batch["reward"].T)


@pytest.mark.parametrize("net", ["deepsets", "mlp"])
def test_central_critic_sees_the_others_replayed_actions(net):
    """What is given as replayed is all that the critic of an agent sees of the others: three agents, one by one."""
    run = tiny_run(algo="maddpg", net=net, set=("num_bs=3", "num_irs=2"))
    batch = random_batch(run)
    critic, replayed = run.learner.critic, batch["action"].transpose(0, 1)
    look = critic.look(batch["state"])
    own = torch.tanh(replayed + 1.0)
    found = critic(look, own, replayed)
    for m in range(3):
        joint = replayed.clone()
        joint[m] = own[m]
        assert torch.allclose(found[m], critic(look, joint)[m], atol=1e-6)
        assert not torch.allclose(found[m], critic(look, own)[m], atol=1e-3)
        assert not torch.allclose(found[m], critic(look, replayed)[m], atol=1e-3)


@pytest.mark.parametrize("algo", ["mdlbi", "maddpg", "ddpg", "fixed"])
@pytest.mark.parametrize("net", ["deepsets", "mlp"])
def test_every_algorithm_learns_on_every_net(algo, net):
    run = tiny_run(algo=algo, net=net, set=("num_bs=3", "association_delay=1"))
    before = [p.clone() for p in run.learner.nets.parameters()]
    for _ in range(8):
        advance(run)
    assert run.learner.finite()
    changed = [not torch.equal(a, b) for a, b in zip(before, run.learner.nets.parameters(), strict=True)]
    assert all(changed) or (algo == "fixed" and sum(changed) > len(changed) // 2)


def test_paper_preset_runs_on_raw_actions():
    args = parse(["--preset", "paper", "--scenario", "mdlbi-small-v0"])
    run = prepare(replace(args, width=8, buffer=100, batch=8))
    for _ in range(3):
        advance(run)
    assert run.env.scenario.action == "raw"
    assert run.env.scenario.fading == "frozen"


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
    args = tiny_args(
        net="mlp", gamma=0.9, reward_scale=1.0, critic_lr=3e-3, tau=0.05, batch=64, buffer=2000, lr_decay=False
    )
    env = _ConstantReward(make_vec_env("mdlbi-small-v0", 4, horizon=5, **usual_fields(args)))
    run = prepare(args, env)
    for _ in range(1200):
        advance(run)
    batch = run.replay.sample(256, np.random.default_rng(0))
    q = run.learner.nets["critic"](batch["obs"].transpose(0, 1), batch["action"].transpose(0, 1))
    assert q.mean().item() == pytest.approx(10.0, abs=0.3)


def test_200_updates_improve_on_the_start():
    gains = []
    for seed in (1, 2):
        run = tiny_run(
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
            advance(run)
        gains.append(run.evaluate()["score"] / start)
    assert sum(gains) / len(gains) > 1.05  # the seeds together: one alone scatters by several per cent


def test_a_loss_that_is_not_finite_stops_with_the_last_good_checkpoint(tmp_path):
    run = tiny_run(updates=20, checkpoint_every=4, eval_every=50)
    learner_update = run.learner.update

    def poisoned(batch):
        if run.learner.updates == 10:
            batch["reward"][0] = float("nan")
        return learner_update(batch)

    run.learner.update = poisoned
    with pytest.raises(Diverged, match=r"critic loss is nan in update 10; the last good checkpoint is .*checkpo"):
        train(run, tmp_path)
    again = tiny_run(updates=20, checkpoint_every=4, eval_every=50)
    again.load(tmp_path / CHECKPOINT)
    assert again.learner.updates == 8
    assert again.learner.finite()


# --- saving -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algo", ["mdlbi", "maddpg", "fixed"])
def test_resumed_run_equals_the_uninterrupted_one(tmp_path, algo):
    settings = {"algo": algo, "updates": 24, "eval_every": 8, "set": ("horizon=30", "association_delay=1")}
    whole, first, second = (tiny_run(**settings) for _ in range(3))
    for _ in range(13):
        advance(first)
    first.save(tmp_path / "c.safetensors")
    second.load(tmp_path / "c.safetensors")
    for _ in range(24):
        advance(whole)
    for _ in range(11):
        advance(second)
    for a, b in zip(whole.learner.nets.parameters(), second.learner.nets.parameters(), strict=True):
        assert torch.equal(a, b)
    for name, array in whole.replay.arrays.items():
        assert torch.equal(array, second.replay.arrays[name])
    assert whole.evaluate() == second.evaluate()


KILLS = int(os.environ.get("IRS_MARL_KILLS", "3"))  # IRS_MARL_KILLS=10 for the long version


def _command(out, name, algo):
    flags = ["--algo", algo, "--scenario", "mdlbi-small-v0", "--width", "16", "--num-envs", "4", "--batch", "16"]
    flags += (
        ["--set", "horizon=50", "--buffer", "2000", "--n-step", "2"] if algo == "own-value" else ["--buffer", "2000"]
    )
    flags += ["--updates", str(80 * KILLS), "--eval-every", "40", "--checkpoint-every", "10"]
    flags += ["--critic-warmup", "20", "--eval-episodes", "2", "--eval-slots", "3", "--no-baselines"]
    flags += ["--no-tensorboard", "--no-progress", "--device", "cpu", "--out", str(out), "--name", name]
    return [sys.executable, str(SCRIPT), *flags]


@pytest.mark.parametrize("algo", ["mdlbi", "own-value"])
def test_killed_at_random_moments_the_curve_is_the_same(tmp_path, algo):
    """A moment is a number of checkpoints after a process began and a time; of every third kill, a time alone."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    timeout = 120 * KILLS
    subprocess.run(_command(tmp_path, "whole", algo), env=env, check=True, capture_output=True, timeout=timeout)
    moments, folder, kills = random.Random(0), tmp_path / "killed", []
    while len(kills) < KILLS:
        command = _command(tmp_path, "killed", algo)
        if (folder / ARGS).is_file():
            command = [sys.executable, str(SCRIPT), "--resume", str(folder)]
        stamp, deadline = _stamp(folder), time.monotonic() + timeout
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        early = len(kills) % 3 == 2
        to_see = 0 if early else moments.randint(1, 4)  # of eight per kill: the run must not be done before the last
        while to_see and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
            seen, stamp = stamp, _stamp(folder)
            to_see -= seen != stamp
        time.sleep(moments.uniform(0.0, 1.5 if early else 0.1))
        if process.poll() is not None:
            break  # it was done sooner
        process.kill()
        process.wait()
        kills.append(_updates(folder))
    print(f"killed {len(kills)} times; updates in the checkpoint found: {kills}")
    assert 2 * len(kills) >= KILLS
    command = [sys.executable, str(SCRIPT), "--resume", str(folder)]
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=timeout)
    whole, killed = (json.loads((tmp_path / name / RESULT).read_text(encoding="utf-8")) for name in ("whole", "killed"))
    assert whole["curve"] == killed["curve"]
    assert whole["final"] == killed["final"]
    assert len(whole["curve"]) == 2 * KILLS + 1


def _updates(folder):
    path = folder / CHECKPOINT
    return read_tensors(path)[1]["updates"] if path.is_file() else 0


def _stamp(folder):
    path = folder / CHECKPOINT
    return path.stat().st_mtime_ns if path.is_file() else None


def test_main_writes_everything_and_evaluates_its_policy(tmp_path, capsys):
    flags = ["--scenario", "mdlbi-small-v0", "--width", "16", "--num-envs", "4", "--batch", "16", "--updates", "6"]
    flags += ["--eval-episodes", "2", "--eval-slots", "2", "--eval-every", "3", "--critic-warmup", "2", "--no-progress"]
    flags += ["--eval-sweeps", "5", "--no-tensorboard", "--out", str(tmp_path), "--name", "run"]
    result = maddpg.main(flags)
    folder = tmp_path / "run"
    for name in (RESULT, CURVE, POLICY, CHECKPOINT, ARGS):
        assert (folder / name).stat().st_size > 0
    stored = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    assert [point["update"] for point in stored["curve"]] == [0, 3, 6]
    assert stored["curve"] == result["curve"]
    assert set(stored["curve"][-1]["sweeps"]) == {"5"}
    assert {"random", "structured-local-gain", "exhaustive-ao"} <= set(stored["final"]["baselines"])
    printed = capsys.readouterr().out
    assert "share of exhaustive-ao" in printed
    assert printed.index("baseline structured-fixed: ") < printed.index("baseline exhaustive-ao: ")
    assert stored["versions"]["torch"] == torch.__version__
    policy = load_policy(folder / POLICY)
    again = on_bank(policy, tiny_args(eval_slots=2), policy.scenario)
    assert again.mean == stored["final"]["last"]
    with pytest.raises(ValueError, match="--resume"):
        maddpg.main(flags)
    maddpg.main(["--eval", str(folder / POLICY), "--no-baselines", "--eval-episodes", "2", "--eval-slots", "2"])
    assert "mdlbi" in capsys.readouterr().out


def test_the_shipped_policy_does_what_the_table_says():
    path = SCRIPT.parent / "checkpoints" / "mdlbi-blocked-small-v0.safetensors"
    assert path.stat().st_size < 100_000
    policy, bank = load_policy(path), tiny_args(eval_episodes=32, eval_slots=5)
    names = (policy, "structured-fixed", "structured-local-gain")
    trained, fixed, local_gain = (on_bank(name, bank, policy.scenario) for name in names)
    assert trained.mean > 1.15 * fixed.mean
    assert trained.mean > 0.97 * local_gain.mean


def _flags(out, name, *more):
    flags = ["--scenario", "mdlbi-small-v0", "--width", "16", "--num-envs", "4", "--batch", "16", "--updates", "6"]
    flags += ["--eval-episodes", "2", "--eval-slots", "2", "--eval-every", "3", "--critic-warmup", "2", "--no-progress"]
    return [*flags, "--no-tensorboard", "--device", "cpu", "--out", str(out), "--name", name, *more]


def test_the_policy_is_there_before_the_baselines_run(tmp_path, monkeypatch):
    def killed(run, folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(maddpg, "report", killed)
    with pytest.raises(KeyboardInterrupt):
        maddpg.main(_flags(tmp_path, "run"))
    assert load_policy(tmp_path / "run" / POLICY).scenario.num_users == 4


def test_a_run_of_an_earlier_version_goes_on(tmp_path):
    """Its settings had another name for the baselines, and its checkpoint held no scenario."""
    whole = maddpg.main(_flags(tmp_path, "whole", "--no-baselines"))
    folder = tmp_path / "earlier"
    args = parse(_flags(tmp_path, "earlier", "--no-baselines"))
    run = prepare(args)
    folder.mkdir()
    run.progress.curve.append(run.evaluate())
    for _ in range(2):
        advance(run)
    run.save(folder / CHECKPOINT)
    tensors, plain = read_tensors(folder / CHECKPOINT)
    del plain["scenario"]
    plain["args"]["yardsticks"] = plain["args"].pop("baselines")
    write_tensors(folder / CHECKPOINT, tensors, plain)
    (folder / ARGS).write_text(json.dumps(plain["args"]), encoding="utf-8")
    assert load_policy(folder / CHECKPOINT).scenario == run.env.scenario
    resumed = maddpg.main(["--resume", str(folder)])
    assert resumed["curve"] == whole["curve"]
    (folder / ARGS).write_text(json.dumps({**plain["args"], "optimizer": "adam"}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"args.json: this version of the trainer has no setting optimizer"):
        maddpg.main(["--resume", str(folder)])


def test_a_scenario_file_trains_resumes_and_evaluates(tmp_path, capsys):
    path = tmp_path / "mine.json"
    path.write_text(get_scenario("mdlbi-small-v0", num_users=3).to_json(), encoding="utf-8")
    flags = _flags(tmp_path, "run", "--scenario", str(path), "--no-baselines", "--set", "horizon=40")
    first = maddpg.main(flags)
    assert (first["scenario"]["num_users"], first["scenario"]["horizon"]) == (3, 40)
    path.unlink()
    (tmp_path / "run" / RESULT).unlink()
    assert maddpg.main(["--resume", str(tmp_path / "run")])["curve"] == first["curve"]
    capsys.readouterr()
    maddpg.main(["--eval", str(tmp_path / "run" / POLICY), "--no-baselines", "--eval-episodes", "2"])
    assert "mdlbi" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--eval", "nosuch.safetensors"], "error: nosuch.safetensors: there is no such file"),
        (["--scenario", "nosuch.json"], "nosuch.json"),
        (["--scenario", "mdlbi-v7"], "error: scenario 'mdlbi-v7' is not known"),
        (["--set", "num_irss=1"], "num_irs"),
        (["--resume", "nosuch"], "must be the folder of a run"),
    ],
)
def test_the_command_refuses_in_words(flags, message, tmp_path):
    done = subprocess.run([sys.executable, str(SCRIPT), *flags], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_algorithm_fits_on_a_screen():
    assert len(SCRIPT.read_text(encoding="utf-8").splitlines()) <= 250
