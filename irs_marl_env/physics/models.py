"""Which channel model and which mobility a scenario has: a built-in one, a recording, or somebody else's object."""

from __future__ import annotations

from typing import Any

from irs_marl_env.physics import mobility
from irs_marl_env.physics.channel import ChannelModel
from irs_marl_env.physics.own_channel import OwnChannelModel
from irs_marl_env.physics.recorded import RecordedModel, recorded_mobility
from irs_marl_env.scenario import Scenario


def channel_model(scenario: Scenario, xp: Any, device: Any = None) -> ChannelModel:
    """The channel model of a scenario."""
    if scenario.channels is not None:
        return RecordedModel(scenario, xp, device)
    if isinstance(scenario.channel_model, str):
        made: ChannelModel = scenario.strategy("channel_model")(scenario, xp, device)
        return made
    return OwnChannelModel(scenario, xp, device)


def mobility_model(scenario: Scenario) -> mobility.Mobility:
    """The mobility of a scenario; users of a recording stand where it says."""
    return mobility.mobility_model(scenario) if scenario.channels is None else recorded_mobility(scenario)
