"""Evaluation: any policy on the same draws, with errors that respect what is independent.

Episode i of an evaluation is the environment seeded with ``seed + i``, whatever the policy, the number of processes
or the scenario's number of IRSs; so two policies meet the same users, walks and fading and are compared pair by pair.
Slots of an episode are not independent: standard errors are over episodes. The measure is the sum rate of the slot
[bit/s/Hz] before the reward is shaped.
"""

from __future__ import annotations

import json
import math
import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np

from irs_marl_env.checks import check_whole
from irs_marl_env.policies import POLICIES
from irs_marl_env.scenario import Scenario, get_scenario
from irs_marl_env.solvers.bounds import upper_bound
from irs_marl_env.vector_env import MdlbiVectorEnv

BOUND = "upper-bound"  # evaluated like a policy, though no policy reaches it
BATCH = 16  # episodes stepped together
DECIMALS = 6  # of a stored rate: far below its error, and JSON stays small
INTERFACES = ("arrays", "dicts")

Policy = Any  # a name, an object with ``bind(env, seed)``, or a callable observations -> actions


class Estimate(NamedTuple):
    """A mean over episodes."""

    mean: Any  # bit/s/Hz
    standard_error: Any  # of the mean, from the spread of episodes; NaN for a single one
    episodes: np.ndarray  # (episodes, ...) value of each episode

    @classmethod
    def of(cls, episodes: np.ndarray) -> Estimate:
        """Mean and standard error along the first axis."""
        count = len(episodes)
        mean = episodes.mean(0)
        error = episodes.std(0, ddof=1) / math.sqrt(count) if count > 1 else np.full_like(mean, math.nan)
        if mean.ndim == 0:
            return cls(float(mean), float(error), episodes)
        return cls(mean, error, episodes)


@dataclass(frozen=True, eq=False)
class Result:
    """Rates of a policy in a number of episodes.

    Attributes:
        policy: its name.
        scenario: what it was evaluated on.
        seed: of the first episode.
        rates: ``(episodes, slots, M)`` sum rate of each BS's users [bit/s/Hz], rounded to 1e-6.
        every: distance of the measured slots.
        first: the first of them.
    """

    policy: str
    scenario: Scenario
    seed: int
    rates: np.ndarray
    every: int = 1
    first: int = 0

    @property
    def system(self) -> Estimate:
        """System sum rate per slot."""
        return Estimate.of(self.rates.sum(-1).mean(-1))

    @property
    def mean(self) -> float:
        """Mean system sum rate per slot [bit/s/Hz]."""
        return self.system.mean

    @property
    def standard_error(self) -> float:
        """Standard error of :attr:`mean`, clustered by episode [bit/s/Hz]; NaN for a single episode."""
        return self.system.standard_error

    @property
    def episodes(self) -> np.ndarray:
        """``(episodes,)`` system sum rate per slot of each episode [bit/s/Hz]."""
        return self.system.episodes

    @property
    def per_bs(self) -> Estimate:
        """The same for each BS: ``mean (M,)``, ``standard_error (M,)``, ``episodes (episodes, M)``."""
        return Estimate.of(self.rates.mean(1))

    @property
    def per_slot(self) -> Estimate:
        """System sum rate over time: ``mean (slots,)``, ``standard_error``, ``episodes (episodes, slots)``."""
        return Estimate.of(self.rates.sum(-1))

    def difference(self, other: Result) -> Estimate:
        """By how much this policy beats another, episode by episode on the same draws.

        Raises:
            ValueError: the two were not run on the same episodes.
        """
        for name, mine, its in (
            ("seed", self.seed, other.seed),
            ("number of episodes", len(self.rates), len(other.rates)),
            ("number of slots", self.rates.shape[1], other.rates.shape[1]),
            ("distance of slots", self.every, other.every),
            ("first slot", self.first, other.first),
        ):
            if mine != its:
                raise ValueError(f"{self.policy!r} and {other.policy!r} do not pair: {name} {mine} and {its}")
        return Estimate.of(self.episodes - other.episodes)

    def to_dict(self) -> dict[str, Any]:
        """JSON types: what was run, its summary, and the rates themselves."""
        return {
            "policy": self.policy,
            "scenario": json.loads(self.scenario.to_json()),
            "seed": self.seed,
            "every": self.every,
            "first": self.first,
            "mean": self.mean,
            "standard_error": None if math.isnan(self.standard_error) else self.standard_error,
            "rates": self.rates.tolist(),
        }

    def to_json(self) -> str:
        """JSON object, with the rates of each episode on a line of their own; :meth:`from_json` restores the result."""
        values = self.to_dict()
        episodes = ",\n".join(json.dumps(episode, allow_nan=False) for episode in values.pop("rates"))
        return f'{json.dumps(values, allow_nan=False)[:-1]}, "rates": [\n{episodes}\n]}}'

    @classmethod
    def from_dict(cls, values: dict[str, Any], trusted: bool = False) -> Result:
        """Result from :meth:`to_dict`; the summary is computed anew.

        With ``trusted`` the modules of parts of one's own in its scenario are imported.

        Raises:
            ValueError: keys missing, or rates that are not ``(episodes, slots, M)`` numbers.
        """
        missing = [key for key in ("policy", "scenario", "seed", "rates") if key not in values]
        if missing:
            raise ValueError(f"not a result: {', '.join(missing)} missing")
        rates = np.asarray(values["rates"], dtype=np.float64)
        if rates.ndim != 3:
            raise ValueError(f"rates of shape {rates.shape}: must be (episodes, slots, BSs)")
        scenario = Scenario.from_json(json.dumps(values["scenario"]), trusted)
        return cls(values["policy"], scenario, values["seed"], rates, values.get("every", 1), values.get("first", 0))

    @classmethod
    def from_json(cls, text: str, trusted: bool = False) -> Result:
        """Result from :meth:`to_json`.

        Raises:
            ValueError: not JSON, or not a result.
        """
        return cls.from_dict(json.loads(text), trusted)


