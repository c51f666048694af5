"""Scenario: everything that defines an environment, as one frozen, validated, serialisable record."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from irs_marl_env import checks, json_text, service_area, sizes
from irs_marl_env.checks import shown
from irs_marl_env.link_budget import check_link_budget
from irs_marl_env.presets import PRESETS
from irs_marl_env.recordings import Recording, recording_of
from irs_marl_env.scenario_help import WithFields
from irs_marl_env.scenario_record import ScenarioRecord
from irs_marl_env.units import db_to_linear, dbm_to_watt

__all__ = ["Scenario", "get_scenario", "scenario_ids"]


class ScenarioError(ValueError):
    """A scenario field is unknown, of the wrong type or impossible; the message names field, value and range."""


# fields that the digest leaves out at their defaults
_LATER = (
    *("fairness_offset", "circuit_power_w", "irs_element_power_w", "amplifier_efficiency"),
    *("bs_positions_m", "irs_positions_m", "irs_facing", "area_bounds_m", "irs_element_exponent"),
    *("shadowing_std_db", "shadowing_distance_m", "cell_rule"),
    *("element_amplitude_min", "element_amplitude_offset_rad", "element_amplitude_steepness"),
    *("channels", "channel_model"),
    *("switching_slots", "observe_velocity", "power_control", "price_bps_hz"),
)


@dataclass(frozen=True)
class Scenario(ScenarioRecord):
    """One environment, completely: sizes, radio, fading, mobility, and the reading of the paper.

    ``help(Scenario)`` and docs/fields.md list the fields: default, what is allowed, unit, what each does. Units stand
    in the names; names without a unit are counts, ratios or choices. The fields ``mobility``, ``contention``,
    ``cell_rule``, ``channel_model``, ``reward`` and ``observation`` take the name of a built-in strategy, or an object
    of one's own (docs/own-parts.md). Where the paper (arXiv:2106.12883) is silent or contradicts itself, docs/model.md
    says what each choice means and why the default is what it is.

    Raises:
        ScenarioError: (a ``ValueError``) a value of the wrong type or out of range, inconsistent sizes, or sizes with
            which one environment would need more than 4 GiB (:mod:`irs_marl_env.sizes`).

    Example:
        >>> scenario = Scenario(num_users=4, tx_power_dbm=30.0)
        >>> scenario.num_irs, scenario.area_m, round(scenario.tx_power_w, 3)
        (4, (80.0, 80.0), 1.0)
        >>> scenario.replace(num_irs=2) == Scenario(num_users=4, tx_power_dbm=30.0, num_irs=2)
        True
        >>> Scenario(num_users=0)
        Traceback (most recent call last):
            ...
        irs_marl_env.scenario.ScenarioError: num_users=0: must be an integer >= 1
    """

    def __post_init__(self) -> None:
        try:
            for field in dataclasses.fields(self):
                if "check" not in field.metadata:
                    of = f"{type(self).__name__}.{field.name}"
                    raise TypeError(f"{of}: a subclass of Scenario may have methods of its own, but no fields")
                object.__setattr__(self, field.name, field.metadata["check"](field.name, getattr(self, field.name)))
            for number, positions, usual in (("num_bs", self.bs_positions_m, 2), ("num_irs", self.irs_positions_m, 4)):
                if getattr(self, number) is None:
                    object.__setattr__(self, number, usual if positions is None else len(positions))
            self._check_together()
        except ScenarioError:
            raise
        except ValueError as error:
            raise ScenarioError(str(error)) from None

    def __repr__(self) -> str:
        parts = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        return f"Scenario({', '.join(f'{name}={_short(name, value)}' for name, value in parts)})"

    def _check_together(self) -> None:
        service_area.check_sites(self)
        for name in ("num_antennas", "num_elements", "tx_power_dbm"):
            self._check_one_each(name)
        sizes.check_environment(self)
        if self.channels is not None:
            self._check_recorded()
        if self.trace is not None and self.mobility != "trace":
            raise checks.refusal("trace", self.trace, f"None unless mobility='trace' (mobility={self.mobility!r})")
        if self.channels is None and self.mobility == "group" and self.group_radius_m > min(self.area_m) / 2:
            width, depth = self.area_m
            sides = f"area_width_m={width:g}, num_bs * cell_depth_m={depth:g}"
            if self.bs_positions_m is not None or self.area_bounds_m is not None:
                sides = f"{width:g} x {depth:g} m"
            allowed = f"at most half the smaller side of the area, {min(width, depth) / 2:g} ({sides})"
            raise checks.refusal("group_radius_m", self.group_radius_m, allowed)
        if self.channels is None:
            check_link_budget(self)
        if isinstance(self.trace, tuple):
            self.check_positions("trace", np.asarray(self.trace), num_slots=self.horizon + 1)

    def _check_one_each(self, name: str) -> None:
        """Refuse a tuple that has not one number for each site."""
        value, check = getattr(self, name), self.__dataclass_fields__[name].metadata["check"]
        sites = {"BS": "num_bs", "IRS": "num_irs"}[check.site]
        count = getattr(self, sites)
        if isinstance(value, tuple) and len(value) != count:
            kind = "integer" if isinstance(check.one, checks.Whole) else "number"
            raise checks.refusal(name, value, f"one {kind}, or {sites}={count} {kind}s")

    def _check_recorded(self) -> None:
        """With channels of one's own nothing else moves users or makes channels."""
        for name in ("mobility", "channel_model"):
            value, default = getattr(self, name), self.__dataclass_fields__[name].default
            if value != default:
                raise checks.refusal(name, value, f"left at {default!r} with channels, which say where users are")
        if isinstance(self.channels, Recording):
            self.channels.check_fits(self)

    def recording(self) -> Recording | None:
        """The arrays of ``channels``, read from the file where it is a path; ``None`` without channels of one's own.

        Raises:
            ScenarioError: no such file, a damaged one, or arrays that do not fit; the message names file and array.
        """
        try:
            return recording_of(self)
        except ScenarioError:
            raise
        except ValueError as error:
            raise ScenarioError(str(error)) from None

    def strategy(self, name: str) -> Any:
        """The strategy behind a field: what a built-in name stands for, or the object that was given.

        Example:
            >>> Scenario().strategy("reward").__name__
            'local'
        """
        check: checks.Strategy = self.__dataclass_fields__[name].metadata["check"]
        return check.chosen(getattr(self, name))

    def __getstate__(self) -> dict[str, Any]:
        """Objects of one's own by reference where they have a name, so that the copy has the very same ones."""
        state = dict(self.__dict__)
        for name, value in state.items():
            if isinstance(self.__dataclass_fields__[name].metadata["check"], checks.Strategy):
                state[name] = checks.Reference.to(value)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value.found() if isinstance(value, checks.Reference) else value)

    # --- derived quantities, linear SI ---------------------------------------------------------------------

    @property
    def antennas(self) -> tuple[int, ...]:
        """Number of antennas of each BS."""
        return _for_each(self.num_antennas, self.num_bs)

    @property
    def max_antennas(self) -> int:
        """Length Nb of the antenna axis; smaller BSs are padded with antennas of gain zero, which cannot radiate."""
        return max(self.num_antennas) if isinstance(self.num_antennas, tuple) else self.num_antennas

    @property
    def elements(self) -> tuple[int, ...]:
        """Number of elements of each IRS."""
        return _for_each(self.num_elements, self.num_irs)

    @property
    def max_elements(self) -> int:
        """Length N of the element axis; smaller IRSs are padded with elements of gain zero."""
        return max(self.elements, default=1)

    @property
    def tx_powers_w(self) -> tuple[float, ...]:
        """Pmax of each BS [W]."""
        return tuple(map(dbm_to_watt, _for_each(self.tx_power_dbm, self.num_bs)))

    @property
    def tx_power_w(self) -> float:
        """Pmax [W] where it is the same for all BSs.

        Raises:
            ScenarioError: it is not; :attr:`tx_powers_w` has one for each.
        """
        power_dbm = set(_for_each(self.tx_power_dbm, 1))
        if len(power_dbm) > 1:
            allowed = "the same for all BSs where one Pmax is asked for; tx_powers_w has one for each"
            raise ScenarioError(str(checks.refusal("tx_power_dbm", self.tx_power_dbm, allowed)))
        return dbm_to_watt(power_dbm.pop())

    @property
    def element_amplitude(self) -> tuple[float, float, float] | None:
        """The least amplitude of an element, the offset [rad] and the steepness; ``None`` where it always is 1."""
        if self.element_amplitude_min == 1.0:
            return None
        return self.element_amplitude_min, self.element_amplitude_offset_rad, self.element_amplitude_steepness

    @property
    def noise_power_w(self) -> float:
        """sigma^2 [W]."""
        return dbm_to_watt(self.noise_power_dbm)

    @property
    def reference_gain(self) -> float:
        """Path gain at 1 m, linear; that of free space, ``(wavelength / 4 pi)^2``, where none is given."""
        if self.reference_gain_db is None:
            return (self.wavelength_m / (4.0 * math.pi)) ** 2
        return db_to_linear(self.reference_gain_db)

    @property
    def wavelength_m(self) -> float:
        """Carrier wavelength [m]."""
        return 299_792_458.0 / self.carrier_frequency_hz

    @property
    def user_doppler_hz(self) -> float:
        """Maximum Doppler frequency of the user links [Hz]: ``doppler_hz``, or speed over wavelength."""
        return self.speed_mps / self.wavelength_m if self.doppler_hz is None else self.doppler_hz

    @property
    def bounds_m(self) -> tuple[float, float, float, float]:
        """The service area ``(x_min, y_min, x_max, y_max)`` [m]; see :func:`irs_marl_env.service_area.bounds_m`."""
        return service_area.bounds_m(self)

    @property
    def area_m(self) -> tuple[float, float]:
        """Width and depth of the service area [m]."""
        x_min, y_min, x_max, y_max = self.bounds_m
        return x_max - x_min, y_max - y_min

    @property
    def reference_distance_m(self) -> float:
        """Typical distance of a user from its BS; see :func:`irs_marl_env.service_area.reference_distance_m`."""
        return service_area.reference_distance_m(self)

    def check_positions(self, name: str, positions: np.ndarray, num_slots: int | None = None) -> np.ndarray:
        """Validate user positions from outside.

        Args:
            name: what the error calls them.
            positions: ``(K, 2)``, or ``(slots, K, 2)`` with at least ``num_slots`` slots, m.
            num_slots: slots needed; ``None`` for a single slot.

        Returns:
            The positions as a new float64 array.

        Raises:
            ScenarioError: wrong shape, not finite, or outside the area.
        """
        try:
            return service_area.check_positions(self, name, positions, num_slots)
        except ValueError as error:
            raise ScenarioError(str(error)) from None

    # --- variants and serialisation --------------------------------------------------------------------------

    def replace(self, /, **overrides: Any) -> Scenario:
        """A copy with some fields changed; validated like a new scenario."""
        _check_names(overrides)
        return dataclasses.replace(self, **_numbers_of_sites(overrides), **overrides)

    def to_dict(self) -> dict[str, Any]:
        """Fields by name; plain JSON types (tuples become lists in JSON), objects as ``"module:name"``.

        Raises:
            ScenarioError: an object that could not be found again by a name in a module, or arrays in ``channels``.
        """
        return self._plain(portable=True)

    def _plain(self, portable: bool) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(field.metadata["check"], checks.Strategy) and not isinstance(value, str):
                try:
                    value = checks.reference_to(value, portable)
                except ValueError as error:
                    raise ScenarioError(f"{field.name}: {error}") from None
            if isinstance(value, Recording):
                raise ScenarioError(
                    f"{field.name}={value!r}: arrays go into no JSON: write them with numpy.savez and give the path"
                )
            plain[field.name] = value
        return plain

    def to_json(self, indent: int | None = None, portable: bool = True) -> str:
        """JSON object of all fields, keys sorted; :meth:`from_json` restores an equal scenario.

        Args:
            indent: spaces of each level; ``None`` writes one line.
            portable: refuse objects that stand in the script that runs, which another program would not find.

        Raises:
            ScenarioError: an object that could not be found again by a name in a module, or arrays in ``channels``.
        """
        return json.dumps(self._plain(portable), sort_keys=True, indent=indent, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes, trusted: bool = False) -> Scenario:
        """Scenario from JSON; fields left out keep their defaults.

        Args:
            text: a JSON object, with or without a byte order mark; bytes may be UTF-8, UTF-16 or UTF-32.
            trusted: import the modules behind strategies written as ``"module:name"``. A file from a stranger must not
                do so, for an import runs code.

        Raises:
            ScenarioError: not JSON, not an object, unknown keys, one key twice, impossible values, or a reference
                without trust.
        """
        try:
            values = json_text.parse_object(text, "a scenario")
        except ValueError as error:
            raise ScenarioError(str(error)) from None
        return cls.from_dict(values, trusted)

    @classmethod
    def from_dict(cls, values: dict[str, Any], trusted: bool = False) -> Scenario:
        """Scenario from :meth:`to_dict`; all else as in :meth:`from_json`."""
        if not isinstance(values, dict):
            raise ScenarioError(f"not a scenario: must be fields by name, not {type(values).__name__}")
        _check_names(values)
        return cls(**from_plain(values, trusted))

    @property
    def digest(self) -> str:
        """Stable hash: the first 16 hex digits of the SHA-256 of the JSON of the fields, equal across processes.

        Fields that came later than the hash enter it where they differ from their defaults, so that a scenario that
        does not use them keeps the hash, and with it its saved states, from one version to the next.

        Raises:
            ScenarioError: an object without a name in a module, of which two could not be told apart.
        """
        recorded = self.channels if isinstance(self.channels, Recording) else None
        by_path = self if recorded is None else self.replace(channels=recorded.digest)
        plain = by_path._plain(portable=False)
        for name in _LATER:
            if plain[name] == self.__dataclass_fields__[name].default:
                del plain[name]
        return hashlib.sha256(json.dumps(plain, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]


Scenario.__doc__ = WithFields(Scenario)  # type: ignore[assignment]  # what help() shows, made when somebody asks


def from_plain(values: dict[str, Any], trusted: bool = False) -> dict[str, Any]:
    """Scenario fields with the objects of one's own that ``"module:name"`` stands for; all else as it is.

    Args:
        values: fields by name, as in JSON.
        trusted: import the modules.

    Raises:
        ScenarioError: a reference without trust, or to nothing; ``trusted`` is something else than True or False.
    """
    found = dict(values)
    try:
        trusted = checks.Flag()("trusted", trusted)  # the word "no" is no trust
    except ValueError as error:
        raise ScenarioError(str(error)) from None
    for name, value in values.items():
        check = getattr(Scenario.__dataclass_fields__.get(name), "metadata", {}).get("check")
        if not (isinstance(check, checks.Strategy) and check.methods and isinstance(value, str) and ":" in value):
            continue
        if not trusted:
            raise ScenarioError(
                f"{name}={shown(value)} would import a module, which runs its code: say trusted=True (--trusted on the "
                "command line) if you trust where it comes from"
            )
        try:
            found[name] = checks.look_up(value)
        except ValueError as error:
            raise ScenarioError(f"{name}: {error}") from None
    return found


def _for_each(value: Any, count: int) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,) * count


