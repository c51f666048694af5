"""Stable-Baselines3: one row for each base station, so that all of them share the parameters of one policy.

``Sb3VecEnv`` is what a model trains in, ``Sb3Policy`` makes a model what :func:`irs_marl_env.evaluate` measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from irs_marl_env.adapters import batch_of, own_rates, per_agent, spaces_of_one
from irs_marl_env.checks import Flag, check_text
from irs_marl_env.scenario import Scenario


class Sb3VecEnv(VecEnv):
    """``num_envs`` environments as a ``VecEnv`` of ``num_envs * M`` rows; row ``e * M + m`` is BS m of environment e.

    The step that ends an episode has ``terminal_observation`` and ``TimeLimit.truncated = True`` in the infos of its
    rows, so that Stable-Baselines3 bootstraps. Infos hold the metrics of every step, as those of the single
    environment do: ``rates (K,)`` of the BS's own users, ``sum_rate``, ``owner (L,)``, ``power_w`` and ``cell (K,)``.

    Args:
        scenario: preset name or scenario.
        num_envs: environments; the attribute of that name counts rows.
        seed: environment e is seeded with ``seed + e`` at the first reset, as :meth:`seed` does; ``None``: entropy.
        **options: of :func:`irs_marl_env.make_vec_env` (``stagger``, ``fast``, ``render_mode``), and scenario fields.

    Example:
        >>> vec = Sb3VecEnv("mdlbi-small-v0", 3, seed=0, fast=False, action="structured")
        >>> vec.reset().shape, vec.num_envs
        ((6, 546), 6)
    """

    def __init__(
        self, scenario: str | Scenario = "mdlbi-v0", num_envs: int = 1, seed: int | None = None, **options: Any
    ) -> None:
        self.batch = batch = batch_of(scenario, num_envs, options)
        self.render_mode = batch.render_mode
        super().__init__(num_envs * batch.scenario.num_bs, *spaces_of_one(batch))
        self._seed, self._action = seed, np.zeros(0)

    def seed(self, seed: int | None = None) -> list[int | None]:
        """Seed environment e with ``seed + e`` at the next :meth:`reset`; returns the seed of each row."""
        self._seed = seed
        return [None if seed is None else seed + e for e in range(self.batch.num_envs) for _ in self.batch.agents]

    def reset(self) -> np.ndarray:
        """Begin an episode in every environment: observations ``(rows, D_o)``."""
        observations, _ = self.batch.reset(seed=self._seed)
        self._seed, self.reset_infos = None, [{} for _ in range(self.num_envs)]
        return self._rows(observations)

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions ``(rows, D_a)`` of a step."""
        self._action = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Observations, rewards, dones and infos of all rows."""
        shape = (self.num_envs, *(self.action_space.shape or ()))
        action = per_agent(self._action, shape, self.batch.num_envs, len(self.batch.agents))
        observations, rewards, _, truncations, metrics = self.batch.step(action)
        return self._rows(observations), self._rows(rewards), self._rows(truncations), self._infos(metrics)

    def _infos(self, metrics: dict[str, Any]) -> list[dict[str, Any]]:
        """Infos of every row, from those of the batch."""
        count = len(self.batch.agents)
        own = self._rows(own_rates(metrics, count))
        sums, power = metrics["sum_rate"].ravel().tolist(), metrics["power_w"].ravel().tolist()
        owners, cells = (np.repeat(metrics[name], count, axis=0) for name in ("owner", "cell"))
        infos: list[dict[str, Any]] = [
            {
                "rates": rates,
                "sum_rate": sum_rate,
                "owner": owner,
                "power_w": power_w,
                "cell": cell,
                "TimeLimit.truncated": False,
            }
            for rates, sum_rate, owner, power_w, cell in zip(own, sums, owners, power, cells, strict=True)
        ]
        if "final_observation" in metrics:
            last = self._rows(metrics["final_observation"])
            for row in np.flatnonzero(np.repeat(metrics["TimeLimit.truncated"], count)):
                infos[row] |= {"TimeLimit.truncated": True, "terminal_observation": last[row]}
        return infos

    def _rows(self, x: np.ndarray) -> np.ndarray:
        """``(E, M, ...)`` as ``(E * M, ...)``."""
        return x.reshape(self.num_envs, *x.shape[2:])

    def get_images(self) -> Sequence[np.ndarray | None]:
        """A picture of every environment."""
        return self.batch.render() or []

    def render(self, mode: str | None = None) -> np.ndarray | None:
        """All pictures as one, for ``render_mode="rgb_array"``."""
        return super().render(mode) if self.render_mode else None

    def close(self) -> None:
        """Forget the pictures."""
        self.batch.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the batch, once for each row asked for."""
        return [getattr(self.batch, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the batch, which all rows share."""
        setattr(self.batch, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call a method of the batch once; the answer, for each row asked for."""
        answer = getattr(self.batch, method_name)(*method_args, **method_kwargs)
        return [answer] * len(list(self._get_indices(indices)))

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """False for each row asked for."""
        return [False] * len(list(self._get_indices(indices)))


def _has_seen_normalised(model: BaseAlgorithm) -> bool:
    """Whether its last observations, which a file keeps, are none of its environment: those lie within bounds."""
    last, space = model._last_obs, model.observation_space
    if not isinstance(last, np.ndarray) or not isinstance(space, spaces.Box):
        return False
    margin = 1e-4 * (1.0 + np.abs(space.low) + np.abs(space.high))
    return bool(((last < space.low - margin) | (last > space.high + margin)).any())


class Sb3Policy:
    """A model of Stable-Baselines3 as a policy: for :func:`irs_marl_env.evaluate`, pictures and one's own loop.

    Every BS of every environment is a row for the model, as in :class:`Sb3VecEnv`. The policy keeps the networks of the
    model, not its environment: it pickles (``evaluate(..., processes=2)``), and it goes on learning with the model.

    Args:
        model: a trained model, or one that ``PPO.load`` read, without a memory (no recurrent policy).
        name: what tables call it; ``None``: the name of the algorithm, such as ``"PPO"``.
        deterministic: act without exploration.
        normalize: the ``VecNormalize`` that the model saw observations through; ``None``: that of the model's own
            environment, if there is one. A model from a file has none, so give it the one that was saved beside it:
            ``VecNormalize.load(path, env)``.

    Raises:
        TypeError: something else than a model, or than a ``VecNormalize``.
        ValueError: a model of other observations or actions than vectors of numbers, or one from a file that has seen
            normalised observations and has nothing to make them with. When it is called: observations of another size
            than the model knows, or a model with a memory.

    Example:
        >>> from stable_baselines3 import PPO
        >>> model = PPO("MlpPolicy", Sb3VecEnv("mdlbi-small-v0", 2, fast=False, action="structured"), device="cpu")
        >>> Sb3Policy(model)(np.zeros((5, 2, 546), np.float32)).shape
        (5, 2, 15)
    """

    def __init__(
        self,
        model: BaseAlgorithm,
        name: str | None = None,
        deterministic: bool = True,
        normalize: VecNormalize | None = None,
    ) -> None:
        if not isinstance(model, BaseAlgorithm):
            kind = model.__name__ if isinstance(model, type) else type(model).__name__
            raise TypeError(f"model of type {kind}: must be a model of Stable-Baselines3, such as PPO.load(path)")
        self.name = type(model).__name__ if name is None else check_text("name", name)
        self._networks, self._deterministic = model.policy, Flag()("deterministic", deterministic)
        for what, space in (("observation", model.observation_space), ("action", model.action_space)):
            if not isinstance(space, spaces.Box) or len(space.shape) != 1:
                raise ValueError(f"model {self.name!r} has the {what} space {space}: must be a Box of one dimension")
        if normalize is not None and not isinstance(normalize, VecNormalize):
            kind = type(normalize).__name__
            raise TypeError(f"normalize of type {kind}: must be a VecNormalize, such as VecNormalize.load(path, env)")
        self._normalize = model.get_vec_normalize_env() if normalize is None else normalize
        if self._normalize is None and _has_seen_normalised(model):
            wanted = "normalize=VecNormalize.load(path, env) must say how"
            raise ValueError(f"model {self.name!r} has seen observations that were normalised: {wanted}")
        if self._normalize is not None and self._normalize.observation_space.shape != model.observation_space.shape:
            sizes = self._normalize.observation_space.shape, model.observation_space.shape
            raise ValueError(f"normalize is for observations {sizes[0]}: must be for those of the model, {sizes[1]}")

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Actions ``(E, M, D_a)`` for observations ``(E, M, D_o)``."""
        size = (self._networks.observation_space.shape or (0,))[0]
        if observations.shape[-1] != size:
            found = observations.shape[-1]
            raise ValueError(f"observations of {found} numbers: must be {size}, as in the scenario of the training")
        rows: Any = observations.reshape(-1, size)
        if self._normalize is not None:
            rows = self._normalize.normalize_obs(rows)
        actions, memory = self._networks.predict(rows, deterministic=self._deterministic)
        if memory is not None:
            raise ValueError(f"the model {self.name!r} has a memory: must be one that acts on observations alone")
        return actions.reshape(*observations.shape[:-1], -1)
