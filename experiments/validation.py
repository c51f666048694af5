"""Make docs/validation.md: published numbers beside what the functions of this package give.

    python -m experiments.validation           # about a minute of a core; measures, then writes the page and its figure
    python -m experiments.validation --page    # the page and its figure alone, from results/validation
    python -m experiments.validation --sionna  # asks Sionna RT for its array responses (extra `sionna`, LLVM 17)

Checks whose data cannot come with the package keep the numbers that they had, if the data are not there: the channels
of Guo et al. (``--guo``, an .npz made from the authors' files) and Sionna.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments import rawdata
from irs_marl_env import Scenario, link, make_vec_env, solvers
from irs_marl_env.physics.array_response import between_masts, planar_array
from irs_marl_env.physics.channel import jakes_correlation

ROOT = Path(__file__).parents[1]
RAW = ROOT / "results" / "validation"
PAGE = ROOT / "docs" / "validation.md"
PICTURE = ROOT / "docs" / "images" / "validation.png"
GUO = ROOT / "shared" / "reference" / "guo2020.npz"
NATS = math.log(2)


class Line(NamedTuple):
    """A published number beside ours."""

    label: str
    published: float
    ours: float
    tolerance: float  # of the difference; with ``at_least`` ours may be above by any amount
    at_least: bool = False

    @property
    def agrees(self) -> bool:
        """Whether the difference is within the tolerance."""
        gap = self.ours - self.published
        return gap >= -self.tolerance if self.at_least else abs(gap) <= self.tolerance


class Check(NamedTuple):
    """A publication, and how it is compared."""

    title: str
    source: str
    how: str
    unit: str
    measure: Callable[..., list[Line] | None]  # from a number of draws; None: the data are not there
    draws: int


def complex_normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Independent entries of variance one."""
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / math.sqrt(2)


def db(x: Any) -> Any:
    """Decibels of a power."""
    return 10 * np.log10(x)


# --- the checks ------------------------------------------------------------------------------------------------------


def one_link(draws: int, elements: int) -> tuple[np.ndarray, ...]:
    """One antenna, one user, one IRS, Rayleigh; the direct path is only there to be aligned to."""
    rng = np.random.default_rng(1)
    H = np.full((draws, 1, 1), 1e-9 + 0j)
    return H, complex_normal(rng, draws, 1, elements, 1), complex_normal(rng, draws, 1, 1, elements)


def power_of(cell: tuple[np.ndarray, ...], phi: np.ndarray) -> float:
    """Mean received power."""
    H, G, h = cell
    return float((abs(link.cell_channel(H, G, h, phi)) ** 2).mean())


def quantisation(draws: int) -> list[Line]:
    """Loss of b-bit phases."""
    cell = one_link(draws, 2000)
    phi = solvers.align_phases(*cell)
    best = power_of(cell, phi)
    theta = np.angle(phi)
    losses = {bits: db(best / power_of(cell, link.phase_shifts(theta, bits))) for bits in (1, 2, 3)}
    published = {1: 3.9, 2: 0.9, 3: 0.2}
    return [Line(f"{bits} bit", published[bits], float(losses[bits]), 0.05) for bits in losses]


def power_law(draws: int) -> list[Line]:
    """Received power of N elements, aligned and at random."""
    elements = 2000
    cell = one_link(draws, elements)
    phi = solvers.align_phases(*cell)
    theta = np.random.default_rng(2).uniform(-np.pi, np.pi, phi.shape)
    aligned = power_of(cell, phi) / (elements**2 * math.pi**2 / 16)
    by_chance = power_of(cell, link.phase_shifts(theta)) / elements
    return [
        Line("phases aligned, power / (N² π² / 16)", 1.0, aligned, 0.01),
        Line("random phases, power / N", 1.0, by_chance, 4 / math.sqrt(draws)),
    ]


