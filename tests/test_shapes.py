"""Calls of the solvers and the link with what does not fit: a message that says what to do, numpy and torch."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from irs_marl_env import link, solvers
from irs_marl_env.shapes import check_fit
from irs_marl_env.solvers.decoder import decode_structured

E, M, K, NB, L, N = 2, 2, 3, 4, 2, 5
P, S = 0.4, 1e-3


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"H": (E, K, NB), "G": (E, L, N, NB), "h": (E, L, K, N), "w": (E, K, NB), "phi": (E, L, N)}
    drawn = {n: rng.standard_normal(s) + 1j * rng.standard_normal(s) for n, s in shapes.items()}
    drawn["phi"] /= abs(drawn["phi"])
    return {name: x.astype(np.complex64) for name, x in drawn.items()}


# of each public function: how it is called, on arrays by name, a power and a noise power
CALLS: dict[str, Any] = {
    "mrt": lambda a, p, s: solvers.mrt(a["H"], p, s),
    "rzf": lambda a, p, s: solvers.rzf(a["H"], p, s),
    "wmmse": lambda a, p, s: solvers.wmmse(a["H"], p, s, iterations=2),
    "wmmse_step": lambda a, p, s: solvers.wmmse_step(a["H"], a["w"], p, s),
    "weighted_sum_rate": lambda a, p, s: solvers.weighted_sum_rate(a["H"], a["w"], s),
    "align_phases": lambda a, p, s: solvers.align_phases(a["H"], a["G"], a["h"]),
    "parallel_sweep": lambda a, p, s: solvers.parallel_sweep(a["H"], a["G"], a["h"], a["w"], a["phi"], s),
    "sequential_sweep": lambda a, p, s: solvers.sequential_sweep(a["H"], a["G"], a["h"], a["w"], a["phi"], s),
    "refine": lambda a, p, s: solvers.refine(a["H"], a["G"], a["h"], a["w"], a["phi"], p, s),
    "alternating": lambda a, p, s: solvers.alternating_optimization(a["H"], a["G"], a["h"], p, s, iterations=1),
    "upper_bound": lambda a, p, s: solvers.upper_bound(a["H"], a["G"], a["h"], p, s, iterations=1),
    "unfold": lambda a, p, s: solvers.unfold(a["H"], a["G"], a["h"], p, s, like(a, solvers.neutral_coefficients(1))),
    "decode": lambda a, p, s: decode_structured(like(a, NEUTRAL), a["H"], a["G"], a["h"], p, s, 1),
    "link.sinr": lambda a, p, s: link.sinr(a["H"], a["w"][:, None], like(a, {"c": CELL})["c"], s),
}
NEUTRAL = {
    "focus": np.ones((E, L, K), np.float32),
    "powers": np.ones((E, K), np.float32),
    "regularizer": np.ones(E, np.float32),
}
CELL = np.zeros((E, K), np.int64)
WITHOUT_POWER = {"weighted_sum_rate", "align_phases", "parallel_sweep", "sequential_sweep", "link.sinr"}


def like(given: dict[str, Any], values: dict[str, np.ndarray]) -> dict[str, Any]:
    """Values as the arrays that are given: numpy's or torch's."""
    if isinstance(given["H"], np.ndarray):
        return values
    torch = pytest.importorskip("torch")
    return {name: torch.from_numpy(x) for name, x in values.items()}


@pytest.fixture(params=["numpy", "torch"])
def given(request: Any) -> dict[str, Any]:
    if request.param == "numpy":
        return arrays()
    torch = pytest.importorskip("torch")
    return {name: torch.from_numpy(x) for name, x in arrays().items()}


@pytest.mark.parametrize("name", CALLS)
def test_powers_that_are_none_are_refused(name: str, given: dict[str, Any]) -> None:
    call = CALLS[name]
    answer = call(given, P, S)
    for part in answer if isinstance(answer, tuple) else (answer,):
        assert np.isfinite(np.asarray(part)).all()
    for power in () if name in WITHOUT_POWER else (-1, -0.1, math.nan, math.inf, "1", None, 1j, np.float64("nan")):
        with pytest.raises(ValueError, match=r"^power=.*: must be a finite number >= 0: Pmax in W"):
            call(given, power, S)
    if name == "align_phases":
        return
    for noise in (0, 0.0, -1e-11, math.nan, math.inf, "1", None, 1j, Fraction(1, 2), np.array([1.0, 0.0])):
        with pytest.raises(ValueError, match=r"^noise_power=.*: must be a finite number > 0: sigma\^2 in W"):
            call(given, P, noise)


def test_no_power_gives_no_beams(given: dict[str, Any]) -> None:
    for name in ("mrt", "rzf", "wmmse", "wmmse_step"):
        w = np.asarray(CALLS[name](given, 0.0, S))
        assert not w.any()


def test_a_ratio_beyond_all_numbers_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"power / noise_power=inf: must be finite \(power=1e\+200, noise_power=1e-200"
    ):
        solvers.mrt(arrays()["H"], 1e200, 1e-200)


WRONG = {
    "H": (slice(None), slice(None), slice(None, -1)),
    "G": (slice(None), slice(None), slice(None, -1)),
    "h": (slice(None), slice(None), slice(None, -1)),
    "w": (slice(None), slice(None), slice(None, -1)),
    "phi": (slice(None), slice(None), slice(None, -1)),
}
TAKES = {
    "wmmse_step": "Hw",
    "weighted_sum_rate": "Hw",
    "align_phases": "HGh",
    "parallel_sweep": ("H", "G", "h", "w", "phi"),
    "sequential_sweep": ("H", "G", "h", "w", "phi"),
    "refine": ("H", "G", "h", "w", "phi"),
    "alternating": "HGh",
    "upper_bound": "HGh",
    "unfold": "HGh",
    "decode": "HGh",
    "link.sinr": "Hw",
}


@pytest.mark.parametrize("name", TAKES)
def test_shapes_that_do_not_fit_are_refused(name: str, given: dict[str, Any]) -> None:
    for wrong in TAKES[name]:
        changed = {**given, wrong: given[wrong][WRONG[wrong]]}
        with pytest.raises(ValueError, match=r"\w+ has shape \(.*\): must be \(\.\.\., .*\) with \w+=\d.* as in \w+"):
            CALLS[name](changed, P, S)
    if name == "link.sinr":
        return
    with pytest.raises(ValueError, match=r"has shape|is a list: must be a numpy array"):
        CALLS[name]({**given, TAKES[name][-1]: [1.0]}, P, S)


def test_what_the_message_says() -> None:
    a = arrays()
    message = "h has shape (2, 2, 3, 4): must be (..., L, K, N) with L=2, K=3, N=5 as in G and H"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        solvers.align_phases(a["H"], a["G"], a["h"][..., :-1])
    with pytest.raises(ValueError, match=r"weights have shape \(2, 4\): must be \(\.\.\., K\) with K=3"):
        solvers.rzf(a["H"], P, S, np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"H, G and h have leading axes \(2,\), \(1,\) and \(2,\): must be the same"):
        solvers.upper_bound(a["H"], a["G"][:1], a["h"], P, S)
    with pytest.raises(ValueError, match=r"h_eff has shape \(3,\): must be \(\.\.\., K, Nb\)$"):
        solvers.mrt(np.ones(3), P, S)
    with pytest.raises(ValueError, match=r"w_init has shape"):
        solvers.wmmse(a["H"], P, S, w_init=a["w"][:, :-1])
    check_fit(H=(a["H"], "K Nb"), nothing=(None, "K"))


def test_the_effective_channel_of_what_does_not_fit() -> None:
    rng = np.random.default_rng(0)
    H, G, h = rng.standard_normal((E, M, K, NB)), rng.standard_normal((E, M, L, N, NB)), np.ones((E, L, K, N))
    phi, user_irs, cell = np.ones((E, L, N)), np.ones((E, M, K, L), bool), np.zeros((E, K), int)
    link.effective_channel(H, G, h, phi, user_irs, cell)
    for wrong in (
        {"H": H[..., :-1]},
        {"G": G[..., :-1]},
        {"h": h[..., :-1]},
        {"phi": phi[..., :-1]},
        {"user_irs": user_irs[..., :-1]},
        {"cell": cell[..., :-1]},
    ):
        fitting = {"H": H, "G": G, "h": h, "phi": phi, "user_irs": user_irs, "cell": cell}
        with pytest.raises(ValueError, match="has shape"):
            link.effective_channel(**{**fitting, **wrong})


@pytest.mark.parametrize("count", [-1, 10**9, 1.5, True, None])
def test_counts_of_the_solvers(count: Any) -> None:
    a = arrays()
    for call in (
        lambda: solvers.wmmse(a["H"], P, S, iterations=count),
        lambda: solvers.upper_bound(a["H"], a["G"], a["h"], P, S, iterations=count),
        lambda: solvers.alternating_optimization(a["H"], a["G"], a["h"], P, S, iterations=count),
    ):
        with pytest.raises(ValueError, match=r"iterations=.*: must be an integer in \[0, 100000\]"):
            call()
