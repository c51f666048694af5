"""Updates of the stacked learner against the plain formulation: one network after the other, features written out,
torch.optim.Adam over a list of parameters, a Polyak average entry by entry."""

import copy

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "safetensors", "tqdm", "matplotlib"):
    pytest.importorskip(needed, reason="needs the extra 'train'")
from tiny_training import random_batch, tiny_run  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from irs_marl_env.training.flat import Flat, FlatAdam  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


class Plain:
    """The same algorithm on copies of a learner's weights."""

    def __init__(self, learner):
        self.args, self.gamma, self.central, self.sizes = learner.args, learner.gamma, learner.central, learner.sizes
        copies = lambda net: {k: v.detach().clone().requires_grad_() for k, v in net.named_parameters()}  # noqa: E731
        self.nets = {name: copies(learner.nets[name]) for name in ("actor", "critic")}
        self.targets = {name: copies(learner.targets[name]) for name in ("actor", "critic")}
        self.adam = {
            name: torch.optim.Adam(self.nets[name].values(), lr=rate)
            for name, rate in (("actor", self.args.actor_lr), ("critic", self.args.critic_lr))
        }

    # one agent's network: w holds its weights alone

    def layer(self, w, name, x):
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"][0]

    def block(self, w, name, x):
        y = self.layer(w, f"{name}.linear", x)
        if f"{name}.gain" in w:
            y = F.layer_norm(y, y.shape[-1:]) * w[f"{name}.gain"][0] + w[f"{name}.shift"][0]
        return F.relu(y)

    def trunk(self, w, pairs, present, pool):
        pair = self.block(w, "trunk.pair.1", self.block(w, "trunk.pair.0", pairs)) * present[:, None, :, None]
        users = pool * pair.mean(2)
        whole = users.mean(1)
        return pair, self.block(w, "trunk.irs", torch.cat([users, whole[:, None].expand_as(users)], -1)), whole

    def spread(self, x, axis):
        """``(B, K)`` or ``(B, L)`` to ``(B, L, K, 1)``."""
        return x.unsqueeze(axis).expand(-1, self.sizes.num_irs, self.sizes.num_users)[..., None]

    def own_pairs(self, obs):
        take = lambda name: self.sizes.observation.take(obs, name)  # noqa: E731
        rivals = take("rho").amax(1) if self.sizes.num_bs > 1 else torch.zeros_like(take("held"))
        users = [take("own_user"), take("direct_gain"), take("irs_gain").mean(1)]
        return [
            take("irs_gain")[..., None], *(self.spread(x, 1) for x in users),
            *(self.spread(x, 2) for x in (take("held"), rivals)),
        ]  # fmt: skip

    def action_pairs(self, action):
        bids, focus, powers = (self.sizes.action.take(action, name) for name in ("bids", "focus", "powers"))
        return [focus[..., None], self.spread(powers, 1), self.spread(bids, 2)]

    def actor(self, w, obs):
        if "trunk.irs.linear.weight" not in w:
            x = obs
            for index in range(self.args.depth):
                x = self.block(w, f"trunk.{index}", x)
            raw = self.layer(w, "heads.action", x)
        else:
            own = self.sizes.observation.take(obs, "own_user")
            pair, irs, whole = self.trunk(w, torch.cat(self.own_pairs(obs), -1), own, self.sizes.num_bs)
            users, L, K = pair.mean(1), self.sizes.num_irs, self.sizes.num_users
            far = irs[:, :, None].expand(-1, L, K, -1)
            parts = {
                "bids": self.layer(w, "heads.bids", irs),
                "focus": self.layer(w, "heads.focus", torch.cat([pair, far], -1)),
                "powers": self.layer(w, "heads.powers", torch.cat([users, whole[:, None].expand_as(users)], -1)),
                "regularizer": self.layer(w, "heads.regularizer", whole),
            }
            raw = torch.cat([parts[name].flatten(1) for name in self.sizes.action.shapes], -1)
        span = torch.ones(raw.shape[-1])
        if "focus" in self.sizes.action.slices:
            span[self.sizes.num_irs :] = self.args.decoder_scale
        return torch.tanh(raw) * span, raw

    def critic(self, w, view, actions):
        """Q for a view and the actions that this critic sees, one or those of all agents."""
        if "trunk.irs.linear.weight" not in w:
            x = torch.cat([view, *actions], -1)
            for index in range(self.args.depth):
                x = self.block(w, f"trunk.{index}", x)
            return self.layer(w, "head", x)[:, 0]
        if self.central:
            take = lambda name: self.sizes.state.take(view, name)  # noqa: E731
            users = [*take("direct_gain").unbind(1), *take("cell").unbind(1), *take("position").unbind(2)]
            pairs = [*(x[..., None] for x in take("irs_gain").unbind(1)), *(self.spread(x, 1) for x in users)]
            pairs += [self.spread(x, 2) for x in take("owner").unbind(1)]
            present, pool = torch.ones(len(view), self.sizes.num_users), 1
        else:
            pairs, present, pool = (
                self.own_pairs(view),
                self.sizes.observation.take(view, "own_user"),
                self.sizes.num_bs,
            )
        for action in actions:
            pairs += self.action_pairs(action)
        _, irs, whole = self.trunk(w, torch.cat(pairs, -1), present, pool)
        rest = [self.sizes.action.take(action, "regularizer").reshape(len(view), -1) for action in actions]
        return self.layer(w, "head.1", self.block(w, "head.0", torch.cat([irs.mean(1), whole, *rest], -1)))[:, 0]

    # the update

    def of(self, weights, m):
        return {name: value[m if len(value) > 1 else 0] for name, value in weights.items()}

    def value(self, weights, batch, before, m, actions):
        view = batch[f"{before}state"] if self.central else batch[f"{before}obs"][:, m]
        return self.critic(self.of(weights["critic"], m), view, actions if self.central else [actions[m]])

    def update(self, batch):
        agents, args = range(self.sizes.num_bs), self.args
        replayed = list(batch["action"].unbind(1))
        critic_loss = actor_loss = 0
        with torch.no_grad():
            following = [self.actor(self.of(self.targets["actor"], m), batch["next_obs"][:, m])[0] for m in agents]
        for m in agents:
            with torch.no_grad():
                target = args.reward_scale * batch["reward"][:, m]
                target = target + self.gamma * self.value(self.targets, batch, "next_", m, following)
            critic_loss = critic_loss + (self.value(self.nets, batch, "", m, replayed) - target).square().mean()
        self.descend("critic", critic_loss)
        for m in agents:
            own, raw = self.actor(self.of(self.nets["actor"], m), batch["obs"][:, m])
            actions = [own if n == m else replayed[n] for n in agents]
            actor_loss = actor_loss - self.value(self.nets, batch, "", m, actions).mean()
            actor_loss = actor_loss + args.pretanh_penalty * raw.square().mean()
        self.descend("actor", actor_loss)
        for name, weights in self.targets.items():
            for key, value in weights.items():
                value.data = (1 - args.tau) * value.data + args.tau * self.nets[name][key].data
        return critic_loss.item(), actor_loss.item()

    def descend(self, name, loss):
        self.adam[name].zero_grad()
        loss.backward(inputs=list(self.nets[name].values()))
        self.adam[name].step()