DISTANCES = (15, 20, 25, 30, 35, 40, 45, 50)
SNR = (18.5, 14.8, 12.0, 9.7, 8.1, 7.25, 9.0, 19.3)


def snr_over_distance(draws: int) -> list[Line]:
    """A user who walks from the access point to the IRS."""
    rng = np.random.default_rng(3)
    antennas, elements, to_irs, aside = 8, 50, 51.0, 2.0
    direct, reflected = complex_normal(rng, draws, 1, antennas), complex_normal(rng, draws, 1, 1, elements)
    across = np.exp(1j * math.pi * 0.3 * np.arange(antennas))  # one path from the access point to the IRS
    lines = []
    for distance, published in zip(DISTANCES, SNR, strict=True):
        near, far = math.hypot(distance, aside), math.hypot(to_irs - distance, aside)
        gains = [
            -30 - 30 * math.log10(near) - 10,
            -30 - 22 * math.log10(to_irs) + 5,
            -30 - 30 * math.log10(far) - 10 + 5,
        ]
        H, G, h = (10 ** (gain / 20) * x for gain, x in zip(gains, (direct, across, reflected), strict=True))
        G = np.broadcast_to(G, (draws, 1, elements, antennas))
        _, _, history = solvers.alternating_optimization(H, G, h, 10**0.5, 10**-8.0, iterations=20, leaps=True)
        ours = float(db(2 ** history[:, -1] - 1).mean())
        lines.append(Line(f"d = {distance} m", published, ours, 0.2))
    return lines


def weighted_sum_rate(draws: int, path: Path = GUO) -> list[Line] | None:
    """The published channels, from the published starts."""
    if not path.exists():
        return None
    with np.load(path) as archive:
        data = {name: array[:draws] if array.ndim > 1 else array for name, array in archive.items()}
    cell, weights = (data["H"], data["G"][:, None], data["h"][:, None]), data["weights"].astype(np.float32)
    start = data["phi_init"][:, None]
    _, _, history = solvers.alternating_optimization(*cell, 1.0, 1.0, weights, iterations=100, phi_init=start)
    optimised = float(history[:, -1].mean()) * NATS
    lines = []
    for label, channel, name in (
        ("no IRS, WMMSE", data["H"], "wsr_without_irs"),
        ("random phases, WMMSE", link.cell_channel(*cell, start), "wsr_random_phase"),
    ):
        w = solvers.wmmse(channel, 1.0, 1.0, weights, iterations=300)
        rate = float(solvers.weighted_sum_rate(channel, w, 1.0, weights).mean()) * NATS
        lines.append(Line(label, float(data[name]), rate, 0.004))
    for label, name in (("their alternating optimisation", "wsr_ao_curve"), ("their algorithm 2", "wsr_alg2_curve")):
        lines.append(Line(f"100 iterations; {label}", float(data[name][-1]), optimised, 0.0, at_least=True))
    return lines


MASTS = Scenario(num_bs=1, num_irs=1, num_antennas=8, num_elements=32, bs_positions_m=((0, 40, 10),),
                 irs_positions_m=((40, 10, 5),), num_users=1, area_bounds_m=(0, 0, 80, 80))  # fmt: skip


