"""The probe of TorchRL: generalised advantage estimation over ``TorchRLEnv`` and the library's own collector."""

from __future__ import annotations

import torch
from tensordict.nn import TensorDictModule
from torchrl import collectors
from torchrl.objectives.value import GAE

from experiments.probing import DISCOUNT, ROWS, SPEED, VALUE, report, steps_per_s
from irs_marl_env.adapters.torchrl import TorchRLEnv

Collector = getattr(collectors, "Collector", None) or collectors.SyncDataCollector  # by its name in older versions


def learned_value(updates: int = 40, slots: int = 20) -> float:
    """Mean value of a critic of each base station."""
    torch.manual_seed(0)
    env = TorchRLEnv(num_envs=ROWS, seed=0, stagger=True, **VALUE)
    net = torch.nn.Sequential(torch.nn.Linear(env.batch.observation_size, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
    critic = TensorDictModule(net, [("bs", "observation")], [("bs", "state_value")])
    estimator = GAE(gamma=DISCOUNT, lmbda=0.9, value_network=critic)
    names = ("reward", "done", "terminated", "value_target", "advantage")
    estimator.set_keys(value=("bs", "state_value"), **{name: ("bs", name) for name in names})
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    collector = Collector(env, None, frames_per_batch=slots * ROWS, total_frames=updates * slots * ROWS)
    for data in collector:
        with torch.no_grad():
            estimator(data)
        for _ in range(10):
            (net(data["bs", "observation"]) - data["bs", "value_target"]).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    collector.shutdown()
    return net(data["bs", "observation"]).mean().item()


def main() -> None:
    """Print the line."""
    torch.set_num_threads(1)
    env = TorchRLEnv(num_envs=ROWS, seed=0, **SPEED)
    speed = steps_per_s(lambda: env.rollout(200, break_when_any_done=False), 200 * ROWS)
    report("torchrl", learned_value(), speed)


if __name__ == "__main__":
    main()
