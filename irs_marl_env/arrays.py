"""Numpy arrays and torch tensors: the only module that asks which of the two it has been given.

All else in the package calls these functions, or the array namespace ``xp`` (``numpy``, or
``array_api_compat.torch``), and reads the same for both.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import lru_cache, wraps
from typing import Any, TypeVar

import numpy as np
from array_api_compat import array_namespace

from irs_marl_env.checks import plain_text, refusal

Array = Any  # a numpy array or a torch tensor
LARGEST = float(np.finfo(np.float32).max)
Method = TypeVar("Method", bound=Callable[..., Any])
BACKENDS = ("numpy", "torch")
REAL = ("real floating", "integral", "bool")  # kinds of numbers that become float32 without a loss of meaning


def backend(name: str, device: Any) -> tuple[Any, Any]:
    """Array namespace and device of a backend by name.

    Args:
        name: one of :data:`BACKENDS`; ``"torch"`` needs the extra ``train``.
        device: torch device; ``None`` is the CPU.

    Raises:
        ValueError: a device that the backend does not have.
        ImportError: ``"torch"`` without PyTorch.
    """
    if name == "numpy":
        if not (device is None or (isinstance(device, str) and plain_text(device) == "cpu")):
            raise refusal("device", device, "None or 'cpu' with the numpy backend; use backend='torch'")
        return np, None
    try:
        import array_api_compat.torch as xp
        import torch
    except ImportError as error:
        raise ImportError("backend='torch' needs PyTorch: pip install 'irs-marl-env[train]'") from error
    _heed_modes(torch)
    return xp, _device(device, torch)


def _device(device: Any, torch: Any) -> Any:
    """A torch device that holds numbers."""
    try:
        found = torch.device("cpu" if device is None else device)
        if found.type == "meta":
            raise ValueError("it holds no numbers")
        torch.empty(1, device=found)
    except Exception as error:  # torch raises many kinds of errors over devices that are none
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise refusal("device", device, f"None or a torch device of this machine ({reason})") from None
    return found


_apart: list[list[Any]] = []  # cells with one method each, until torch is imported


def apart(method: Method) -> Method:
    """A method that does the same whatever mode of torch it is called in.

    ``torch.compile`` breaks the graph of the caller once, and leaves the method and all it calls as they are: it would
    trace hundreds of short operations for minutes, and knows no unsigned integers. Under ``autocast`` the physics keeps
    its precision, and what was made in ``inference_mode`` may be used outside of it.
    """
    cell = [method]
    _apart.append(cell)

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        if _apart and "torch._dynamo" in sys.modules:  # which would trace numpy, too
            _heed_modes(sys.modules["torch"])
        return cell[0](*args, **kwargs)

    return call  # type: ignore[return-value]  # wraps keeps the signature, which the checker cannot see


def _heed_modes(torch: Any) -> None:
    """From now on methods that are :func:`apart` are so; without torch there is nothing to keep away from."""
    while _apart:
        cell = _apart.pop()
        cell[0] = torch.compiler.disable(_without_modes(cell[0], torch))


def _without_modes(method: Callable[..., Any], torch: Any) -> Callable[..., Any]:
    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        inference = torch.is_inference_mode_enabled()
        autocast = [kind for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)]
        if not inference and not autocast:
            return method(*args, **kwargs)
        with ExitStack() as modes:
            for kind in autocast:
                modes.enter_context(torch.autocast(kind, enabled=False))
            if inference:
                modes.enter_context(torch.inference_mode(False))
                modes.enter_context(torch.no_grad())
            return method(*args, **kwargs)

    return call


def name_of(xp: Any) -> str:
    """The name of a backend by its array namespace; modules themselves cannot be pickled."""
    return "numpy" if xp is np else "torch"


def is_numpy(xp: Any) -> bool:
    """Whether an array namespace is numpy's."""
    return xp is np


def namespace(x: Array) -> Any:
    """Array namespace of ``x``: numpy itself (2.x follows the standard), or array-api-compat's for the others.

    Example:
        >>> import numpy as np
        >>> namespace(np.zeros(3)).__name__
        'numpy'
    """
    return np if type(x) is np.ndarray else array_namespace(x)


def is_array_of(x: Any, like: Array, shape: tuple[int, ...], kinds: tuple[str, ...]) -> bool:
    """Whether something is an array of the kind and device of ``like``, of this shape, with numbers of these kinds.

    Args:
        x: what somebody else's function returned, whatever that is.
        like: an array of the environment's.
        shape: that it must have.
        kinds: as :func:`numpy.isdtype` knows them, ``"integral"`` say.
    """
    try:
        xp = namespace(x)
    except TypeError:
        return False
    alike = xp is namespace(like) and x.device == like.device
    return alike and tuple(x.shape) == shape and bool(xp.isdtype(x.dtype, kinds))