def ask_sionna() -> dict[str, Any]:
    """Responses ``(elements, antennas)`` of Sionna RT in free space, with where its elements and antennas are."""
    from sionna import rt

    scene = rt.load_scene()
    scene.frequency = MASTS.carrier_frequency_hz
    shapes = {"tx_array": (1, 8), "rx_array": (4, 8)}
    for name, (rows, columns) in shapes.items():
        array = rt.PlanarArray(num_rows=rows, num_cols=columns, pattern="iso", polarization="V")
        setattr(scene, name, array)
    scene.add(rt.Transmitter("bs", position=list(MASTS.bs_positions_m[0]), orientation=[0, 0, 0]))  # type: ignore[index]
    scene.add(rt.Receiver("irs", position=list(MASTS.irs_positions_m[0]), orientation=[0, 0, 0]))  # type: ignore[index]
    off = dict.fromkeys(("specular_reflection", "diffuse_reflection", "refraction"), False)
    paths = rt.PathSolver()(scene, max_depth=0, samples_per_src=1000, **off)
    real, imag = (np.array(part)[0, :, 0, :, 0] for part in paths.a)
    places = {name: np.array(getattr(scene, name).positions(scene.wavelength)).reshape(3, -1).T for name in shapes}
    places = {name: x if len(x) == math.prod(shapes[name]) else x.T for name, x in places.items()}
    return {
        "version": rt.__version__,
        "real": (real / abs(real + 1j * imag)).round(8).tolist(),
        "imag": (imag / abs(real + 1j * imag)).round(8).tolist(),
        "antenna_y": (places["tx_array"][:, 1] / scene.wavelength[0]).round(6).tolist(),
        "element_y": (places["rx_array"][:, 1] / scene.wavelength[0]).round(6).tolist(),
        "element_z": (places["rx_array"][:, 2] / scene.wavelength[0]).round(6).tolist(),
    }


def array_responses(draws: int) -> list[Line] | None:
    """Line of sight between two masts, element by element, against the kept responses of Sionna."""
    path = RAW / "sionna.json"
    if not path.exists():
        return None
    theirs = json.loads(path.read_text(encoding="utf-8"))
    offset = np.array(MASTS.irs_positions_m) - np.array(MASTS.bs_positions_m)
    ours = between_masts(MASTS, offset[:, None])[0, 0]
    column, row = (index[0] for index in planar_array(MASTS.elements, MASTS.max_elements))
    y, z = (np.array(theirs[f"element_{axis}"]) for axis in "yz")
    places = {
        (round(2 * (a - y.min())), round(2 * (b - z.min()))): i for i, (a, b) in enumerate(zip(y, z, strict=True))
    }
    elements = [places[c, r] for c, r in zip(column, row, strict=True)]
    antennas = np.argsort(theirs["antenna_y"])
    found = (np.array(theirs["real"]) + 1j * np.array(theirs["imag"]))[elements][:, antennas]
    gap = abs(found / found[0, 0] - ours / ours[0, 0]).max()
    return [Line(f"largest difference of {found.size} responses of size 1", 0.0, float(gap), 2e-6)]


def free_space(draws: int) -> list[Line]:
    """Path gain at 1 m."""
    lines = []
    for ghz in (2.4, 3.5, 28.0):
        s = Scenario(reference_gain_db=None, carrier_frequency_hz=ghz * 1e9)
        published = -(32.45 + 20 * math.log10(ghz))
        lines.append(Line(f"{ghz:g} GHz at 1 m", published, float(db(s.reference_gain)), 0.01))
    return lines


GUDMUNDSON = {"suburban": (7.5, 0.82, 100.0), "urban": (4.3, 0.3, 10.0)}  # std [dB], correlation, after so many metres


def shadowing(draws: int) -> list[Line]:
    """Users who walk straight on."""
    lines = []
    for place, (std, correlation, metres) in GUDMUNDSON.items():
        s = Scenario(
            shadowing_std_db=std, shadowing_distance_m=-metres / math.log(correlation), mobility="gauss_markov",
            gauss_markov_memory=1.0, speed_mps=metres, num_users=20, num_irs=2, num_antennas=1, num_elements=1,
            area_bounds_m=(0, 0, 1e6, 1e6), horizon=3, action="structured", observation="large_scale",
        )  # fmt: skip
        shadows = []
        envs = [make_vec_env(x, draws) for x in (s, s.replace(shadowing_std_db=0.0))]
        for env in envs:
            env.reset(seed=0)
        for _ in range(2):
            gains = [env.view().gains for env in envs]
            shadows.append(20 * np.log10(gains[0].direct / gains[1].direct).ravel())
            for env in envs:
                env.step(np.zeros((draws, s.num_bs, env.action_size), np.float32))
        count = shadows[0].size
        found = float((shadows[0] * shadows[1]).mean() / std**2)
        lines.append(Line(f"{place}, std [dB]", std, float(shadows[0].std()), 4 * std / math.sqrt(2 * count)))
        lines.append(Line(f"{place}, correlation after {metres:g} m", correlation, found, 6 / math.sqrt(count)))
    return lines


