"""What the figures share: statistics with their errors, runs that are made once, evaluation slot by slot, plots."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments import rawdata
from irs_marl_env import figure_style, get_scenario, make_vec_env
from irs_marl_env.policies import POLICIES
from irs_marl_env.training.checkpoint import provenance

ROOT = Path(__file__).parents[2]
RAW = ROOT / "results" / "figures"  # raw data, committed
PICTURES = ROOT / "docs" / "images"
BANK = 10_000  # seed of the first evaluation episode, the trainer's own; all policies of every figure meet these
DECIMALS = 5  # of stored numbers, far below their errors


# --- statistics ------------------------------------------------------------------------------------------------------


class Estimate(NamedTuple):
    """A mean, or a difference of means, with its 95 % confidence interval (Student t)."""

    mean: float
    standard_error: float
    low: float
    high: float
    p: float  # two-sided, of the hypothesis that the mean is zero
    n: int  # number of values

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.standard_error:.3f} [{self.low:.3f}, {self.high:.3f}]"


def t_tail(t: float, freedom: float) -> float:
    """P(|T| > t) of Student's t, by integrating its density over ``T = tan(x) sqrt(freedom)``."""
    end = math.atan(abs(t) / math.sqrt(freedom))
    x = np.linspace(end, math.pi / 2, 2_001)
    density = np.clip(np.cos(x), 0, None) ** (freedom - 1)
    whole = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    return min(1.0, 2 * whole * float(np.trapezoid(density, x)))


def t_quantile(freedom: float, tail: float = 0.05) -> float:
    """The t beyond which, on both sides together, lies ``tail`` of Student's t; by bisection."""
    low, high = 0.0, 1e4
    for _ in range(48):
        middle = (low + high) / 2
        low, high = (middle, high) if t_tail(middle, freedom) > tail else (low, middle)
    return high


def estimate(mean: float, error: float, freedom: float, count: int) -> Estimate:
    """A mean of ``count`` values with its interval, from its error and the degrees of freedom of that error."""
    if not error > 0 or not math.isfinite(error):
        return Estimate(mean, error, math.nan, math.nan, math.nan, count)
    half = t_quantile(freedom) * error
    return Estimate(mean, error, mean - half, mean + half, t_tail(mean / error, freedom), count)


def mean_of(values: Any) -> Estimate:
    """The mean of independent values; no interval for a single one."""
    x = np.asarray(values, float)
    error = float(x.std(ddof=1) / math.sqrt(len(x))) if len(x) > 1 else math.nan
    return estimate(float(x.mean()), error, len(x) - 1, len(x))


def paired(a: Any, b: Any) -> Estimate:
    """Mean of ``a - b``, pair by pair.

    Raises:
        ValueError: they do not pair.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} values do not pair")
    return mean_of(np.asarray(a, float) - np.asarray(b, float))


def welch(a: Any, b: Any) -> Estimate:
    """Difference of the means of independent samples of unequal variance (Welch, Satterthwaite)."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    error = math.sqrt(va + vb)
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1)) if error > 0 else 1.0
    return estimate(float(a.mean() - b.mean()), error, freedom, len(a) + len(b))


# --- runs made once ---------------------------------------------------------------------------------------------------


