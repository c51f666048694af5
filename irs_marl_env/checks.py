"""How a value from outside is checked and refused: one message that names it, shows it and says what is allowed."""

from __future__ import annotations

import difflib
import importlib
import math
import operator
import re
import reprlib
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LONGEST = 80  # characters of a value that are shown
MANY_DIGITS = 100  # beyond so many an integer is described, not written down


class _Shown(reprlib.Repr):
    """``repr`` of the beginning of a value: short, quick and without errors, whatever the value is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = LONGEST
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = self.maxarray = 20

    def repr_int(self, x: int, level: int) -> str:
        digits = int(x.bit_length() * math.log10(2)) + 1
        if digits <= MANY_DIGITS:
            return repr(x)
        return f"<{'a negative' if x < 0 else 'an'} integer of about {digits} digits>"

    def repr_instance(self, x: Any, level: int) -> str:
        text = " ".join(repr(x).split())  # arrays have reprs of several lines
        return re.sub(r" at 0x[0-9A-Fa-f]+", "", text)  # where a function is in memory tells nobody anything


_SHOWN = _Shown()

Check = Callable[[str, Any], Any]  # a name and a value to the value as it is kept, or a ValueError


def shown(value: object) -> str:
    """A value as messages show it: its ``repr``, of which the end is left out where it is long."""
    try:
        text = _SHOWN.repr(value)
    except Exception:  # whatever somebody else's __repr__ raises
        text = f"<{type(value).__name__}>"
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def refusal(name: str, value: object, allowed: str) -> ValueError:
    """The error for a value that is not allowed, to be raised by the caller."""
    return ValueError(f"{name}={shown(value)}: must be {allowed}")


def near(name: object, known: Iterable[str]) -> str:
    """What a message about an unknown name adds: the known name that is most like it, or nothing."""
    matches = difflib.get_close_matches(str(name)[:LONGEST], known, n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def warn(message: str) -> None:
    """A UserWarning that points to whoever called the package."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_globals["__name__"].split(".")[0] in ("irs_marl_env", "torch"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)


def check_whole(name: str, value: Any, low: int, high: int | None = None) -> int:
    """``value`` as an int in ``[low, high]``.

    Raises:
        ValueError: it is no integer (a bool is none), or out of range.
    """
    return Whole(low, high)(name, value)


def check_text(name: str, value: Any) -> str:
    """``value`` as a plain text that can be written to a file: one without lone surrogates."""
    try:
        text = plain_text(value)
        text.encode()
    except (TypeError, UnicodeEncodeError):
        raise refusal(name, value, "a text") from None
    return text


ONE_SEED = "None or a non-negative integer"


def check_seed(seed: Any, name: str = "seed", allowed: str = ONE_SEED) -> int | None:
    """A seed as ``reset`` takes it: ``None`` or a non-negative integer; a bool is none."""
    if seed is None:
        return None
    if _is_bool(seed) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise refusal(name, seed, allowed)
    return int(seed)


def check_seeds(seed: Any, num_envs: int) -> int | list[int | None] | None:
    """Seeds as the ``reset`` of a batch takes them: one as :func:`check_seed`, or a list of one for each row."""
    allowed = f"{ONE_SEED}, or a list of {num_envs} of them"
    several = isinstance(seed, Sequence) and not isinstance(seed, (str, bytes))
    if not several and not (isinstance(seed, np.ndarray) and seed.ndim):
        return check_seed(seed, allowed=allowed)
    if len(seed) != num_envs:
        raise refusal("seed", seed, allowed)
    return [check_seed(each, f"seed[{i}]") for i, each in enumerate(seed)]


# --- kinds of values: each is called with a name and a value, and returns the value or raises ValueError ------------


class Kind:
    """A kind of values.

    Attributes:
        allowed: says in words which.
        accept: returns a value as it is kept; raises any exception where it is not allowed.
        optional: whether ``None`` is allowed, too.
    """

    allowed: Any
    accept: Any
    optional: bool = False

    def __call__(self, name: str, value: Any) -> Any:
        """The value as it is kept.

        Raises:
            ValueError: it is not allowed; the message says what is.
        """
        if self.optional and value is None:
            return None
        try:
            return self.accept(value)
        except Exception:  # a stranger's value may raise anything when it is asked what it is
            raise refusal(name, value, self.all_allowed) from None

    @property
    def all_allowed(self) -> str:
        """All that is allowed, in words, ``None`` included."""
        return self.allowed + (" or None" if self.optional else "")


