"""How large an environment may be, told before any memory is taken.

Sizes are numbers that anybody can write down; what they cost shows only when arrays are made, and then the machine
hangs. So a scenario is refused when one environment would need more than :data:`LARGEST_ENVIRONMENT`, a batch when it
would need more than the machine has, and counts that cost time are limited, too (docs/model.md, "Sizes").
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from irs_marl_env.scenario import Scenario

LARGEST_ENVIRONMENT = 2**32  # bytes
LARGEST_BATCH = 2**40  # bytes, where the memory of the machine is not known
STEP = 3.5  # memory of a step over environment_bytes, at most (tests/test_sizes.py)
LARGEST_RATES = 2**32  # bytes that an evaluation keeps
LONGEST_EPISODE = 10**9  # slots
LARGEST_SEED = 2**10_000 - 1  # Python neither writes nor reads an integer of more than 4300 digits
MOST_SWEEPS = 1000  # of the structured decoder
MOST_ITERATIONS = 100_000  # of a solver

_COMPLEX, _REAL = 8, 4  # bytes


def environment_bytes(scenario: Scenario) -> int:
    """Memory that one environment needs at least: channels, observations, actions and what a step computes with them.

    Computed in Python's integers from the sizes alone, so it costs nothing and overflows nowhere. The most that a step
    really takes, in numpy, is 1.1 to 3.4 times as much (:data:`STEP`).
    """
    s = scenario
    M, K, L, Nb = s.num_bs, s.num_users, s.num_irs, s.max_antennas
    if isinstance(s.num_elements, tuple):
        N, total = max(s.num_elements, default=1), sum(s.num_elements)
    else:
        N, total = s.num_elements, s.num_elements * L
    links = M * K * Nb + M * L * N * Nb + L * K * N
    observation = 2 * K + L * K + L + (M - 1) * L
    if s.observation == "csi":
        observation += 2 * (K * Nb + total * Nb + K * total)
    action = 2 * K * Nb + total + L
    products = K * K
    if s.action == "structured":
        action = L + L * K + K + 1 + s.power_control
        links += M * L * K * N  # what each BS knows of the surfaces it holds
        products *= 2 * M  # in double precision
    # channels before and after the step; observations and actions of every BS
    return _COMPLEX * (2 * links + products + M * K * Nb) + _REAL * M * (observation + action)


def check_environment(scenario: Scenario) -> None:
    """Refuse a scenario of which one environment would not fit into :data:`LARGEST_ENVIRONMENT`.

    Raises:
        ValueError: names the sizes, the memory they would need and the limit.
    """
    needed = environment_bytes(scenario)
    if needed > LARGEST_ENVIRONMENT:
        raise ValueError(
            f"{_sizes(scenario)}: one environment would need at least {in_words(needed)}; must be at most "
            f"{in_words(LARGEST_ENVIRONMENT)}, choose smaller sizes"
        )


def check_batch(scenario: Scenario, num_envs: int, device: Any = None) -> None:
    """Refuse a batch of which a step may not fit into the memory of the machine, or of the device.

    Raises:
        ValueError: names ``num_envs``, the memory that they may need and what there is.
    """
    one = int(STEP * environment_bytes(scenario))
    limit = _memory(device)
    if one * num_envs > limit:
        needed = f"a step would need up to {in_words(one * num_envs)} ({in_words(one)} each)"
        raise ValueError(
            f"num_envs={_count(num_envs)}: {needed}; must be at most {limit // one:,} here ({in_words(limit)})"
        )


def check_memory(named: str, needed: int, device: Any = None) -> None:
    """Refuse what would not fit into the memory of the machine, or of the device.

    Args:
        named: the settings that decide the size, with their values.
        needed: bytes.
        device: of torch.

    Raises:
        ValueError: names the settings, the memory that they would need and what there is.
    """
    limit = _memory(device)
    if needed > limit:
        raise ValueError(
            f"{named}: would need at least {in_words(needed)}; must be at most {in_words(limit)} here, choose smaller "
            "numbers"
        )


def check_rates(episodes: int, slots: int, num_bs: int, num_users: int = 0) -> None:
    """Refuse an evaluation whose rates, of BSs and users, would not fit into :data:`LARGEST_RATES`.

    Raises:
        ValueError: names episodes, slots and the memory that their rates would need.
    """
    numbers = num_bs if num_users == 0 else 2 * num_bs + num_users  # rates of BSs and users, radiated powers
    needed = episodes * slots * (8 * numbers + 4 * num_users)  # and cells
    if needed > LARGEST_RATES:
        raise ValueError(
            f"episodes={_count(episodes)}, slots={_count(slots)}: their rates would need {in_words(needed)}; must be "
            f"at most {in_words(LARGEST_RATES)}, measure fewer episodes or slots"
        )


def in_words(size: int) -> str:
    """A number of bytes as people write it."""
    for power, unit in enumerate(("bytes", "KiB", "MiB", "GiB", "TiB")):
        if size < 1024 ** (power + 1):
            return f"{size / 1024**power:.5g} {unit}"
    return f"{size // 1024**4:,} TiB" if size < 2**80 else "more than 10^12 TiB"


def _count(number: int) -> str:
    return f"{number:,}" if number < 10**24 else f"about 2^{number.bit_length() - 1}"


def _sizes(s: Scenario) -> str:
    elements = s.num_elements if isinstance(s.num_elements, int) else max(s.num_elements, default=1)
    counts = {"num_bs": s.num_bs, "num_users": s.num_users, "num_irs": s.num_irs}
    counts |= {"num_antennas": s.max_antennas, "num_elements": elements}
    return ", ".join(f"{name}={_count(value)}" for name, value in counts.items())


def _memory(device: Any) -> int:
    """Bytes of the machine, or of an accelerator (a torch device)."""
    try:
        if getattr(device, "type", "cpu") == "cuda":
            import torch

            return int(torch.cuda.get_device_properties(device).total_memory)
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return LARGEST_BATCH