def once(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The content of ``path``; if it is not there, made, timed and written, complete or not at all."""
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    path.parent.mkdir(parents=True, exist_ok=True)
    cpu, wall = time.process_time(), time.perf_counter()
    content = make()
    spent = {"cpu_seconds": round(time.process_time() - cpu, 1), "seconds": round(time.perf_counter() - wall, 1)}
    content = rounded({**content, **spent, "versions": provenance()})
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(rawdata.dumps(content), encoding="utf-8", newline="\n")
    partial.replace(path)
    print(f"{path.name}: {spent['cpu_seconds']} s of one core, {spent['seconds']} s", flush=True)
    return content


def rounded(value: Any) -> Any:
    """JSON types with floats at :data:`DECIMALS`."""
    if isinstance(value, dict):
        return {str(k): rounded(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(v) for v in value]
    if isinstance(value, np.ndarray):
        return rounded(value.tolist())
    if isinstance(value, (float, np.floating)):
        return round(float(value), DECIMALS) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.integer) else value


# --- evaluation slot by slot ------------------------------------------------------------------------------------------


class Watch(NamedTuple):
    """What happened to P policies in the same episodes, every slot of them."""

    rate: np.ndarray  # (P, episodes, slots) system sum rate [bit/s/Hz]
    contested: np.ndarray  # (P, episodes, slots) share of the IRSs lost because two or more BSs claimed them (bid > 0)
    unclaimed: np.ndarray  # (P, episodes, slots) share lost because nobody did; an auction loses none


def _lost(action: np.ndarray, bids: slice, scenario: Any) -> tuple[np.ndarray, np.ndarray]:
    """Shares ``(...)`` of the IRSs contested and unclaimed under actions ``(..., M, D_a)``."""
    claims = (action[..., bids] > 0).sum(-2)
    if scenario.contention != "collision":
        claims[:] = 1
    return (claims > 1).mean(-1), (claims == 0).mean(-1)


def watch(act: Callable[[np.ndarray], np.ndarray], count: int, scenario: Any, episodes: int, slots: int) -> Watch:
    """P policies in the first ``episodes`` episodes of the bank, from their first slot on, acting in every slot.

    :func:`irs_marl_env.evaluate` may leave slots out; a convention such as "who held it keeps it" needs them all, and
    the bids say why an IRS has no owner.

    Args:
        act: observations ``(P, E, M, D_o)`` to actions ``(P, E, M, D_a)``.
        count: P.
        scenario: the scenario.
        episodes: E.
        slots: from the beginning of an episode.
    """
    envs = [make_vec_env(scenario, episodes, autoreset=False) for _ in range(count)]
    obs = np.stack([env.reset(seed=BANK)[0] for env in envs])
    bids_at = envs[0].action_codec.layout.slices["bids"]
    seen: list[tuple[np.ndarray, ...]] = []
    for _ in range(slots):
        actions = act(obs)
        steps = [env.step(action) for env, action in zip(envs, actions, strict=True)]
        obs = np.stack([step[0] for step in steps])
        rate = np.stack([step[4]["sum_rate"].sum(-1) for step in steps])
        seen.append((rate, *_lost(actions, bids_at, envs[0].scenario)))
    return Watch(*(np.stack(part, -1) for part in zip(*seen, strict=True)))


def watch_rule(name: str, scenario: Any, episodes: int, slots: int) -> Watch:
    """:func:`watch` of one of the package's policies that acts through structured actions, by name."""
    env = make_vec_env(POLICIES[name].adapt(get_scenario(scenario)), episodes, autoreset=False)
    env.reset(seed=BANK)
    bound = POLICIES[name].bind(env, BANK)
    bids_at = env.action_codec.layout.slices["bids"]
    seen = []
    for _ in range(slots):
        action = bound()
        rate = env.step(action)[4]["sum_rate"].sum(-1)
        seen.append((rate, *_lost(action, bids_at, env.scenario)))
    return Watch(*(np.stack(part, -1)[None] for part in zip(*seen, strict=True)))


# --- plots ------------------------------------------------------------------------------------------------------------


def pyplot() -> Any:
    """matplotlib's pyplot, without a window."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({**figure_style.STYLE, "axes.grid": True})
    return plt


def band(axes: Any, x: Any, samples: Any, color: str, label: str, style: str = "-") -> None:
    """The mean over the first axis of ``samples (n, points)`` with its 95 % confidence band."""
    points = [mean_of(column) for column in np.asarray(samples, float).T]
    axes.plot(x, [p.mean for p in points], style, color=color, label=label, linewidth=1.6)
    if len(samples) > 1:
        axes.fill_between(x, [p.low for p in points], [p.high for p in points], color=color, alpha=0.18, linewidth=0)


def save(figure: Any, path: Path) -> None:
    """Write a PNG and an SVG."""
    print(*(f"wrote {written}" for written in figure_style.save(figure, path)), sep="\n", flush=True)
