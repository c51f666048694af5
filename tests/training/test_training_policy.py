"""Trained policies: in evaluate, in one's own loop, in other processes, and from a file."""

import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "safetensors", "tqdm", "matplotlib"):
    pytest.importorskip(needed, reason="needs the extra 'train'")
from safetensors.torch import save_file  # noqa: E402
from tiny_training import tiny_args, tiny_run  # noqa: E402

from examples.maddpg import advance, prepare  # noqa: E402
from irs_marl_env import evaluate, get_scenario, load_policy, make_env, make_vec_env  # noqa: E402
from irs_marl_env.training.files import read_tensors, write_tensors  # noqa: E402
from irs_marl_env.training.policy import FixedAssociation, save_policy  # noqa: E402
from irs_marl_env.training.settings import scenario_of  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def trained(path, **changes):
    """A run after one update of its actors, and its policy from a file."""
    run = tiny_run(**{"critic_warmup": 0, "actor_init": 1.0, **changes})
    advance(run)
    save_policy(run.policy(), path)
    return run, load_policy(path)


def rates(policy, scenario, **options):
    return evaluate(policy, scenario, 3, 7, slots=2, progress=False, **options).rates


def test_a_policy_from_a_file_acts_as_the_run_did(tmp_path):
    run, policy = trained(tmp_path / "p.safetensors", seed=3)
    assert np.array_equal(policy(run.obs), run.learner.act(run.obs))
    assert policy.name == "mdlbi-s3"
    assert policy.scenario == run.env.scenario
    assert np.array_equal(rates(policy, policy.scenario), rates(run.policy(), run.env.scenario))


@pytest.mark.filterwarnings("ignore:episodes=")  # of the evaluation: more than the file has
def test_a_training_on_channels_of_a_file_keeps_its_path(tmp_path):
    """Settings, policy file and what is evaluated later name the file; arrays in a dict are refused in words."""
    rng, s = np.random.default_rng(0), get_scenario("mdlbi-blocked-small-v0", horizon=5)
    shapes = {"H": (2, 6, 2, 4, 4), "G": (1, 2, 2, 16, 4), "h": (2, 6, 2, 4, 16)}
    scale = {"H": 1e-6, "G": 1e-3, "h": 1e-3}
    channels = {name: scale[name] * (rng.normal(size=(*n, 2)) @ [1, 1j]) for name, n in shapes.items()}
    np.savez(tmp_path / "measured.npz", **channels)
    path = (tmp_path / "measured.npz").as_posix()
    run, policy = trained(
        tmp_path / "p.safetensors", scenario="mdlbi-blocked-small-v0", set=("horizon=5", f"channels={path}")
    )
    assert run.env.scenario.channels == policy.scenario.channels == path
    assert np.array_equal(rates(policy, policy.scenario), rates(run.policy(), run.env.scenario))
    assert np.array_equal(rates(policy, policy.scenario), rates(policy, policy.scenario.replace(channels=channels)))
    in_memory = s.replace(channels=channels, action="structured", observation="large_scale", reward="team")
    with pytest.raises(ValueError, match=r"arrays go into no JSON: write them with numpy\.savez"):
        prepare(tiny_args(), make_vec_env(in_memory, 4))


def test_a_checkpoint_is_a_policy_too_and_eval_network_chooses_its_actor(tmp_path):
    for network in ("online", "target"):
        run = tiny_run(critic_warmup=0, actor_init=1.0, tau=0.5, eval_network=network)
        advance(run)
        run.save(tmp_path / "c.safetensors")
        nets = run.learner.nets if network == "online" else run.learner.targets
        loaded = load_policy(tmp_path / "c.safetensors").actor.state_dict()
        assert all(torch.equal(loaded[name], value) for name, value in nets["actor"].state_dict().items())


def test_processes_do_not_change_the_rates(tmp_path):
    _, policy = trained(tmp_path / "p.safetensors")
    many = {"episodes": 17, "seed": 7, "slots": 1, "progress": False}  # two batches
    one = evaluate(policy, policy.scenario, **many)
    assert np.array_equal(one.rates, evaluate(policy, policy.scenario, processes=2, **many).rates)