SETTINGS = [
    {"share_actor": True, "share_critic": True},
    {"set": ("num_bs=3", "num_irs=3"), "gamma": 0.9, "decoder_scale": 0.5},
    {"algo": "maddpg", "gamma": 0.9, "share_actor": True},
    {"algo": "maddpg", "net": "mlp", "gamma": 0.9, "set": ("num_bs=3",)},
    {"net": "mlp", "share_actor": True, "layer_norm": False},
    {"set": ("num_bs=1",)},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_updates_are_those_of_the_plain_formulation(settings):
    run = tiny_run(critic_warmup=0, lr_decay=False, tau=0.1, **settings)
    learner, generator = run.learner, torch.Generator().manual_seed(3)
    with torch.no_grad():  # gains, shifts and biases that are not 1 and 0, targets that differ
        for parameter in (*learner.nets.parameters(), *learner.targets.parameters()):
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    plain = Plain(learner)
    for seed in range(6):
        batch = random_batch(run, 16, seed)
        losses = learner.update(batch)
        assert (losses["critic_loss"], losses["actor_loss"]) == pytest.approx(plain.update(batch), rel=1e-5)
    for kind in ("nets", "targets"):
        for name, net in getattr(learner, kind).items():
            for key, value in net.named_parameters():
                wanted = getattr(plain, kind)[name][key]
                assert (value - wanted).norm() <= 1e-5 * wanted.norm(), (kind, name, key)


def _two():
    generator = torch.Generator().manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))
    x = torch.randn(9, 4, generator=generator)
    return net, copy.deepcopy(net), x


