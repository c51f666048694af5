"""The radio link written a second time, entry by entry in Python loops, from the equations alone.

Slow on purpose and free of anything from the package, so that it can judge the package. One environment, no batch
axis; arrays as in design: ``H [M][K][Nb]``, ``G [M][L][N][Nb]``, ``h [L][K][N]``, ``phi [L][N]``, ``w [M][K][Nb]``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def owners(bids: Any, contention: str) -> list[int | None]:
    """Owner of each IRS, ``None`` where an auction is tied."""
    M, L = np.shape(bids)
    result: list[int | None] = []
    for l in range(L):
        claims = [m for m in range(M) if bids[m][l] > 0]
        if contention in ("auction", "second_price"):
            best = max(bids[m][l] for m in range(M))
            winners = [m for m in range(M) if bids[m][l] == best]
            result.append(winners[0] if len(winners) == 1 else None)
        elif contention == "collision":
            result.append(claims[0] if len(claims) == 1 else -1)
        else:
            result.append(claims[0] if claims else -1)
    return result


def strength(G: Any, h: Any) -> np.ndarray:
    """Mean power over each IRS with random phases, ``[M][K][L]``."""
    M, L, N, Nb = np.shape(G)
    K = np.shape(h)[1]
    out = np.zeros((M, K, L))
    for m in range(M):
        for k in range(K):
            for l in range(L):
                for n in range(N):
                    out[m, k, l] += abs(h[l][k][n]) ** 2 * sum(abs(G[m][l][n][b]) ** 2 for b in range(Nb))
    return out


def user_irs(owner: Any, cell: Any, num_bs: int, reflection: str, rank: Any = None) -> np.ndarray:
    """The association A ``[M][K][L]``."""
    K, L = len(cell), len(owner)
    A = np.zeros((num_bs, K, L), bool)
    for k in range(K):
        m = cell[k]
        mine = [l for l in range(L) if reflection == "all" or owner[l] == m]
        if reflection == "single" and mine:
            mine = [max(mine, key=lambda l: rank[m][k][l])]
        for l in mine:
            A[m, k, l] = True
    return A


def reflected(G: Any, h: Any, phi: Any, A: Any, cell: Any, m: int, k: int) -> np.ndarray:
    """Row channel from BS m to user k over the IRSs that serve user k."""
    _, L, N, Nb = np.shape(G)
    out = np.zeros(Nb, complex)
    for l in range(L):
        if A[cell[k]][k][l]:
            for n in range(N):
                for b in range(Nb):
                    out[b] += h[l][k][n] * phi[l][n] * G[m][l][n][b]
    return out


def sinr(
    H: Any,
    G: Any,
    h: Any,
    phi: Any,
    A: Any,
    w: Any,
    cell: Any,
    noise_power: float,
    mode: str = "physical",
    inter_cell: bool = False,
) -> np.ndarray:
    """SINR of every user."""
    M, K, Nb = np.shape(H)
    out = np.zeros(K)
    for k in range(K):
        m = cell[k]
        bounced = reflected(G, h, phi, A, cell, m, k)
        channel = np.asarray(H[m][k]) + bounced
        others = [i for i in range(K) if i != k and cell[i] == m]
        signal = abs(sum(channel[b] * w[m][k][b] for b in range(Nb))) ** 2
        heard = 0.0
        if mode == "paper":
            total = sum((np.asarray(w[m][i]) for i in [*others, k]), np.zeros(Nb, complex))
            heard = (K - 1) * abs(sum(bounced[b] * total[b] for b in range(Nb))) ** 2
        else:
            over = channel if mode == "physical" else bounced
            for i in others:
                heard += abs(sum(over[b] * w[m][i][b] for b in range(Nb))) ** 2
        if inter_cell:
            for j in range(M):
                if j != m:
                    foreign = np.asarray(H[j][k]) + reflected(G, h, phi, A, cell, j, k)
                    for i in range(K):
                        if cell[i] == j:
                            heard += abs(sum(foreign[b] * w[j][i][b] for b in range(Nb))) ** 2
        out[k] = signal / (heard + noise_power)
    return out


def project(w: Any, max_power: float, mode: str) -> np.ndarray:
    """Beams of one BS ``[K][Nb]`` scaled to the power limit."""
    power = sum(abs(entry) ** 2 for beam in w for entry in beam)
    if power == 0 or (mode == "ball" and power <= max_power):
        return np.array(w)
    return np.array(w) * math.sqrt(max_power / power)


# --- raw actions by the documented layout ------------------------------------------------------------------------

SIZES: dict[str, Any] = {"num_users": 5, "num_irs": 3, "num_antennas": 3, "num_elements": (2, 4, 3), "speed_mps": 30.0}


def named_action(s: Any, flat: np.ndarray) -> tuple[list[Any], list[Any], list[Any]]:
    """w ``[M][K][Nb]``, theta ``[M][L][N_l]`` and bids ``[M][L]`` of flat raw actions, by the documented layout."""
    w, theta, bids = [], [], []
    antennas = np.broadcast_to(s.num_antennas, s.num_bs)
    power_w = 10 ** (np.broadcast_to(s.tx_power_dbm, s.num_bs) / 10) / 1000
    beams = s.num_users * max(antennas)
    for m, row in enumerate(np.clip(flat, -1, 1).astype(float)):
        re, im = row[:beams], row[beams : 2 * beams]
        w.append(math.sqrt(power_w[m]) * (re + 1j * im).reshape(s.num_users, max(antennas)))
        w[m][:, antennas[m] :] = 0
        start, per_irs = 2 * beams, []
        for count in s.elements:
            per_irs.append(math.pi * row[start : start + count])
            start += count
        theta.append(per_irs)
        bids.append(row[start : start + s.num_irs])
        assert start + s.num_irs == row.size
    return w, theta, bids


class Hands:
    """Who holds the IRSs of one environment, and who owns them, where a change of hands takes time."""

    def __init__(self, holder: list[int], slots: int) -> None:
        self.holder, self.slots = list(holder), slots
        self.waits = [0] * len(self.holder)  # slots, this one among them, until an IRS serves its holder

    def decide(self, decided: list[int]) -> list[int]:
        """The owners of the slot that the decision is for."""
        for l, m in enumerate(decided):
            if m >= 0 and m != self.holder[l]:
                self.holder[l], self.waits[l] = m, self.slots
        return [-1 if wait > 0 else m for m, wait in zip(decided, self.waits, strict=True)]

    def pass_slot(self) -> None:
        """That slot is over."""
        self.waits = [max(wait - 1, 0) for wait in self.waits]
