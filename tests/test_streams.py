"""Random streams: distributions, independence, rows of a batch, pickles; the same numbers with kernels."""

from __future__ import annotations

import itertools
import math
import pickle
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from irs_marl_env import arrays, philox
from irs_marl_env.streams import CAUSES, Streams

each_way = pytest.mark.parametrize(
    "fast",
    [
        pytest.param(False, id="plain"),
        pytest.param(
            True, id="compiled", marks=pytest.mark.skipif(find_spec("numba") is None, reason="numba is not installed")
        ),
    ],
)


def kind(fast: bool) -> Any:
    """The class of streams, plain or with kernels."""
    if not fast:
        return Streams
    from irs_marl_env.engine import compiled

    return compiled.Streams


def test_uniform_numbers_are_uniform() -> None:
    stats = pytest.importorskip("scipy.stats")
    u = Streams.from_seed(0, 4, np).uniform("layout", 50_000)
    assert u.shape == (4, 50_000)
    assert u.dtype == np.float64
    assert (u >= 0).all()
    assert (u < 1).all()
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3


@each_way
def test_normal_numbers_are_circular_gaussian(fast: bool) -> None:
    stats = pytest.importorskip("scipy.stats")
    z = kind(fast).from_seed(0, 2, np).complex_normal("direct_fading", 100_000).astype(complex).ravel()
    n = z.size
    assert abs(z.mean()) < 4 / math.sqrt(n)
    assert np.mean(np.abs(z) ** 2) == pytest.approx(1.0, abs=4 / math.sqrt(n))
    assert abs(np.mean(z**2)) < 4 * math.sqrt(2 / n)  # circular
    assert np.mean(np.abs(z) ** 4) == pytest.approx(2.0, abs=4 * math.sqrt(20 / n))
    for part in (z.real, z.imag):
        assert stats.kstest(part * math.sqrt(2), "norm").pvalue > 1e-3
    assert abs(np.mean(z[1:] * z[:-1].conj())) < 4 / math.sqrt(n)


def test_random_bits_that_are_all_zero_are_a_number_too() -> None:
    """The logarithm is taken of a number above zero: one draw in four thousand million would be infinite."""
    zero = philox.to_normal(np.zeros(1, np.uint64))
    assert abs(zero[0]) == pytest.approx(math.sqrt(33 * math.log(2)), rel=1e-6)
    assert philox.to_uniform(np.zeros(1, np.uint64))[0] == 0.0
    ones = np.full(1, 2**64 - 1, np.uint64)
    assert philox.to_uniform(ones)[0] == 1 - 2.0**-53
    assert np.isfinite(philox.to_normal(ones)).all()


def test_causes_and_seeds_are_independent() -> None:
    n = 20_000
    drawn = [
        Streams.from_seed(seed, 2, np).uniform(cause, n) - 0.5 for seed, cause in itertools.product((0, 10), CAUSES)
    ]
    columns = np.concatenate(drawn)  # two environments of every seed and cause
    correlation = np.corrcoef(columns) - np.eye(len(columns))
    assert np.abs(correlation).max() < 5 / math.sqrt(n)


@each_way
def test_row_of_a_batch_is_the_single_environment(fast: bool) -> None:
    batch, single = kind(fast).from_seed(40, 4, np), kind(fast).from_seed(42, 1, np)
    for count in (3, 1, 1000, 7, 5000):  # whatever is prefetched inside
        np.testing.assert_array_equal(batch.uniform("mobility", count)[2], single.uniform("mobility", count)[0])
        np.testing.assert_array_equal(
            batch.complex_normal("direct_fading", count, 2)[2], single.complex_normal("direct_fading", count, 2)[0]
        )


def test_the_size_of_a_draw_does_not_change_the_numbers() -> None:
    one, parts = Streams.from_seed(0, 2, np), Streams.from_seed(0, 2, np)
    whole = one.uniform("layout", 10_000)
    sizes = (1, 3, 4096, 900, 5000)
    np.testing.assert_array_equal(np.concatenate([parts.uniform("layout", n) for n in sizes], axis=1), whole)