@dataclass(frozen=True)
class Whole(Kind):
    """An integer in ``[low, high]``; a bool is none."""

    low: int
    high: int | None = None
    optional: bool = False

    @property
    def allowed(self) -> str:
        if self.high is None:
            return f"an integer >= {self.low}"
        if self.high > 2**64:
            return f"an integer in [{self.low}, 2^{self.high.bit_length()})"
        return f"an integer in [{self.low}, {self.high}]"

    def accept(self, value: Any) -> int:
        number = operator.index(value)
        if _is_bool(value) or number < self.low or (self.high is not None and number > self.high):
            raise ValueError
        return int(number)


def _is_bool(value: Any) -> bool:
    """Whether a value is a bool of Python, numpy or torch."""
    return isinstance(value, bool) or str(getattr(value, "dtype", "")) in ("bool", "torch.bool")


def _is_one_number(value: Any) -> bool:
    """Whether ``float`` takes the value for a number: neither a text nor an array, nor anything complex or a date."""
    dtype_kind = getattr(getattr(value, "dtype", None), "kind", "f")
    able = hasattr(type(value), "__float__") or hasattr(type(value), "__index__")
    return able and dtype_kind in "fiu" and getattr(value, "ndim", 0) == 0


@dataclass(frozen=True)
class Real(Kind):
    """A finite number in ``[low, high]``, or in ``(low, high]`` with ``above``."""

    low: float
    high: float
    optional: bool = False
    above: bool = False

    @property
    def allowed(self) -> str:
        return f"a finite number in {'(' if self.above else '['}{self.low:g}, {self.high:g}]"

    def accept(self, value: Any) -> float:
        if _is_bool(value) or not _is_one_number(value):
            raise TypeError
        number = float(value) + 0.0  # -0.0 becomes 0.0, which is equal but would be written and hashed as another
        if not self.low <= number <= self.high or (self.above and number == self.low):  # NaN is in no range
            raise ValueError
        return number


@dataclass(frozen=True)
class Rows(Kind):
    """Rows of ``columns`` finite numbers in ``[-limit, limit]``, one row at least; kept as tuples."""

    columns: int
    limit: float
    optional: bool = False

    @property
    def allowed(self) -> str:
        return f"rows of {self.columns} finite numbers in [-{self.limit:g}, {self.limit:g}]"

    def accept(self, value: Any) -> tuple[tuple[float, ...], ...]:
        if not isinstance(value, (list, tuple, np.ndarray)):
            raise TypeError
        number = Real(-self.limit, self.limit)
        rows = tuple(tuple(number.accept(x) for x in row) for row in value)
        if not rows or any(len(row) != self.columns for row in rows):
            raise ValueError
        return rows