def evaluate(
    policy: Policy,
    scenario: str | Scenario = "mdlbi-v0",
    episodes: int = 20,
    seed: int = 0,
    slots: int | None = None,
    every: int = 1,
    first: int = 0,
    *,
    processes: int = 1,
    progress: bool | None = None,
    interface: str = "arrays",
    name: str | None = None,
    **overrides: Any,
) -> Result:
    """Run a policy and measure the system sum rate per slot.

    Args:
        policy: a name of ``policies.POLICIES`` (or ``"upper-bound"``, :func:`solvers.upper_bound` of every cell with
            every IRS); an object with ``bind(env, seed) -> callable`` for policies that look beyond observations or
            remember; or any callable ``observations -> actions``.
        scenario: preset name or scenario. Classical policies change its action space to the one they need, and the
            ``no-irs-*`` ones take its IRSs away.
        episodes: number of episodes.
        seed: episode i has ``seed + i``.
        slots: number of slots to measure in each episode; ``None`` is all that fit into the horizon.
        every: measure slots ``first``, ``first + every``, ``first + 2 every`` ... of the episode. The policy acts in
            these, in the slot before each, which is as far as an environment remembers actions, and in slot 0; a
            policy with a memory of its own needs ``every=1``.
        first: slots before this one are not measured. In slot 0 owners that are held are the best ones, and with
            ``association_delay=1`` they are those of the reset, whatever the policy.
        processes: episodes are shared out over so many; the result is the same. The policy must pickle, and a script
            needs its ``if __name__ == "__main__":``, as always with Python's ``spawn``.
        progress: show a bar (needs tqdm); ``None``: on a terminal.
        interface: what a callable takes and returns. ``"arrays"``: ``(E, M, D_o)`` float32, several episodes in a
            batch, to ``(E, M, D_a)``; ``"dicts"``: PettingZoo's dicts by agent, one episode at a time.
        name: what tables call the policy; ``None``: its own name.
        **overrides: scenario fields.

    Returns:
        The :class:`Result`; the same, bit for bit, for any number of processes.

    Raises:
        ValueError: unknown policy, scenario or field, or impossible numbers.
        TypeError: the policy is none of the above.
    """
    for field, value in (("episodes", episodes), ("processes", processes)):
        check_whole(field, value, 1)
    check_whole("seed", seed, 0)
    if interface not in INTERFACES:
        raise ValueError(f"interface={interface!r}: must be one of {', '.join(map(repr, INTERFACES))}")
    policy, label = _resolve(policy)
    run_on = get_scenario(scenario, **overrides)
    if hasattr(policy, "adapt"):
        run_on = policy.adapt(run_on)
    if label == BOUND:
        if run_on.sinr != "physical":
            raise ValueError(f"the upper bound holds for sinr='physical' only, not {run_on.sinr!r}")
        run_on = run_on.replace(
            csi="all", action="raw", observation="large_scale"
        )  # with owned CSI, other channels may be absent
    check_whole("every", every, 1)
    check_whole("first", first, 0, run_on.horizon - 1)
    fitting = -(-(run_on.horizon - first) // every)
    slots = fitting if slots is None else slots
    check_whole("slots", slots, 1, fitting)
    size = 1 if interface == "dicts" else BATCH
    jobs = [
        _Job(policy, run_on, slots, every, first, seed + start, min(size, episodes - start), interface)
        for start in range(0, episodes, size)
    ]
    if processes > 1:
        _check_pickles(jobs[0])
    rates: list[np.ndarray | None] = [None] * len(jobs)
    with _Bar(progress, total=episodes * slots, label=name or label) as advance:
        for index, done in _run(jobs, processes, advance):
            rates[index] = done
    measured = np.concatenate([done for done in rates if done is not None]).round(DECIMALS)
    return Result(name or label, run_on, seed, measured, every, first)


class _Job(NamedTuple):
    """Some episodes, run as one batch."""

    policy: Any
    scenario: Scenario
    slots: int
    every: int
    first: int
    seed: int
    episodes: int
    interface: str


def _check_pickles(job: _Job) -> None:
    """Refuse what other processes cannot be given, before they are started."""
    for name, part in (("scenario", job.scenario), ("policy", job.policy)):
        try:
            pickle.dumps(part)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(
                f"processes: the {name} cannot be handed to other processes ({error}); define its functions and "
                "classes at the top level of a module"
            ) from None


def _resolve(policy: Policy) -> tuple[Any, str]:
    """The policy itself and its name."""
    if isinstance(policy, str):
        if policy == BOUND:
            return BOUND, BOUND
        if policy not in POLICIES:
            raise ValueError(f"policy {policy!r} is not known; allowed: {', '.join((*POLICIES, BOUND))}, or a callable")
        return POLICIES[policy], policy
    if not callable(policy) and not hasattr(policy, "bind"):
        raise TypeError(f"policy of type {type(policy).__name__}: must be a name, a callable, or have bind(env, seed)")
    return policy, str(getattr(policy, "name", getattr(policy, "__name__", type(policy).__name__)))


def _run(jobs: list[_Job], processes: int, advance: Callable[[int], None]) -> Iterator[tuple[int, np.ndarray]]:
    """Rates of each job as it is done."""
    if min(processes, len(jobs)) == 1:
        for index, job in enumerate(jobs):
            yield index, _episodes(job, advance)
        return
    with ProcessPoolExecutor(min(processes, len(jobs)), mp_context=get_context("spawn")) as pool:
        pending = {pool.submit(_episodes, job): index for index, job in enumerate(jobs)}
        for future in as_completed(pending):
            index = pending[future]
            advance(jobs[index].episodes * jobs[index].slots)
            yield index, future.result()


def _episodes(job: _Job, advance: Callable[[int], None] | None = None) -> np.ndarray:
    """Rates ``(episodes, slots, M)`` of a job."""
    env = MdlbiVectorEnv(job.scenario, job.episodes, autoreset=False)
    observations, _ = env.reset(seed=job.seed)
    act = _actor(job, env)
    idle = np.zeros((job.episodes, job.scenario.num_bs, env.action_size), np.float32)
    rates = np.empty((job.episodes, job.slots, job.scenario.num_bs))
    column = {job.first + i * job.every: i for i in range(job.slots)}  # by slot, of the measured ones
    for slot in range(max(column) + 1):
        measured = slot in column
        acts = job.policy != BOUND and (measured or slot + 1 in column or slot == 0)
        if measured and job.policy == BOUND:
            rates[:, column[slot]] = _bound(env)
        observations, _, _, _, infos = env.step(act(observations) if acts else idle)
        if measured and job.policy != BOUND:
            rates[:, column[slot]] = infos["sum_rate"]
        if measured and advance is not None:
            advance(job.episodes)
    return rates


def _actor(job: _Job, env: MdlbiVectorEnv) -> Callable[[Any], Any]:
    """The job's policy as a callable on batched observations."""
    if hasattr(job.policy, "bind"):
        return job.policy.bind(env, job.seed)
    if job.interface == "arrays":
        return job.policy
    agents = env.agents

    def act(observations: np.ndarray) -> np.ndarray:
        actions = job.policy(dict(zip(agents, observations[0], strict=True)))
        return np.stack([actions[agent] for agent in agents])[None]

    return act


def _bound(env: MdlbiVectorEnv) -> np.ndarray:
    """Upper bound ``(E, M)`` of each cell with every IRS, on the true channels."""
    view, s = env.view(), env.scenario
    own, (H, G, h) = view.own_user, view.channels
    return upper_bound(H * own[..., None], G, h[:, None] * own[:, :, None, :, None], s.tx_power_w, s.noise_power_w)


class _Bar:
    """A progress bar if it is wanted and tqdm is there; a context that gives ``advance(steps)``."""

    def __init__(self, progress: bool | None, total: int, label: str) -> None:
        wanted = sys.stderr.isatty() if progress is None else progress
        self._bar = None
        if not wanted:
            return
        try:
            from tqdm import tqdm
        except ImportError:
            return
        self._bar = tqdm(total=total, desc=label, unit="slot", leave=False)

    def __enter__(self) -> Callable[[int], None]:
        return self._advance

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _advance(self, steps: int) -> None:
        if self._bar is not None:
            self._bar.update(steps)
