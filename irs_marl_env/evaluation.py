"""Evaluation: any policy on the same draws, with errors that respect what is independent.

Episode i of an evaluation is the environment seeded with ``seed + i``, whatever the policy, the number of processes
or the scenario's number of IRSs; so two policies meet the same users, walks and fading and are compared pair by pair.
Slots of an episode are not independent: standard errors are over episodes. The measure is the sum rate of the slot
[bit/s/Hz] before the reward is shaped; rates of users, cells and powers are kept for other metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from irs_marl_env import ray_tasks, workers
from irs_marl_env.arrays import one_or_each
from irs_marl_env.checks import Choice, Flag, check_text, check_whole, refusal, warn
from irs_marl_env.episodes import BOUND, INTERFACES, Policy, actor, policy_named, resolved, warn_of_neglects
from irs_marl_env.estimate import Estimate
from irs_marl_env.progress import Bar
from irs_marl_env.result import Result
from irs_marl_env.result_arrays import DECIMALS, rounded_power
from irs_marl_env.scenario import Scenario, get_scenario
from irs_marl_env.sizes import LARGEST_SEED, check_rates
from irs_marl_env.solvers.bounds import upper_bound
from irs_marl_env.vector_env import MdlbiVectorEnv

BATCH = 16  # episodes stepped together, unless asked otherwise
MOST_TOGETHER = 4096
MOST_PROCESSES = 1024

__all__ = ["BOUND", "INTERFACES", "Estimate", "Result", "evaluate", "policy_named", "rehearse"]


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
    ray: bool = False,
    batch: int = BATCH,
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
            these, in the slot before each, which is as far as most environments remember actions, and in slot 0. It
            acts in every slot if it has an attribute ``remembers = True``, for a memory of its own, and where more than
            the slot before counts: with ``switching_slots``, and with any contention but an auction, where who holds
            what is all that agents learn of one another.
        first: slots before this one are not measured. In slot 0 owners that are held are the best ones, and with
            ``association_delay=1`` they are those of the reset, whatever the policy.
        processes: episodes are shared out over so many; the result is the same. The policy must pickle, and a script
            needs its ``if __name__ == "__main__":``, as always with Python's ``spawn``; what was typed in (a notebook,
            standard input) evaluates policies of modules. The processes end with this one, however it ends.
        ray: every ``batch`` episodes are a task of Ray (extra ``ray``; docs/many-machines.md), on all machines of its
            cluster; the result is the same.
        batch: so many episodes are stepped together. More are quicker where a step is cheap, and need more memory. The
            draws are the same; what a network or a solver makes of them may differ in the last digits.
        progress: show a bar (needs tqdm); ``None``: on a terminal.
        interface: what a callable takes and returns. ``"arrays"``: ``(E, M, D_o)`` float32, several episodes in a
            batch, to ``(E, M, D_a)``; ``"dicts"``: PettingZoo's dicts by agent, one episode at a time.
        name: what tables call the policy; ``None``: its own name.
        **overrides: scenario fields.

    Returns:
        The :class:`Result`; the same, bit for bit, for any number of processes, and over Ray.

    Raises:
        ValueError: unknown policy, scenario or field, or impossible numbers.
            Of the policy's actions: they are no finite ``(E, M, D_a)``, or the policy wants dicts by agent.
        TypeError: the policy is none of the above.
        ChildProcessError: a process died.

    Example:
        >>> import numpy as np
        >>> from irs_marl_env import evaluate
        >>> result = evaluate("structured-local-gain", "mdlbi-small-v0", episodes=4, slots=5)
        >>> round(result.mean, 1), result.rates.shape  # bit/s/Hz; (episodes, slots, M)
        (6.3, (4, 5, 2))
        >>> def silent(observations):  # (E, M, D_o) to (E, M, D_a)
        ...     return np.zeros((len(observations), 2, 66))
        >>> evaluate(silent, "mdlbi-small-v0", episodes=4, slots=5).mean
        0.0
    """
    progress = Flag(optional=True)("progress", progress)
    plan = _planned(
        policy, scenario, episodes, seed, slots, every, first, processes, ray, batch, interface, name, overrides
    )
    jobs, (chosen, run_on, label) = plan.jobs, (plan.jobs[0].policy, plan.jobs[0].scenario, plan.jobs[0].label)
    _check_repeats(run_on, plan.episodes)
    warn_of_neglects(chosen, label, run_on)
    with Bar(progress, total=plan.episodes * jobs[0].slots, label=label) as advance:
        measured = [np.concatenate(parts) for parts in zip(*_run(jobs, plan.processes, plan.ray, advance), strict=True)]
    rates, *by_user = measured
    if by_user:
        users, cell, power = by_user
        by_user = [users.round(DECIMALS), cell, rounded_power(power)]
    return Result(label, run_on, jobs[0].seed, rates.round(DECIMALS), jobs[0].every, jobs[0].first, *by_user)


