"""Settings of a training: what they are, how a command line is read, and which values are refused."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal, get_type_hints

import tyro

from irs_marl_env.scenario import Scenario
from irs_marl_env.scenario_text import parse_assignments, scenario_to_train_in
from irs_marl_env.training.limits import check_one_by_one, check_together, check_with_scenario
from irs_marl_env.training.presets import ALGORITHM_SCENARIO, OWN_VALUE, PRESET_SCENARIO, QUICK, STABILISED, TABLE_I

Algorithm = Literal["mdlbi", "maddpg", "ddpg", "fixed", "own-value"]
Preset = Literal["structured", "paper"]
Network = Literal["deepsets", "mlp"]
Weights = Literal["online", "target"]


@dataclass
class Args:
    """Settings; ``--preset``, ``--stabilised`` and ``--quick`` change the defaults shown, any other flag overrides."""

    algo: Algorithm = "mdlbi"
    """mdlbi: local critics with rho; ddpg: without rho; maddpg: central critics; fixed: association not learned;
    own-value: bids computed from a critic of own sets of IRSs, which changes some of the defaults shown"""
    preset: Preset = "structured"
    """structured: bids, focus weights, powers; paper: Table I on raw beams and phases, one frozen channel"""
    stabilised: bool = False
    """of --preset paper: layer norm, penalty, critic warm-up, discount 0, decaying noise"""
    quick: bool = False
    """about 3 minutes on 2 cores, baselines included: all BSs share networks, which then need half the batch"""
    scenario: str = "mdlbi-blocked-small-v0"
    """an id of irs_marl_env.scenario_ids(), or a JSON file; the preset sets its action, observation and reward,
    unless the file has a reward or an observation that is not the default"""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """a scenario field, FIELD=VALUE, which overrides the preset; may be repeated"""
    trusted: bool = False
    """import the modules of parts that --scenario or --set gives as module:name"""
    seed: int = 1
    """of networks, exploration, replay and training environments"""
    updates: int = 4000
    """of every critic, the critic-only ones included"""
    num_envs: int = 32
    """environments stepped at once"""
    updates_per_step: int = 1
    """updates per step of all environments"""

    net: Network = "deepsets"
    """deepsets: equivariant in users and IRSs (structured actions, large-scale observations); mlp: anything"""
    width: int = 64
    """of hidden layers"""
    depth: int = 2
    """hidden layers of an mlp"""
    layer_norm: bool = True
    """LayerNorm in hidden layers; without it structured actions saturate"""
    share_actor: bool = False
    """one actor for all BSs"""
    share_critic: bool = False
    """one local critic for all BSs, which learns from the transitions of all; central critics are never shared"""
    actor_init: float = 0.1
    """scale of the actor's initial output layer"""
    decoder_scale: float = 1.0
    """bound of all structured entries but the bids: less protects a good decoder from early critic noise"""

    gamma: float | None = None
    """discount; none: 0 where bids act in their own slot (a contextual bandit), 0.9 with association_delay=1 or
    n_step > 1"""
    n_step: int = 1
    """slots whose rewards a target adds up before the critic's own value of what follows"""
    bootstrap: bool = True
    """add that value; without it a target is the discounted sum of n_step rewards alone"""
    actor_lr: float = 3e-4
    """learning rate of the actors (Adam)"""
    critic_lr: float = 1e-3
    """learning rate of the critics (Adam)"""
    lr_decay: bool = True
    """both learning rates fall linearly to a tenth"""
    tau: float = 5e-3
    """Polyak factor of the target networks"""
    batch: int = 256
    """transitions per update"""
    buffer: int = 131_072
    """transitions kept; large enough never to forget in the default run, which measurably helps"""
    reward_scale: float = 0.2
    """factor on rewards before they become targets"""
    pretanh_penalty: float = 0.05
    """on the mean square of the actor's outputs before tanh, which would saturate"""
    critic_warmup: int = 300
    """updates of the critics alone at the start"""
    noise_start: float = 0.4
    """standard deviation of Gaussian exploration noise at the start"""
    noise_end: float = 0.05
    """the same at the end"""
    noise_fraction: float = 0.6
    """share of the updates over which it falls"""
    eval_network: Weights = "online"
    """which actor is evaluated and saved; target is the Polyak average"""

    eval_every: int = 500
    """updates between evaluations"""
    eval_episodes: int = 100
    """episodes of the evaluation bank; the baselines run on the same draws"""
    eval_slots: int = 20
    """slots measured per episode"""
    eval_apart: int | None = None
    """every how many slots one is measured, from the first; none: spread evenly over the episode, which long ones
    make expensive"""
    eval_seed: int = 10_000
    """of the first episode of the bank; training environments have seeds from 100,000 (seed + 1)"""
    eval_sweeps: tuple[int, ...] = ()
    """further decoder sweeps the last evaluations are repeated with (structured)"""
    baselines: bool = True
    """also run policies that need no learning"""

    threads: int = 1
    """of torch; more than the free cores slows everything down"""
    device: str = "auto"
    """of the networks: auto takes a GPU when there is one. Resuming is bit for bit on a CPU"""
    out: str = "runs"
    """folder of runs"""
    name: str | None = None
    """folder of this run in it; none: from algorithm, scenario, seed and time"""
    checkpoint_every: int = 500
    """updates between checkpoints"""
    resume: str | None = None
    """folder of a run to go on with; all other settings are the run's own"""
    eval: str | None = None
    """a checkpoint or policy file to evaluate instead of training"""
    tensorboard: bool = True
    """write TensorBoard logs"""
    wandb: bool = False
    """also log to Weights & Biases (pip install wandb)"""
    progress: bool = True
    """show a progress bar"""


