"""The run around the updates: exploration, held associations, running means, logs."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "safetensors", "tqdm", "matplotlib"):
    pytest.importorskip(needed, reason="needs the extra 'train'")
from tiny_training import tiny_args, tiny_run  # noqa: E402

from examples.maddpg import train  # noqa: E402
from irs_marl_env import evaluate  # noqa: E402
from irs_marl_env.training import bank, session  # noqa: E402
from irs_marl_env.training.logs import logger  # noqa: E402
from irs_marl_env.training.loop import Progress  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def test_exploration_stays_inside_the_bounds_of_the_decoder_entries():
    run = tiny_run(decoder_scale=0.0, batch=4)
    run.step()
    decoder = slice(run.env.scenario.num_irs, None)
    assert not run.replay.arrays["action"][: run.replay.size, :, decoder].any()


def test_a_bank_is_the_same_whatever_is_stepped_together(monkeypatch):
    run, asked = tiny_run(eval_episodes=20), []

    def evaluated(*args, batch, **options):
        asked.append(batch)
        return evaluate(*args, batch=batch, **options)

    monkeypatch.setattr(bank, "evaluate", evaluated)
    together = bank.on_bank(run.policy(), run.args, run.env.scenario)
    monkeypatch.setattr(bank, "ROOM", 0)
    apart = bank.on_bank(run.policy(), run.args, run.env.scenario)
    assert asked == [20, bank.BATCH]
    np.testing.assert_allclose(together.episodes, apart.episodes, atol=1e-4)


def test_exploration_falls_over_its_share_of_the_updates():
    run = tiny_run(updates=100, noise_start=0.4, noise_end=0.2, noise_fraction=0.5)
    levels = []
    for updates in (0, 25, 50, 100):
        run.learner.updates = updates
        levels.append(run.noise_level())
    assert levels == pytest.approx([0.4, 0.3, 0.2, 0.2])


def test_environments_step_once_in_so_many_updates():
    run = tiny_run(batch=6, updates_per_step=3)
    steps = []
    for updates in range(4):
        run.learner.updates = updates
        run.collect()
        steps.append(run.progress.steps)
    assert steps == [8, 8, 8, 12]  # four environments a step; the first time until there is a batch
    assert run.sample()["obs"].shape == (6, *run.obs.shape[1:])


def test_the_last_observation_of_an_episode_is_the_one_that_is_remembered():
    """Not the first of the next one, which the environments hand out at once."""
    run = tiny_run(set=("horizon=3",), batch=4, gamma=0.9)
    step, final = run.env.step, []

    def watched(action):
        result = step(action)
        final.append(result[4].get("final_observation"))
        return result

    run.env.step = watched
    for _ in range(3):
        run.step()
    stored = run.replay.arrays["next_obs"][8:12].numpy()
    np.testing.assert_array_equal(stored, final[2])
    assert not np.allclose(stored, run.obs)


def test_fixed_association_is_held_for_an_episode():
    run = tiny_run(algo="fixed", set=("horizon=6",))
    owners = []
    for _ in range(12):
        run.step()
        view = run.env.view()
        owners.append(view.owner if view.slot.all() else None)
    assert all(np.array_equal(owner, owners[0]) for owner in owners[:5])
    assert all(np.array_equal(owner, owners[6]) for owner in owners[6:11])


def test_running_means_begin_anew():
    progress = Progress()
    progress.note(a=1.0, b=2.0)
    progress.note(a=3.0)
    assert progress.means() == {"a": 2.0, "b": 2.0}
    progress.note(a=5.0)
    assert progress.means() == {"a": 5.0}


def test_evaluations_and_checkpoints_come_when_they_are_due(tmp_path, monkeypatch):
    run = tiny_run(updates=7, eval_every=3, checkpoint_every=2)
    saved = []
    monkeypatch.setattr(session, "keep_checkpoint", lambda folder, save: saved.append((run.learner.updates, folder)))
    train(run, tmp_path)
    assert [point["update"] for point in run.progress.curve] == [0, 3, 6, 7]
    assert saved == [(n, tmp_path) for n in (2, 4, 6, 7)]
    assert run.progress.seconds > 0
    assert run.progress.cpu_seconds > 0


def test_logs_of_a_run(tmp_path, monkeypatch):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = tiny_run(updates=4, eval_every=2, tensorboard=True)
    train(run, tmp_path)
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    logged = {point.step: point.value for point in events.Scalars("score")}
    assert logged == pytest.approx({point["update"]: point["score"] for point in run.progress.curve})
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match="pip install wandb"):
        logger(tiny_args(wandb=True), tmp_path, 0)
    begun = {}
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **settings: begun.update(settings)))
    logger(tiny_args(wandb=True, seed=7), tmp_path, 0).close()
    assert begun["sync_tensorboard"]
    assert begun["config"]["seed"] == 7
    assert (begun["id"], begun["resume"]) == (tmp_path.name, "allow")  # a resumed run goes on where it was
