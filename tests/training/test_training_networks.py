"""Actors and critics: what they do not depend on, and what their size is."""

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "safetensors", "tqdm", "matplotlib"):
    pytest.importorskip(needed, reason="needs the extra 'train'")
from tiny_training import random_batch, tiny_run  # noqa: E402

from irs_marl_env.training.networks import Sizes  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("share", [False, True])
def test_deepsets_are_equivariant_in_users_and_irss(share):
    run = tiny_run(share_actor=share, actor_init=1.0)
    actor, codec = run.learner.nets["actor"], run.env.observation_codec
    obs = torch.from_numpy(run.obs).transpose(0, 1).contiguous()
    named = codec.decode(obs)
    users, irs = torch.tensor([2, 0, 3, 1]), torch.tensor([1, 0])
    permuted = {
        "own_user": named["own_user"][..., users],
        "direct_gain": named["direct_gain"][..., users],
        "irs_gain": named["irs_gain"][..., irs, :][..., users],
        "held": named["held"][..., irs],
        "rho": named["rho"][..., irs],
    }
    layout = run.env.action_codec.layout
    plain = {k: layout.take(actor(obs)[0], k) for k in layout.shapes}
    moved = {k: layout.take(actor(codec.encode(permuted))[0], k) for k in layout.shapes}
    assert torch.allclose(moved["bids"], plain["bids"][..., irs], atol=1e-5)
    assert torch.allclose(moved["powers"], plain["powers"][..., users], atol=1e-5)
    assert torch.allclose(moved["focus"], plain["focus"][..., irs, :][..., users], atol=1e-5)
    assert torch.allclose(moved["regularizer"], plain["regularizer"], atol=1e-5)


@pytest.mark.parametrize("share", [False, True])
def test_users_of_other_cells_leave_no_trace_in_the_features(share):
    """Whatever an observation says of a user that is another base station's."""
    run = tiny_run(share_actor=share, share_critic=share, actor_init=1.0)
    batch, layout = random_batch(run), run.env.observation_codec.layout
    obs, action = batch["obs"].transpose(0, 1), batch["action"].transpose(0, 1)
    absent = layout.take(obs, "own_user") == 0
    other = obs.clone()
    other[..., layout.slices["direct_gain"]] += absent
    for irs in layout.take(torch.arange(layout.size), "irs_gain"):
        other[..., irs] += absent
    assert not torch.equal(other, obs)
    actor, critic = (run.learner.nets[name] for name in ("actor", "critic"))
    assert torch.equal(actor(other)[0], actor(obs)[0])
    assert torch.equal(critic(other, action), critic(obs, action))


@pytest.mark.parametrize("share", [False, True])
def test_a_user_that_is_nobodys_counts_for_nobody(share):
    run = tiny_run(share_actor=share, actor_init=1.0)
    obs, layout = random_batch(run)["obs"].transpose(0, 1), run.env.observation_codec.layout
    at, actor = layout.slices["own_user"], run.learner.nets["actor"]
    obs[..., at] = 0
    plain = actor(obs)[0]
    obs[..., layout.slices["direct_gain"]] += 1
    assert torch.equal(actor(obs)[0], plain)


def test_a_rival_is_whoever_of_the_others_holds_the_irs():
    run = tiny_run(set=("num_bs=3",))
    sizes, obs = Sizes.of(run.env), torch.zeros(3, 1, run.env.observation_size)
    rho = sizes.observation.take(obs, "rho")  # (A, B, 2, L), a view
    rho[:, :, 1, 0] = 1.0
    look = sizes.own_look(obs[:, :, None], sizes.own_pairs())
    rivals = look.pairs[..., 5]  # (A, B, K, L)
    assert (rivals[..., 0] == 1).all()
    assert (rivals[..., 1] == 0).all()


@pytest.mark.parametrize("net", ["deepsets", "mlp"])
def test_a_shared_critic_values_every_bs_alike(net):
    run = tiny_run(net=net, share_critic=True)
    batch = random_batch(run)
    obs, action = batch["obs"].transpose(0, 1), batch["action"].transpose(0, 1)
    q = run.learner.nets["critic"](obs, action)
    assert torch.allclose(run.learner.nets["critic"](obs.flip(0), action.flip(0)), q.flip(0), atol=1e-6)
    alone = tiny_run(net=net).learner.nets["critic"]
    assert not torch.allclose(alone(obs.flip(0), action.flip(0)), alone(obs, action).flip(0), atol=1e-3)
    per_bs = sum(p.numel() for p in alone.parameters()) // 2
    assert sum(p.numel() for p in run.learner.nets["critic"].parameters()) == per_bs
