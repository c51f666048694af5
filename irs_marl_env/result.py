"""What an evaluation gives: rates by episode, metrics of them with errors, paired differences, and all that as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from os import PathLike
from typing import Any

import numpy as np

from irs_marl_env import result_arrays, tables
from irs_marl_env.checks import Whole, check_text, refusal, shown
from irs_marl_env.estimate import Estimate
from irs_marl_env.json_text import parse_object, read_text
from irs_marl_env.metrics import Function, metric_named
from irs_marl_env.result_arrays import BY_USER, DECIMALS, LARGEST_RATE
from irs_marl_env.scenario import Scenario
from irs_marl_env.sizes import LONGEST_EPISODE

__all__ = ["DECIMALS", "LARGEST_RATE", "Estimate", "Result", "dump", "load", "read"]

# scenario fields that belong to the policy, not to the physics it meets: what it sees, how it says what it does, what
# it is paid for, and how long an episode would go on after the measured slots
_OF_THE_POLICY = (
    *("action", "sweeps", "observation", "rho", "csi"),
    *("reward", "team_weight", "bid_cost", "horizon"),
    *("fairness_offset", "circuit_power_w", "irs_element_power_w", "amplifier_efficiency"),
)
# fields without a meaning where there are no IRSs, which is how policies that use none are evaluated
_OF_THE_SURFACES = (
    *("num_irs", "num_elements", "irs_height_m", "bs_irs_exponent", "irs_user_exponent", "phase_bits"),
    *("irs_positions_m", "irs_facing", "irs_element_exponent"),
    *("bs_irs_fading", "bs_irs_doppler_hz", "bs_irs_rician_k_db", "irs_user_rician_k_db"),
    *("reflection", "contention", "association_delay", "initial_owner"),
    *("element_amplitude_min", "element_amplitude_offset_rad", "element_amplitude_steepness"),
)


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
        user_rates: ``(episodes, slots, K)`` rate of each user [bit/s/Hz], rounded to 1e-6. This and the next two are
            ``None`` for a bound, and where they come from a file without them.
        cell: ``(episodes, slots, K)`` the BS that served each user.
        power_w: ``(episodes, slots, M)`` what each BS radiated [W], rounded to six digits.
    """

    policy: str
    scenario: Scenario
    seed: int
    rates: np.ndarray
    every: int = 1
    first: int = 0
    user_rates: np.ndarray | None = None
    cell: np.ndarray | None = None
    power_w: np.ndarray | None = None

    def __repr__(self) -> str:
        """In a line, what a console or a notebook shows."""
        episodes, slots, _ = self.rates.shape
        return f"<Result {self.policy}: {tables.with_error(self.system)} bit/s/Hz, {episodes} episodes x {slots} slots>"

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

    def metric(self, metric: str | Function) -> Estimate:
        """A metric by episode, its mean and the standard error over the episodes.

        Args:
            metric: a name of :data:`irs_marl_env.metrics.METRICS` (``"sum_rate"``, ``"min_rate"``, ``"jain"``,
                ``"rate_p5"``, ``"proportional_fair"``, ``"energy_efficiency"``), or a function that is given this
                result and returns ``(episodes,)`` or ``(episodes, slots)`` finite numbers.

        Raises:
            ValueError: an unknown name, something else returned, or arrays that the metric needs are ``None``.
        """
        return Estimate.of(metric_named(metric)(self))

    def difference(self, other: Result, across: bool = False, metric: str | Function = "sum_rate") -> Estimate:
        """By how much this policy beats another, episode by episode on the same draws.

        The two may differ in what belongs to a policy (action, observation, reward and what goes with them), and a
        policy that was evaluated without IRSs may be compared with another that has them.

        Args:
            other: the result to subtract.
            across: also compare results of different physics, such as two transmit powers.
            metric: what to compare, as in :meth:`metric`.

        Raises:
            ValueError: the two were not run on the same episodes or, without ``across``, not on the same physics; the
                constants of a metric count as physics.
        """
        if not isinstance(other, Result):
            raise TypeError(f"other={shown(other)}: must be a Result")
        for name, mine, its in (
            ("seed", self.seed, other.seed),
            ("number of episodes", len(self.rates), len(other.rates)),
            ("number of slots", self.rates.shape[1], other.rates.shape[1]),
            ("distance of slots", self.every, other.every),
            ("first slot", self.first, other.first),
        ):
            if mine != its:
                raise ValueError(f"{self.policy!r} and {other.policy!r} do not pair: {name} {mine} and {its}")
        measure = metric_named(metric)
        unlike = [] if across else self._unlike(other, measure.constants)
        if unlike:
            raise ValueError(
                f"{self.policy!r} and {other.policy!r} met different physics: {', '.join(unlike)}; "
                "difference(other, across=True) compares them all the same"
            )
        return Estimate.of(measure(self) - measure(other))

    def _unlike(self, other: Result, constants: Iterable[str] = ()) -> list[str]:
        """In words, the physics, and the constants of a metric, in which two results differ."""
        return differing_physics(self.scenario, other.scenario, self.policy == other.policy, constants)

    @classmethod
    def concat(cls, results: Iterable[Result]) -> Result:
        """One result of shards: of one policy on one scenario, over episodes whose seeds follow one another.

        ``Result.concat([evaluate(p, s, 16, seed=16), evaluate(p, s, 16, seed=0)])`` holds the numbers of the shards as
        they are. They are those of ``evaluate(p, s, 32)`` bit for bit where shards begin at multiples of 16 episodes,
        which are stepped together; elsewhere solvers may round the last digit differently.

        Args:
            results: at least one, in any order.

        Raises:
            ValueError: they differ in something else than the episodes, or seeds are missing or stand twice.
        """
        shards = list(results)
        if not shards:
            raise ValueError("results=[]: must be at least one")
        for shard in shards:
            if not isinstance(shard, cls):
                raise TypeError(f"results hold {shown(shard)}: must be Result objects")
        shards.sort(key=lambda shard: shard.seed)
        first = shards[0]
        for before, shard in pairwise(shards):
            for name, mine, its in (
                ("policy", first.policy, shard.policy),
                ("distance of slots", first.every, shard.every),
                ("first slot", first.first, shard.first),
                ("number of slots", first.rates.shape[1], shard.rates.shape[1]),
                *((f"{name} kept", *(getattr(x, name) is not None for x in (first, shard))) for name in BY_USER),
            ):
                if mine != its:
                    raise ValueError(f"shards of different evaluations: {name} {shown(mine)} and {shown(its)}")
            unlike = _differing(first.scenario, shard.scenario)
            if unlike:
                raise ValueError(f"shards of different evaluations: scenario with {', '.join(unlike)}")
            expected = before.seed + len(before.rates)
            if shard.seed != expected:
                kind = "stand twice" if shard.seed < expected else "are missing"
                low, high = sorted((shard.seed, expected))
                raise ValueError(f"episodes with seeds {low} .. {high - 1} {kind}: shards must follow one another")
        joined: dict[str, Any] = {
            name: None if getattr(first, name) is None else np.concatenate([getattr(shard, name) for shard in shards])
            for name in BY_USER
        }
        rates = np.concatenate([shard.rates for shard in shards])
        return dataclasses.replace(first, rates=rates, **joined)

    def to_dict(self, users: bool = True) -> dict[str, Any]:
        """JSON types: what was run, its summary, the rates, and with ``users`` the arrays by user and the powers."""
        kept = {name: getattr(self, name) for name in BY_USER if users and getattr(self, name) is not None}
        return {
            "policy": self.policy,
            "scenario": json.loads(self.scenario.to_json()),
            "seed": self.seed,
            "every": self.every,
            "first": self.first,
            "mean": self.mean,
            "standard_error": None if math.isnan(self.standard_error) else self.standard_error,
            "rates": self.rates.tolist(),
            **{name: values.tolist() for name, values in kept.items()},
        }

    def to_json(self, users: bool = True) -> str:
        """JSON object, with each episode of an array on a line of its own; :meth:`from_json` restores the result.

        Args:
            users: also write ``user_rates``, ``cell`` and ``power_w``, about 11 bytes for each user and slot.
        """
        values = self.to_dict(users)
        arrays = {name: values.pop(name) for name in ("rates", *BY_USER) if name in values}
        text = json.dumps(values, allow_nan=False)[:-1]
        for name, episodes in arrays.items():
            separators = None if name == "rates" else (",", ":")
            lines = ",\n".join(json.dumps(episode, allow_nan=False, separators=separators) for episode in episodes)
            text += f', "{name}": [\n{lines}\n]'
        return text + "}"

    @classmethod
    def from_dict(cls, values: dict[str, Any], trusted: bool = False) -> Result:
        """Result from :meth:`to_dict`; the summary is computed anew.

        With ``trusted`` the modules of parts of one's own in its scenario are imported.

        Raises:
            ValueError: keys are missing or impossible, the rates are not ``(episodes, slots, M)`` finite numbers, or
                do not give the summary that is stored beside them; arrays by user do not fit the rates.
        """
        if not isinstance(values, dict):
            raise ValueError(f"not a result: must be an object, not {type(values).__name__}")
        missing = [key for key in ("policy", "scenario", "seed", "rates") if key not in values]
        if missing:
            raise ValueError(f"not a result: {', '.join(missing)} missing")
        policy, scenario = check_text("policy", values["policy"]), Scenario.from_dict(values["scenario"], trusted)
        whole = {"seed": Whole(0), "every": Whole(1, LONGEST_EPISODE), "first": Whole(0, scenario.horizon - 1)}
        numbers = {name: check(name, values[name]) for name, check in whole.items() if name in values}
        arrays: dict[str, Any] = result_arrays.checked(values, scenario)
        result = cls(policy, scenario, **arrays, **numbers)
        last = result.first + (result.rates.shape[1] - 1) * result.every
        if last >= scenario.horizon:
            allowed = f"within the {scenario.horizon} slots of an episode; first, every and rates do not fit"
            raise refusal("last measured slot", last, allowed)
        result._check_summary(values)
        return result

    def _check_summary(self, values: dict[str, Any]) -> None:
        """Refuse a stored summary that other rates must have given."""
        for name, is_so in (("mean", self.mean), ("standard_error", self.standard_error), ("per_bs", self.per_bs.mean)):
            stored = values.get(name)
            if stored is None:
                continue
            try:
                found = np.array(stored if result_arrays.are_numbers(stored) else math.nan, float)
            except (ValueError, OverflowError):  # ragged lists, integers beyond float64
                found = np.array(math.nan)
            fits = found.shape == np.shape(is_so)
            if not fits or not np.allclose(found, is_so, rtol=1e-6, atol=10.0**-DECIMALS):
                raise refusal(name, stored, f"that of the rates, {shown(np.asarray(is_so).tolist())}")

    @classmethod
    def from_json(cls, text: str | bytes, trusted: bool = False) -> Result:
        """Result from :meth:`to_json`.

        Raises:
            ValueError: not JSON, or not a result.
        """
        return cls.from_dict(parse_object(text, "a result"), trusted)


