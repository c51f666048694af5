"""What an update of MADDPG and 16 steps of the environment cost with examples/maddpg.py and with other libraries.

    python benchmarks/learners.py                                         # libraries in this environment
    python benchmarks/learners.py --agilerl-python ~/agilerl/bin/python   # AgileRL's pins need one of its own
    python benchmarks/learners.py --agilerl-python ~/agilerl/bin/python --write

Each library runs in a process of its own, with its own Python, and all are timed in turns: actions for 16 rows of
observations, exploration, a step of the same batched environment, replay memory, a batch of 256 and one update of all
actors, central critics and targets. Each has networks of its own for every base station, three hidden layers of 64
without LayerNorm, discount 0.9, learning rates and tau of ours. AgileRL's and TorchRL's central critics take the
observations of all agents, ours takes the global state; the table says how many parameters each of them trains.

An environment for AgileRL: ``pip install torch agilerl "pettingzoo<1.27" tensordict==0.13.0 peft array-api-compat
numba``; this package is taken from here. Needs the extra ``bench``, and ``train`` for ours.
"""

from __future__ import annotations

import os

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})  # before numpy

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

ROWS, BATCH, BUFFER, WIDTH, GAMMA, TAU = 16, 256, 20_000, 64, 0.9, 5e-3
ACTOR_LR, CRITIC_LR, NOISE = 3e-4, 1e-3, 0.2
SCENARIO = "mdlbi-blocked-small-v0"
FIELDS = {"action": "structured", "observation": "large_scale", "reward": "team"}
ROOT = Path(__file__).resolve().parents[1]


class Learning(NamedTuple):
    """A library at work."""

    advance: Callable[[], object]  # 16 steps and an update
    parameters: int
    version: str


# --- the libraries ---------------------------------------------------------------------------------------------------


def settings() -> Any:
    """Those of examples/maddpg.py that make its networks, batches and rates what the others have."""
    from irs_marl_env.training.settings import Args

    args = Args(algo="maddpg", net="mlp", depth=3, layer_norm=False, gamma=GAMMA, num_envs=ROWS, batch=BATCH)
    args.buffer, args.critic_warmup, args.lr_decay, args.device = BUFFER, 0, False, "cpu"
    args.scenario, args.width, args.tau, args.actor_lr, args.critic_lr = SCENARIO, WIDTH, TAU, ACTOR_LR, CRITIC_LR
    return args


def ours() -> Learning:
    """examples/maddpg.py."""
    sys.path.insert(0, str(ROOT))
    from examples.maddpg import advance, prepare

    run = prepare(settings())
    return Learning(lambda: advance(run), _count(run.learner.nets), "")


def agilerl() -> Learning:
    """MADDPG of AgileRL with its replay memory."""
    import numpy as np
    import torch
    from agilerl.algorithms import MADDPG
    from agilerl.components import ReplayBuffer
    from agilerl.components.data import MultiAgentTransition
    from gymnasium.spaces import Box

    env, names = _environment(), ("first", "second")  # names with a common beginning would share a network
    layers = {"hidden_size": [WIDTH], "layer_norm": False}
    agent = MADDPG(
        [Box(-np.inf, np.inf, (env.observation_size,), np.float32)] * len(names),
        [Box(-1, 1, (env.action_size,), np.float32)] * len(names),
        agent_ids=list(names),
        O_U_noise=False,
        expl_noise=NOISE,
        vect_noise_dim=ROWS,
        net_config={"encoder_config": layers, "head_config": layers, "latent_dim": WIDTH},
        batch_size=BATCH,
        lr_actor=ACTOR_LR,
        lr_critic=CRITIC_LR,
        gamma=GAMMA,
        tau=TAU,
    )
    memory = ReplayBuffer(BUFFER)
    now = _by_name(env.reset(seed=0)[0], names)

    def step() -> None:
        nonlocal now
        actions, raw = agent.get_action(now)
        obs, reward, _, truncated, infos = env.step(_stacked(actions, names))
        following = _by_name(infos["final_observation"] if truncated.any() else obs, names)
        dones = {name: torch.zeros(ROWS) for name in names}  # a time limit is no end
        row = MultiAgentTransition(
            obs=now, action=raw, reward=_by_name(reward, names), next_obs=following, done=dones, batch_size=[ROWS]
        )
        memory.add(row.to_tensordict())
        now = _by_name(obs, names)

    def advance() -> None:
        step()
        agent.learn(memory.sample(BATCH))

    while len(memory) < BATCH:
        step()
    nets = [*agent.actors.values(), *agent.critics.values()]
    return Learning(advance, sum(map(_count, nets)), version("agilerl"))