def test_a_policy_pickles_without_torch_tensors(tmp_path):
    run, policy = trained(tmp_path / "p.safetensors")
    again = pickle.loads(pickle.dumps(policy))
    assert np.array_equal(again(run.obs), policy(run.obs))
    assert (again.name, again.scenario, again.args) == (policy.name, policy.scenario, policy.args)
    assert b"torch._utils" not in pickle.dumps(policy)


def test_a_scenario_id_is_given_the_spaces_of_the_training(tmp_path):
    _, policy = trained(tmp_path / "p.safetensors", algo="ddpg")
    adapted = policy.adapt(get_scenario("mdlbi-small-v0"))
    assert (adapted.action, adapted.observation, adapted.rho) == ("structured", "large_scale", "none")
    assert adapted.reward == get_scenario("mdlbi-small-v0").reward
    assert np.array_equal(rates(policy, "mdlbi-small-v0"), rates(policy, policy.scenario))
    with pytest.raises(ValueError, match=r"policy 'ddpg-s1' needs action='structured', not 'raw'"):
        policy.bind(make_vec_env("mdlbi-small-v0", 1))


def test_dicts_of_a_parallel_env_are_answered_with_dicts(tmp_path):
    _, policy = trained(tmp_path / "p.safetensors")
    env = make_env(policy.scenario)
    observations, _ = env.reset(seed=5)
    actions = policy.bind(env, 5)(observations)
    rows = policy(np.stack([observations[agent] for agent in env.agents])[None])[0]
    assert all(np.array_equal(actions[agent], row) for agent, row in zip(env.agents, rows, strict=True))
    env.step(actions)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("action", "raw", "the policy needs action='structured', not 'raw'"),
        ("observation", "csi", "the policy needs observation='large_scale', not 'csi'"),
        ("observation", "values", "the policy needs observation='large_scale', not 'values'"),
        ("power_control", True, "the policy needs power_control of False, not True"),
        ("observe_velocity", True, "the policy needs observe_velocity of False, not True"),
        ("switching_slots", 3, "the policy needs switching_slots of 0, not 3"),
        ("num_irs", 0, "the networks need an IRS, but num_irs=0"),
    ],
)
def test_fields_that_the_networks_do_not_fit_are_named(tmp_path, field, value, message):
    path = tmp_path / "p.safetensors"
    trained(path)
    with pytest.raises(ValueError, match=f"p.safetensors: {message}$"):
        load_policy(path, **{field: value})


def test_other_sizes_are_served_where_the_networks_allow(tmp_path):
    path = tmp_path / "p.safetensors"
    _, policy = trained(path)
    large = {"num_users": 6, "num_irs": 3}
    assert rates(policy, "mdlbi-small-v0", **large).shape == (3, 2, 2)
    resized = load_policy(path, **large)
    assert (resized.scenario.num_users, resized.sizes.num_irs) == (6, 3)
    assert np.array_equal(rates(policy, "mdlbi-small-v0", **large), rates(resized, resized.scenario))
    with pytest.raises(ValueError, match=r"policy 'mdlbi-s1': the networks do not fit num_bs=3"):
        rates(policy, "mdlbi-small-v0", num_bs=3)
    with pytest.raises(ValueError, match=r"p.safetensors: the networks do not fit num_bs=3"):
        load_policy(path, num_bs=3)
    _, shared = trained(path, share_actor=True)
    assert rates(shared, "mdlbi-small-v0", num_bs=3).shape == (3, 2, 3)


@pytest.mark.parametrize("field", ["observe_velocity", "power_control", "switching_slots"])
def test_blocks_that_the_training_did_not_have_are_refused_by_their_field(field):
    value = 1 if field == "switching_slots" else "true"
    without, more = tiny_run().policy(), tiny_run(set=(f"{field}={value}",))
    env = make_vec_env(more.env.scenario, 1, fast=False)
    with pytest.raises(ValueError, match=f"policy 'trained' needs {field} of (0|False), not (1|True)"):
        without.bind(env)
    with pytest.raises(ValueError, match=f"policy 'trained' needs {field} (above 0|of True), not (0|False)"):
        more.policy().bind(make_vec_env(without.scenario, 1, fast=False))
    if field != "switching_slots":  # part of the task, not of what agents see and do
        assert evaluate(without, env.scenario, 2, 5, 1, progress=False).mean > 0


