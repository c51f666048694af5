"""MADDPG of TorchRL over ``TorchRLEnv``: a critic of all observations and actions, actors share their parameters.

    pip install -e '.[torchrl,fast]'
    python examples/torchrl_maddpg.py

Written for TorchRL 0.14; a minute of one core. The table compares it with rules on the same draws.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from tensordict.nn import TensorDictModule, TensorDictSequential
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, ReplayBuffer
from torchrl.modules import AdditiveGaussianModule, MultiAgentMLP
from torchrl.objectives import DDPGLoss, SoftUpdate, ValueEstimators

from irs_marl_env import compare, evaluate, get_scenario
from irs_marl_env.adapters.torchrl import TorchRLEnv

SCENARIO = get_scenario("mdlbi-blocked-small-v0", action="structured", observation="large_scale", reward="team")
LAYERS = {"activation_class": torch.nn.ReLU, "norm_class": torch.nn.LayerNorm, "norm_kwargs": {"normalized_shape": 64}}


def main(updates: int = 2_000, episodes: int = 50) -> None:
    """Train, and print a table on the same draws; an update follows each slot of 16 environments."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    env = TorchRLEnv(SCENARIO, 16, seed=1, stagger=True)
    agents, seen, size = len(env.group_map["bs"]), env.batch.observation_size, env.batch.action_size
    mlp = partial(MultiAgentMLP, n_agents=agents, share_params=True, depth=2, num_cells=64, **LAYERS)
    net = torch.nn.Sequential(mlp(seen, size, centralized=False), torch.nn.Tanh())
    actor = TensorDictModule(net, [("bs", "observation")], [env.action_key])
    slots, spec = updates * 16, env.full_action_spec_unbatched
    noise = AdditiveGaussianModule(spec, 0.4, 0.05, slots, action_key=env.action_key)
    both = TensorDictModule(lambda *x: torch.cat(x, -1), [("bs", "observation"), env.action_key], [("bs", "both")])
    critic = TensorDictModule(mlp(seen + size, 1, centralized=True), [("bs", "both")], [("bs", "state_action_value")])
    value = TensorDictSequential(both, critic)
    loss = DDPGLoss(actor, value, delay_value=True)
    loss.set_keys(**{name: ("bs", name) for name in ("reward", "done", "terminated", "state_action_value")})
    loss.make_value_estimator(ValueEstimators.TD0, gamma=0.0)  # an action changes its own slot alone
    target = SoftUpdate(loss, tau=0.005)
    rates = ((loss.actor_network_params, 3e-4), (loss.value_network_params, 1e-3))
    optimizer = torch.optim.Adam([{"params": list(p.values(True, True)), "lr": rate} for p, rate in rates])
    memory = ReplayBuffer(storage=LazyTensorStorage(slots), batch_size=256)

    def policy(observations: np.ndarray) -> np.ndarray:  # (E, M, D_o) to (E, M, D_a)
        with torch.no_grad():
            return net(torch.as_tensor(observations)).numpy()

    rules = [evaluate(name, SCENARIO, episodes, 10_000, 20, 5) for name in ("random", "structured-local-gain")]
    before = evaluate(policy, SCENARIO, episodes, 10_000, 20, 5, name="before training")
    counts = {"frames_per_batch": 16, "total_frames": slots}
    for data in Collector(env, TensorDictSequential(actor, noise), **counts, auto_register_policy_transforms=False):
        memory.extend(data.reshape(-1))
        noise.step(16)
        losses = loss(memory.sample())
        (losses["loss_actor"] + losses["loss_value"]).backward()
        optimizer.step()
        optimizer.zero_grad()
        target.step()
    after = evaluate(policy, SCENARIO, episodes, 10_000, 20, 5, name="MADDPG")
    print(compare([*rules, before, after], ["sum_rate", "jain"], baseline="structured-local-gain").table())


if __name__ == "__main__":
    main()