@dataclass(frozen=True)
class Each(Kind):
    """One number for all sites of a kind, or one for each of them: a tuple, list or array of one axis, kept as a tuple.

    Args:
        one: what a number has to be; not optional.
        site: what there are several of, ``"BS"`` or ``"IRS"``. Whether a tuple has a number for each, the record knows.
    """

    one: Kind
    site: str

    @property
    def allowed(self) -> str:
        kind = "integer" if isinstance(self.one, Whole) else "number"
        return f"{self.one.allowed}, or one such {kind} per {self.site}"

    def accept(self, value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.ndim == 1:
            value = list(value)
        return tuple(map(self.one.accept, value)) if isinstance(value, (tuple, list)) else self.one.accept(value)


@dataclass(frozen=True)
class Flag(Kind):
    """True or False."""

    optional: bool = False
    allowed = "True or False"

    def accept(self, value: Any) -> bool:
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError
        return bool(value)


@dataclass(frozen=True)
class Special(Kind):
    """What a function of a name and a value accepts, which raises the refusal itself.

    Args:
        function: returns the value as it is kept.
        allowed: what it accepts, in words, ``None`` included.
    """

    function: Check
    allowed: str

    def __call__(self, name: str, value: Any) -> Any:
        return self.function(name, value)


@dataclass(frozen=True)
class Choice(Kind):
    """One of some names; of a subclass of ``str``, a member of an ``Enum`` say, the plain text is kept."""

    names: tuple[str, ...]
    optional: bool = False

    @property
    def allowed(self) -> str:
        return "one of " + ", ".join(map(repr, self.names))

    def accept(self, value: Any) -> str:
        return self.names[self.names.index(plain_text(value))]


def plain_text(value: Any) -> str:
    """A ``str`` of the same letters; a subclass (numpy's, an ``Enum``) may have its own ``__eq__`` or ``__hash__``.

    Raises:
        TypeError: no ``str``.
    """
    return "".join(str.__iter__(value))


@dataclass(frozen=True)
class Strategy(Kind):
    """A name in a dict of built-in strategies or, if that is open, an object that can do what they can.

    The dict is the one list of the names: it stands beside the strategies themselves, above the scenario, so it is
    given as the place where it stands and looked up when a value is checked.

    Args:
        table: ``"module:DICT"``.
        methods: what an object must have; ``("__call__",)`` is a function. Without any only names are allowed.
        classes: whether a class may stand for an object that is made from it.
    """

    table: str
    methods: tuple[str, ...] = ()
    classes: bool = True

    @property
    def allowed(self) -> str:
        text = "one of " + ", ".join(map(repr, look_up(self.table)))
        if not self.methods:
            return text
        function = "a callable" if self.classes else "a function or a callable object"
        able = function if self.methods == ("__call__",) else f"an object with {', '.join(self.methods)}"
        return f"{text}, or {able}"

    def accept(self, value: Any) -> Any:
        built_in = look_up(self.table)
        if self.methods and not isinstance(value, str):  # a built-in strategy goes by its name
            value = next((name for name, strategy in built_in.items() if strategy is value), value)
        if isinstance(value, str):
            names = list(built_in)
            return names[names.index(plain_text(value))]
        made = self.classes or not isinstance(value, type)  # a call of a class makes an object, and gives no answer
        if not (self.methods and made and all(callable(getattr(value, method, None)) for method in self.methods)):
            raise ValueError
        return value

    def chosen(self, value: Any) -> Any:
        """The strategy itself: what a name stands for, or the object that was given."""
        return look_up(self.table)[value] if isinstance(value, str) else value


# --- objects by reference -------------------------------------------------------------------------------------------


def look_up(reference: str) -> Any:
    """The object that ``"module:name"`` names; the module is imported.

    Raises:
        ValueError: there is no such module, or nothing of that name in it.
    """
    module, _, path = reference.partition(":")
    try:
        found = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{shown(reference)} names nothing that can be imported: {error}") from None
    except Exception as error:  # the module is somebody else's, and its import runs whatever stands in it
        raise ValueError(f"{shown(reference)} cannot be imported: {type(error).__name__}: {error}") from error
    return found


def reference_to(value: Any, portable: bool = True) -> str:
    """``"module:name"`` of a function, a class, or an object that stands in a module under a name.

    Args:
        value: what to name.
        portable: refuse what stands in the script that runs, where another program would look in its own script.

    Raises:
        ValueError: there is no such name (a lambda, a function inside another, an object that was made on the way), so
            nobody could find the value again.
    """
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(name, str):  # neither a function nor a class: a name that some module has for it
        found = ((m, n) for m, loaded in list(sys.modules.items()) for n, x in _names(loaded) if x is value)
        # in the script that runs a name may be a loop variable, which stands for another object soon
        module, name = next((p for p in found if p[0] not in ("__main__", "__mp_main__")), (None, None))
    if module is not None and name is not None and _finds(f"{module}:{name}", value):
        if module != "__main__" or not portable:
            return f"{module}:{name}"
        raise ValueError(f"{name!r} stands in the script that runs: move it to a module that can be imported elsewhere")
    raise ValueError(
        f"{value!r} has no name by which it could be found again: define it at the top level of a module (an object "
        "made there needs a name, too; a class has one)"
    )


@dataclass(frozen=True)
class Reference:
    """What stands for an object in a pickle."""

    name: str

    @classmethod
    def to(cls, value: Any) -> Any:
        """A reference to an object; a string, and an object without a name, as they are."""
        try:
            return value if isinstance(value, str) else cls(reference_to(value, portable=False))
        except ValueError:
            return value

    def found(self) -> Any:
        """The object."""
        return look_up(self.name)


def _names(module: Any) -> list[tuple[str, Any]]:
    return list(getattr(module, "__dict__", {}).items())


def _finds(reference: str, value: Any) -> bool:
    try:
        return look_up(reference) is value
    except ValueError:
        return False
