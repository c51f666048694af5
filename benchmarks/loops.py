"""The default model as it is often written: one environment, Python loops over BSs, users and surfaces.

A peer for the benchmark: the same positions to rates to observations, with none of the package's ways to be quick.
Its channels, rates and observations are checked against the package before anything is timed
(:func:`difference`). It covers the readings of the default scenarios and no others.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from irs_marl_env import MdlbiParallelEnv, Scenario

Actions = dict[str, np.ndarray]
DEFAULTS = Scenario()
READINGS = ("sinr", "reflection", "contention", "association_delay", "csi", "csi_error_variance", "rho", "power")
READINGS += ("phase_bits", "inter_cell_interference", "reward", "bid_cost", "action", "observation", "mobility")
READINGS += ("element_amplitude_min",)
READINGS += ("fading", "bs_irs_fading", "direct_rician_k_db", "bs_irs_rician_k_db", "irs_user_rician_k_db")


class LoopEnv:
    """The environment in loops.

    Args:
        scenario: with the default readings; sizes, radio and geometry are free, all IRSs of the same size.
        elementwise: write the cascaded channel as loops over elements and antennas too, instead of the product of three
            numpy matrices for each user and IRS.
    """

    def __init__(self, scenario: Scenario, elementwise: bool) -> None:
        for name in READINGS:
            if getattr(scenario, name) != getattr(DEFAULTS, name):
                raise ValueError(f"{name}={getattr(scenario, name)!r}: the loops know {getattr(DEFAULTS, name)!r} only")
        for name, values in (("num_elements", scenario.elements), ("num_antennas", scenario.antennas)):
            if len(set(values)) > 1:
                raise ValueError(f"{name}={getattr(scenario, name)}: the loops know sites of equal size only")
        self.s, self.elementwise = scenario, elementwise
        self.M, self.K, self.L = scenario.num_bs, scenario.num_users, scenario.num_irs
        self.N, self.Nb = scenario.max_elements, scenario.max_antennas
        self.groups = min(scenario.num_groups, self.K)
        self.agents = [f"bs_{m}" for m in range(self.M)]
        width, depth = scenario.area_m
        self.bs = []
        for m in range(self.M):
            start = (m // 2) * 2 * scenario.cell_depth_m
            end = min(start + 2 * scenario.cell_depth_m, depth)
            self.bs.append((width * (m % 2), (start + end) / 2, scenario.bs_height_m))
        self.irs = [(width / 2, depth * (l + 0.5) / self.L, scenario.irs_height_m) for l in range(self.L)]
        half = scenario.area_width_m / 2  # observations are scaled by the gains at this distance
        self.direct_scale = self.gain("direct", half)
        self.bs_irs_scale = self.gain("bs_irs", half)
        self.irs_user_scale = self.gain("irs_user", half)

    def gain(self, link: str, distance: float) -> float:
        """Amplitude gain at a distance."""
        s = self.s
        loss_db = s.reference_gain_db - (s.blockage_db if link == "direct" else 0.0)
        exponent = getattr(s, f"{link}_exponent")
        return math.sqrt(10 ** (loss_db / 10) * max(distance, 1.0) ** -exponent)

    # --- episodes ----------------------------------------------------------------------------------------------

    def reset(self, seed: int) -> dict[str, np.ndarray]:
        """Begin an episode."""
        self.rng = np.random.default_rng(seed)
        self.slot = 0
        self.points = [self.target(p) for p in range(self.groups + self.K)]
        self.targets = [self.target(p) for p in range(self.groups + self.K)]
        self.speeds = [self.speed() for _ in self.points]
        self.owner = [int(self.rng.integers(self.M)) for _ in range(self.L)]
        self.locate()
        self.fade()
        return self.observe()

    def step(self, actions: Actions) -> tuple[Any, ...]:
        """One slot; returns what a parallel environment returns."""
        rates, powers = self.transmit(actions)
        self.slot += 1
        self.move()
        self.locate()
        self.fade()
        rewards = {a: float(sum(rates[m])) for m, a in enumerate(self.agents)}
        done = self.slot >= self.s.horizon
        infos = {a: {"rates": np.array(rates[m]), "power_w": powers[m]} for m, a in enumerate(self.agents)}
        flags = dict.fromkeys(self.agents, False), dict.fromkeys(self.agents, done)
        return self.observe(), rewards, *flags, infos

    # --- users -------------------------------------------------------------------------------------------------

    def target(self, p: int) -> tuple[float, float]:
        """A point for a group centre to walk to, or for a member in the disc around it."""
        if p < self.groups:
            width, depth = self.s.area_m
            return width * self.rng.random(), depth * self.rng.random()
        radius = self.s.group_radius_m * math.sqrt(self.rng.random())
        angle = 2 * math.pi * self.rng.random()
        return radius * math.cos(angle), radius * math.sin(angle)

    def speed(self) -> float:
        """Metres per slot of a leg."""
        return self.s.slot_s * self.s.speed_mps * (0.5 + self.rng.random())

    def move(self) -> None:
        """Random waypoint of centres and members."""
        for p, (x, y) in enumerate(self.points):
            to_x, to_y = self.targets[p]
            distance = math.hypot(to_x - x, to_y - y)
            if distance <= self.speeds[p]:
                self.points[p] = (to_x, to_y)
                self.targets[p] = self.target(p)
                self.speeds[p] = self.speed()
            else:
                share = self.speeds[p] / distance
                self.points[p] = (x + share * (to_x - x), y + share * (to_y - y))

    def locate(self) -> None:
        """Positions in the area, reflected at its borders, and the nearest BS of each user."""
        self.position = []
        for k in range(self.K):
            centre, offset = self.points[k % self.groups], self.points[self.groups + k]
            place = []
            for axis in range(2):
                length = self.s.area_m[axis]
                x = (centre[axis] + offset[axis]) % (2 * length)
                place.append(length - abs(length - x))
            self.position.append((place[0], place[1], self.s.user_height_m))
        distances = [[math.dist(bs, place) for bs in self.bs] for place in self.position]
        self.cell = [row.index(min(row)) for row in distances]

    # --- channels ----------------------------------------------------------------------------------------------

    def normal(self, *shape: int) -> np.ndarray:
        """CN(0, 1)."""
        return (self.rng.standard_normal(shape) + 1j * self.rng.standard_normal(shape)) / math.sqrt(2)

    def fade(self) -> None:
        """New channels of every link."""
        self.H = [[None] * self.K for _ in range(self.M)]
        self.G = [[None] * self.L for _ in range(self.M)]
        self.h = [[None] * self.K for _ in range(self.L)]
        for m in range(self.M):
            for k in range(self.K):
                self.H[m][k] = self.gain("direct", math.dist(self.bs[m], self.position[k])) * self.normal(self.Nb)
            for l in range(self.L):
                self.G[m][l] = self.gain("bs_irs", math.dist(self.bs[m], self.irs[l])) * self.normal(self.N, self.Nb)
        for l in range(self.L):
            for k in range(self.K):
                self.h[l][k] = self.gain("irs_user", math.dist(self.irs[l], self.position[k])) * self.normal(self.N)

    # --- one slot ----------------------------------------------------------------------------------------------

    def transmit(self, actions: Actions) -> tuple[list[list[float]], list[float]]:
        """Owners, beams, phases, and from them the rates of every BS's users and the powers of the BSs."""
        w, theta, bids = zip(*(self.decode(actions[agent]) for agent in self.agents), strict=True)
        for l in range(self.L):
            best = max(bids[m][l] for m in range(self.M))
            highest = [m for m in range(self.M) if bids[m][l] == best]
            self.owner[l] = highest[0] if len(highest) == 1 else int(self.rng.choice(highest))
        phi = [np.exp(1j * theta[self.owner[l]][l]) for l in range(self.L)]
        rates, powers = [], []
        for m in range(self.M):
            users = [k for k in range(self.K) if self.cell[k] == m]
            power = sum(float(np.sum(np.abs(w[m][k]) ** 2)) for k in users)
            factor = math.sqrt(self.s.tx_power_w / power) if power > self.s.tx_power_w else 1.0
            powers.append(power * factor**2)
            own = [0.0] * self.K
            for k in users:
                channel = self.effective(m, k, phi)
                signal, interference = 0.0, 0.0
                for i in users:
                    heard = abs(np.dot(channel, factor * w[m][i])) ** 2
                    if i == k:
                        signal = heard
                    else:
                        interference += heard
                own[k] = math.log2(1 + signal / (interference + self.s.noise_power_w))
            rates.append(own)
        return rates, powers

    def decode(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Beams, phases and bids of one BS."""
        action = np.clip(action, -1, 1)
        beams, phases = self.K * self.Nb, self.L * self.N
        w = math.sqrt(self.s.tx_power_w) * (action[:beams] + 1j * action[beams : 2 * beams]).reshape(self.K, self.Nb)
        theta = math.pi * action[2 * beams : 2 * beams + phases].reshape(self.L, self.N)
        return w, theta, action[2 * beams + phases :]

    def effective(self, m: int, k: int, phi: list[np.ndarray]) -> np.ndarray:
        """Channel from a BS to its user, directly and over the BS's IRSs."""
        channel = self.H[m][k].copy()
        for l in range(self.L):
            if self.owner[l] != m:
                continue
            if self.elementwise:
                for n in range(self.N):
                    for b in range(self.Nb):
                        channel[b] += self.h[l][k][n] * phi[l][n] * self.G[m][l][n, b]
            else:
                channel += self.h[l][k] @ np.diag(phi[l]) @ self.G[m][l]
        return channel

    def observe(self) -> dict[str, np.ndarray]:
        """What every BS knows: own users' channels over all IRSs, and who held the IRSs."""
        observations = {}
        for m, agent in enumerate(self.agents):
            H = np.zeros((self.K, self.Nb), complex)
            G = np.zeros((self.L, self.N, self.Nb), complex)
            h = np.zeros((self.L, self.K, self.N), complex)
            for l in range(self.L):
                G[l] = self.G[m][l] / self.bs_irs_scale
            for k in range(self.K):
                if self.cell[k] == m:
                    H[k] = self.H[m][k] / self.direct_scale
                    for l in range(self.L):
                        h[l, k] = self.h[l][k] / self.irs_user_scale
            rho = [float(self.owner[l] == j) for j in range(self.M) if j != m for l in range(self.L)]
            parts = [part.ravel() for x in (H, G, h) for part in (x.real, x.imag)]
            flat = np.concatenate([*parts, np.array(rho)])
            observations[agent] = np.clip(flat, -100, 100).astype(np.float32)
        return observations


# --- against the package -----------------------------------------------------------------------------------------


def adopt(loops: LoopEnv, env: MdlbiParallelEnv) -> None:
    """Give the loops the users, channels and owners of a running environment, by what it publishes."""
    named, scale = env.state_encoder.blocks(env.state()), env.state_encoder.scale
    loops.cell = named["cell"].argmax(0).tolist()
    loops.owner = named["owner"].argmax(0).tolist()
    H = (named["H_real"] + 1j * named["H_imag"]) * scale.direct
    G = (named["G_real"] + 1j * named["G_imag"]) * scale.bs_irs  # (M, Nb, L N)
    h = (named["h_real"] + 1j * named["h_imag"]) * scale.irs_user  # (K, L N)
    G = np.swapaxes(G, 1, 2).reshape(loops.M, loops.L, loops.N, loops.Nb)
    h = np.swapaxes(h.reshape(loops.K, loops.L, loops.N), 0, 1)
    loops.H, loops.G, loops.h = ([list(row) for row in x.astype(complex)] for x in (H, G, h))


def difference(loops: LoopEnv, env: MdlbiParallelEnv, slots: int = 5, seed: int = 0) -> tuple[float, float]:
    """Largest differences of rates [bit/s/Hz] and of observation entries between the loops and the package, on the same
    channels and actions; infinite where they disagree about powers."""
    loops.reset(seed)
    observations, _ = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    rate = entry = 0.0
    for _ in range(slots):
        adopt(loops, env)
        mine = loops.observe()
        actions = {a: rng.uniform(-1, 1, env.action_codec.size).astype(np.float32) for a in env.agents}
        rates, powers = loops.transmit(actions)
        entry = max(entry, *(float(np.abs(mine[a] - observations[a]).max()) for a in actions))
        observations, _, _, _, infos = env.step(actions)
        for m, agent in enumerate(actions):
            rate = max(rate, float(np.abs(infos[agent]["rates"] - rates[m]).max()))
            if not math.isclose(infos[agent]["power_w"], powers[m], rel_tol=1e-4):
                return math.inf, entry
    return rate, entry
