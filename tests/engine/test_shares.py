"""What share of a user's signal comes over each IRS: by loops, by hand, and where nothing comes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from naive import SIZES, named_action, project, strength, user_irs

from irs_marl_env import Scenario, make_vec_env


def by_loops(view: Any, action: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares ``[L][K]`` over the IRSs and ``[K]`` over the direct path, of raw actions ``(M, D_a)``."""
    s, cell = view.scenario, view.cell[0]
    H, G, h = (x[0].astype(complex) for x in view.channels)
    w, theta, _ = named_action(s, action)
    A = user_irs(owner, cell, s.num_bs, s.reflection, strength(G, h))
    irs, direct = np.zeros((s.num_irs, s.num_users)), np.zeros(s.num_users)
    for k, m in enumerate(cell):
        beams = np.where((cell == m)[:, None], w[m], 0)
        beam = project(beams, s.tx_powers_w[m], s.power)[k]
        over = []
        for l in range(s.num_irs):
            phases = theta[owner[l]][l] if owner[l] >= 0 else np.zeros(s.elements[l])
            bounced = [h[l, k, n] * np.exp(1j * phase) * (G[m, l, n] @ beam) for n, phase in enumerate(phases)]
            over.append(sum(bounced) if A[m][k][l] else 0.0)
        straight = H[m, k] @ beam
        total = straight + sum(over)
        irs[:, k] = [(part * np.conj(total)).real / abs(total) ** 2 for part in over]
        direct[k] = (straight * np.conj(total)).real / abs(total) ** 2
    return irs, direct


@pytest.mark.parametrize("reflection", ["owned", "single", "all"])
def test_shares_are_those_of_loops(reflection: str) -> None:
    """With fewer elements on some IRSs, and an idle one."""
    env = make_vec_env(Scenario(**SIZES, reflection=reflection, contention="collision"), blockage_db=25.0)
    env.reset(seed=1)
    action = np.random.default_rng(0).uniform(-1, 1, (1, 2, env.action_size)).astype(np.float32)
    owner = np.array([[1, -1, 0]])
    shares = env.view().shares_if(owner, action)
    irs, direct = by_loops(env.view(), action[0], owner[0])
    np.testing.assert_allclose(shares[0], irs, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(shares[0].sum(0) + direct, 1.0, rtol=1e-4)
    assert (shares[0] != 0).any()
    assert (shares[0, 1] != 0).any() == (reflection == "all")


def test_without_a_direct_path_all_comes_over_the_irss() -> None:
    env = make_vec_env("mdlbi-small-v0", action="structured", blockage_db=300.0)
    env.reset(seed=0)
    view = env.view()
    shares = view.shares_if(np.array([[0, 0]]))[0]
    np.testing.assert_allclose(shares.sum(0), view.cell[0] == 0, atol=1e-5)


def test_a_user_without_a_signal_has_no_shares() -> None:
    env = make_vec_env("mdlbi-small-v0")
    env.reset(seed=0)
    shares = env.view().shares_if(env.view().owner, np.zeros((1, 2, env.action_size)))
    assert (shares == 0).all()
    assert shares.shape == (1, 2, 4)


def test_what_is_asked_is_named_in_the_refusal() -> None:
    env = make_vec_env("mdlbi-small-v0")
    env.reset(seed=0)
    with pytest.raises(ValueError, match="shares_if without an action"):
        env.view().shares_if(env.view().owner)
    with pytest.raises(ValueError, match=r"owner=.*must be integers from -1"):
        env.view().shares_if(np.array([[2, 0]]), np.zeros((1, 2, env.action_size)))


def test_shares_of_a_batch_on_torch() -> None:
    pytest.importorskip("torch")
    shares = []
    for backend in ("numpy", "torch"):
        env = make_vec_env("mdlbi-small-v0", 3, backend=backend, action="structured")
        env.reset(seed=0)
        shares.append(env.view().shares_if(env.view().owner))
    np.testing.assert_allclose(*shares, rtol=1e-3, atol=1e-4)