def _short(name: str, value: Any) -> str:
    """A field as :func:`repr` of a scenario shows it."""
    if name == "trace" and isinstance(value, tuple):
        return f"<{len(value)} slots of {len(value[0])} users>"
    return repr(value) if isinstance(value, (str, float)) else shown(value)


def _numbers_of_sites(overrides: dict[str, Any]) -> dict[str, Any]:
    """Numbers of sites that follow anew from positions that change."""
    pairs = (("num_bs", "bs_positions_m"), ("num_irs", "irs_positions_m"))
    return {number: None for number, sites in pairs if overrides.get(sites) is not None and number not in overrides}


def _check_names(values: dict[str, Any]) -> None:
    known = [field.name for field in dataclasses.fields(Scenario)]
    for name in values:
        if name not in known:
            hint = checks.near(name, known) or "."
            raise ScenarioError(f"{shown(name)} is not a scenario field{hint} Allowed: {', '.join(known)}")


# --- presets ------------------------------------------------------------------------------------------------------


def scenario_ids() -> tuple[str, ...]:
    """Names of the presets. Numbers behind a name change only together with its ``-vN``.

    Example:
        >>> scenario_ids()[:2]
        ('mdlbi-v0', 'mdlbi-small-v0')
    """
    return tuple(PRESETS)


def get_scenario(scenario: str | Scenario, /, **overrides: Any) -> Scenario:
    """A preset by name (or a given scenario), with fields overridden.

    Raises:
        ScenarioError: unknown name or field, or impossible value.

    Example:
        >>> scenario = get_scenario("mdlbi-blocked-small-v0", num_irs=3)
        >>> scenario.num_irs, scenario.blockage_db
        (3, 35.0)
    """
    if isinstance(scenario, Scenario):
        return scenario.replace(**overrides)
    name = checks.plain_text(scenario) if isinstance(scenario, str) else None
    if name not in PRESETS:
        hint = "" if name is None else checks.near(name, PRESETS)
        allowed = f"{', '.join(PRESETS)}, or a Scenario (for commands FILE.json, as to_json writes it)"
        raise ScenarioError(f"scenario {shown(scenario)} is not known; allowed: {allowed}{hint}")
    _check_names(overrides)
    return Scenario(**{**PRESETS[name], **_numbers_of_sites(overrides), **overrides})
