"""Entry in PettingZoo's registry, which exists from PettingZoo 1.27 on."""

from __future__ import annotations

import pettingzoo

from irs_marl_env.scenario import scenario_ids

NAMESPACE = "irs_marl_env"


def register_presets() -> None:
    """Make ``pettingzoo.make("parallel", "irs_marl_env/mdlbi-v0")`` work, and ``"aec"``; nothing without a registry."""
    register = getattr(pettingzoo, "register", None)
    if register is None:
        return
    for name in scenario_ids():
        for kind, maker in (("parallel", "parallel_env"), ("aec", "env")):
            register(kind, f"{NAMESPACE}/{name}", f"irs_marl_env.mdlbi_v0:{maker}", kwargs={"scenario": name})
