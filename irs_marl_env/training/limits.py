"""What a setting of a trainer may be, one by one and together: of examples/maddpg.py, and of examples/sb3_ppo.py."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, get_args

from irs_marl_env.checks import Choice, Flag, Kind, Real, Whole, refusal
from irs_marl_env.physics.association import HIGHEST_BID_WINS
from irs_marl_env.scenario import Scenario
from irs_marl_env.sizes import check_batch, check_memory

MOST = 10**9  # of what is counted one by one
SEED = Whole(0, 2**63 - 1)  # what a generator of torch takes


@dataclass(frozen=True)
class Text(Kind):
    """A text, not an empty one."""

    optional: bool = False
    allowed = "a text that is not empty"

    def accept(self, value: Any) -> str:
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValueError
        return value


@dataclass(frozen=True)
class Several(Kind):
    """A tuple of values of one kind."""

    kind: Kind

    @property
    def allowed(self) -> str:
        return f"a list, and each item of it {self.kind.allowed}"

    def accept(self, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, tuple):
            raise TypeError
        return tuple(map(self.kind.accept, value))


@dataclass(frozen=True)
class Discount(Kind):
    """A discount factor: an infinite sum of rewards has to be finite."""

    optional: bool = True
    allowed = "a finite number in [0, 1)"

    def accept(self, value: Any) -> float:
        number = Real(0, 1).accept(value)
        if number == 1:
            raise ValueError
        return number


LIMITS: dict[str, Kind] = {
    **dict.fromkeys(("updates", "updates_per_step", "eval_every", "checkpoint_every", "buffer"), Whole(1, MOST)),
    **dict.fromkeys(("batch", "eval_episodes", "eval_slots"), Whole(1, 10**6)),
    "num_envs": Whole(1, 50_000),  # so many start within a minute
    **dict.fromkeys(("seed", "eval_seed"), SEED),
    **dict.fromkeys(("actor_lr", "critic_lr"), Real(0, 10)),
    **dict.fromkeys(("noise_start", "noise_end", "actor_init"), Real(0, 100)),
    **dict.fromkeys(("tau", "noise_fraction", "decoder_scale"), Real(0, 1)),
    "gamma": Discount(),
    "eval_apart": Whole(1, 10**6, optional=True),
    "reward_scale": Real(1e-6, 1e6),
    "pretanh_penalty": Real(0, 1e6),
    "critic_warmup": Whole(0, MOST),
    "n_step": Whole(1, 10_000),
    "width": Whole(1, 16_384),
    "depth": Whole(0, 64),
    "threads": Whole(1, 1024),
    "eval_sweeps": Several(Whole(0, 10_000)),
    "set": Several(Text()),
    **dict.fromkeys(("scenario", "device", "out"), Text()),
    **dict.fromkeys(("name", "resume", "eval"), Text(optional=True)),
}

PPO_LIMITS: dict[str, Kind] = {
    **{name: LIMITS[name] for name in ("scenario", "set", "eval_episodes", "eval_slots")},
    **dict.fromkeys(("total_timesteps", "n_steps"), Whole(1, MOST)),
    **dict.fromkeys(("num_envs", "n_epochs"), Whole(1, 10_000)),  # the copies of the environment are objects
    "association_delay": Whole(0, 1, optional=True),
    "seed": Whole(0, 2**32 - 1),  # what NumPy's global generator takes, which Stable-Baselines3 seeds too
    "gamma": Discount(optional=False),
    "gae_lambda": Real(0, 1),
    "batch_size": Whole(2, 10**6),  # advantages are divided by their deviation
    "learning_rate": Real(0, 10),
    "ent_coef": Real(0, 100),
    "log_std_init": Real(-10, 5),
}


def limit(name: str, annotation: Any, limits: dict[str, Kind] = LIMITS) -> Kind:
    """What a setting may be: as ``limits`` say, else one of the names of its type, or true or false."""
    return limits.get(name) or (Choice(get_args(annotation)) if get_args(annotation) else Flag())


def check_one_by_one(args: Any, types: dict[str, Any], limits: dict[str, Kind] = LIMITS) -> None:
    """Refuse values that no training can have.

    Args:
        args: the settings.
        types: their types, by name.
        limits: what they may be, by name.

    Raises:
        ValueError: names the setting, its value and what is allowed.
    """
    for field in fields(args):
        limit(field.name, types[field.name], limits)(field.name, getattr(args, field.name))


def check_together(args: Any) -> None:
    """Refuse settings that contradict one another.

    Raises:
        ValueError: names them.
    """
    if args.buffer < max(args.batch, args.num_envs):
        raise refusal("buffer", args.buffer, f"at least batch={args.batch} and num_envs={args.num_envs}")
    if args.stabilised and args.preset != "paper":
        raise refusal("stabilised", args.stabilised, f"False with preset={args.preset!r}; it belongs to --preset paper")
    if args.n_step > 1 and args.gamma == 0:
        raise refusal("gamma", args.gamma, f"above 0 with n_step={args.n_step}, since it weights the rewards")
    if args.algo == "own-value" and (args.net, args.preset) != ("deepsets", "structured"):
        raise ValueError("algo='own-value' needs net='deepsets' and preset='structured'")
    if args.net == "deepsets" and args.width < 2:
        raise refusal("width", args.width, "at least 2 with net='deepsets'")


def network_bytes(args: Any, scenario: Scenario) -> int:
    """Memory that the hidden layers need at least: weights, targets, gradients, Adam's moments, one pass of a batch."""
    M, half = scenario.num_bs, args.width // 2
    if args.net == "deepsets":
        weights = 2 * half * args.width + half**2
        kept = scenario.num_irs * (2 * scenario.num_users * half + args.width)
    else:
        weights, kept = max(args.depth - 1, 0) * args.width**2, args.depth * args.width
    networks = (1 if args.share_actor else M) + (1 if args.share_critic and args.algo != "maddpg" else M)
    return 4 * (5 * networks * weights + M * args.batch * kept)


