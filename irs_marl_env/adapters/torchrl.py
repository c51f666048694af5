"""TorchRL: a native batched environment with the keys of ``PettingZooWrapper``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.data import Bounded, Categorical, Composite, MultiCategorical, Unbounded
from torchrl.envs import EnvBase

from irs_marl_env import checks
from irs_marl_env.adapters import batch_of, own_rates
from irs_marl_env.adapters.discrete import BidLevels
from irs_marl_env.scenario import Scenario

FLAGS = ("done", "terminated", "truncated")


class TorchRLEnv(EnvBase):
    """``num_envs`` environments as one ``EnvBase`` of batch size ``(E,)``; the base stations are the group ``"bs"``.

    | key | shape |
    |---|---|
    | ``("bs", "observation")``, ``("bs", "action")`` | ``(E, M, D_o)``, ``(E, M, D_a)`` |
    | ``("bs", "reward")``, ``("bs", "done")``, ``("bs", "terminated")``, ``("bs", "truncated")`` | ``(E, M, 1)`` |
    | ``"done"``, ``"terminated"``, ``"truncated"`` | ``(E, 1)`` |
    | ``"state"``, with ``return_state`` | ``(E, D_s)`` |
    | ``("bs", "info", ...)``, with ``metrics``: ``rates`` of own users and ``cell`` | ``(E, M, K)`` |
    | ``owner``; ``sum_rate`` and ``power_w`` | ``(E, M, L)``; ``(E, M, 1)`` |

    The end of an episode is truncated, never terminated. The numbers are those of ``make_vec_env``, bit for bit, whose
    row i is seeded with ``seed + i`` and goes on with its streams from episode to episode.

    Args:
        scenario: preset name or scenario.
        num_envs: E.
        seed: of the first reset, as :meth:`set_seed` gives one to the next; ``None``: entropy.
        device: where tensors live; on any but the CPU the environment is computed there too.
        levels: actions are choices of bids in so many levels, see :class:`irs_marl_env.adapters.discrete.BidLevels`:
            ``("bs", "action")`` is ``(E, M)`` int64 where the joint choices are few, else ``(E, M, L)``.
        return_state: hand out the global state.
        metrics: hand out the metrics of each slot.
        **options: of :func:`irs_marl_env.make_vec_env` (``stagger``, ``fast``, ``render_mode``), and scenario fields.

    Raises:
        RuntimeError: in ``step``, where an episode is over and was not reset.

    Example:
        >>> env = TorchRLEnv("mdlbi-small-v0", 3, seed=0, fast=False, action="structured")
        >>> env.rollout(5)["next", "bs", "reward"].shape
        torch.Size([3, 5, 2, 1])
    """

    def __init__(
        self,
        scenario: str | Scenario = "mdlbi-v0",
        num_envs: int = 1,
        seed: int | None = None,
        device: Any = None,
        *,
        levels: int | None = None,
        return_state: bool = False,
        metrics: bool = False,
        **options: Any,
    ) -> None:
        on_cpu = device is None or torch.device(device).type == "cpu"
        where: dict[str, Any] = {"backend": "numpy"} if on_cpu else {"backend": "torch", "device": device}
        self.batch = batch = batch_of(scenario, num_envs, options, **where)
        super().__init__(device=device, batch_size=[num_envs])
        self.group_map = {"bs": batch.agents}
        self.levels = None if levels is None else BidLevels(batch.scenario, levels)
        self.return_state, self.metrics = (
            checks.Flag()(name, value) for name, value in (("return_state", return_state), ("metrics", metrics))
        )
        self._make_specs()
        self._seed: int | None = checks.check_seed(seed)
        self._observations: Any = None  # of the last reset, here or in the batch
        self._over = np.zeros(num_envs, bool)  # rows to be reset; the batch stands at their next episodes already

    # --- specs -------------------------------------------------------------------------------------------------

    def _make_specs(self) -> None:
        batch, device, lead = self.batch, self.device, (self.batch.num_envs, len(self.batch.agents))
        box = batch.single_observation_space

        def group(**leaves: Any) -> Composite:
            return Composite({"bs": Composite(leaves, shape=lead, device=device)}, shape=lead[:1], device=device)

        def bounded(low: np.ndarray, high: np.ndarray) -> Bounded:
            limits = (torch.tensor(x, device=device).expand(lead[0], *x.shape) for x in (low, high))
            return Bounded(*limits, (lead[0], *low.shape), device, torch.float32)

        def flags(shape: tuple[int, ...]) -> dict[str, Categorical]:
            return {name: Categorical(2, (*shape, 1), device, torch.bool) for name in FLAGS}

        self.observation_spec = group(observation=bounded(box.low, box.high))
        if self.metrics:
            info = {name: Unbounded(x.shape, device, x.dtype) for name, x in self._info(None).items()}
            self.observation_spec["bs", "info"] = Composite(info, shape=lead, device=device)
        if self.return_state:
            self.observation_spec["state"] = bounded(batch.state_encoder.low, batch.state_encoder.high)
        self.action_spec = group(action=self._choices(lead))
        self.reward_spec = group(reward=Unbounded((*lead, 1), device, torch.float32))
        self.done_spec = group(**flags(lead)).update(flags(lead[:1]))

    def _choices(self, lead: tuple[int, int]) -> Bounded | Categorical | MultiCategorical:
        if self.levels is None:
            return Bounded(-1.0, 1.0, (*lead, self.batch.action_size), self.device, torch.float32)
        if self.levels.joint:
            return Categorical(self.levels.count, lead, self.device)
        each = [self.levels.count] * self.levels.num_irs
        return MultiCategorical(each, (*lead, len(each)), self.device)

    # --- an episode --------------------------------------------------------------------------------------------

    def _set_seed(self, seed: int | None) -> None:
        self._seed = checks.check_seed(seed)

    def _reset(self, tensordict: TensorDictBase | None = None, **given: Any) -> TensorDictBase:
        rows = self._rows(tensordict, "_reset")
        due = rows & ~self._over
        if rows.all() and (due.any() or given or self._seed is not None):
            self._observations, _ = self.batch.reset(self._seed, **given)
            self._seed = None
        elif due.any():
            self._observations, _ = self.batch.reset(options={"reset_mask": due})
        self._over = self._over & ~rows
        return self._result(self._observations, self.batch.state() if self.return_state else None)

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        if self._over.any():
            raise RuntimeError(f"the episodes of rows {np.flatnonzero(self._over).tolist()} are over: call reset()")
        if not self._rows(tensordict, "_step").all():
            raise ValueError("'_step' is false for some rows: must be true for all, since they step together")
        action = tensordict["bs", "action"].detach()
        if self.levels is not None:
            action = self.levels.actions(action.cpu().numpy())
        elif self.batch.backend == "numpy":
            action = action.cpu().numpy()
        observations, rewards, _, truncations, infos = self.batch.step(action)
        state = self.batch.state() if self.return_state else None
        if "final_observation" in infos:  # the batch stands at the first slot of the next episodes
            self._observations, observations, state = observations, infos["final_observation"], infos["final_state"]
            self._over = torch.as_tensor(truncations[:, 0]).cpu().numpy().copy()
        return self._result(observations, state, infos, reward=self._tensor(rewards[..., None]))

    @classmethod
    def _complete_done(cls, done_spec: Composite, data: TensorDictBase) -> TensorDictBase:
        return data  # no flag is missing; TorchRL would look for that in every step, a seventh of its time

    def rand_action(self, tensordict: TensorDictBase | None = None) -> TensorDictBase:
        """Random actions, in the tensordict or in a new one; as TorchRL draws them, without its search by name."""
        result = self._dict({}, (self.batch.num_envs,)) if tensordict is None else tensordict
        return result.set(("bs", "action"), self.full_action_spec["bs", "action"].rand())

    # --- tensors -----------------------------------------------------------------------------------------------

    def _tensor(self, x: Any) -> torch.Tensor:
        return torch.as_tensor(x, device=self.device)

    def _rows(self, tensordict: TensorDictBase | None, name: str) -> np.ndarray:
        """The mask ``(E,)`` of that name; all rows where there is none."""
        mask = None if tensordict is None else tensordict.get(name, None)
        return np.ones(len(self._over), bool) if mask is None else mask.reshape(-1).cpu().numpy()

    def _result(self, observations: Any, state: Any, infos: dict[str, Any] | None = None, **group: Any) -> TensorDict:
        """What reset and step have in common; no infos at reset."""
        lead = (self.batch.num_envs, len(self.batch.agents))
        group |= {"observation": self._tensor(observations), **self._flags(lead)}
        if self.metrics:
            group["info"] = self._dict(self._info(infos), lead)
        root = {"bs": self._dict(group, lead), **self._flags(lead[:1])}
        if self.return_state:
            root["state"] = self._tensor(state)
        return self._dict(root, lead[:1])

    def _dict(self, leaves: dict[str, Any], lead: tuple[int, ...]) -> TensorDict:
        # without checks of shapes that are right, a tenth of a step; this is how TorchRL itself makes them
        return TensorDict._new_unsafe(leaves, torch.Size(lead), self.device)

    def _flags(self, lead: tuple[int, ...]) -> dict[str, torch.Tensor]:
        ends = np.zeros((3, *lead, 1), bool)  # of done, terminated, truncated
        ends[::2] = self._over.reshape(-1, *[1] * len(lead))
        return dict(zip(FLAGS, self._tensor(ends), strict=True))

    def _info(self, infos: dict[str, Any] | None) -> dict[str, torch.Tensor]:
        """Metrics of every base station, zeros at reset."""
        s, (E, M) = self.batch.scenario, (self.batch.num_envs, len(self.batch.agents))
        if infos is None:
            sizes = {"rates": s.num_users, "sum_rate": 1, "owner": s.num_irs, "power_w": 1, "cell": s.num_users}
            whole = {"owner", "cell"}
            return {
                name: torch.zeros(E, M, size, dtype=torch.int64 if name in whole else None, device=self.device)
                for name, size in sizes.items()
            }
        x = {name: self._tensor(infos[name]) for name in ("sum_rate", "owner", "power_w", "cell")}
        return {
            "rates": self._tensor(own_rates(infos, M)),
            "sum_rate": x["sum_rate"][..., None],
            "owner": x["owner"][:, None].repeat(1, M, 1),
            "power_w": x["power_w"][..., None],
            "cell": x["cell"][:, None].repeat(1, M, 1),
        }

    def render(self) -> np.ndarray | None:
        """With ``render_mode="rgb_array"`` a picture of the first row."""
        pictures = self.batch.render()
        return None if pictures is None else pictures[0]