def test_a_tie_after_another_gets_new_numbers() -> None:
    """Those that follow in the stream of the row."""
    some, whole = (Streams.from_seed(3, 2, np) for _ in range(2))
    second = np.array([False, True])
    drawn = [some.uniform_where(second, "association", 5)[1] for _ in range(2)]
    np.testing.assert_array_equal(np.concatenate(drawn), whole.uniform("association", 10)[1])


def test_rows_without_a_tie_draw_nothing() -> None:
    some, single = Streams.from_seed(0, 3, np), Streams.from_seed(2, 1, np)
    first = some.uniform_where(np.array([False, False, True]), "association", 4)
    assert (first[:2] == 0).all()
    second = some.uniform_where(np.array([True, False, True]), "association", 4)
    both = [single.uniform_where(np.array([True]), "association", 4)[0] for _ in range(2)]
    np.testing.assert_array_equal([first[2], second[2]], both)
    fresh = Streams.from_seed(0, 1, np).uniform_where(np.array([True]), "association", 4)
    np.testing.assert_array_equal(second[0], fresh[0])


@each_way
def test_streams_continue_after_a_pickle(fast: bool) -> None:
    streams = kind(fast).from_seed(1, 2, np)
    streams.uniform("layout", 5)
    streams.complex_normal("csi_error", 3, 2)
    copy = pickle.loads(pickle.dumps(streams))
    for _ in range(3):
        np.testing.assert_array_equal(copy.uniform("layout", 6), streams.uniform("layout", 6))
        np.testing.assert_array_equal(copy.complex_normal("csi_error", 9), streams.complex_normal("csi_error", 9))
    with pytest.raises(ValueError, match="2 environments"):
        streams.set_state(Streams.from_seed(0, 3, np).get_state())


def test_compiled_normals_are_the_plain_ones() -> None:
    """Same random bits, and an amplitude of zero shifts nothing; within 2e-6 of the amplitude."""
    pytest.importorskip("numba")
    plain, fast = Streams.from_seed(3, 3, np), kind(True).from_seed(3, 3, np)
    rng = np.random.default_rng(0)
    for blocks, count in (((2,), 1), ((3, 5), 7), ((1,), 3000), ((4, 2), 513), ((2,), 2)):
        amplitude = rng.random((3, *blocks)).astype(np.float32) * rng.integers(0, 2, (3, *blocks)).astype(np.float32)
        a = plain.scaled_normal("bs_irs_fading", amplitude, count)
        b = fast.scaled_normal("bs_irs_fading", amplitude, count)
        assert a.shape == b.shape == (3, *blocks, count)
        np.testing.assert_allclose(b, a, atol=1e-5)
        assert (np.abs(b - a) <= 4e-6 * amplitude[..., None]).all()
        assert (b[amplitude == 0] == 0).all()
    np.testing.assert_allclose(fast.complex_normal("velocity", 9), plain.complex_normal("velocity", 9), atol=4e-6)
    assert fast.get_state() == plain.get_state()


def test_no_seed_is_fresh_entropy() -> None:
    a, b = (Streams.from_seed(None, 1, np).uniform("layout", 4) for _ in range(2))
    assert not np.array_equal(a, b)


@pytest.mark.parametrize("on_device", [False, True])
def test_episodes_are_counted_from_the_seed_on(on_device):
    if on_device:
        pytest.importorskip("torch")
    xp, device = arrays.backend("torch" if on_device else "numpy", None)
    streams = Streams.from_seed([5, 0, 7], 3, xp, device, on_device)
    assert streams.count_episodes().tolist() == [5, 0, 7]
    some = streams.rows(np.array([1]))
    assert some.count_episodes().tolist() == [1]
    streams.merge(np.array([1]), some)
    assert streams.count_episodes().tolist() == [6, 2, 8]


def test_a_state_from_before_the_later_causes_is_taken():
    streams, other = Streams.from_seed(3, 2, np), Streams.from_seed(8, 2, np)
    streams.uniform("layout", 5)
    old = {cause: rows for cause, rows in streams.get_state().items() if cause not in ("shadowing", "episode")}
    other.set_state(old)
    assert {cause: other.get_state()[cause] for cause in old} == old
    np.testing.assert_array_equal(other.uniform("mobility", 4), streams.uniform("mobility", 4))
    del old["velocity"]
    with pytest.raises(ValueError, match="streams state must hold"):
        other.set_state(old)
