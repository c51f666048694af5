"""BenchMARL: a task over :class:`irs_marl_env.adapters.torchrl.TorchRLEnv`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarl.environments.common import TaskClass
from torchrl.data import Composite
from torchrl.envs import EnvBase

from irs_marl_env.adapters.torchrl import TorchRLEnv


class MdlbiTask(TaskClass):
    """A scenario as a task of BenchMARL; all environments of a worker step as one batch.

    Algorithms with discrete actions choose among bids in three levels, or ``levels`` of them; those with continuous
    ones take the scenario's actions. Metrics are logged, and the critics of the algorithms that look at a state get the
    global one.

    Args:
        name: preset name.
        config: options of :class:`TorchRLEnv` and scenario fields, ``levels`` and ``stagger`` among them.

    Example:
        >>> task = MdlbiTask("mdlbi-small-v0", {"action": "structured", "reward": "team"})
        >>> task.get_env_fun(3, True, seed=0, device="cpu")().batch_size
        torch.Size([3])
    """

    def __init__(self, name: str, config: dict[str, Any] | None = None) -> None:
        super().__init__(name, {"levels": 3, "return_state": True, "metrics": True, **(config or {})})

    def get_env_fun(
        self, num_envs: int, continuous_actions: bool, seed: int | None, device: Any
    ) -> Callable[[], EnvBase]:
        """A function that makes the environments."""
        config = self.config if not continuous_actions else {**self.config, "levels": None}
        return lambda: TorchRLEnv(self.name, num_envs, seed, device, **config)

    def supports_continuous_actions(self) -> bool:
        """Yes."""
        return True

    def supports_discrete_actions(self) -> bool:
        """With structured actions, where all but the bids has a neutral value."""
        return self.config.get("action") == "structured"

    def max_steps(self, env: EnvBase) -> int:
        """Slots of an episode."""
        return env.batch.scenario.horizon

    def has_render(self, env: EnvBase) -> bool:
        """With ``render_mode="rgb_array"``."""
        return env.batch.render_mode is not None

    def group_map(self, env: EnvBase) -> dict[str, list[str]]:
        """One group, ``"bs"``."""
        return env.group_map

    def observation_spec(self, env: EnvBase) -> Composite:
        """What base stations observe."""
        return self._part(env, "observation")

    def info_spec(self, env: EnvBase) -> Composite | None:
        """The metrics of a slot."""
        return self._part(env, "info") if self.config["metrics"] else None

    def _part(self, env: EnvBase, name: str) -> Composite:
        group = env.full_observation_spec_unbatched["bs"]
        return Composite({"bs": Composite({name: group[name].clone()}, shape=group.shape)})

    def state_spec(self, env: EnvBase) -> Composite | None:
        """The global state."""
        if not self.config["return_state"]:
            return None
        return Composite({"state": env.full_observation_spec_unbatched["state"].clone()})

    def action_spec(self, env: EnvBase) -> Composite:
        """What base stations do."""
        return env.full_action_spec_unbatched

    def action_mask_spec(self, env: EnvBase) -> Composite | None:
        """None: every action is legal at all times."""
        return None

    @staticmethod
    def env_name() -> str:
        """Of the family of tasks."""
        return "mdlbi"