def rehearse(policy: Policy, scenario: str | Scenario, **arguments: Any) -> None:
    """Refuse now what :func:`evaluate` would refuse with these arguments, files and parts of one's own included.

    The environment of the first episode is made and reset, and the policy is bound to it; nothing is measured.

    Raises:
        ValueError, TypeError: as :func:`evaluate`.
    """
    given = {"episodes": 20, "seed": 0, "slots": None, "every": 1, "first": 0, "processes": 1, "interface": "arrays"}
    given |= {"name": None, "progress": None, "ray": False, "batch": BATCH}
    overrides = {name: value for name, value in arguments.items() if name not in given}
    given |= {name: value for name, value in arguments.items() if name in given}
    Flag(optional=True)("progress", given.pop("progress"))
    plan = _planned(policy, scenario, overrides=overrides, **given)
    _begun(plan.jobs[0]._replace(episodes=1))


class _Plan(NamedTuple):
    """An evaluation that has been checked."""

    jobs: list[_Job]  # at least one
    episodes: int
    processes: int
    ray: bool


def _planned(
    policy: Policy,
    scenario: str | Scenario,
    episodes: Any,
    seed: Any,
    slots: Any,
    every: Any,
    first: Any,
    processes: Any,
    ray: Any,
    batch: Any,
    interface: Any,
    name: Any,
    overrides: dict[str, Any],
) -> _Plan:
    """What :func:`evaluate` has to do, by its own arguments."""
    episodes = check_whole("episodes", episodes, 1)
    seed = check_whole("seed", seed, 0, LARGEST_SEED)
    processes = check_whole("processes", processes, 1, MOST_PROCESSES)
    ray = Flag()("ray", ray)
    if ray and processes > 1:
        raise refusal("processes", processes, "1 with ray=True, where the cluster decides")
    batch = check_whole("batch", batch, 1, MOST_TOGETHER)
    interface = Choice(INTERFACES)("interface", interface)
    name = None if name is None else check_text("name", name)
    policy, label = resolved(policy)
    run_on = get_scenario(scenario, **overrides)
    if hasattr(policy, "adapt"):
        run_on = policy.adapt(run_on)
    if label == BOUND:
        if run_on.sinr != "physical":
            raise ValueError(f"the upper bound holds for sinr='physical' only, not {run_on.sinr!r}")
        run_on = run_on.replace(
            csi="all", action="raw", observation="large_scale"
        )  # with owned CSI, other channels may be absent
    every = check_whole("every", every, 1, run_on.horizon)
    first = check_whole("first", first, 0, run_on.horizon - 1)
    fitting = -(-(run_on.horizon - first) // every)
    slots = fitting if slots is None else check_whole("slots", slots, 1, fitting)
    check_rates(episodes, slots, run_on.num_bs, 0 if label == BOUND else run_on.num_users)
    size = 1 if interface == "dicts" else batch
    jobs = [
        _Job(policy, run_on, slots, every, first, seed + start, min(size, episodes - start), interface, name or label)
        for start in range(0, episodes, size)
    ]
    if processes > 1:
        workers.check_pickles("scenario", run_on)
        workers.check_pickles("policy", policy)
    return _Plan(jobs, episodes, processes, ray)


def _check_repeats(scenario: Scenario, episodes: int) -> None:
    """Warn of recorded episodes that are played again: errors take episodes for independent ones."""
    recording = scenario.recording()
    if recording is not None and episodes > recording.episodes:
        there_are = f"channels hold {recording.episodes} episode{'s' * (recording.episodes > 1)}"
        warn(f"episodes={episodes}, but {there_are}: some count several times, and the standard error is too small")


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
    label: str


def _run(jobs: list[_Job], processes: int, ray: bool, advance: Callable[[int], None]) -> list[tuple[np.ndarray, ...]]:
    """What each job measured."""

    def done(job: _Job) -> None:
        advance(job.episodes * job.slots)

    if ray:
        return ray_tasks.run_all(_episodes, jobs, done)
    if min(processes, len(jobs)) == 1:
        return [_episodes(job, advance) for job in jobs]
    return workers.run_all(_episodes, jobs, processes, done, shared=jobs[0].scenario)


def _episodes(job: _Job, advance: Callable[[int], None] | None = None) -> tuple[np.ndarray, ...]:
    """Rates ``(episodes, slots, M)`` of a job and, if it is not the bound, ``user_rates``, ``cell`` and ``power_w``."""
    env, observations, act = _begun(job)
    idle = np.zeros((job.episodes, job.scenario.num_bs, env.action_size), np.float32)
    column = {job.first + i * job.every: i for i in range(job.slots)}  # by slot, of the measured ones
    in_all_slots = getattr(job.policy, "remembers", False) or _remembers(job.scenario)
    kept = _kept(job)
    for slot in range(max(column) + 1):
        measured = slot in column
        acts = job.policy != BOUND and (in_all_slots or measured or slot + 1 in column or slot == 0)
        bound = {"sum_rate": _bound(env)} if measured and job.policy == BOUND else None
        observations, _, _, _, infos = env.step(act(observations) if acts else idle)
        if measured:
            for name, array in kept.items():
                array[:, column[slot]] = (bound or infos)[name]
        if measured and advance is not None:
            advance(job.episodes)
    return tuple(kept.values())


def _remembers(scenario: Scenario) -> bool:
    """Whether actions before the last slot still decide what happens now."""
    return scenario.switching_slots > 0 or scenario.contention not in ("auction", "second_price")


def _begun(job: _Job) -> tuple[MdlbiVectorEnv, np.ndarray, Callable[[Any], np.ndarray]]:
    """A job before its first slot: the environment, its observations, and what acts on them."""
    env = MdlbiVectorEnv(job.scenario, job.episodes, autoreset=False)
    observations, _ = env.reset(seed=job.seed)
    return env, observations, actor(job.policy, env, job.seed, job.label, job.interface)


def _kept(job: _Job) -> dict[str, np.ndarray]:
    """Room for what is measured, by the name of the info."""
    M, K = job.scenario.num_bs, job.scenario.num_users
    shapes: dict[str, tuple[int, type]] = {"sum_rate": (M, np.float64)}
    if job.policy != BOUND:
        shapes |= {"rates": (K, np.float64), "cell": (K, np.int32), "power_w": (M, np.float64)}
    return {name: np.empty((job.episodes, job.slots, size), kind) for name, (size, kind) in shapes.items()}


def _bound(env: MdlbiVectorEnv) -> np.ndarray:
    """Upper bound ``(E, M)`` of each cell with every IRS, on the true channels."""
    view, s = env.view(), env.scenario
    own, (H, G, h) = view.own_user, view.channels
    power = one_or_each(s.tx_powers_w)
    return upper_bound(H * own[..., None], G, h[:, None] * own[:, :, None, :, None], power, s.noise_power_w)