def described(x: Any, like: Array) -> str:
    """Shape and type of something in a message, and its kind where that is not the one of ``like``."""
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        return f"{type(x).__name__} of no type"
    kind = "" if type(x) is type(like) else f" ({type(x).__module__}.{type(x).__name__})"
    device = f" on {x.device}" if not kind and x.device != like.device else ""
    return f"{tuple(x.shape)} of {x.dtype}{kind}{device}"


def on_host(x: Array) -> bool:
    """Whether asking for a value of ``x`` costs nothing: on an accelerator the host would wait for the answer."""
    return type(x) is np.ndarray


# --- from one kind of array to another ------------------------------------------------------------------------------


def constant(values: Any, dtype: Any, xp: Any, device: Any = None) -> Array:
    """An array of a namespace that holds ``values``; of numpy without a copy where possible."""
    array = np.asarray(values, dtype=dtype)
    return array if xp is np else xp.asarray(array, device=device)


def one_or_each(values: tuple[float, ...]) -> float | np.ndarray:
    """The one number that all values are, or an array of them where they differ."""
    return values[0] if len(set(values)) == 1 else np.array(values)


def constant_like(values: np.ndarray, x: Array) -> Array:
    """Numbers as an array of the real type of ``x``, where ``x`` lives."""
    if type(x) is np.ndarray:
        return values.astype(x.real.dtype)
    return namespace(x).asarray(values, dtype=x.real.dtype, device=x.device)


def to_numpy(x: Array) -> np.ndarray:
    """``x`` on the host, without its gradient; a numpy array as it is."""
    return x if isinstance(x, np.ndarray) else x.detach().cpu().numpy()


def on_host_or_none(x: Any) -> np.ndarray | None:
    """An array or a dense tensor of somebody else as :func:`to_numpy`; ``None`` where it is neither."""
    if isinstance(x, np.ndarray) or not hasattr(x, "requires_grad"):
        return x if isinstance(x, np.ndarray) else None
    try:
        return to_numpy(x)
    except Exception:  # without numbers, sparse, or of a type that numpy does not have
        return None


def from_outside(name: str, x: Any) -> np.ndarray:
    """Somebody else's array, tensor or list as a numpy array.

    Raises:
        ValueError: it is none: a ragged list, or a tensor that asks for gradients, which would be lost without a word,
            or that numpy has no type for.
    """
    try:
        return np.asarray(x)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        allowed = f"an array of numbers of a type that numpy has ({reason})"
        if hasattr(x, "requires_grad"):
            raise ValueError(f"{name} is a {x.dtype} tensor of shape {tuple(x.shape)}: must be {allowed}") from None
        raise refusal(name, x, allowed) from None


def as_float32(x: Any, xp: Any, device: Any = None) -> Array:
    """``x`` as a contiguous float32 array of a namespace; a tensor keeps its graph.

    Finite numbers of a wider type that float32 does not reach become its largest ones.
    """
    if xp is np:
        return writable(np.ascontiguousarray(_narrowed(np.asarray(x)), dtype=np.float32))
    if not hasattr(x, "requires_grad"):  # torch takes neither foreign byte orders nor backward strides
        narrow = writable(np.ascontiguousarray(_narrowed(np.asarray(x)), dtype=np.float32))
        return xp.asarray(narrow, device=device)
    if x.device.type == "meta" or str(x.layout) != "torch.strided":
        raise ValueError(f"action is a {x.layout} tensor on {x.device}: must be a dense one that holds numbers")
    if x.dtype == xp.float64:
        x = xp.where(xp.isfinite(x), xp.clip(x, -LARGEST, LARGEST), x)
    return x.to(device=device, dtype=xp.float32)


def _narrowed(x: np.ndarray) -> np.ndarray:
    """Floating-point numbers wider than float32, as float32."""
    if x.dtype.kind != "f" or x.dtype.itemsize <= 4:
        return x
    with np.errstate(over="ignore"):
        narrow = x.astype(np.float32)
    if np.isfinite(narrow).all():
        return narrow
    return np.where(np.isfinite(x), np.clip(x, -LARGEST, LARGEST), x).astype(np.float32)


def writable(x: np.ndarray) -> np.ndarray:
    """``x``, or a copy of it where it is read-only or not aligned, for which a kernel would be compiled anew."""
    return x if x.flags.writeable and x.flags.aligned else x.copy()


def is_real(x: Any) -> bool:
    """Whether an array or a tensor holds real numbers, of any floating or integer type, or bool."""
    if isinstance(x, np.ndarray):
        return x.dtype.kind in "fiub"
    return str(x.dtype).startswith(("torch.float", "torch.bfloat", "torch.int", "torch.uint", "torch.bool"))


def copy(x: Array) -> Array:
    """A copy with memory of its own; of a tensor with its graph."""
    return x.copy() if isinstance(x, np.ndarray) else x.clone()


