"""Beams and phases for any association, trained by the exact gradient through the differentiable rate.

    python -m experiments.analytic_gradient --networks unfolding-3     # all networks if none are named
    python -m experiments.analytic_gradient --out results/analytic --picture docs/images/quality.png  # only draws

The sum rate of a cell is differentiable, so networks ascend it directly, without critic or exploration, on channels
new in every update: ``unfolding-J``, J layers of WMMSE step and parallel phase update with 6 J + 5 learned scalars
(``solvers.unfold``), trained on the sizes of MIX in turn; ``phases``, a permutation-equivariant network that puts out
phases, user powers and the regulariser of an inverse; ``flat``, from all channels to all beams and phases of one size.
Quality is the share of AO-30 (alternating optimisation, 30 iterations) on common cells, time that of one thread.
"""

import itertools
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from matplotlib import rc_context
from matplotlib.figure import Figure
from torch import nn
from tqdm import tqdm

from experiments import rawdata
from irs_marl_env import View, get_scenario, link, make_vec_env, solvers
from irs_marl_env.figure_style import STYLE, look, save
from irs_marl_env.scenario_text import parse_assignments
from irs_marl_env.solvers import decode_structured
from irs_marl_env.solvers._cells import unit_phase
from irs_marl_env.training.checkpoint import provenance

Cells = tuple[Any, Any, Any]  # H (B, K, Nb), G (B, L, N, Nb), h (B, L, K, N), with any axes in place of B
Solver = Callable[..., tuple[Any, Any]]  # H, G, h, power, noise power -> w, phi; so are the networks called

SMALL = "mdlbi-small-v0"  # sizes: a scenario and its overrides
MIX = (
    SMALL,
    "mdlbi-blocked-small-v0",
    "mdlbi-small-v0 num_users=6 num_irs=3 num_elements=32 tx_power_dbm=20",
    "mdlbi-small-v0 num_users=8 num_irs=1 num_elements=32 num_antennas=8 tx_power_dbm=30",
    "mdlbi-small-v0 num_users=10 num_irs=3 num_antennas=8 tx_power_dbm=33",
    "mdlbi-small-v0 num_users=12 num_irs=2 num_elements=48 num_antennas=8 tx_power_dbm=30",
)
UNSEEN = ("mdlbi-v0", "mdlbi-blocked-v0", "mdlbi-v0 num_users=16 num_elements=64 tx_power_dbm=36")  # larger than all


@dataclass
class Args:
    seeds: tuple[int, ...] = (1,)  # of training: initial weights and channels
    networks: tuple[str, ...] = ("unfolding-1", "unfolding-2", "unfolding-3", "phases", "flat")  # which to train
    updates: tuple[int, int, int] = (600, 800, 1500)  # of unfoldings, phases, flat
    lr: tuple[float, float, float] = (0.03, 3e-3, 2e-3)  # their learning rates (Adam), falling to a tenth
    cells: tuple[int, int, int] = (128, 64, 1024)  # in an update of each
    eval_cells: int = 512  # cells of each size that qualities are averaged over
    eval_seed: int = 50_000  # of these cells; training environments have seeds from 1,000,000
    repeats: int = 15  # timings of each method
    out: str = "runs/analytic"  # folder of result.json and quality.png
    picture: str = ""  # only draw the result that is in out, here


