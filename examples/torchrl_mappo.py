"""MAPPO of TorchRL over ``TorchRLEnv``: actors share their parameters, the critic sees all base stations.

    pip install -e '.[torchrl,fast]'
    python examples/torchrl_mappo.py

Written for TorchRL 0.14; a minute of one core. The table compares it with rules on the same draws.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from tensordict.nn import TensorDictModule
from tensordict.nn.distributions import NormalParamExtractor
from torchrl.collectors import Collector
from torchrl.modules import MultiAgentMLP, ProbabilisticActor, TanhNormal
from torchrl.objectives import ClipPPOLoss, ValueEstimators

from irs_marl_env import Scenario, compare, evaluate, get_scenario
from irs_marl_env.adapters.torchrl import TorchRLEnv

SCENARIO = get_scenario("mdlbi-blocked-small-v0", action="structured", observation="large_scale", reward="team")


def learn(scenario: Scenario, seed: int = 1, gamma: float = 0.0, updates: int = 128) -> tuple[Any, int]:
    """The trained policy, from observations ``(E, M, D_o)`` to actions, and how many slots it took."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    env = TorchRLEnv(scenario, 16, seed=seed, stagger=True)
    agents, seen, size = len(env.group_map["bs"]), env.batch.observation_size, env.batch.action_size
    mlp = partial(MultiAgentMLP, n_agents=agents, share_params=True, depth=2, num_cells=64)
    net = torch.nn.Sequential(mlp(seen, 2 * size, centralized=False), NormalParamExtractor())
    parameters = [("bs", "loc"), ("bs", "scale")]
    sampled = {"distribution_class": TanhNormal, "return_log_prob": True, "log_prob_key": ("bs", "sample_log_prob")}
    module = TensorDictModule(net, [("bs", "observation")], parameters)
    actor = ProbabilisticActor(module, parameters, [env.action_key], spec=env.full_action_spec_unbatched, **sampled)
    critic = TensorDictModule(mlp(seen, 1, centralized=True), [("bs", "observation")], [("bs", "state_value")])
    loss = ClipPPOLoss(actor, critic, entropy_coeff=1e-4)
    names = ("action", "reward", "done", "terminated", "sample_log_prob")
    loss.set_keys(**{name: ("bs", name) for name in names}, value=("bs", "state_value"))
    loss.make_value_estimator(ValueEstimators.GAE, gamma=gamma, lmbda=0.95)
    networks = {"params": loss.critic_network_params, "target_params": loss.target_critic_network_params}
    optimizer = torch.optim.Adam(loss.parameters(), 1e-3)
    counts = {"frames_per_batch": 256, "total_frames": updates * 256}
    for data in Collector(env, actor, **counts, auto_register_policy_transforms=False):
        with torch.no_grad():
            loss.value_estimator(data, **networks)
            data["advantage"] /= data["advantage"].std()
        for _ in range(10):
            for batch in data.reshape(-1)[torch.randperm(data.numel())].split(128):
                losses = loss(batch)
                sum(losses[name] for name in ("loss_objective", "loss_critic", "loss_entropy")).backward()
                optimizer.step()
                optimizer.zero_grad()
    return (lambda seen: torch.tanh(net(torch.as_tensor(seen))[0]).detach().numpy()), updates * 256


def main(updates: int = 128, episodes: int = 50) -> None:
    """Train, and print a table on the same draws."""
    policy, _ = learn(SCENARIO, updates=updates)
    rules = [evaluate(name, SCENARIO, episodes, 10_000, 20, 5) for name in ("random", "structured-local-gain")]
    trained = evaluate(policy, SCENARIO, episodes, 10_000, 20, 5, name="MAPPO")
    print(compare([*rules, trained], ["sum_rate", "jain"], baseline="structured-local-gain").table())


if __name__ == "__main__":
    main()