def doppler(draws: int) -> list[Line]:
    """Correlation of ``fading="ar1"`` from slot to slot."""
    lines = []
    for product, published in ((0.05, 0.9755), (0.1, 0.9037), (0.2, 0.6425)):  # tables of J0
        s = Scenario(fading="ar1", doppler_hz=product, slot_s=1.0, num_irs=0, num_elements=1, mobility="static",
                     action="structured", observation="large_scale")  # fmt: skip
        env = make_vec_env(s, draws)
        env.reset(seed=0)
        first = env.view().csi.H
        env.step(np.zeros((draws, s.num_bs, env.action_size), np.float32))
        second, gain = env.view().csi.H, env.view().gains.direct[..., None] ** 2
        found = float((second * first.conj() / gain).real.mean())
        lines.append(Line(f"f T = {product:g}", published, found, 5 / math.sqrt(first.size)))
    return lines


CHECKS: dict[str, Check] = {
    "distance": Check(
        "A user between an access point and an IRS",
        'Q. Wu, R. Zhang, "Intelligent reflecting surface enhanced wireless network: joint active and passive '
        'beamforming design", IEEE GLOBECOM 2018 (arXiv:1809.01423), Fig. 4, joint design',
        "`alternating_optimization` with leaps. M = 8 antennas, N = 50 elements, 5 dBm, noise -80 dBm, the IRS 51 m "
        "from the access point, the user 2 m beside the line between them. Published values were read off the figure. "
        "Path gains are -30 dB at 1 m with exponents 3 (to the user) and 2.2 (access point to IRS), 10 dB of "
        "penetration to the user, and 5 dBi of an element on either way. These gains are our reading: those of the "
        "reflected path were chosen so that the curves agree, so what is tested is the course over eight distances, "
        "not its level",
        "SNR [dB], mean of its dB",
        snr_over_distance,
        1000,
    ),
    "guo": Check(
        "Weighted sum rate of four users",
        'H. Guo, Y.-C. Liang, J. Chen, E. G. Larsson, "Weighted sum-rate maximization for reconfigurable intelligent '
        'surface aided wireless networks", IEEE Trans. Wireless Commun. 19(5), 2020, Fig. 4(b)',
        "the authors' own 100 channels and starting phases (repository guohuayan/WSR-maximization-for-RIS-system): "
        "`wmmse`, and `alternating_optimization` with 100 iterations, which has to end at least as high",
        "nats/s/Hz",
        weighted_sum_rate,
        100,
    ),
    "quantisation": Check(
        "What phases of few bits lose",
        'Q. Wu, R. Zhang, "Beamforming optimization for wireless network aided by intelligent reflecting surface with '
        'discrete phase shifts", IEEE Trans. Commun. 68(3), 2020 (arXiv:1906.03165)',
        "`align_phases`, then `link.phase_shifts` with `phase_bits`, 2,000 elements, Rayleigh links",
        "loss [dB]",
        quantisation,
        200,
    ),
    "power": Check(
        "Received power of N elements",
        'Q. Wu, R. Zhang, "Intelligent reflecting surface enhanced wireless network via joint active and passive '
        'beamforming", IEEE Trans. Wireless Commun. 18(11), 2019, Proposition 2',
        "`align_phases` and `link.cell_channel`, N = 2,000, Rayleigh links",
        "ratio to the proposition",
        power_law,
        400,
    ),
    "sionna": Check(
        "Array responses",
        "Sionna RT (NVIDIA), free space, synthetic arrays",
        "the line of sight from 8 antennas to 4 x 8 elements 50 m away, `physics/array_response.py`, both divided by "
        "their first entry",
        "amplitude",
        array_responses,
        1,
    ),
    "free-space": Check(
        "Free space",
        "Recommendation ITU-R P.525: 32.45 + 20 log10(f / GHz) dB at 1 m",
        "`Scenario(reference_gain_db=None)`. The default of -30 dB is a convention of IRS papers and 10 dB above it",
        "path gain [dB]",
        free_space,
        1,
    ),
    "shadowing": Check(
        "Shadowing along a way",
        'M. Gudmundson, "Correlation model for shadow fading in mobile radio systems", Electronics Letters 27(23), '
        "1991",
        "users of the environment who walk straight on, `shadowing_distance_m` from his two measurements",
        "as named",
        shadowing,
        400,
    ),
    "doppler": Check(
        "Fading from slot to slot",
        "R. H. Clarke, Bell Syst. Tech. J. 47, 1968: J0(2 pi f T)",
        '`fading="ar1"` in the environment, one slot apart',
        "correlation",
        doppler,
        2000,
    ),
}