def test_adam_on_the_vector_is_torchs_to_the_bit():
    mine, theirs, x = _two()
    flat, adam = FlatAdam(Flat(mine), 1e-2), torch.optim.Adam(theirs.parameters(), lr=1e-2, foreach=False)
    for _ in range(30):
        flat.descend(mine(x).square().sum())
        adam.zero_grad()
        theirs(x).square().sum().backward()
        adam.step()
    assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), theirs.parameters(), strict=True))
    saved, wanted = flat.state_dict()["state"], adam.state_dict()["state"]
    assert saved.keys() == wanted.keys()
    for index, moments in wanted.items():
        assert moments.keys() == saved[index].keys()
        assert all(torch.equal(value, saved[index][name]) for name, value in moments.items())


def test_adam_on_the_vector_goes_on_from_the_state_of_torchs():
    """Checkpoints of earlier versions were written by torch's optimiser."""
    mine, theirs, x = _two()
    adam = torch.optim.Adam(theirs.parameters(), lr=1e-2, foreach=False)
    for _ in range(5):
        adam.zero_grad()
        theirs(x).square().sum().backward()
        adam.step()
    flat = FlatAdam(Flat(mine), 1e-2)
    mine.load_state_dict(theirs.state_dict())
    flat.load_state_dict(adam.state_dict())
    adam.zero_grad()
    theirs(x).square().sum().backward()
    adam.step()
    flat.descend(mine(x).square().sum())
    assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), theirs.parameters(), strict=True))


def test_moments_fade_to_zero_not_through_denormal_numbers():
    """The weights are those of torch's Adam all the same, and elsewhere denormal numbers are kept as before."""
    mine, theirs, _ = _two()
    flat, adam = FlatAdam(Flat(mine), 1e-2), torch.optim.Adam(theirs.parameters(), lr=1e-2, foreach=False)
    for size in (3e-19, 0.0):  # Adam keeps a thousandth of the square, 1e-40
        for _ in range(20):
            flat._gradient.fill_(size)
            flat.step()
            for parameter in theirs.parameters():
                parameter.grad = torch.full_like(parameter, size)
            adam.step()
    assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), theirs.parameters(), strict=True))
    assert all(0 < float(moments["exp_avg_sq"].max()) < 1.2e-38 for moments in adam.state_dict()["state"].values())
    assert not flat._square.any()
    assert float(torch.tensor([1e-30]) * 1e-10) > 0


def test_a_vector_follows_another_and_stays_the_parameters():
    mine, theirs, _ = _two()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(1.0)
    before = [p.detach().clone() for p in mine.parameters()]
    Flat(mine).follow(Flat(theirs), 0.1)
    for old, new, other in zip(before, mine.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(new, 0.9 * old + 0.1 * other, atol=1e-6)