_RENAMED = {"yardsticks": "baselines"}  # settings by the names they had in earlier versions


def parse(argv: list[str] | None = None, description: str | None = None) -> Args:
    """Settings of a command line, over the defaults of the presets it names.

    Args:
        argv: the arguments; ``None``: those of the process.
        description: what ``--help`` begins with.

    Raises:
        ValueError: a value is impossible, or a flag would have no effect.
        SystemExit: the command line cannot be read (said in words on stderr, exit code 2), or asks for help.
    """
    argv = [_current_flag(argument) for argument in (sys.argv[1:] if argv is None else argv)]
    defaults: dict[str, Any] = {}
    named = {argument.replace("_", "-") for argument in argv}
    if "--preset=paper" in named or ("--preset" in argv and argv[argv.index("--preset") + 1 :][:1] == ["paper"]):
        defaults = STABILISED if "--stabilised" in named else TABLE_I
    if "--quick" in named:
        defaults = {**QUICK, **defaults}
    if "--algo=own-value" in named or ("--algo" in argv and argv[argv.index("--algo") + 1 :][:1] == ["own-value"]):
        defaults = {**defaults, **OWN_VALUE}
    args = tyro.cli(Args, args=argv, default=replace(Args(), **defaults), description=description)
    check(args)
    _check_flags(args, {argument.partition("=")[0] for argument in named if argument.startswith("--")})
    return args


_HEEDED = {  # flags that have an effect beside another one, and where the others' values come from
    "resume": ((), "the run's own settings"),
    "eval": (
        (
            "set",
            "trusted",
            "eval_episodes",
            "eval_slots",
            "eval_apart",
            "eval_seed",
            "baselines",
            "no_baselines",
            "threads",
        ),
        "the policy's own scenario and settings; --set changes fields of its scenario",
    ),
}


def _check_flags(args: Args, given: set[str]) -> None:
    """Refuse flags that ``--resume`` or ``--eval`` would silently pass over."""
    for flag, (heeded, instead) in _HEEDED.items():
        if getattr(args, flag) is None:
            continue
        idle = sorted(given - {f"--{name.replace('_', '-')}" for name in (flag, *heeded)})
        if idle:
            raise ValueError(f"{', '.join(idle)}: has no effect beside --{flag}, which takes {instead}")


def _current_flag(argument: str) -> str:
    for old, new in _RENAMED.items():
        if argument in (f"--{old}", f"--no-{old}"):
            return argument.replace(old, new)
    return argument


def usual_fields(args: Args) -> dict[str, Any]:
    """Scenario fields of the preset and the algorithm."""
    return PRESET_SCENARIO[args.preset] | ALGORITHM_SCENARIO.get(args.algo, {})


def scenario_of(args: Args) -> Scenario:
    """The scenario of a training: the one ``--scenario`` names, with :func:`usual_fields` and those of ``--set``.

    Raises:
        ValueError: the scenario or a field is unknown, or a value impossible.
    """
    return scenario_to_train_in(args.scenario, args.trusted, usual_fields(args), parse_assignments(args.set))


def discount(args: Args, association_delay: int) -> float:
    """The discount factor, see ``Args.gamma``."""
    if args.gamma is not None:
        return args.gamma
    delayed = association_delay and args.algo != "own-value"  # whose returns begin after the delay
    return 0.9 if delayed or args.n_step > 1 else 0.0


def restored_args(values: dict[str, Any], source: Any) -> Args:
    """Settings that an earlier process, perhaps of an earlier version, wrote as JSON.

    Settings that did not exist then have their defaults.

    Args:
        values: by name.
        source: where they were found; errors name it.

    Raises:
        ValueError: there are settings that this version does not know, or values that are impossible.
    """
    current: dict[str, Any] = {
        _RENAMED.get(name, name): tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    unknown = sorted(current.keys() - {field.name for field in fields(Args)})
    if unknown:
        raise ValueError(f"{source}: this version of the trainer has no setting {', '.join(unknown)}")
    args = Args(**current)
    try:
        check(args)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    return args


# --- checks ----------------------------------------------------------------------------------------------------------


def check(args: Args, scenario: Scenario | None = None) -> None:
    """Refuse impossible settings.

    Args:
        args: the settings.
        scenario: the one they are for, if it is known already.

    Raises:
        ValueError: names the setting, its value and what is allowed.
    """
    check_one_by_one(args, get_type_hints(Args))
    check_together(args)
    if scenario is not None:
        check_with_scenario(args, scenario)