def torchrl() -> Learning:
    """MADDPG as in TorchRL's tutorial: MultiAgentMLP, DDPGLoss, SoftUpdate, its replay memory."""
    import torch
    from tensordict import TensorDict
    from tensordict.nn import TensorDictModule, TensorDictSequential
    from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
    from torchrl.modules import MultiAgentMLP
    from torchrl.objectives import DDPGLoss, SoftUpdate

    env = _environment()
    M, D, A = env.scenario.num_bs, env.observation_size, env.action_size
    shape = {"n_agents": M, "share_params": False, "depth": 3, "num_cells": WIDTH, "activation_class": torch.nn.ReLU}
    mlp = MultiAgentMLP(n_agent_inputs=D, n_agent_outputs=A, centralized=False, **shape)
    actor = TensorDictModule(
        torch.nn.Sequential(mlp, torch.nn.Tanh()), [("agents", "observation")], [("agents", "action")]
    )
    both = TensorDictModule(
        lambda o, a: torch.cat([o, a], -1), [("agents", "observation"), ("agents", "action")], [("agents", "both")]
    )
    values = MultiAgentMLP(n_agent_inputs=D + A, n_agent_outputs=1, centralized=True, **shape)
    critic = TensorDictSequential(
        both, TensorDictModule(values, [("agents", "both")], [("agents", "state_action_value")])
    )
    loss = DDPGLoss(actor, critic, delay_value=True, delay_actor=True, loss_function="l2")
    loss.set_keys(
        state_action_value=("agents", "state_action_value"),
        reward=("agents", "reward"),
        done=("agents", "done"),
        terminated=("agents", "terminated"),
    )
    loss.make_value_estimator(gamma=GAMMA)
    followers = SoftUpdate(loss, tau=TAU)
    optimisers = {
        "loss_actor": torch.optim.Adam(loss.actor_network_params.flatten_keys().values(), lr=ACTOR_LR),
        "loss_value": torch.optim.Adam(loss.value_network_params.flatten_keys().values(), lr=CRITIC_LR),
    }
    memory = TensorDictReplayBuffer(storage=LazyTensorStorage(BUFFER), batch_size=BATCH)
    now = torch.from_numpy(env.reset(seed=0)[0])
    never = torch.zeros(ROWS, M, 1, dtype=torch.bool)  # a time limit is no end

    def step() -> None:
        nonlocal now
        data = TensorDict({"agents": TensorDict({"observation": now}, [ROWS, M])}, [ROWS])
        with torch.no_grad():
            actor(data)
        action = (data["agents", "action"] + NOISE * torch.randn(ROWS, M, A)).clamp(-1, 1)
        data["agents", "action"] = action
        obs, reward, _, truncated, infos = env.step(action.numpy())
        following = torch.from_numpy(infos["final_observation"] if truncated.any() else obs)
        after = {
            "observation": following,
            "reward": torch.from_numpy(reward)[..., None],
            "done": never,
            "terminated": never,
        }
        data["next"] = TensorDict({"agents": TensorDict(after, [ROWS, M])}, [ROWS])
        memory.extend(data)
        now = torch.from_numpy(obs)

    def advance() -> None:
        step()
        losses = loss(memory.sample())
        for name, optimiser in optimisers.items():
            optimiser.zero_grad()
            losses[name].backward()
            optimiser.step()
        followers.step()

    while len(memory) < BATCH:
        step()
    trained = [*loss.actor_network_params.values(True, True), *loss.value_network_params.values(True, True)]
    return Learning(advance, sum(p.numel() for p in trained), version("torchrl"))


