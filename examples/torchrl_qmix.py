"""QMIX of TorchRL on bids in three levels: a value of each base station's bids, mixed into one of the network.

    pip install -e '.[torchrl,fast]'
    python examples/torchrl_qmix.py

Written for TorchRL 0.14; a minute of one core. The table compares it with rules on the same draws. ``VDNMixer`` in
place of ``QMixer`` makes it VDN.
"""

from __future__ import annotations

from typing import Any

import torch
from tensordict.nn import TensorDictModule, TensorDictSequential
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, ReplayBuffer
from torchrl.modules import EGreedyModule, MultiAgentMLP, QMixer, QValueModule
from torchrl.objectives import SoftUpdate, ValueEstimators
from torchrl.objectives.multiagent import QMixerLoss

from irs_marl_env import Scenario, compare, evaluate, get_scenario
from irs_marl_env.adapters.torchrl import TorchRLEnv

SCENARIO = get_scenario("mdlbi-blocked-small-v0", action="structured", observation="large_scale", reward="team")


def learn(scenario: Scenario, seed: int = 1, gamma: float = 0.0, updates: int = 2_000) -> tuple[Any, int]:
    """The trained policy, from observations ``(E, M, D_o)`` to actions, and how many slots it took."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    env = TorchRLEnv(scenario, 16, seed=seed, stagger=True, levels=3, return_state=True)
    agents, seen, bids = len(env.group_map["bs"]), env.batch.observation_size, env.levels
    assert bids is not None
    net = MultiAgentMLP(seen, bids.count, agents, centralized=False, share_params=True, depth=2, num_cells=64)
    values = TensorDictModule(net, [("bs", "observation")], [("bs", "action_value")])
    keys = [("bs", "action"), ("bs", "action_value"), ("bs", "chosen_action_value")]
    spec = env.full_action_spec_unbatched
    greedy = TensorDictSequential(values, QValueModule(action_value_key=keys[1], out_keys=keys, spec=spec))
    explore = EGreedyModule(spec, eps_init=1.0, eps_end=0.05, annealing_num_steps=updates * 8, action_key=keys[0])
    mixer = QMixer((env.batch.state_size,), 32, agents, torch.device("cpu"))
    mixed = TensorDictModule(mixer, [("bs", "chosen_action_value"), "state"], ["chosen_action_value"])
    loss = QMixerLoss(greedy, mixed, action_space="categorical", delay_value=True)
    loss.set_keys(action=keys[0], action_value=keys[1], local_value=keys[2], global_value="chosen_action_value")
    loss.make_value_estimator(ValueEstimators.TD0, gamma=gamma)
    target = SoftUpdate(loss, tau=0.005)
    optimizer = torch.optim.Adam(loss.parameters(), 1e-3)
    memory = ReplayBuffer(storage=LazyTensorStorage(updates * 16), batch_size=256)
    counts = {"frames_per_batch": 16, "total_frames": updates * 16}
    for data in Collector(env, TensorDictSequential(greedy, explore), **counts, auto_register_policy_transforms=False):
        data["next", "reward"] = data["next", "bs", "reward"].mean(-2)  # of the network: QMIX has one value
        memory.extend(data.reshape(-1))
        explore.step(16)
        loss(memory.sample())["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        target.step()
    return (lambda seen: bids.actions(net(torch.as_tensor(seen)).argmax(-1).numpy())), updates * 16


def main(updates: int = 2_000, episodes: int = 50) -> None:
    """Train, and print a table on the same draws; an update follows each slot of 16 environments."""
    policy, _ = learn(SCENARIO, updates=updates)
    rules = [evaluate(name, SCENARIO, episodes, 10_000, 20, 5) for name in ("random", "structured-local-gain")]
    trained = evaluate(policy, SCENARIO, episodes, 10_000, 20, 5, name="QMIX")
    print(compare([*rules, trained], ["sum_rate", "jain"], baseline="structured-local-gain").table())


if __name__ == "__main__":
    main()
