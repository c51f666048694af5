"""What is kept of an episode for its replay: arrays by slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from irs_marl_env.checks import Flag, check_text, check_whole, shown
from irs_marl_env.episodes import Played, Policy, adapted, play, resolved
from irs_marl_env.progress import Bar
from irs_marl_env.result import differing_physics
from irs_marl_env.scenario import Scenario
from irs_marl_env.sizes import LARGEST_SEED

USUAL_SLOTS = 200  # unless asked otherwise; a minute of play or less
MOST_SLOTS = 5000
LARGEST = 2**26  # bytes of numbers in a file, before they are packed
MOST_POLICIES = 2


@dataclass(frozen=True, eq=False)
class Record:
    """An episode of one policy. S slots, M BSs, K users, L IRSs; all is of the slot itself, before users move on.

    Attributes:
        policy: its name.
        scenario: what it played, with the actions and observations that it needs.
        title: what the scenario is called.
        seed: of the episode.
        position: ``(S, K, 2)`` float64 m, where the users are.
        cell: ``(S, K)`` int64, the BS that serves each user.
        rates: ``(S, K)`` float64 bit/s/Hz of each user.
        sum_rate: ``(S, M)`` float64 bit/s/Hz of each BS's users.
        power_w: ``(S, M)`` float64 W radiated.
        bids: ``(S, M, L)`` float64 in [-1, 1].
        owner: ``(S, L)`` int64, the BS that owns each IRS, -1 for none.
        holder: ``(S, L)`` int64, the BS that each IRS is set up for, or is being set up for (``switching_slots``).
        shares: ``(S, L, K)`` float32, the share of each user's signal that comes over each IRS
            (:meth:`irs_marl_env.View.shares_if`).
    """

    policy: str
    scenario: Scenario
    title: str
    seed: int
    position: np.ndarray
    cell: np.ndarray
    rates: np.ndarray
    sum_rate: np.ndarray
    power_w: np.ndarray
    bids: np.ndarray
    owner: np.ndarray
    holder: np.ndarray
    shares: np.ndarray

    @property
    def slots(self) -> int:
        """S."""
        return len(self.rates)


def record(
    policy: Policy,
    scenario: str | Scenario = "mdlbi-v0",
    slots: int | None = None,
    seed: int = 0,
    *,
    interface: str = "arrays",
    name: str | None = None,
    title: str | None = None,
    progress: bool | None = None,
) -> Record:
    """Play an episode and keep what a replay shows.

    Two policies that are recorded with one scenario and one seed meet the same users, walks and fading.

    Args:
        policy: as for :func:`irs_marl_env.evaluate`: a name, a callable, or an object with ``bind(env, seed)``.
        scenario: preset name or scenario.
        slots: how many from the beginning on; ``None``: the episode, or its first :data:`USUAL_SLOTS`.
        seed: of the episode.
        interface: what a callable takes and returns; see :func:`irs_marl_env.evaluate`.
        name: what the replay calls the policy; ``None``: its own name.
        title: what the replay calls the scenario; ``None``: its id, or ``"own scenario"``.
        progress: show a bar (needs tqdm); ``None``: on a terminal.

    Raises:
        ValueError: a policy or a scenario that is not known, a bound, or numbers that are impossible; before any work.
        TypeError: something that is no policy.

    Example:
        >>> record("structured-local-gain", "mdlbi-small-v0", slots=3).rates.shape
        (3, 4)
    """
    label = check_text("name", resolved(policy)[1] if name is None else name)
    if title is None:
        title = scenario if isinstance(scenario, str) else "own scenario"
    title, run_on = check_text("title", title), adapted(policy, scenario)
    slots, seed = planned_slots(run_on, slots), check_whole("seed", seed, 0, LARGEST_SEED)
    progress = Flag(optional=True)("progress", progress)
    played = play(policy, run_on, seed, slots, interface=interface, name=label)
    kept: dict[str, list[np.ndarray]] = {}
    with Bar(progress, slots, label) as advance:
        for each in played:
            slot = _kept(each)
            for key, value in slot.items():
                kept.setdefault(key, []).append(value)
            advance(1 if slot else 0)
    return Record(label, run_on, title, seed, **{key: np.stack(values) for key, values in kept.items()})


def planned_slots(scenario: Scenario, slots: Any, name: str = "slots") -> int:
    """How many slots are recorded; ``None`` is the usual number.

    Raises:
        ValueError: no integer, more slots than the episode has, or more than a file may hold; says how many it may.
    """
    s = scenario
    numbers = 2 * 2 * s.num_users + 3 * s.num_users + s.num_bs * (2 * s.num_irs + 8) + s.num_irs * (s.num_users + 2)
    most = max(1, min(s.horizon, MOST_SLOTS, LARGEST // numbers))
    return min(most, USUAL_SLOTS) if slots is None else check_whole(name, slots, 1, most)


def _kept(played: Played) -> dict[str, np.ndarray]:
    """What a slot leaves, by the name of the record's array; nothing after the reset."""
    if played.view is None or played.action is None:
        return {}
    view, infos, codec = played.view, played.infos, played.env.action_codec
    # with a delay the bids are for the next slot, and so is the holder after this one
    holder = view.holder if view.scenario.association_delay else played.env.view().holder
    kept = {name: np.asarray(infos[name][0], np.float64) for name in ("rates", "sum_rate", "power_w")}
    kept |= {name: np.asarray(infos[name][0], np.int64) for name in ("cell", "owner")}
    return {
        "position": view.position[0].astype(np.float64),
        "bids": np.clip(codec.layout.take(np.asarray(played.action[0], np.float64), "bids"), -1.0, 1.0),
        "holder": holder[0].astype(np.int64),
        "shares": view.shares_if(infos["owner"], played.action)[0].astype(np.float32),
        **kept,
    }


# --- two of them ------------------------------------------------------------------------------------------------


def check_pair(scenarios: Sequence[Scenario], names: Sequence[str]) -> None:
    """Refuse policies whose episodes cannot stand side by side.

    Args:
        scenarios: that each policy plays.
        names: of the policies.

    Raises:
        ValueError: none, more than two, or two that meet different physics.
    """
    if not 1 <= len(names) <= MOST_POLICIES:
        raise ValueError(f"{len(names)} policies: must be one, or {MOST_POLICIES} side by side")
    if len(names) == MOST_POLICIES:
        unlike = differing_physics(scenarios[0], scenarios[1], names[0] == names[1])
        if unlike:
            raise ValueError(f"{names[0]!r} and {names[1]!r} play different scenarios: {', '.join(unlike)}")


def check_same_draws(records: Sequence[Record]) -> None:
    """Refuse records that are not of one episode.

    Raises:
        ValueError: what :func:`check_pair` refuses, or other seeds, lengths or draws; says which.
    """
    for each in records:
        if not isinstance(each, Record):
            raise TypeError(f"records hold {shown(each)}: must be what replay.record returned")
    check_pair([each.scenario for each in records], [each.policy for each in records])
    first, last = records[0], records[-1]
    for what, mine, its in (("seed", first.seed, last.seed), ("slots", first.slots, last.slots)):
        if mine != its:
            raise ValueError(f"{first.policy!r} and {last.policy!r} do not pair: {what} {shown(mine)} and {shown(its)}")
    if not np.array_equal(first.position, last.position) or not np.array_equal(first.cell, last.cell):
        raise ValueError(f"{first.policy!r} and {last.policy!r} did not meet the same users in the same places")