# --- raw data and the page -------------------------------------------------------------------------------------------


def measured(share: float = 1.0, kept: dict[str, Any] | None = None, guo: Path = GUO) -> dict[str, Any]:
    """The lines of every check, with this share of the draws; those of ``kept`` where data are missing.

    ``guo`` is the file of published channels.
    """
    found = {}
    for name, check in CHECKS.items():
        files = {"path": guo} if name == "guo" else {}
        lines = check.measure(max(1, round(share * check.draws)), **files)
        if lines is not None:
            found[name] = [line._asdict() | {"ours": round(line.ours, 9)} for line in lines]
        elif kept and name in kept:
            found[name] = kept[name]
    return found


def number(x: float) -> str:
    """Three decimals, or the power of ten of what would vanish."""
    return f"{x:.1e}" if 0 < abs(x) < 5e-4 else f"{x:.3f}"


def page(content: dict[str, Any]) -> str:
    """The text of the page."""
    agreed = sum(Line(**line).agrees for lines in content.values() for line in lines)
    total = sum(map(len, content.values()))
    text = [
        "# Validation",
        "",
        "Publications that the functions of this package reproduce, number by number. "
        "`python -m experiments.validation` writes this page, and a test holds every line to its tolerance. "
        f"{agreed} of {total} lines agree.",
        "",
        "![Published and our own curves](images/validation.png)",
        "",
    ]
    for name, lines in content.items():
        check = CHECKS[name]
        text += [f"## {check.title}", "", f"{check.source}. How: {check.how}.", ""]
        text += [f"| {check.unit} | published | ours | difference | allowed |", "|---|---|---|---|---|"]
        for values in lines:
            line = Line(**values)
            allowed = "at least" if line.at_least else f"± {number(line.tolerance)}"
            gap = f"{line.ours - line.published:+.3f}" if abs(line.ours - line.published) >= 5e-4 else "< 0.001"
            text.append(f"| {line.label} | {number(line.published)} | {number(line.ours)} | {gap} | {allowed} |")
        text.append("")
    r, second = jakes_correlation(0.1, 1.0), jakes_correlation(0.1, 2.0)
    text += [
        "## Where the model is not the publication's",
        "",
        f'- Two slots apart `fading="ar1"` is an AR(1) process and no longer Clarke\'s: at f T = 0.1 it has {r**2:.3f} '
        f"there, where J0 has {second:.3f}. At the default slot of 1 s and 1.5 m/s walkers' fading is all but new in "
        "each slot whatever the model.",
        "- A path gain of -30 dB at 1 m is the convention of IRS papers. Free space has -40.05 dB at 2.4 GHz.",
        "- Alternating optimisation ends above the published curves of Guo et al.; it is another algorithm, so the "
        "lines say that it is no worse.",
        "",
        "## What cannot be reproduced",
        "",
        'C. Huang, R. Mo, C. Yuen, "Reconfigurable intelligent surface assisted multiuser MISO systems exploiting deep '
        'reinforcement learning", IEEE J. Sel. Areas Commun. 38(8), 2020: the publication gives transmit powers but no '
        "noise power, so its sum rates belong to an unknown SNR. Any level of its curves can be met by choosing one, "
        "which would show nothing. The paper that this package is about has the same gap ([paper.md](paper.md)).",
        "",
    ]
    return "\n".join(text)


