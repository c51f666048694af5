"""The fields of a scenario: each with its default, its check, its unit, and what a reader has to know of it.

What stands here is read by ``help(Scenario)``, ``python -m irs_marl_env scenarios --fields`` and docs/fields.md
(:mod:`irs_marl_env.scenario_help`). A ``reading`` is the name of a row of docs/model.md, "Readings of the paper".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

from irs_marl_env import checks, service_area, sizes
from irs_marl_env.recordings import ALLOWED, Recording, check_channels
from irs_marl_env.scenario_fields import TRACE, Group, check_trace

SIZES = Group("Sizes", "How many there are of everything.", "model.md#symbols")
RADIO = Group("Radio", "Powers, the carrier, who serves a user, and what disturbs it.", "model.md#radio")
PATH_LOSS = Group("Path loss", "How strong links are before they fade.", "model.md#channels")
ELEMENTS = Group("Elements", "What the elements of an IRS can do.", "model.md#lossy-elements")
CHANNELS = Group("Channels of your own", "What makes the channels, if it is not the model.", "own-channels.md")
FADING = Group("Small-scale fading", "How channels vary from slot to slot.", "model.md#channels")
SITES = Group("Sites of your own", "Where BSs, IRSs and users are, if it is not the street.", "own-network.md")
STREET = Group("Street", "Where everything stands without sites of your own.", "model.md#geometry-the-street")
MOVEMENT = Group("Movement", "Where users begin and how they move.", "model.md#mobility")
TIME = Group("Time", "Slots and episodes.", "model.md#one-slot")
ASSOCIATION = Group(
    "Association", "Which BS has which IRS, and for whom it reflects.", "model.md#readings-of-the-paper"
)
ACTIONS = Group("Actions", "What an agent says in a slot.", "model.md#actions")
KNOWLEDGE = Group("Observations", "What an agent sees.", "model.md#observations-and-state")
REWARDS = Group("Rewards", "What an agent is paid.", "model.md#readings-of-the-paper")

Point = tuple[float, float, float]
_FADING = {
    "iid": "new in every slot",
    "ar1": "correlated from slot to slot by the Doppler frequency",
    "episode": "drawn once per episode",
    "frozen": "one realisation for ever, the same in all environments",
}


@dataclass(frozen=True, init=False, repr=False, eq=False)
class ScenarioRecord:
    """The fields of :class:`irs_marl_env.Scenario`, which adds what one can do with them."""

    num_bs: int = SIZES.whole(
        None,
        1,
        says="Number M of base stations (BSs), which are the agents.",
        none="as many as `bs_positions_m` has, or 2",
    )
    num_users: int = SIZES.whole(10, 1, says="Number K of users, each with one antenna.")
    num_irs: int = SIZES.whole(
        None,
        0,
        says="Number L of intelligent reflecting surfaces (IRSs).",
        none="as many as `irs_positions_m` has, or 4",
    )
    num_antennas: int | tuple[int, ...] = SIZES.each(
        8, checks.Whole(1), "BS", says="Number Nb of antennas of a BS; one number, or one for each BS."
    )
    num_elements: int | tuple[int, ...] = SIZES.each(
        32, checks.Whole(1), "IRS", says="Number N of elements of an IRS; one number, or one for each IRS."
    )

    tx_power_dbm: float | tuple[float, ...] = RADIO.each(
        26.0, checks.Real(-100, 100), "BS", unit="dBm", says="Greatest power Pmax that a BS may radiate."
    )
    noise_power_dbm: float = RADIO.real(-80.0, -250, 100, unit="dBm", says="Noise power sigma² of a user.")
    reference_gain_db: float | None = PATH_LOSS.real(
        -30.0,
        -200,
        0,
        unit="dB",
        says="Path gain C0 of every link at 1 m.",
        none="that of free space at the carrier, (wavelength / 4 pi)²",
    )
    direct_exponent: float = PATH_LOSS.real(4.0, 0, 10, says="Path-loss exponent of BS-user links.")
    bs_irs_exponent: float = PATH_LOSS.real(2.5, 0, 10, says="Path-loss exponent of BS-IRS links.")
    irs_user_exponent: float = PATH_LOSS.real(2.4, 0, 10, says="Path-loss exponent of IRS-user links.")
    blockage_db: float = PATH_LOSS.real(20.0, 0, 300, unit="dB", says="Loss of BS-user links beyond their path loss.")
    carrier_frequency_hz: float = RADIO.real(
        2.4e9,
        1e6,
        1e12,
        unit="Hz",
        says="Carrier frequency. It counts for Doppler, the phases of lines of sight, and the path gain of free space.",
    )
    inter_cell_interference: bool = RADIO.flag(
        False,
        reading="inter_cell_interference",
        says="Whether beams of other cells disturb a user, directly and over the IRSs that reflect for it.",
    )
    shadowing_std_db: float = PATH_LOSS.real(
        0.0,
        0,
        30,
        unit="dB",
        says="Standard deviation of the log-normal shadowing of BS-user and IRS-user links; 0: none.",
    )
    shadowing_distance_m: float = PATH_LOSS.real(
        10.0, 1e-3, 1e5, unit="m", says="A user who moved so far has shadowing of correlation 1/e with that before."
    )
    cell_rule: str | object = RADIO.part(
        "physics.deployment:CELL_RULES",
        "nearest",
        "__call__",
        classes=False,
        says="Which BS serves a user.",
        means={"nearest": "the BS at the shortest distance", "strongest": "the BS received best at its Pmax"},
        own="a function `(links) -> cell (E, K)`",
    )
    element_amplitude_min: float = ELEMENTS.real(
        1.0, 0, 1, says="Least amplitude of an element over all phases; 1: elements without losses."
    )
    element_amplitude_offset_rad: float = ELEMENTS.real(
        0.43 * math.pi,
        0,
        2 * math.pi,
        unit="rad",
        says="Offset phi_0 of lossy elements: the amplitude is least at the phase phi_0 - pi/2.",
    )
    element_amplitude_steepness: float = ELEMENTS.real(
        1.6, 0, 100, says="Steepness alpha of the amplitude of lossy elements over the phase; 0: no losses."
    )

    # ruff takes the PathLike in the annotation for a default that could change; a path is kept as a str
    channels: str | PathLike | Mapping[str, Any] | Recording | None = CHANNELS.field(  # noqa: RUF009
        None,
        checks.Special(check_channels, ALLOWED),
        "Channels of your own, recorded or computed, in place of path loss and fading.",
        none="`channel_model` makes them",
    )
    channel_model: str | object = CHANNELS.part(
        "physics.channel:CHANNEL_MODELS",
        "rician",
        "__call__",
        says="What makes the channels of a slot.",
        means={"rician": "path loss, shadowing and Rician or Rayleigh fading, by the fields of this table"},
        own="a class that is made with the scenario, or a function: `(gains, memory, motion, streams) -> H, G, h`",
    )

    fading: str = FADING.one_of(_FADING, says="Small-scale fading of BS-user and IRS-user links.")
    bs_irs_fading: str = FADING.one_of(_FADING, says="Small-scale fading of BS-IRS links.")
    doppler_hz: float | None = FADING.real(
        None,
        0,
        1e6,
        unit="Hz",
        says="Greatest Doppler frequency of the user links, for `fading='ar1'`.",
        none="`speed_mps` over the wavelength",
    )
    bs_irs_doppler_hz: float = FADING.real(
        0.0,
        0,
        1e6,
        unit="Hz",
        says="Greatest Doppler frequency of BS-IRS links, for `bs_irs_fading='ar1'`; masts do not move, so it is 0.",
    )
    direct_rician_k_db: float | None = FADING.real(
        None, -100, 100, unit="dB", says="Rician K-factor of BS-user links.", none="Rayleigh fading"
    )
    bs_irs_rician_k_db: float | None = FADING.real(
        None, -100, 100, unit="dB", says="Rician K-factor of BS-IRS links.", none="Rayleigh fading"
    )
    irs_user_rician_k_db: float | None = FADING.real(
        None, -100, 100, unit="dB", says="Rician K-factor of IRS-user links.", none="Rayleigh fading"
    )
    frozen_seed: int = FADING.whole(
        0, 0, sizes.LARGEST_SEED, says="Names the one realisation behind everything that is `'frozen'`."
    )

    bs_positions_m: tuple[Point, ...] | None = SITES.rows(
        3, unit="m", says="Positions (M, 3) of the BSs: x, y, z of each.", none="the street"
    )
    irs_positions_m: tuple[Point, ...] | None = SITES.rows(
        3, unit="m", says="Positions (L, 3) of the IRSs: x, y, z of each.", none="the middle line of the area"
    )
    irs_facing: tuple[Point, ...] | None = SITES.rows(
        3,
        says="The way (L, 3) that each IRS faces; behind it nobody is reached. Any length.",
        none="IRSs serve all round",
    )
    irs_element_exponent: float = SITES.real(
        0.0, 0, 100, says="q of an element's power gain cos^q at an angle from its facing; needs `irs_facing`."
    )
    area_bounds_m: tuple[float, float, float, float] | None = SITES.field(
        None,
        checks.Special(service_area.check_bounds, service_area.BOUNDS),
        "The rectangle in which users are.",
        unit="m",
        none="the street, or the box around sites of your own with a margin",
    )

    area_width_m: float = STREET.real(80.0, 1e-3, 1e6, unit="m", says="Width of the street: x runs from 0 to it.")
    cell_depth_m: float = STREET.real(
        40.0, 1e-3, 1e6, unit="m", says="Depth of the street for each BS: y runs from 0 to `num_bs` times it."
    )
    bs_height_m: float = STREET.real(
        10.0, 0, 1e4, unit="m", says="Height of BSs on the street; `bs_positions_m` has heights of its own."
    )
    irs_height_m: float = STREET.real(
        5.0, 0, 1e4, unit="m", says="Height of IRSs on the street; `irs_positions_m` has heights of its own."
    )
    user_height_m: float = STREET.real(1.5, 0, 1e4, unit="m", says="Height of users, everywhere.")
    mobility: str | object = MOVEMENT.part(
        "physics.mobility:MOBILITY",
        "group",
        "start",
        "advance",
        says="How users move.",
        means={
            "static": "nobody moves",
            "random_waypoint": "each walks straight to a random point, then to the next",
            "group": "random waypoint in a disc around a centre that walks by random waypoint itself",
            "gauss_markov": "velocities with a memory",
            "trace": "positions of your own, of `trace` or of `reset(options={'trace': ...})`",
        },
        own="an object with `start(constants, streams, position)` and `advance(constants, motion, streams)`, "
        "or a class that makes one",
    )
    layout: str = MOVEMENT.one_of(
        {"episode": "new in each episode", "frozen": "the same for ever, named by `frozen_seed`"},
        says="Where users stand when an episode begins.",
    )
    speed_mps: float = MOVEMENT.real(
        1.5, 0, 1e3, unit="m/s", says="Walking speed. Each leg of a random waypoint is walked at 0.5 to 1.5 times it."
    )
    num_groups: int = MOVEMENT.whole(3, 1, says="Number of groups, for `mobility='group'`.")
    group_radius_m: float = MOVEMENT.real(
        12.0, 0, 1e5, unit="m", says="Radius of the disc around the centre of a group, for `mobility='group'`."
    )
    gauss_markov_memory: float = MOVEMENT.real(
        0.85, 0, 1, says="Share a of the velocity that stays from slot to slot, for `mobility='gauss_markov'`."
    )
    # as for channels
    trace: str | PathLike | tuple | None = MOVEMENT.field(  # noqa: RUF009
        None,
        checks.Special(check_trace, TRACE),
        "Positions of the users in every slot, for `mobility='trace'`.",
        unit="m",
        none="given at `reset`, or not needed",
    )

    slot_s: float = TIME.real(1.0, 1e-9, 1e6, unit="s", says="Duration of a slot.")
    horizon: int = TIME.whole(800, 1, sizes.LONGEST_EPISODE, unit="slots", says="Length of an episode.")

    sinr: str = RADIO.named_in(
        "physics.radio:INTERFERENCE",
        "physical",
        reading="sinr",
        says="How the other beams of the cell disturb a user.",
        means={
            "physical": "each on its own, over the channel that carries the signal",
            "reflected": "each on its own, over the reflected path only",
            "paper": "Eq. (4) literally, with one sum of all beams over the reflected path",
        },
    )
    reflection: str = ASSOCIATION.named_in(
        "physics.association:REFLECTION",
        "owned",
        reading="reflection",
        says="Which IRSs reflect for a user.",
        means={
            "owned": "all that its BS owns",
            "single": "of those the one that would bring it most power with random phases",
            "all": "foreign and idle ones too, with the phases they have",
        },
    )
    contention: str | object = ASSOCIATION.part(
        "physics.association:CONTENTION",
        "auction",
        "__call__",
        classes=False,
        reading="contention",
        says="Who wins an IRS for which several BSs bid.",
        means={
            "auction": "the highest bid",
            "collision": "the only bid above 0; two of them leave the IRS without an owner",
            "priority": "of the bids above 0 that of the BS with the lowest index",
            "second_price": "the highest bid, whose BS pays the second highest",
        },
        own="a function `(bids (E, M, L), tie_break) -> owner (E, L)`",
    )
    association_delay: int = ASSOCIATION.whole(
        0,
        0,
        1,
        unit="slots",
        reading="association_delay",
        says="For which slot bids decide the owners: 0 for their own slot, 1 for the next one.",
    )
    initial_owner: str = ASSOCIATION.one_of(
        {"random": "a random BS has each IRS", "none": "nobody has any"},
        reading="initial_owner",
        says="Who owns the IRSs when an episode begins.",
    )
    switching_slots: int = ASSOCIATION.whole(
        0,
        0,
        sizes.LONGEST_EPISODE,
        unit="slots",
        reading="switching_slots",
        says="For how long an IRS is idle when it changes hands.",
    )
    power: str = ACTIONS.named_in(
        "physics.radio:POWER",
        "ball",
        reading="power",
        says="How the power limit is kept: all beams of a BS are scaled together.",
        means={"ball": "down to Pmax where they are above it", "sphere": "to Pmax, up or down"},
    )
    power_control: bool = ACTIONS.flag(
        False, reading="power_control", says="Whether structured actions say what share of Pmax a BS takes."
    )
    phase_bits: int | None = ELEMENTS.whole(
        None,
        1,
        16,
        unit="bit",
        reading="phase_bits",
        says="Resolution b of the phase shifters: each takes the nearest of 2^b phases.",
        none="continuous phases",
    )
    csi: str = KNOWLEDGE.one_of(
        {"all": "over all IRSs", "owned": "over the IRSs that it held in the last slot; the rest is zero"},
        reading="csi",
        says="Over which IRSs a BS sees the channels (CSI) of its own users.",
    )
    csi_error_variance: float = KNOWLEDGE.real(
        0.0,
        0,
        1e3,
        reading="csi_error_variance",
        says="Variance of the error of the CSI, relative to the path gain of the link. Rates come from true channels.",
    )
    rho: str = KNOWLEDGE.one_of(
        {"owner": "who of them owned each IRS, 0 or 1", "bids": "their bids, in [-1, 1]", "none": "nothing: zeros"},
        reading="rho",
        says="What a BS knows of the other BSs' last association.",
    )
    reward: str | object = REWARDS.part(
        "rewards:REWARDS",
        "local",
        "__call__",
        classes=False,
        reading="reward",
        says="What a BS is paid in a slot.",
        means={
            "local": "the sum rate of its own users",
            "team": "the mean of that over the BSs",
            "mixed": "`team_weight` times the team's, the rest its own",
            "proportional_fair": "the mean of log2(`fairness_offset` + rate) over its own users",
            "min_rate": "the least rate of its own users",
            "energy_efficiency": "its sum rate over the power that it takes",
        },
        own="a function `(outcome, state) -> (E, M)`",
    )
    team_weight: float = REWARDS.real(0.5, 0, 1, says="Weight of the team's part, for `reward='mixed'`.")
    bid_cost: float = REWARDS.real(
        0.0, 0, 1e6, unit="bit/s/Hz", says="What a BS pays for each IRS per unit of a bid above 0, won or not."
    )
    price_bps_hz: float = REWARDS.real(
        5.0, 0, 1e6, unit="bit/s/Hz", says="What a bid of 1 offers, for `contention='second_price'`."
    )
    fairness_offset: float = REWARDS.real(
        0.1, 0, 1e6, above=True, unit="bit/s/Hz", says="Added to each rate, for `reward='proportional_fair'`."
    )
    circuit_power_w: float = REWARDS.real(
        8.0, 0, 1e6, above=True, unit="W", says="Power of the circuits of a BS, for `reward='energy_efficiency'`."
    )
    irs_element_power_w: float = REWARDS.real(
        0.01,
        0,
        1e3,
        unit="W",
        says="Power of an element, which the owner of its IRS pays, for `reward='energy_efficiency'`.",
    )
    amplifier_efficiency: float = REWARDS.real(
        0.8,
        0,
        1,
        above=True,
        says="Radiated over consumed power of a BS's amplifier, for `reward='energy_efficiency'`.",
    )
    action: str = ACTIONS.named_in(
        "spaces.actions:ACTIONS",
        "raw",
        reading="action",
        says="What an action holds.",
        means={
            "raw": "beams, phases and bids, as in the paper",
            "structured": "bids, focus weights, user powers and a regulariser, from which beams and phases are made",
        },
    )
    sweeps: int = ACTIONS.whole(
        2, 0, sizes.MOST_SWEEPS, says="Rounds of refinement of beams and phases that structured actions get."
    )
    observation: str | object = KNOWLEDGE.part(
        "spaces.observations:OBSERVATIONS",
        "csi",
        "__call__",
        reading="observation",
        says="What an observation holds.",
        means={
            "csi": "all channels and rho, as in the paper",
            "large_scale": "path gains of its own users, IRSs held and rho",
            "values": "the same, and what each IRS is worth to the BS",
        },
        own="a class that is made with the scenario and has `size`, `low`, `high` and `observe(known) -> (E, M, size)`",
    )
    observe_velocity: bool = KNOWLEDGE.flag(
        False, says="Whether observations end with the velocities and positions of the BS's own users."
    )