def check_rollout(args: Any, scenario: Scenario) -> None:
    """Refuse a rollout of examples/sb3_ppo.py that fits into no memory, or has nothing to compare.

    Raises:
        ValueError: names the settings.
    """
    check_batch(scenario, args.num_envs)
    samples = args.n_steps * args.num_envs * scenario.num_bs
    if samples < 2:
        raise refusal("n_steps", args.n_steps, f"at least 2 with num_envs={args.num_envs} and one base station")
    check_memory(f"n_steps={args.n_steps}, num_envs={args.num_envs}", samples * sample_bytes(scenario))


def sample_bytes(scenario: Scenario) -> int:
    """Memory of one sample with structured actions and large-scale observations at least, float32."""
    K, L = scenario.num_users, scenario.num_irs
    return 4 * (2 * K + 2 * L * K + 2 * L)


def check_with_scenario(args: Any, scenario: Scenario) -> None:
    """Refuse settings that a scenario has no use for.

    Raises:
        ValueError: names the setting.
    """
    check_memory(f"width={args.width}, depth={args.depth}, batch={args.batch}", network_bytes(args, scenario))
    window = args.n_step + (scenario.association_delay if args.algo == "own-value" else 0)
    if window > scenario.horizon and not (args.bootstrap and args.algo != "own-value"):
        raise refusal("n_step", args.n_step, f"so few that a whole return fits into horizon={scenario.horizon}")
    rule = scenario.contention
    if args.algo == "own-value" and isinstance(rule, str) and rule not in HIGHEST_BID_WINS:
        allowed = "a rule by which the highest bid wins, such as 'auction', with algo='own-value', which bids values"
        raise refusal("contention", rule, allowed)
    structured = scenario.action == "structured"
    if args.eval_sweeps and not structured:
        raise refusal("eval_sweeps", args.eval_sweeps, f"empty with action={scenario.action!r}, which has no decoder")
    for sweeps in args.eval_sweeps:
        scenario.replace(sweeps=sweeps)  # refused now rather than at the last evaluations
    if args.net != "deepsets":
        return
    who, other = ("net='deepsets'", True) if args.algo != "own-value" else ("algo='own-value'", False)
    if not structured or scenario.observation not in ("large_scale", "values"):
        allowed = "action='structured' and observation='large_scale' or 'values'"
        raise ValueError(f"{who} needs {allowed}" + ": use --net mlp" * other)
    if scenario.num_irs == 0:
        raise ValueError(f"{who} needs an IRS, but num_irs=0" + ", which works with --net mlp" * other)