def detached(x: Array) -> Array:
    """``x`` without the graph that gradients would flow back through."""
    return x if isinstance(x, np.ndarray) else x.detach()


def real_and_imag(x: Array) -> Array:
    """Real and imaginary parts of complex64 ``(E, M, ...)`` as a view ``(E, M, 2, ...)``."""
    axes = (0, 1, x.ndim, *range(2, x.ndim))
    if type(x) is np.ndarray:
        return x.view(np.float32).reshape(*x.shape, 2).transpose(axes)
    import torch

    return torch.view_as_real(x).permute(axes)


# --- rows: the leading axis, one environment each -------------------------------------------------------------------


@lru_cache(maxsize=64)
def index_grid(xp: Any, rows: int, columns: int, device: Any) -> tuple[Array, Array]:
    """Integers ``(rows, 1)`` and ``(columns,)`` that together address a matrix; made once for each size."""
    return xp.arange(rows, device=device)[:, None], xp.arange(columns, device=device)


def same_in_all_rows(x: Array, num_rows: int) -> Array:
    """``x (...)`` as ``(num_rows, ...)`` without copying it; :func:`is_same_in_all_rows` recognises the result."""
    return namespace(x).broadcast_to(x, (num_rows, *x.shape))


def is_same_in_all_rows(x: Array) -> bool:
    """Whether one row stands for all of them in memory, as :func:`same_in_all_rows` makes it."""
    return bool((x.strides[0] if isinstance(x, np.ndarray) else x.stride(0)) == 0)


def with_rows(x: Array, rows: np.ndarray, new: Array) -> Array:
    """A copy of ``x (E, ...)`` with ``new (n, ...)`` in its rows ``rows (n,)``.

    What is the same in all rows is so for ever, in new episodes too, and is returned as it is.
    """
    if is_same_in_all_rows(x):
        return x
    if isinstance(x, np.ndarray):
        out = x.copy()
        out[rows] = new
        return out
    return x.index_copy(0, namespace(x).asarray(rows, device=x.device), new)


def row_on_host(x: Any, row: int) -> Any:
    """One row, as a batch of one on the host, of arrays and of dicts and tuples of arrays."""
    if isinstance(x, dict):
        return {name: row_on_host(value, row) for name, value in x.items()}
    if isinstance(x, tuple):
        return type(x)(*(row_on_host(value, row) for value in x))
    return to_numpy(x[row : row + 1]) if hasattr(x, "shape") else x


def contiguous(x: Any) -> Any:
    """Arrays, and dicts and tuples of arrays, each contiguous in C order; a tensor as it is.

    A copy of one that is the same in all rows would have its rows as the innermost axis, which other code cannot view
    as real and imaginary parts.
    """
    if isinstance(x, dict):
        return {name: contiguous(value) for name, value in x.items()}
    if isinstance(x, tuple):
        return type(x)(*map(contiguous, x))
    return np.ascontiguousarray(x) if isinstance(x, np.ndarray) else x


def read_only(x: Any) -> Any:
    """Arrays, and dicts and tuples of arrays, as views that cannot be written into; a tensor as it is."""
    if isinstance(x, dict):
        return {name: read_only(value) for name, value in x.items()}
    if isinstance(x, tuple):
        return type(x)(*map(read_only, x))
    if not isinstance(x, np.ndarray):
        return x
    view = x.view()
    view.flags.writeable = False
    return view


def of_ones_own(x: Array) -> Array:
    """``x`` if it has memory of its own for every row, that may be written into; else a copy that has."""
    if isinstance(x, np.ndarray):
        return x.copy() if is_same_in_all_rows(x) or not x.flags.writeable else x
    return x.clone() if is_same_in_all_rows(x) else x


# --- elementwise, each the quickest way that numpy has --------------------------------------------------------------


def limit(x: Array, low: float, high: float) -> Array:
    """``x`` clipped to ``[low, high]``; a third of the time of ``clip`` for small numpy arrays."""
    if type(x) is np.ndarray:
        return np.minimum(np.maximum(x, low), high)
    return namespace(x).clip(x, low, high)


def at_least(x: Array, low: Any) -> Array:
    """``x`` where it is above ``low``, else ``low``: one number, or an array of the kind of ``x``."""
    if type(x) is np.ndarray:
        return np.maximum(x, low)
    return namespace(x).clip(x, low, None) if isinstance(low, (int, float)) else namespace(x).maximum(x, low)


def clip_in_place(x: Array, low: float, high: float) -> None:
    """Clip the entries of ``x`` where they stand."""
    if type(x) is np.ndarray:
        np.minimum(np.maximum(x, low, out=x), high, out=x)
    else:
        namespace(x).clip(x, low, high, out=x)


def multiply_into(out: Array, a: Array, b: Array) -> None:
    """``out[...] = a * b``, without a temporary array where numpy can."""
    if type(out) is np.ndarray:
        np.multiply(a, b, out=out)
    else:
        out[...] = a * b
