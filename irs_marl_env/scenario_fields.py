"""How a field of a scenario is declared: its default, how a value is checked, and what its reader has to know."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from irs_marl_env import checks, service_area
from irs_marl_env.array_files import path_of, real_numbers


@dataclass(frozen=True)
class Group:
    """Fields that belong together. Its methods declare one of them, as a class of ``dataclasses`` takes it.

    Args:
        title: in one or two words.
        says: what the fields have in common, in a sentence.
        page: where docs/ say more, ``"page.md#anchor"``.

    What the methods have in common stands in :meth:`field`.
    """

    title: str
    says: str
    page: str

    def field(
        self,
        default: Any,
        check: checks.Kind,
        says: str,
        *,
        unit: str = "",
        none: str = "",
        means: Mapping[str, str] | None = None,
        own: str = "",
        reading: str = "",
    ) -> Any:
        """A field.

        Args:
            default: of the field.
            check: what is allowed; called with a name and a value it returns the value as it is kept.
            says: what the field does, in a sentence or two.
            unit: of its numbers; none for counts, ratios and choices.
            none: what ``None`` means, where it is allowed.
            means: what each choice means, by name.
            own: what an object of one's own has to be, where one is allowed.
            reading: which reading of the paper it decides, an anchor in docs/model.md.
        """
        more = {"unit": unit, "none": none, "means": dict(means or {}), "own": own, "reading": reading}
        return dataclasses.field(default=default, metadata={"group": self, "check": check, "says": says, **more})

    def whole(self, default: int | None, low: int, high: int | None = None, *, says: str, **more: Any) -> Any:
        """An integer in [low, high]; with ``none`` also ``None``."""
        return self.field(default, checks.Whole(low, high, optional="none" in more), says, **more)

    def real(
        self, default: float | None, low: float, high: float, *, says: str, above: bool = False, **more: Any
    ) -> Any:
        """A real number in [low, high], or in (low, high] with ``above``; with ``none`` also ``None``."""
        return self.field(default, checks.Real(low, high, "none" in more, above), says, **more)

    def each(self, default: float, one: checks.Kind, site: str, *, says: str, **more: Any) -> Any:
        """One number, or one for each ``"BS"`` or ``"IRS"``."""
        return self.field(default, checks.Each(one, site), says, **more)

    def one_of(self, means: Mapping[str, str], *, says: str, **more: Any) -> Any:
        """One of some names, of which the first is the default."""
        return self.field(next(iter(means)), checks.Choice(tuple(means)), says, means=means, **more)

    def named_in(self, table: str, default: str, *, says: str, means: Mapping[str, str], **more: Any) -> Any:
        """One of the names in a dict ``"module:DICT"`` of the package; ``means`` has to know them all."""
        return self.field(default, checks.Strategy(f"irs_marl_env.{table}"), says, means=means, **more)

    def part(
        self, table: str, default: str, *methods: str, says: str, own: str, classes: bool = True, **more: Any
    ) -> Any:
        """A name as for :meth:`named_in`, or an object with these methods."""
        return self.field(default, checks.Strategy(f"irs_marl_env.{table}", methods, classes), says, own=own, **more)

    def rows(self, columns: int, *, says: str, **more: Any) -> Any:
        """``None``, or rows of coordinates."""
        return self.field(None, checks.Rows(columns, service_area.LONGEST_M, optional=True), says, **more)

    def flag(self, default: bool, *, says: str, **more: Any) -> Any:
        """True or False."""
        return self.field(default, checks.Flag(), says, **more)


TRACE = "None, the path of an .npz or .npy file, or positions (slots, num_users, 2) in m"


def check_trace(name: str, value: Any) -> str | tuple | None:
    """``None``, a path as text, or positions ``(slots, K, 2)`` as tuples."""
    if value is None:
        return None
    try:
        path = path_of(value)
        if path is not None:
            return path
        positions = real_numbers(value) + 0.0  # -0.0 becomes 0.0, which is equal but would be hashed as another
    except Exception:  # of somebody else's __fspath__, too
        raise checks.refusal(name, value, TRACE) from None
    if positions.ndim != 3:
        raise ValueError(f"{name}=<array of shape {positions.shape}>: must be {TRACE}")
    return tuple(tuple(tuple(map(float, point)) for point in slot) for slot in positions)
