"""Codecs: decode undoes encode for any scenario and any leading axes, in numpy and torch; layouts by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import SIZES, named_action

from irs_marl_env import Scenario, make_vec_env
from irs_marl_env.spaces.actions import RawActionCodec, StructuredActionCodec
from irs_marl_env.spaces.observations import CsiObservationCodec, LargeScaleObservationCodec, ValuesObservationCodec


def backends() -> list[Any]:
    try:
        import torch
    except ImportError:
        return [np.asarray]
    return [np.asarray, torch.as_tensor]


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    L = draw(st.integers(0, 3))
    unequal = st.tuples(*[st.integers(1, 4)] * L)
    return Scenario(
        num_bs=draw(st.integers(1, 3)),
        num_users=draw(st.integers(1, 4)),
        num_irs=L,
        num_antennas=draw(st.integers(1, 3)),
        num_elements=draw(st.integers(1, 4) | unequal),
        rho=draw(st.sampled_from(["owner", "bids", "none"])),
    )


LEADS = st.sampled_from([(), (1,), (3,), (2, 2)])


@pytest.mark.parametrize("longer", [-1, 1])
@pytest.mark.parametrize(
    "kind",
    [RawActionCodec, StructuredActionCodec, CsiObservationCodec, LargeScaleObservationCodec, ValuesObservationCodec],
)
def test_vectors_of_another_length_are_refused(kind: Any, longer: int) -> None:
    codec = kind(Scenario())
    with pytest.raises(ValueError, match=rf"^an array of shape \(2, \d+\): the last axis must be {codec.size} long$"):
        codec.decode(np.zeros((2, codec.size + longer), np.float32))


def test_states_of_another_length_are_refused() -> None:
    encoder = make_vec_env("mdlbi-small-v0", 1).state_encoder
    with pytest.raises(ValueError, match="the last axis must be"):
        encoder.blocks(np.zeros((1, encoder.layout.size + 1), np.float32))


@pytest.mark.parametrize("kind", [RawActionCodec, StructuredActionCodec])
@given(s=scenarios(), lead=LEADS, seed=st.integers(0, 2**16))
def test_action_codec_is_its_own_inverse(kind: Any, s: Scenario, lead: tuple[int, ...], seed: int) -> None:
    codec = kind(s)
    flat = np.random.default_rng(seed).uniform(-1, 1, (*lead, codec.size)).astype(np.float32)
    for asarray in backends():
        named = codec.decode(asarray(flat))
        np.testing.assert_allclose(np.asarray(codec.encode(named)), flat, atol=1e-6)
        again = codec.decode(codec.encode(named))
        for name, value in named.items():
            np.testing.assert_allclose(np.asarray(again[name]), np.asarray(value), rtol=1e-4, atol=1e-6)
        assert tuple(named["bids"].shape) == (*lead, s.num_irs)
        if kind is RawActionCodec:
            assert tuple(named["w"].shape) == (*lead, s.num_users, s.num_antennas)
            assert tuple(named["theta"].shape) == (*lead, s.num_irs, s.max_elements)
        else:
            assert tuple(named["focus"].shape) == (*lead, s.num_irs, s.num_users)


def test_raw_action_layout() -> None:
    s = Scenario(**SIZES)
    codec = RawActionCodec(s)
    flat = np.random.default_rng(0).uniform(-1, 1, (2, codec.size)).astype(np.float32)
    w, theta, bids = named_action(s, flat)
    named = codec.decode(flat)
    np.testing.assert_allclose(named["w"], w, rtol=1e-6)
    np.testing.assert_array_equal(named["bids"], np.array(bids, np.float32))
    for m in range(2):
        for l, count in enumerate(s.elements):
            np.testing.assert_allclose(named["theta"][m, l, :count], theta[m][l], rtol=1e-6)
            assert (named["theta"][m, l, count:] == 0).all()


def test_structured_action_is_logarithmic() -> None:
    codec = StructuredActionCodec(Scenario(**SIZES))
    flat = np.repeat(np.array([[-1.0], [0.0], [1.0]], np.float32), codec.size, axis=1)
    named = codec.decode(flat)
    for name in ("focus", "powers", "regularizer"):
        values = named[name].reshape(3, -1)
        np.testing.assert_allclose(values, np.broadcast_to([[0.1], [1.0], [10.0]], values.shape), rtol=1e-6)
    np.testing.assert_array_equal(named["bids"], flat[:, : named["bids"].shape[1]])


@given(s=scenarios(), lead=LEADS, seed=st.integers(0, 2**16))
def test_csi_observation_codec_is_its_own_inverse(s: Scenario, lead: tuple[int, ...], seed: int) -> None:
    codec = CsiObservationCodec(s)
    flat = np.random.default_rng(seed).uniform(-3, 3, (*lead, codec.size)).astype(np.float32)
    for asarray in backends():
        named = codec.decode(asarray(flat))
        assert tuple(named["H"].shape) == (*lead, s.num_users, s.num_antennas)
        assert tuple(named["G"].shape) == (*lead, s.num_irs, s.max_elements, s.num_antennas)
        assert tuple(named["h"].shape) == (*lead, s.num_irs, s.num_users, s.max_elements)
        assert tuple(named["rho"].shape) == (*lead, s.num_bs - 1, s.num_irs)
        np.testing.assert_allclose(np.asarray(codec.encode(named)), flat, rtol=1e-5, atol=1e-6)
        for l, count in enumerate(s.elements):
            assert (np.asarray(named["G"])[..., l, count:, :] == 0).all()
            assert (np.asarray(named["h"])[..., l, :, count:] == 0).all()


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("kind", [LargeScaleObservationCodec, ValuesObservationCodec])
@given(s=scenarios(), lead=LEADS, seed=st.integers(0, 2**16))
def test_large_scale_observation_codecs_are_their_own_inverse(
    kind: type[LargeScaleObservationCodec], backward: bool, s: Scenario, lead: tuple[int, ...], seed: int
) -> None:
    codec = kind(s)
    flat = np.random.default_rng(seed).uniform(-1, 1, (*lead, codec.size)).astype(np.float32)
    for asarray in backends():
        named = codec.decode(asarray(flat))
        if backward:  # the order of a dict means nothing
            named = dict(reversed(named.items()))
        np.testing.assert_array_equal(np.asarray(codec.encode(named)), flat)