def differing_physics(
    mine: Scenario, its: Scenario, same_policy: bool = False, constants: Iterable[str] = ()
) -> list[str]:
    """In words, the physics in which the scenarios of two policies differ; nothing where the policies can be compared.

    Args:
        mine, its: the scenarios.
        same_policy: ``False``: one of the two may have no IRSs, as policies that use none are evaluated.
        constants: fields of a policy that count as physics, because a metric depends on them.
    """
    left_out = set(_OF_THE_POLICY) - set(constants)
    if 0 in (mine.num_irs, its.num_irs) and not same_policy:
        left_out |= set(_OF_THE_SURFACES)
    return _differing(mine, its, left_out)


def _differing(mine: Scenario, its: Scenario, left_out: Iterable[str] = ()) -> list[str]:
    """In words, the fields in which two scenarios differ."""
    names = [field.name for field in dataclasses.fields(Scenario) if field.name not in left_out]
    pairs = [(name, getattr(mine, name), getattr(its, name)) for name in names]
    return [f"{name}={shown(a)} and {shown(b)}" for name, a, b in pairs if a is not b and a != b]


# --- several of them ------------------------------------------------------------------------------------------------


def dump(results: Sequence[Result] | Any, users: bool = True, **header: Any) -> str:
    """JSON of several results, with one line per episode of each.

    Args:
        results: the results, or a :class:`irs_marl_env.comparison.Sweep`.
        users: also write the arrays by user, as in :meth:`Result.to_json`.
        **header: values of JSON that stand before the results; :func:`load` passes over them.
    """
    if hasattr(results, "to_json"):
        return results.to_json(users)
    before = "".join(f"{json.dumps(name)}: {json.dumps(value, allow_nan=False)}, " for name, value in header.items())
    return f'{{{before}"results": [\n' + ",\n".join(result.to_json(users) for result in results) + "\n]}\n"


def read(path: str | PathLike[str], trusted: bool = False) -> list[Result]:
    """Results from a file that holds what :func:`dump` wrote.

    Raises:
        ValueError: the file is something else, or one of the results is impossible; the message names the file.
        OSError: the file cannot be read.
    """
    text = read_text(path)
    try:
        return load(text, trusted)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def load(text: str | bytes, trusted: bool = False) -> list[Result]:
    """Results from :func:`dump`, in this or any other layout of the same JSON.

    Raises:
        ValueError: the text is something else, or one of the results is impossible.
    """
    return loaded(parse_object(text, "a file of results"), trusted)


def loaded(values: dict[str, Any], trusted: bool = False) -> list[Result]:
    """Results from the JSON object that :func:`dump` writes.

    Raises:
        ValueError: there are none, or one of them is impossible.
    """
    found = values.get("results")
    if not isinstance(found, list) or not found:
        raise ValueError('not a file of results: no list "results" with at least one in it')
    results = []
    for index, one in enumerate(found):
        try:
            results.append(Result.from_dict(one, trusted))
        except ValueError as error:
            raise ValueError(f"results[{index}]: {error}") from None
    return results
