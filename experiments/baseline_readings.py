"""What each reading of the paper does to the score, for ``experiments.baselines``."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.baseline_runs import SEED, Runs, cell, table
from irs_marl_env import Result, View, get_scenario, link, make_vec_env
from irs_marl_env.physics import association, radio
from irs_marl_env.policies import POLICIES

EPISODES = 64
BEAMS = ("no-irs-mrt", "random-mrt", "random-wmmse", "local-gain-ao")
SUM_ZERO = "local-gain-ao, beams that sum to zero"
DENOMINATORS = ("physical", "reflected", "paper", "paper, without the factor K - 1")
OTHERS: dict[str, dict[str, Any]] = {
    "default": {},
    'reflection="single"': {"reflection": "single"},
    'reflection="all"': {"reflection": "all"},
    "association_delay=1": {"association_delay": 1},
    "inter_cell_interference=True": {"inter_cell_interference": True},
}


def readings(runs: Runs) -> str:
    """The denominators of Eq. (4) on the same beams, then the other options by the policies that know of them."""
    scored = runs.keep("eq4", _score_beams)
    columns = (*BEAMS, SUM_ZERO)
    rows = [[f"`{d}`", *(cell(scored[f"{beams} / {d}"]) for beams in columns)] for d in DENOMINATORS]
    text = [
        "## Readings of Eq. (4)\n",
        f"K=10, L=4, first slot of {EPISODES} episodes. The same beams and phases are scored under each reading of the "
        "interference. In the last column the mean of a cell's beams is taken off each of them, and the "
        "power is restored.\n",
        table(["`sinr`", *columns], rows),
        "## Other readings\n",
        f"K=10, L=4, second and third slot of {EPISODES} episodes, because with the delay the owners of the first slot "
        "are those of the reset. Each policy acts under the reading of its row.\n",
    ]
    policies = ("no-irs-wmmse", "random-mrt", "random-ao", "local-gain-ao")
    found = {
        name: runs.get(f"reading-{i}", policies, episodes=EPISODES, first=1, slots=2, **options)
        for i, (name, options) in enumerate(OTHERS.items())
    }
    last, default = policies[-1], found["default"]
    rows = [
        [
            f"`{n}`",
            *(cell(r[p]) for p in policies),
            "" if r is default else cell(r[last].difference(default[last], across=True), "+"),
        ]
        for n, r in found.items()
    ]
    text.append(table(["reading", *policies, f"{last}, minus default"], rows))
    return "\n".join(text)


def _score_beams() -> list[Result]:
    """Rates ``(episodes, 1, M)`` of the beams of each policy under each denominator."""
    results = []
    for name in BEAMS:
        policy = POLICIES[name]
        env = make_vec_env(policy.adapt(get_scenario("mdlbi-v0")), EPISODES)
        env.reset(seed=SEED)
        action = env.action_codec.decode(policy.bind(env, SEED)())
        view = env.view()
        results += _score(name, view, action["w"], action)
        if name == "local-gain-ao":
            results += _score(SUM_ZERO, view, _sum_zero(view, action["w"]), action)
    return results


def _sum_zero(view: View, w: np.ndarray) -> np.ndarray:
    """Beams ``(E, M, K, Nb)`` shifted so that those of each cell add up to zero, at full power again."""
    mask = view.own_user[..., None]
    mean = (w * mask).sum(-2, keepdims=True) / np.maximum(mask.sum(-2, keepdims=True), 1)
    return link.project_power((w - mean) * mask, view.scenario.tx_power_w, "sphere")


def _score(label: str, view: View, w: np.ndarray, action: dict[str, np.ndarray]) -> list[Result]:
    s = view.scenario
    E, M, _ = view.own_user.shape
    owner = action["bids"].argmax(1) if s.num_irs else np.zeros((E, 0), int)
    theta = np.take_along_axis(action["theta"], owner[:, None, :, None], axis=1)[:, 0]  # its owner's
    user_irs = association.user_irs(owner, view.cell, M, "owned", None)
    H, G, h = (x.astype(np.complex128) for x in view.csi)
    h_eff = link.effective_channel(H, G, h, link.phase_shifts(theta), user_irs, view.cell)
    direct = link.served(H, view.cell)
    w = link.project_power(w * view.own_user[..., None], s.tx_power_w).astype(np.complex128)
    signal = radio.abs2((h_eff * link.served(w, view.cell)).sum(-1))
    results = []
    for denominator in DENOMINATORS:
        mode = denominator.split(",")[0]
        sinr = link.sinr(h_eff, w, view.cell, s.noise_power_w, mode=mode, h_direct=direct)
        if mode != denominator:  # the literal sum over i != k has K - 1 equal terms: take one
            usable = np.where(sinr > 0, sinr, 1.0)
            interference = np.maximum(signal / usable - s.noise_power_w, 0.0) / (s.num_users - 1)
            sinr = np.where(sinr > 0, signal / (interference + s.noise_power_w), 0.0)
        rates = (link.rates(sinr)[:, None] * view.own_user).sum(-1)
        results.append(Result(f"{label} / {denominator}", s, SEED, rates[:, None].round(6)))
    return results