LIBRARIES: dict[str, Callable[[], Learning]] = {"ours": ours, "agilerl": agilerl, "torchrl": torchrl}
NAMES = {"ours": "examples/maddpg.py", "agilerl": "AgileRL MADDPG", "torchrl": "TorchRL MADDPG"}


def _environment() -> Any:
    from irs_marl_env import make_vec_env

    return make_vec_env(SCENARIO, ROWS, **FIELDS)


def _count(net: Any) -> int:
    return sum(p.numel() for p in net.parameters())


def _by_name(rows: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """``(E, M, ...)`` to arrays ``(E, ...)`` by agent."""
    return {name: rows[:, m].copy() for m, name in enumerate(names)}


def _stacked(actions: dict[str, Any], names: tuple[str, ...]) -> Any:
    import numpy as np

    return np.stack([actions[name] for name in names], 1)


# --- timing ----------------------------------------------------------------------------------------------------------


def serve(library: str) -> None:
    """Run a library in this process: a line with what it is, then for each line with a number the CPU seconds that so
    many updates took, per update."""
    import torch

    torch.set_num_threads(1)
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    learning = LIBRARIES[library]()
    for _ in range(10):
        learning.advance()
    print(json.dumps({"parameters": learning.parameters, "version": learning.version}), file=answers, flush=True)
    for line in sys.stdin:
        before = time.process_time()
        for _ in range(int(line)):
            learning.advance()
        print((time.process_time() - before) / int(line), file=answers, flush=True)


class Process:
    """A library in a process of its own."""

    def __init__(self, library: str, python: str) -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [python, __file__, "--serve", library],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )

    def answer(self, question: str = "") -> Any:
        """What the process says next.

        Raises:
            RuntimeError: it ended; the message is its last line.
        """
        streams: Any = self._process
        if question:
            streams.stdin.write(question + "\n")
            streams.stdin.flush()
        line = streams.stdout.readline()
        if not line:
            raise RuntimeError((streams.stderr.read().strip().splitlines() or ["it ended"])[-1])
        return json.loads(line)

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


@dataclass
class Args:
    """Settings of the benchmark."""

    agilerl_python: str = sys.executable
    """the Python of AgileRL's environment"""
    torchrl_python: str = sys.executable
    """the Python of TorchRL's environment"""
    repeats: int = 25
    """samples of each"""
    updates: int = 10
    """of a sample"""
    write: bool = False
    """put the table into docs/performance.md"""


def main(args: Args) -> None:
    """Print the table."""
    from timing import PAGE, Times, cell, machine, table, write_between

    stamp = machine()
    pythons = {"ours": sys.executable, "agilerl": args.agilerl_python, "torchrl": args.torchrl_python}
    running, about, missing = {}, {}, []
    try:
        for library, python in pythons.items():
            try:
                process = Process(library, python)
            except OSError as error:  # there is no such Python
                missing.append(f"{NAMES[library]} did not start with {python}: {error}")
                continue
            try:
                about[library] = process.answer()
                running[library] = process
            except RuntimeError as error:
                process.end()
                missing.append(f"{NAMES[library]} did not start with {python}: {error}")
        if "ours" not in running:
            raise SystemExit(f"error: {missing[0]}")
        seconds: dict[str, list[float]] = {library: [] for library in running}
        for _ in range(args.repeats):
            for library, process in running.items():
                seconds[library].append(process.answer(str(args.updates)))
    finally:
        for process in running.values():
            process.end()
    times = {library: Times(values) for library, values in seconds.items()}
    rows = [
        [
            f"{NAMES[library]} {about[library]['version']}".strip(),
            f"{about[library]['parameters']:,}",
            cell(found, times["ours"]),
        ]
        for library, found in times.items()
    ]
    text = table(["", "parameters", "CPU time per update and 16 steps"], rows)
    text += "\nLeast / median (ratio to ours in the same run). " + stamp
    print(text)
    for line in missing:
        print(line, file=sys.stderr)
    if args.write:
        write_between(PAGE, "learners", text)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    else:
        import tyro

        main(tyro.cli(Args))