def draw(content: dict[str, Any], path: Path = PICTURE) -> None:
    """Published numbers as marks, ours as lines."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from irs_marl_env.figure_style import BS_COLOURS, STYLE, save

    blue, red = BS_COLOURS[0], BS_COLOURS[1]
    with rc_context(STYLE):
        figure = Figure(figsize=(9.0, 3.4), layout="constrained")
        left, middle, right = figure.subplots(1, 3, width_ratios=(3, 2.4, 2))
        lines = [Line(**line) for line in content["distance"]]
        left.plot(DISTANCES, [line.ours for line in lines], color=blue, linewidth=1.4, label="ours")
        left.plot(DISTANCES, [line.published for line in lines], "o", color=red, markersize=5, label="published")
        left.set_xlabel("distance from the access point [m]")
        left.set_ylabel("SNR [dB]")
        left.set_title("Wu, Zhang 2018", loc="left", fontsize=9.0)
        left.legend()
        bars = [Line(**line) for line in content.get("guo", [])]
        names = ["no IRS", "random\nphases", "AO", "algorithm 2"][: len(bars)]
        places = np.arange(len(bars))
        middle.bar(places, [line.ours for line in bars], color=blue, width=0.6)
        middle.plot(places, [line.published for line in bars], "o", color=red, markersize=5)
        middle.set_xticks(places, names)
        middle.set_ylabel("weighted sum rate [nats/s/Hz]")
        middle.set_title("Guo et al. 2020", loc="left", fontsize=9.0)
        bars = [Line(**line) for line in content["quantisation"]]
        places = np.arange(len(bars))
        right.bar(places, [line.ours for line in bars], color=blue, width=0.6)
        right.plot(places, [line.published for line in bars], "o", color=red, markersize=5)
        right.set_xticks(places, [line.label for line in bars])
        right.set_ylabel("loss [dB]")
        right.set_title("Wu, Zhang 2020", loc="left", fontsize=9.0)
        for axis in (left, middle, right):
            axis.grid(axis="y", linewidth=0.4)
            axis.set_axisbelow(True)
        save(figure, path)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true", help="write the page from results/validation")
    parser.add_argument("--sionna", action="store_true", help="ask Sionna RT for its array responses, and nothing else")
    parser.add_argument("--guo", type=Path, default=GUO, help="the channels of Guo et al. 2020")
    options = parser.parse_args()
    if options.sionna:
        (RAW / "sionna.json").write_text(rawdata.dumps(ask_sionna()), encoding="utf-8", newline="\n")
        return
    path = RAW / "result.json"
    content = json.loads(path.read_text(encoding="utf-8"))["checks"] if path.exists() else {}
    if not options.page:
        content = measured(kept=content, guo=options.guo)
        path.write_text(rawdata.dumps({"checks": content}), encoding="utf-8", newline="\n")
    PAGE.write_text(page(content), encoding="utf-8", newline="\n")
    draw(content)
    for name, lines in content.items():
        for values in lines:
            line = Line(**values)
            print(
                f"{name}: {line.label}: {line.published:.4g}, ours {line.ours:.4g}{'' if line.agrees else '  DIFFERS'}"
            )


if __name__ == "__main__":
    main()
