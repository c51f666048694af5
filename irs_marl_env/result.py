"""What an evaluation gives: rates by episode, their mean and its error, paired differences, and all that as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from irs_marl_env.checks import Whole, check_text, refusal, shown
from irs_marl_env.json_text import parse_object, read_text
from irs_marl_env.scenario import Scenario
from irs_marl_env.sizes import LONGEST_EPISODE

DECIMALS = 6  # of a stored rate: far below its error, and JSON stays small
LARGEST_RATE = 1e9  # bit/s/Hz of a BS: ten million users at 100 each

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

    def difference(self, other: Result, across: bool = False) -> Estimate:
        """By how much this policy beats another, episode by episode on the same draws.

        The two may differ in what belongs to a policy (action, observation, reward and what goes with them), and a
        policy that was evaluated without IRSs may be compared with another that has them.

        Args:
            other: the result to subtract.
            across: also compare results of different physics, such as two transmit powers.

        Raises:
            ValueError: the two were not run on the same episodes or, without ``across``, not on the same physics.
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
        unlike = [] if across else self._unlike(other)
        if unlike:
            raise ValueError(
                f"{self.policy!r} and {other.policy!r} met different physics: {', '.join(unlike)}; "
                "difference(other, across=True) compares them all the same"
            )
        return Estimate.of(self.episodes - other.episodes)

    def _unlike(self, other: Result) -> list[str]:
        """In words, the physics in which two results differ."""
        mine, its = self.scenario, other.scenario
        left_out = set(_OF_THE_POLICY)
        if 0 in (mine.num_irs, its.num_irs) and self.policy != other.policy:
            left_out |= set(_OF_THE_SURFACES)
        names = [field.name for field in dataclasses.fields(Scenario) if field.name not in left_out]
        pairs = [(name, getattr(mine, name), getattr(its, name)) for name in names]
        return [f"{name}={shown(a)} and {shown(b)}" for name, a, b in pairs if a is not b and a != b]

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
            ValueError: keys are missing or impossible, the rates are not ``(episodes, slots, M)`` finite numbers, or
                do not give the summary that is stored beside them.
        """
        if not isinstance(values, dict):
            raise ValueError(f"not a result: must be an object, not {type(values).__name__}")
        missing = [key for key in ("policy", "scenario", "seed", "rates") if key not in values]
        if missing:
            raise ValueError(f"not a result: {', '.join(missing)} missing")
        policy, scenario = check_text("policy", values["policy"]), Scenario.from_dict(values["scenario"], trusted)
        whole = {"seed": Whole(0), "every": Whole(1, LONGEST_EPISODE), "first": Whole(0, scenario.horizon - 1)}
        numbers = {name: check(name, values[name]) for name, check in whole.items() if name in values}
        result = cls(policy, scenario, rates=_rates(values["rates"], scenario.num_bs), **numbers)
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
                found = np.array(stored if _are_numbers(stored) else math.nan, float)
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


def _are_numbers(values: Any) -> bool:
    """Whether a value of JSON is a number, or a list of lists ... of numbers."""
    if isinstance(values, list):
        return all(map(_are_numbers, values))
    return isinstance(values, (int, float)) and not isinstance(values, bool)


def _rates(values: Any, num_bs: int) -> np.ndarray:
    """Rates ``(episodes, slots, M)`` from lists or an array."""
    allowed = f"(episodes, slots, {num_bs}) numbers in [0, {LARGEST_RATE:g}], of at least one episode and one slot"
    try:
        if not isinstance(values, np.ndarray) and not _are_numbers(values):
            raise ValueError
        rates = np.array(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise refusal("rates", values, allowed) from None
    if rates.ndim != 3 or rates.shape[2] != num_bs or 0 in rates.shape:
        raise ValueError(f"rates of shape {rates.shape}: must be {allowed}")
    bad = ~((rates >= 0) & (rates <= LARGEST_RATE))  # NaN is in no range
    if bad.any():
        where = [int(i) for i in np.argwhere(bad)[0]]
        raise refusal(f"rates{where}", float(rates[tuple(where)]), f"a finite number in [0, {LARGEST_RATE:g}]")
    return rates


# --- several of them ------------------------------------------------------------------------------------------------


def dump(results: Sequence[Result]) -> str:
    """JSON of several results, with one line per episode of each."""
    return '{"results": [\n' + ",\n".join(result.to_json() for result in results) + "\n]}\n"


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
    values = parse_object(text, "a file of results")
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
