"""The replay memory: a ring that keeps the last transitions."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "safetensors", "tqdm", "matplotlib"):
    pytest.importorskip(needed, reason="needs the extra 'train'")
from irs_marl_env.training.replay import Replay  # noqa: E402


def test_replay_keeps_the_last_and_samples_rows_together():
    replay = Replay(5, {"a": (2,), "b": ()})
    for start in (0, 3, 6):
        rows = np.arange(start, start + 3, dtype=np.float32)
        replay.add(a=np.stack([rows, rows + 0.5], -1), b=rows)
    assert replay.size == 5
    assert sorted(replay.arrays["b"].tolist()) == [4, 5, 6, 7, 8]
    sample = replay.sample(100, np.random.default_rng(0))
    assert torch.equal(sample["a"][:, 0], sample["b"])
    assert torch.equal(sample["a"][:, 1], sample["b"] + 0.5)
    assert set(sample["b"].tolist()) == {4, 5, 6, 7, 8}
    with pytest.raises(ValueError, match="6 transitions"):
        replay.add(a=np.zeros((6, 2)), b=np.zeros(6))
