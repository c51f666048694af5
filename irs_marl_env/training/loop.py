"""The run around the updates: environments, replay memory, exploration noise, evaluations, checkpoints.

Whose updates these are is not decided here. A learner (class ``Learner`` of ``examples/maddpg.py`` is one) acts on
observations and learns from batches; :class:`Run` feeds it, and
:class:`~irs_marl_env.training.session.Session` decides when it is evaluated and saved.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from irs_marl_env.checks import refusal
from irs_marl_env.training.bank import LAST, on_bank
from irs_marl_env.training.checkpoint import (
    check_counters,
    check_generator,
    check_keys,
    check_learner,
    check_tensors,
    differences,
    learner_tensors,
    plain_state,
    restore_learner,
    restore_state,
    under,
)
from irs_marl_env.training.files import Damaged, read_tensors, write_tensors
from irs_marl_env.training.learner import Diverged as Diverged
from irs_marl_env.training.policy import FixedAssociation, TrainedPolicy
from irs_marl_env.training.replay import Replay
from irs_marl_env.training.returns import Returns
from irs_marl_env.training.settings import Args, check, scenario_of
from irs_marl_env.vector_env import MdlbiVectorEnv

_REMEMBERED = ("replay.", "waiting.")  # what names of tensors in a checkpoint begin with


class LearnerProtocol(Protocol):
    """What a run needs of a learner.

    Attributes:
        nets: the networks, of which ``nets["actor"]`` acts.
        targets: their Polyak averages.
        optimisers: by name of the network.
        updates: how many updates were done.
        gamma: discount.
        remembers: the arrays of a transition that batches hold, of those that :meth:`Run.shapes` has.
        device: where the networks live.
    """

    nets: nn.ModuleDict
    targets: nn.ModuleDict
    optimisers: dict[str, Any]
    updates: int
    gamma: float
    remembers: tuple[str, ...]
    device: Any

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Actions ``(E, M, D_a)`` for observations ``(E, M, D_o)``, without exploration."""
        ...

    def update(self, batch: dict[str, torch.Tensor]) -> dict[str, float]:
        """Learn from transitions ``(B, ...)`` by name; losses, by name."""
        ...

    def finite(self) -> bool:
        """Whether all weights are finite."""
        ...


@dataclass
class Progress:
    """What a run remembers besides its networks; JSON types."""

    steps: int = 0  # of all environments together
    curve: list[dict[str, Any]] = field(default_factory=list)
    window: dict[str, list[float]] = field(default_factory=dict)  # sums and counts since the last evaluation
    seconds: float = 0.0  # of training and its evaluations, in all processes that went on with the run
    cpu_seconds: float = 0.0

    def note(self, **values: float) -> None:
        """Add to the running means."""
        for name, value in values.items():
            total = self.window.setdefault(name, [0.0, 0])
            total[0] += value
            total[1] += 1

    def means(self) -> dict[str, float]:
        """The running means, which begin anew."""
        means = {name: total / count for name, (total, count) in self.window.items()}
        self.window.clear()
        return means


def training_env(args: Args, env: Any = None) -> Any:
    """The environments to train in.

    Args:
        args: settings.
        env: a batched environment to take instead of the one that the settings name.

    Raises:
        ValueError: a setting is impossible.
    """
    check(args)
    env = MdlbiVectorEnv(scenario_of(args), args.num_envs) if env is None else env
    check(args, env.scenario)
    _ = env.scenario.to_json(portable=False)  # what no checkpoint could name is refused now, not after the training
    return env


def training_device(args: Args) -> torch.device:
    """Where the networks live.

    Raises:
        ValueError: there is no such device.
    """
    if args.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(args.device)
        torch.ones(1, device=device).item()  # a name may be right and the device absent
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise refusal("device", args.device, f"auto or a device of torch ({str(error).splitlines()[0]})") from None
    return device


