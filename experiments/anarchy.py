"""The price of anarchy of each rule of contention: what it costs that each base station bids for itself.

    python -m experiments.anarchy            # the table of docs/tasks.md and results/anarchy.json; some seconds
    python -m experiments.anarchy --show     # the table alone, printed

The game of a slot: on `mdlbi-blocked-small-v0` with structured actions a base station is paid its own rate, less what
it pays (`reward="local"`). Without interference its rate depends on the set of IRSs it owns alone, so v_m(S), its rate
with the set S by the environment's own decoder on the slot's channels, is all that has to be known of it, and it is
computed for every set. The best association is that of the greatest sum of v_m. The price of anarchy is the mean system
rate with the best association in every slot over that with the bids that selfish base stations make:

- auction: a higher bid costs nothing and an IRS is never worth less than nothing, so each bids the most for every IRS,
  and the tie is drawn: the mean over all associations;
- collision: a claim costs nothing, so each claims every IRS, and nobody has one;
- priority: the same, and the base station with the lowest index has all;
- second price: best responses in turn, from bids of 0, until nobody changes its bids or ROUNDS have passed. Against the
  other's bids a base station takes the set that is worth most to it after payment, and offers for each IRS of it what
  the set would be worth less without it, for each other one what it would be worth more with it.

"Never less than nothing" is measured: the share of pairs S, l in which v_m(S and l) < v_m(S) is in the file.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments.rawdata import dumps
from irs_marl_env import make_vec_env
from irs_marl_env.estimate import Estimate

ROOT = Path(__file__).parents[1]
PAGE, RAW = ROOT / "docs" / "tasks.md", ROOT / "results" / "anarchy.json"
BANK = {"scenario": "mdlbi-blocked-small-v0", "episodes": 100, "slots": 20, "every": 5, "seed": 10_000}
ROUNDS = 50
RULES = ("auction", "collision", "priority", "second_price")


def set_values(env: Any) -> np.ndarray:
    """v_m(S) ``(E, M, 2^L)`` of the present slot; bit l of the index says whether IRS l is in the set."""
    s, state, slot = env.scenario, env._state, env._core.slot
    action = np.tile(env.action_codec.neutral, (env.num_envs, s.num_bs, 1))
    values = np.empty((env.num_envs, s.num_bs, 2**s.num_irs))
    for m, index in itertools.product(range(s.num_bs), range(2**s.num_irs)):
        owner = [m if index >> l & 1 else -1 for l in range(s.num_irs)]
        owners = np.tile(np.array(owner, np.int64), (env.num_envs, 1))
        values[:, m, index] = slot.rates(state, action, owners)[1][:, m]
    return values


def associations(num_bs: int, num_irs: int) -> np.ndarray:
    """The set of each BS ``(M^L, M)`` in every association that gives each IRS to somebody."""
    owners = np.array(list(itertools.product(range(num_bs), repeat=num_irs)), int).reshape(-1, num_irs)
    return ((owners[:, None] == np.arange(num_bs)[:, None]) << np.arange(num_irs)).sum(-1)


def best_response(value: np.ndarray, prices: np.ndarray) -> tuple[int, np.ndarray]:
    """The set ``v(S) - sum of prices`` is greatest for, and the marginal value of each IRS beside it.

    Args:
        value: ``(2^L,)`` bit/s/Hz.
        prices: ``(L,)`` bit/s/Hz, what each IRS costs whoever wins it.
    """
    members = np.arange(len(value))[:, None] >> np.arange(len(prices)) & 1
    best = int((value - members @ prices).argmax())
    bit = 1 << np.arange(len(prices))
    return best, value[best | bit] - value[best & ~bit]


def second_price(value: np.ndarray, limit: float) -> tuple[float, bool]:
    """The system rate of ``value (M, 2^L)`` after best responses in turn, and whether they came to rest.

    Args:
        value: bit/s/Hz.
        limit: the most that can be offered for an IRS, ``price_bps_hz``.
    """
    num_bs, num_irs = len(value), value.shape[1].bit_length() - 1
    bids = np.zeros((num_bs, num_irs))
    for _ in range(ROUNDS):
        before = bids.copy()
        for m in range(num_bs):
            others = np.maximum(np.delete(bids, m, 0).max(0), 0.0)
            bids[m] = np.clip(best_response(value[m], others)[1], -limit, limit)
        if np.allclose(bids, before, rtol=0, atol=1e-9):
            break
    winner = bids.argmax(0)
    sets = [int((winner == m) @ (1 << np.arange(num_irs))) for m in range(num_bs)]
    return sum(value[m, sets[m]] for m in range(num_bs)), bool(np.allclose(bids, before, rtol=0, atol=1e-9))


def measure(bank: dict[str, Any]) -> dict[str, Any]:
    """Mean system rates of the episodes ``(episodes,)`` by rule and with the best association, and what was assumed."""
    options = {"action": "structured", "observation": "large_scale", "horizon": bank["slots"] * bank["every"]}
    env = make_vec_env(bank["scenario"], bank["episodes"], **options)
    env.reset(seed=bank["seed"])
    s = env.scenario
    sets, idle = associations(s.num_bs, s.num_irs), np.tile(env.action_codec.neutral, (bank["episodes"], s.num_bs, 1))
    rates: dict[str, list[Any]] = {name: [] for name in ("best", *RULES)}
    harmful, rested = [], []
    for slot in range(bank["slots"] * bank["every"]):
        if slot % bank["every"] == 0:
            value = set_values(env)
            totals = np.sum([value[:, m, sets[:, m]] for m in range(s.num_bs)], axis=0)  # (E, M^L)
            found = [second_price(each, s.price_bps_hz) for each in value]
            rates["best"].append(totals.max(1))
            rates["auction"].append(totals.mean(1))
            rates["collision"].append(value[:, :, 0].sum(1))
            rates["priority"].append(value[:, 0, -1] + value[:, 1:, 0].sum(1))
            rates["second_price"].append([rate for rate, _ in found])
            rested += [rest for _, rest in found]
            for index, l in itertools.product(range(2**s.num_irs), range(s.num_irs)):
                if not index >> l & 1:
                    harmful.append(value[:, :, index | 1 << l] < value[:, :, index])
        env.step(idle)
    return {
        "bank": bank,
        "rates": {name: np.mean(x, axis=0).tolist() for name, x in rates.items()},
        "an IRS is worth less than nothing": float(np.mean(harmful)),
        "best responses came to rest": float(np.mean(rested)),
    }


def table(raw: dict[str, Any]) -> str:
    """The rows of the rules, with errors over episodes, paired for the quotient."""
    best = np.array(raw["rates"]["best"])
    rows = ["| rule | system rate of selfish bids [bit/s/Hz] | price of anarchy |", "|---|---|---|"]
    for rule in RULES:
        rate = np.array(raw["rates"][rule])
        quotient = best.mean() / rate.mean()
        # of a quotient of means, by the first order of its change
        error = Estimate.of(best / rate.mean() - quotient * rate / rate.mean()).standard_error
        own = Estimate.of(rate)
        rows.append(f'| `"{rule}"` | {own.mean:.3f} ± {own.standard_error:.3f} | {quotient:.3f} ± {error:.3f} |')
    whole = Estimate.of(best)
    rows.append(f"| best association of every slot | {whole.mean:.3f} ± {whole.standard_error:.3f} | 1 |")
    rest, harm = raw["best responses came to rest"], raw["an IRS is worth less than nothing"]
    return "\n".join(rows) + (
        f"\n\nBest responses came to rest in {rest:.1%} of the slots. An IRS more cost rate in {harm:.1%} of the cases."
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--show", action="store_true", help="print the table alone, from the file")
    args = parser.parse_args()
    raw = json.loads(RAW.read_text(encoding="utf-8")) if args.show else measure(BANK)
    text = table(raw)
    print(text)
    if not args.show:
        RAW.write_text(dumps(raw), encoding="utf-8", newline="\n")
        before, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- anarchy -->\n")
        after = rest.partition("<!-- /anarchy -->")[2]
        page = f"{before}<!-- anarchy -->\n\n{text}\n\n<!-- /anarchy -->{after}"
        PAGE.write_text(page, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
