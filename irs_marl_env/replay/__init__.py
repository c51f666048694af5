"""Replays: episodes recorded slot by slot, and a self-contained HTML file in which one can look through them.

    from irs_marl_env import replay

    records = [replay.record(policy, "mdlbi-small-v0") for policy in ("local-gain-ao", "random-ao")]
    replay.write(records, "replay.html")

docs/replay.md shows what is seen in it.
"""

from irs_marl_env.replay.file import check_out, write
from irs_marl_env.replay.record import MOST_SLOTS, USUAL_SLOTS, Record, check_pair, planned_slots, record

__all__ = ["MOST_SLOTS", "USUAL_SLOTS", "Record", "check_out", "check_pair", "planned_slots", "record", "write"]