def test_observations_of_another_shape_are_refused(tmp_path):
    run, policy = trained(tmp_path / "p.safetensors")
    with pytest.raises(ValueError, match=r"observations of shape .*: must be \(E, 2, "):
        policy(run.obs[..., 1:])
    with pytest.raises(ValueError, match=r"observations of shape"):
        policy(run.obs[0])


def test_a_fixed_association_needs_the_environment(tmp_path):
    run, policy = trained(tmp_path / "p.safetensors", algo="fixed", set=("horizon=6",))
    with pytest.raises(ValueError, match=r"bind\(env, seed\)"):
        policy(run.obs)
    env = make_vec_env(policy.scenario, 3)
    observations, _ = env.reset(seed=2)
    act, held, owners = policy.bind(env, 2), FixedAssociation(env, 2), []
    for _ in range(5):
        bids = slice(0, policy.scenario.num_irs)
        action = act(observations)
        assert np.array_equal(action[..., bids], held.impose(action)[..., bids])
        observations, _, _, _, infos = env.step(action)
        owners.append(infos["owner"])
    assert all(np.array_equal(owner, owners[0]) for owner in owners)


def test_a_policy_trained_on_a_scenario_file_outlives_the_file(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(get_scenario("mdlbi-small-v0", num_users=3).to_json(), encoding="utf-8")
    run, _ = trained(tmp_path / "p.safetensors", scenario=str(path))
    path.unlink()
    policy = load_policy(tmp_path / "p.safetensors", horizon=9)
    assert policy.scenario == run.env.scenario.replace(horizon=9)


def test_what_is_no_policy_is_refused_by_name(tmp_path):
    path = tmp_path / "p.safetensors"
    trained(path)
    tensors, plain = read_tensors(path)
    write_tensors(tmp_path / "empty.safetensors", {}, plain)
    write_tensors(tmp_path / "bare.safetensors", tensors, {})
    write_tensors(tmp_path / "later.safetensors", tensors, {"args": {**plain["args"], "optimizer": "adam"}})
    save_file({"weight": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    for name in ("empty", "bare", "foreign"):
        with pytest.raises(ValueError, match=rf"{name}.safetensors: not a checkpoint or policy of this trainer"):
            load_policy(tmp_path / f"{name}.safetensors")
    with pytest.raises(ValueError, match=r"later.safetensors: this version of the trainer has no setting optimizer"):
        load_policy(tmp_path / "later.safetensors")


def test_without_the_extra_the_error_names_it():
    code = (
        "import sys; sys.modules['torch'] = None; import irs_marl_env\n"
        "try: irs_marl_env.load_policy('x')\n"
        "except ImportError as error: print(error)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "load_policy needs torch: pip install 'irs-marl-env[train]'"


# --- parts of one's own ------------------------------------------------------------------------------------------


def test_a_policy_remembers_the_scenario_it_was_trained_in(tmp_path):
    """Also where the environment was handed over and the settings name another one; parts need trust."""
    from test_own_parts import EAST, worst_user

    scenario = get_scenario(
        "mdlbi-small-v0", action="structured", observation="large_scale", mobility=EAST, reward=worst_user, horizon=9
    )
    args = tiny_args(critic_warmup=0, actor_init=1.0)
    run = prepare(args, make_vec_env(scenario, args.num_envs))
    advance(run)
    save_policy(run.policy(), tmp_path / "p.safetensors")
    with pytest.raises(ValueError, match=r"mobility='test_own_parts:EAST' would import a module.*trusted"):
        load_policy(tmp_path / "p.safetensors")
    policy = load_policy(tmp_path / "p.safetensors", trusted=True)
    assert policy.scenario == scenario
    assert load_policy(tmp_path / "p.safetensors", True, num_irs=3).scenario == scenario.replace(num_irs=3)


def test_a_part_that_no_file_could_name_is_refused_before_the_training():
    scenario = get_scenario("mdlbi-small-v0", reward=lambda outcome, state: outcome.sum_rate)
    with pytest.raises(ValueError, match=r"reward: .*define it at the top level of a module"):
        prepare(tiny_args(net="mlp"), make_vec_env(scenario, 4))


def test_an_observation_of_ones_own_without_blocks_trains(tmp_path):
    from test_own_parts import OwnersAlone

    scenario = get_scenario("mdlbi-small-v0", action="structured", observation=OwnersAlone)
    args = tiny_args(critic_warmup=0, net="mlp")
    run = prepare(args, make_vec_env(scenario, args.num_envs))
    advance(run)
    save_policy(run.policy(), tmp_path / "p.safetensors")
    policy = load_policy(tmp_path / "p.safetensors", trusted=True)
    assert np.array_equal(policy(run.obs), run.learner.act(run.obs))


def test_settings_take_parts_with_trust():
    from test_own_parts import worst_user

    flags = {"set": ("reward=test_own_parts:worst_user",)}
    assert scenario_of(tiny_args(trusted=True, **flags)).reward is worst_user
    with pytest.raises(ValueError, match=r"--trusted on the command line"):
        scenario_of(tiny_args(**flags))


# --- damaged and hostile files --------------------------------------------------------------------------------------


def refused(path):
    """The message over a file, which has to name it."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        load_policy(path)
    assert len(str(caught.value)) < 1500
    return str(caught.value)


def test_truncated_files_are_refused(tmp_path):
    path, cut = tmp_path / "p.safetensors", tmp_path / "cut.safetensors"
    trained(path)
    content = path.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, *range(200, len(content), len(content) // 20), len(content) - 1):
        cut.write_bytes(content[:length])
        refused(cut)


def test_flipped_bits_of_the_header_never_end_in_another_error(tmp_path):
    path, flipped = tmp_path / "p.safetensors", tmp_path / "f.safetensors"
    trained(path)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    messages = []
    for place in rng.integers(0, 8 + int.from_bytes(content[:8], "little"), 150):
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        flipped.write_bytes(damaged)
        try:
            load_policy(flipped)  # a letter of a comment, a digit of a setting
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert all(str(flipped) in message for message in messages)


def test_metadata_of_something_else_is_refused(tmp_path):
    path, other = tmp_path / "p.safetensors", tmp_path / "o.safetensors"
    trained(path)
    tensors, plain = read_tensors(path)
    for wrong in (None, 3, [], "x", {}, {"args": None}, {"args": []}, {"args": {"nothing": 1}}):
        write_tensors(other, tensors, wrong)
        refused(other)
    for wrong in (3, [], {"nothing": 1}, {"num_users": 10**9}, {"num_users": 10**400}, {"reward": "os:system"}):
        write_tensors(other, tensors, {**plain, "scenario": wrong})
        refused(other)
    for setting, wrong in (
        *(("width", w) for w in (None, "x", -1, 10**9, 10**30, [])),
        *(("depth", 10**9), ("net", "x"), ("algo", None), ("decoder_scale", 1e308), ("layer_norm", False)),
    ):
        write_tensors(other, tensors, {**plain, "args": {**plain["args"], setting: wrong}})
        refused(other)


def test_tensors_of_something_else_are_refused(tmp_path):
    path, other = tmp_path / "p.safetensors", tmp_path / "o.safetensors"
    trained(path)
    tensors, plain = read_tensors(path)
    name = max(tensors, key=lambda n: tensors[n].numel())
    for wrong in (
        {n: v for n, v in tensors.items() if n != name},
        {**tensors, name: tensors[name][..., :1].clone()},
        {**tensors, "nets.actor.extra": torch.ones(3)},
        {},
    ):
        write_tensors(other, wrong, plain)
        refused(other)
    for wrong in (tensors[name].to(torch.int32), tensors[name] * torch.nan, tensors[name].to(torch.complex64)):
        write_tensors(other, {**tensors, name: wrong}, plain)
        assert "holds what is no finite float32 number" in refused(other)