class CellSource:
    """Cells of one size as the environment makes them, each IRS owned by a random base station."""

    def __init__(self, size: str, cells: int, seed: int) -> None:
        name, *fields = size.split()
        scenario = get_scenario(name, **parse_assignments(fields))
        self.env, self.cells = make_vec_env(scenario, -(-cells // scenario.num_bs)), cells
        self.power, self.noise = self.env.scenario.tx_power_w, self.env.scenario.noise_power_w
        self.rng = np.random.default_rng(seed)
        self.env.reset(seed=seed)

    def draw(self) -> Cells:
        """New users, channels and owners: ``H (B, K, Nb)``, ``G (B, L, N, Nb)``, ``h (B, L, K, N)``."""
        self.env.reset()
        view = self.env.view()
        owner = self.rng.integers(0, view.scenario.num_bs, (len(view.cell), view.scenario.num_irs))
        H, G, h = (x.reshape(-1, *x.shape[2:])[: self.cells] for x in cell_channels(view, owner))
        return H, G, h


def cell_channels(view: View, owner: np.ndarray) -> Cells:
    """Every BS's own users and, of the IRSs, those it owns: ``H, G, h`` with axes ``(E, M, ...)``."""
    held = owner[:, None] == np.arange(view.scenario.num_bs)[:, None]  # (E, M, L)
    usable = held[..., None, None] & view.own_user[:, :, None, :, None]
    # G too as a copy: what a view shows cannot be written into, and torch warns of such memory
    return view.csi.H * view.own_user[..., None], view.csi.G.copy(), view.csi.h[:, None] * usable


def mean_rate(H: Any, G: Any, h: Any, w: Any, phi: Any, noise: float) -> Any:
    """Mean sum rate of a batch of cells [bit/s/Hz]."""
    return solvers.weighted_sum_rate(link.cell_channel(H, G, h, phi), w, noise).mean()


class Unfolding(nn.Module):
    """``solvers.unfold`` with its scalars as parameters."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        neutral = solvers.neutral_coefficients(layers)
        self.scalars = nn.ParameterDict({name: torch.from_numpy(neutral[name]) for name in neutral})

    def forward(self, H: Any, G: Any, h: Any, power: float, noise: float) -> tuple[Any, Any]:
        self.scalars["phases"].data[:, 1:3].clamp_(min=0)  # negative damping is a basin of its own, and a bad one
        return solvers.unfold(H, G, h, power, noise, dict(self.scalars))


def unfolding(scalars: dict[str, Any]) -> Solver:
    """``solvers.unfold`` with given scalars, for numpy and torch."""
    arrays = {name: np.asarray(value, np.float32) for name, value in scalars.items()}
    tensors = {name: torch.from_numpy(value) for name, value in arrays.items()}

    def solve(H: Any, G: Any, h: Any, power: float, noise: float) -> tuple[Any, Any]:
        return solvers.unfold(H, G, h, power, noise, arrays if isinstance(H, np.ndarray) else tensors)

    return solve


class Phases(nn.Module):
    """Equivariant in users, IRSs and elements: rounds of messages between elements and users put out phases.

    Each round, each path of a user over an element, as it arrives now, gets a complex weight from a network that sees
    path, user, element and whole; the element turns to the weighted sum over users. Weights start at one: paths align.
    """

    def __init__(self, rounds: int = 3, width: int = 32) -> None:
        super().__init__()
        self.pair = nn.ModuleList(nn.Linear(7, width) for _ in range(rounds))
        self.mixed = nn.ModuleList(nn.Linear(3 * width, width) for _ in range(rounds))
        self.weight = nn.ModuleList(nn.Linear(width, 2) for _ in range(rounds))
        self.power, self.regularizer = perceptron(4, width, 1), perceptron(4, width, 1)
        for last in (*self.weight, self.power[-1], self.regularizer[-1]):
            nn.init.zeros_(last.weight), nn.init.zeros_(last.bias)

    def forward(self, H: Any, G: Any, h: Any, power: float, noise: float) -> tuple[Any, Any]:
        H, h = H * (power / noise) ** 0.5, h * (power / noise) ** 0.5
        present = (H != 0).any(-1, keepdim=True).float()
        count = present.sum(1, keepdim=True).clip(1)  # (B, 1, 1)
        phi = solvers.align_phases(H, G, h)
        for pair, mixed, weight in zip(self.pair, self.mixed, self.weight, strict=True):
            channel = link.cell_channel(H, G, h, phi)
            path = h * phi[..., None, :] * (G @ channel.mH[:, None]).mT  # (B, L, K, N)
            scaled = path / (path.abs().square().mean((1, 2, 3), keepdim=True) + 1e-12).sqrt()
            users = self.users(H, channel)[:, None, :, None].expand(*path.shape, 4)
            paths = torch.stack([scaled.real, scaled.imag, scaled.abs().log1p()], -1)
            z = pair(torch.cat([paths, users], -1)).relu() * present[:, None, :, None]
            of_user, of_element = z.mean((1, 3), keepdim=True), z.sum(2, keepdim=True) / count[:, None, None]
            z = mixed(torch.cat([z, of_user.expand_as(z), of_element.expand_as(z)], -1)).relu()
            weights = 1 + torch.view_as_complex(weight(z).contiguous())
            phi = phi * unit_phase((weights * path).sum(2).conj())
        channel = link.cell_channel(H, G, h, phi)
        users = self.users(H, channel)
        whole = (users * present).sum(1) / count[:, 0]
        powers, regularizer = self.power(users)[..., 0].exp(), self.regularizer(whole)[..., 0].exp()
        return solvers.rzf(channel, 1.0, 1.0, powers, regularizer) * power**0.5, phi

    @staticmethod
    def users(H: Any, channel: Any) -> Any:
        """What is known of each user: gains without and with IRSs, and what zero-forcing makes of the latter."""
        received = link.received_power(link.beam_products(channel, solvers.rzf(channel, 1.0, 1.0)))
        gains = [torch.linalg.vecdot(x, x).real for x in (H, channel)]
        return 0.2 * torch.stack([*gains, *received], -1).log1p()


class Flat(nn.Module):
    """The :func:`canonical` cell, unit rows and logarithms of norms, through linear layers to all beams and phases."""

    def __init__(self, H: Any, G: Any, h: Any, width: int = 512) -> None:
        super().__init__()
        self.shapes = [H.shape[1:], (h.shape[1], h.shape[3])]  # of beams and phases
        inputs = sum(2 * x[0].size + math.prod(x.shape[1:-1]) for x in (H, G, h))
        outputs = 2 * sum(math.prod(shape) for shape in self.shapes)
        self.straight, self.net = nn.Linear(inputs, outputs), perceptron(inputs, width, width, width, outputs)
        last: Any = self.net[-1]
        nn.init.normal_(self.straight.weight, std=1e-3), nn.init.normal_(last.weight, std=1e-3)

    def forward(self, H: Any, G: Any, h: Any, power: float, noise: float) -> tuple[Any, Any]:
        *cell, order = canonical(H, G, h)
        norms = [torch.linalg.vector_norm(x, dim=-1, keepdim=True) for x in cell]
        rows = [torch.view_as_real(x / (norm + 1e-12)) for x, norm in zip(cell, norms, strict=True)]
        flat = torch.cat([x.flatten(1) for x in (*rows, *((norm + 1e-9).log10() / 4 + 1 for norm in norms))], -1)
        out = torch.view_as_complex((self.straight(flat) + self.net(flat)).unflatten(1, (-1, 2)).contiguous())
        w, turn = out.split([math.prod(shape) for shape in self.shapes], 1)
        w = w.unflatten(1, self.shapes[0]).take_along_dim(order.argsort(-1)[..., None], 1) * (H != 0).any(-1, True)
        return link.project_power(w, power, "sphere"), unit_phase(turn).unflatten(1, self.shapes[1])


def canonical(H: Any, G: Any, h: Any) -> tuple[Any, ...]:
    """The cell with users by strength, and phases that no rate depends on turned away; the order of the users."""
    order = torch.linalg.vector_norm(H, dim=-1).argsort(-1, descending=True)
    H, h = H.take_along_dim(order[..., None], 1), h.take_along_dim(order[:, None, :, None], 2)
    turn = unit_phase(G[..., :1])  # of an element: its two channels the opposite way
    G, h = G * turn.conj(), h * turn.mT
    turn = unit_phase(torch.linalg.vecdot(H, G.mean((1, 2))[:, None]))[..., None]  # of a user: all its channels alike
    return H * turn, G, h * turn[:, None], order


def perceptron(*widths: int) -> nn.Sequential:
    """Linear layers with LayerNorm and ReLU between them."""
    layers = ((nn.Linear(a, b), nn.LayerNorm(b), nn.ReLU()) for a, b in itertools.pairwise(widths))
    return nn.Sequential(*list(itertools.chain(*layers))[:-2])


def network(name: str, source: CellSource) -> nn.Module:
    """A network by name before its training."""
    if name == "phases":
        return Phases()
    return Flat(*source.draw()) if name == "flat" else Unfolding(int(name.split("-")[1]))


def train(name: str, seed: int, args: Args, measure: Callable[[Solver], float]) -> tuple[Solver, dict[str, Any]]:
    """A network after its updates as a solver, and how its quality on ``mdlbi-small-v0`` grew."""
    which = ("unfolding", "phases", "flat").index(name.split("-")[0])
    torch.manual_seed(seed)
    sizes = enumerate(MIX if which == 0 else (SMALL,))
    sources = [CellSource(size, args.cells[which], 1_000_000 * seed + 10_000 * i) for i, size in sizes]
    net = network(name, sources[0])

    def solve(*cell: Any) -> tuple[Any, Any]:
        with torch.no_grad():
            w, phi = net(*(torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in cell))
        return (w.numpy(), phi.numpy()) if isinstance(cell[0], np.ndarray) else (w, phi)

    optimiser, updates, curve = torch.optim.Adam(net.parameters()), args.updates[which], []
    for update in tqdm(range(updates), desc=f"{name}, seed {seed}"):
        if update % max(1, updates // 6) == 0:
            curve.append([update, measure(solve)])
        optimiser.param_groups[0]["lr"] = args.lr[which] * (1 - 0.9 * update / updates)
        source = sources[update % len(sources)]
        H, G, h = (torch.from_numpy(x) for x in source.draw())
        w, phi = net(H, G, h, source.power, source.noise)
        rate = mean_rate(H, G, h, w, phi, source.noise)
        optimiser.zero_grad()
        (-rate / rate.detach()).backward()  # relative, so that every size counts alike
        optimiser.step()
    run: dict[str, Any] = {"seed": seed, "curve": [*curve, [updates, measure(solve)]]}
    if isinstance(net, Unfolding):
        run["scalars"] = {key: value.tolist() for key, value in net.scalars.items()}
    return unfolding(run["scalars"]) if which == 0 else solve, run


def ao(iterations: int, sweep: str = "parallel", init: str = "aligned") -> Solver:
    """Alternating optimisation."""

    def solve(H: Any, G: Any, h: Any, power: float, noise: float) -> tuple[Any, Any]:
        options: dict[str, Any] = {"iterations": iterations, "sweep": sweep, "init": init}
        w, phi, _ = solvers.alternating_optimization(H, G, h, power, noise, **options)
        return w, phi

    return solve


def sweeps(number: int) -> Solver:
    """The decoder of structured actions with its sweeps, untrained: from the neutral action."""
    neutral: dict[str, Any] = dict.fromkeys(("focus", "powers", "regularizer"))
    return lambda H, G, h, power, noise: decode_structured(neutral, H, G, h, power, noise, number)


def timings(methods: dict[str, Solver], cells: Any, repeats: int) -> dict[str, dict[str, Any]]:
    """CPU us per cell with numpy and torch: the least, and the median ratio to AO-5 in the same turn."""
    forms = {"numpy": cells, "torch": [torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in cells]}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in itertools.product(methods, forms)}
    for _, (name, form) in itertools.product(range(repeats), times):
        before = time.process_time()
        methods[name](*forms[form])
        times[name, form].append((time.process_time() - before) * 1e6 / len(cells[0]))
    table: dict[str, dict[str, Any]] = {name: {} for name in methods}
    for (name, form), spent in times.items():
        table[name][form] = {"least": min(spent), "of_ao_5": float(np.median(np.divide(spent, times["AO-5", form])))}
    return table


def plot(path: Path, shares: dict[str, dict[str, float]], times: dict[str, Any], runs: dict[str, Any]) -> None:
    """Quality against time, the faster of numpy and torch for each method, with the range over trainings."""
    with rc_context(STYLE):
        figure = Figure(figsize=(8.0, 4.2), layout="constrained")
        axes = figure.subplots()
        for i, (family, group) in enumerate(itertools.groupby(shares, lambda name: name.rsplit("-", 1)[0])):
            names = list(group)
            spent = [min(form["least"] for form in times[name].values()) for name in names]
            share = np.array([shares[name][SMALL] for name in names])
            trained = [[run["shares"][SMALL] for run in runs.get(name, [])] or [shares[name][SMALL]] for name in names]
            ends = np.abs([[min(each), max(each)] for each in trained] - share[:, None]).T
            axes.errorbar(spent, share, ends, label=family, **look(i, len(names) > 1))
        axes.set(xscale="log", xlabel="CPU time of a cell in a batch [µs]", ylabel="share of AO-30", title=SMALL)
        axes.set_xticks((20, 50, 100, 200, 400), ("20", "50", "100", "200", "400"))
        axes.minorticks_off()
        axes.grid()
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        save(figure, path)


def main(args: Args) -> dict[str, Any]:
    """Train, measure, report."""
    torch.set_num_threads(1)
    if args.picture:
        made: dict[str, Any] = json.loads(Path(args.out, "result.json").read_text(encoding="utf-8"))
        plot(Path(args.picture), made["shares"], made["times_us"], made["runs"])
        return made
    src = {size: CellSource(size, args.eval_cells, args.eval_seed + 10_000 * i) for i, size in enumerate(MIX + UNSEEN)}
    cells = {size: (*source.draw(), source.power, source.noise) for size, source in src.items()}

    def reached(solve: Solver, size: str) -> float:
        H, G, h, power, noise = cells[size]
        w, phi = solve(H, G, h, power, noise)
        return float(mean_rate(H, G, h, w, phi, noise))

    rate = {size: reached(ao(30), size) for size in cells}

    def share(solve: Solver, size: str = SMALL) -> float:
        return reached(solve, size) / rate[size]

    methods = {f"AO-{n}": ao(n) for n in (1, 3, 5, 10, 30)} | {"AO random-30": ao(30, "sequential", "random")}
    methods |= {f"AO sequential-{n}": ao(n, "sequential") for n in (1, 5, 30)}
    methods |= {f"sweeps-{n}": sweeps(n) for n in (1, 2, 3, 5)}
    methods |= {f"untrained-{n}": unfolding(solvers.neutral_coefficients(n)) for n in (1, 2, 3)}
    shares = {name: {size: share(solve, size) for size in cells} for name, solve in methods.items()}
    runs: dict[str, list[dict[str, Any]]] = {}
    for name, seed in itertools.product(args.networks, args.seeds):
        solve, run = train(name, seed, args, share)
        run["shares"] = {size: share(solve, size) for size in (cells if name != "flat" else (SMALL,))}
        runs.setdefault(name, []).append(run)
        shares[name] = {size: float(np.mean([run["shares"][size] for run in runs[name]])) for size in run["shares"]}
        methods.setdefault(name, solve)  # that of the first seed is timed
    times = timings(methods, (*(x[:256] for x in cells[SMALL][:3]), *cells[SMALL][3:]), args.repeats)
    sizes = [f"({i}) {size}: AO-30 {rate[size]:.3f} bit/s/Hz per cell" for i, size in enumerate(cells)]
    print(*sizes, "share of AO-30 by size; CPU us per cell of (0) (ratio to AO-5) in numpy and torch", sep="\n")
    for name, row in sorted(shares.items(), key=lambda item: item[1][SMALL]):
        cost = "".join(f"{form['least']:9.1f} ({form['of_ao_5']:.2f})" for form in times[name].values())
        print(f"{name:16}" + "".join(f"{value:7.4f}" for value in row.values()).ljust(7 * len(cells)) + cost)
    Path(args.out).mkdir(parents=True, exist_ok=True)
    result = {"config": asdict(args), "versions": provenance(), "ao_30": rate}
    result |= {"shares": shares, "times_us": times, "runs": runs}
    Path(args.out, "result.json").write_text(rawdata.dumps(result), encoding="utf-8", newline="\n")
    plot(Path(args.out, "quality.png"), shares, times, runs)
    return result


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