class Run:
    """A training: a learner, its environments and its replay memory.

    Args:
        args: settings.
        env: of :func:`training_env`; it is reset.
        learner: what learns.
    """

    def __init__(self, args: Args, env: Any, learner: LearnerProtocol) -> None:
        self.args, self.env, self.learner, self.device = args, env, learner, learner.device
        actor: Any = learner.nets["actor"]
        self.span = actor.span.cpu().numpy()  # exploration stays inside the actor's bounds
        shapes = self.shapes()
        self.replay = Replay(args.buffer, {name: shapes[name] for name in learner.remembers}, self.device)
        own_value = args.algo == "own-value"  # its returns begin where the set that was won is held
        delay = env.scenario.association_delay if own_value else 0
        self.returns = Returns(args.n_step, learner.gamma, delay, args.bootstrap and not own_value)
        self.generators = {
            name: np.random.Generator(np.random.Philox(key))
            for name, key in zip(("noise", "replay"), np.random.SeedSequence(args.seed).spawn(2), strict=True)
        }
        self.progress = Progress()
        env_seed = 100_000 * (args.seed + 1)
        self.obs, _ = env.reset(seed=env_seed)
        self.fixed = FixedAssociation(env, env_seed) if args.algo == "fixed" else None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """What may be remembered of a transition, and its shape: ``obs``, ``action``, the return ``reward``, what is
        observed after it, ``next_obs``, and the discount of its value; ``won``, the IRSs that the action won; ``state``
        and ``next_state``, global.
        """
        env, M = self.env, self.env.scenario.num_bs
        seen, state = (M, env.observation_size), (env.state_size,)
        each = {"obs": seen, "next_obs": seen, "action": (M, env.action_size), "reward": (M,), "discount": ()}
        return {**each, "won": (M, env.scenario.num_irs), "state": state, "next_state": state}

    def step(self) -> None:
        """One step of the environments into the replay memory."""
        env, obs = self.env, self.obs
        noise = self.generators["noise"].standard_normal((len(obs), *obs.shape[1:-1], env.action_size), np.float32)
        action = np.clip(self.learner.act(obs) + self.noise_level() * self.span * noise, -1, 1)
        if self.fixed is not None:
            action = self.fixed.impose(action)
        wanted = self.learner.remembers
        slot = {"state": env.state()} if "state" in wanted else {}
        self.obs, reward, _, truncated, infos = env.step(action)
        ended = bool(truncated.any())  # all rows at once; the next observation is then that of a new episode
        if "next_state" in wanted:
            slot["next_state"] = infos["final_state"] if ended else env.state()
        following = infos["final_observation"] if ended else self.obs
        if "won" in wanted:
            slot["won"] = following[..., env.observation_codec.layout.slices["held"]]
        slot |= {"obs": obs, "action": action, "reward": reward, "next_obs": following}
        for rows in self.returns.add(ended, **slot):
            self.replay.add(**rows)
        self.progress.steps += len(obs)
        self.progress.note(train=float(infos["sum_rate"].sum(-1).mean()), idle=float((infos["owner"] < 0).mean()))

    def noise_level(self) -> float:
        """Standard deviation of the exploration now."""
        args = self.args
        done = self.learner.updates / max(1.0, args.noise_fraction * args.updates)
        return args.noise_start + min(1.0, done) * (args.noise_end - args.noise_start)

    def collect(self) -> None:
        """Step the environments if it is their turn, and until there are enough transitions for a batch."""
        if self.learner.updates % self.args.updates_per_step == 0:
            self.step()
            while self.replay.size < self.args.batch:
                self.step()

    def sample(self) -> dict[str, torch.Tensor]:
        """A batch of transitions from the replay memory, by name ``(B, ...)``."""
        return self.replay.sample(self.args.batch, self.generators["replay"])

    def policy(self) -> TrainedPolicy:
        """The actors as they are now, in the form that is evaluated and saved."""
        nets = self.learner.nets if self.args.eval_network == "online" else self.learner.targets
        actor: Any = nets["actor"]
        return TrainedPolicy(actor, self.args, self.env.scenario)

    def evaluate(self) -> dict[str, Any]:
        """A point of the learning curve."""
        args, scenario, policy = self.args, self.env.scenario, self.policy()
        result = on_bank(policy, args, scenario)
        point: dict[str, Any] = {"update": self.learner.updates, "steps": self.progress.steps}
        point |= {"score": result.mean, "standard_error": result.standard_error, **self.progress.means()}
        if args.eval_sweeps and self.learner.updates > args.updates - LAST * args.eval_every:
            point["sweeps"] = {str(n): on_bank(policy, args, scenario.replace(sweeps=n)).mean for n in args.eval_sweeps}
        return point

    # --- checkpoints -------------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write everything that decides how the run goes on into one file, which replaces the old one at once.

        Raises:
            OSError: the file cannot be written.
        """
        filled = self.replay.size
        tensors = learner_tensors(self.learner)
        tensors |= {f"replay.{name}": array[:filled] for name, array in self.replay.arrays.items()}
        arrays, rest = self._env_state()
        tensors |= arrays
        tensors |= self._waiting()
        if self.fixed is not None and self.fixed.memory.held is not None:
            tensors["fixed.held"] = torch.from_numpy(self.fixed.memory.held)
        plain = {
            "args": asdict(self.args),
            "scenario": self._scenario(),
            "updates": self.learner.updates,
            "replay": [self.replay.size, self.replay.next],
            "generators": {name: plain_state(g) for name, g in self.generators.items()},
            "env": rest,
            "progress": asdict(self.progress),
        }
        write_tensors(path, tensors, plain)

    def load(self, path: Path) -> None:
        """Go on where :meth:`save` was called, in this or an earlier version.

        Raises:
            Damaged: the file is not a checkpoint, or not as it was written.
            ValueError: it is one of a run with other settings, or of a later version. Nothing has changed then.
            OSError: the file cannot be read.
        """
        tensors, plain = read_tensors(path)
        needless = self.shapes().keys() - self.replay.arrays.keys()  # versions before remembered what follows always
        for name in [n for n in tensors if n.startswith(_REMEMBERED) and n.rpartition(".")[2] in needless]:
            del tensors[name]
        try:
            known = {"args", "updates", "replay", "generators", "env", "progress"}
            check_keys("checkpoint", plain, known | ({"scenario"} & plain.keys()))
            for name in ("args", "scenario"):
                check_keys(name, plain.get(name, {}), set(plain.get(name, {})))
        except (ValueError, TypeError) as error:
            raise Damaged(f"{path}: damaged ({error})") from None
        other = differences(self.args, self._scenario(), plain, path)
        if other:
            raise ValueError(f"{path}: a checkpoint of another run ({'; '.join(other)})")
        try:
            self._check(tensors, plain)
            env = {k: v.numpy() for k, v in under("env.", tensors).items()}
            self.env.set_state({**env, **plain["env"]})
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise Damaged(f"{path}: damaged ({error})") from None
        self.obs = self.env.observe()
        restore_learner(self.learner, tensors)
        self.learner.updates = plain["updates"]
        self.replay.size, self.replay.next = plain["replay"]
        for name, value in under("replay.", tensors).items():
            self.replay.arrays[name][: self.replay.size] = value.to(self.device)
        slots: dict[int, dict[str, np.ndarray]] = {}
        for key, value in under("waiting.", tensors).items():
            index, _, name = key.partition(".")
            slots.setdefault(int(index), {})[name] = value.numpy()
        self.returns.waiting = deque(slots[index] for index in sorted(slots))
        for name, generator in self.generators.items():
            restore_state(generator, plain["generators"][name])
        if self.fixed is not None and "fixed.held" in tensors:
            self.fixed.memory.held = tensors["fixed.held"].numpy()
        self.progress = Progress(**plain["progress"])

    def _check(self, tensors: dict[str, torch.Tensor], plain: dict[str, Any]) -> None:
        """Refuse what no run with these settings can have written.

        Raises:
            ValueError: names the part.
        """
        horizon, envs = self.env.scenario.horizon, len(self.obs)
        check_counters(plain, self.args, lambda steps: envs * self.returns.transitions(steps // envs, horizon))
        check_learner(self.learner, self.args, plain["updates"], tensors)
        filled, arrays = plain["replay"][0], self.replay.arrays
        wanted = {f"replay.{name}": array[:1].cpu().expand(filled, *array.shape[1:]) for name, array in arrays.items()}
        for index in range(self.returns.waiting_after(plain["progress"]["steps"] // envs, horizon)):
            names = [name for name in arrays if name != "discount"]
            rows = {name: torch.zeros(envs, *arrays[name].shape[1:], device="cpu") for name in names}
            wanted |= {f"waiting.{index}.{name}": row for name, row in rows.items()}
        env, rest = self._env_state()
        wanted |= env
        if self.fixed is not None and filled:
            shape = len(self.obs), self.env.scenario.num_irs
            wanted["fixed.held"] = torch.zeros(shape, dtype=torch.int64, device="cpu")
        learned = ("nets.", "targets.", "optimiser.")
        check_tensors({k: v for k, v in tensors.items() if not k.startswith(learned)}, wanted)
        check_keys("env", plain["env"], set(rest))
        check_keys("generators", plain["generators"], set(self.generators))
        for name, generator in self.generators.items():
            check_generator(f"generators.{name}", plain["generators"][name], generator)

    def _waiting(self) -> dict[str, torch.Tensor]:
        """The slots whose return is not complete."""
        return {
            f"waiting.{index}.{name}": torch.from_numpy(np.ascontiguousarray(slot[name], np.float32))
            for index, slot in enumerate(self.returns.waiting)
            for name in self.replay.arrays
            if name != "discount"
        }

    def _env_state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """The state of the environments: tensors, and what is JSON."""
        env = self.env.get_state()
        arrays = {k: np.asarray(v) for k, v in env.items() if hasattr(v, "shape")}
        tensors = {f"env.{k}": torch.from_numpy(np.ascontiguousarray(v)) for k, v in arrays.items()}
        return tensors, {k: v for k, v in env.items() if k not in arrays}

    def _scenario(self) -> dict[str, Any]:
        """The scenario in JSON types."""
        return json.loads(self.env.scenario.to_json(portable=False))
