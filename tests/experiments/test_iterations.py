"""The table of iterations: it is that of the raw data, and what policies take is enough."""

from __future__ import annotations

import json

import numpy as np
import pytest

from experiments import iterations
from irs_marl_env import Scenario, evaluate, get_scenario
from irs_marl_env.policies import cells


def test_the_page_has_the_table_of_the_raw_data() -> None:
    page = iterations.PAGE.read_text(encoding="utf-8")
    content = json.loads(iterations.RAW.read_text(encoding="utf-8"))
    assert page == iterations.written(page, iterations.table(content))
    for name in ("mdlbi-small-v0", "mdlbi-blocked-small-v0", "mdlbi-k30-v0"):
        rates = content["rates"][name]
        assert len(rates) == iterations.LONG + 1
        assert rates[cells.iterations_of(get_scenario(name))] >= 0.998 * rates[-1]


def test_the_raw_data_are_what_the_script_measures() -> None:
    """A few of its cells, and thirty iterations."""
    found = iterations.measured({"mdlbi-small-v0": 8}, long=30)["rates"]["mdlbi-small-v0"]
    H, G, h = iterations.cells("mdlbi-small-v0", 8)
    assert (H.shape, G.shape, h.shape) == ((8, 4, 4), (8, 2, 16, 4), (8, 2, 4, 16))
    assert np.all(np.diff(found) >= 0)
    own = (abs(H) > 0).any(-1)
    np.testing.assert_array_equal(own[::2], ~own[1::2])  # every user has one BS
    assert not (h * ~own[:, None, :, None]).any()


@pytest.mark.parametrize(("antennas", "taken"), [(4, 30), (2, 80), ((1, 7), 30), ((1, 5), 80)])
def test_crowded_cells_get_more_iterations(antennas, taken, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    solve = cells.alternating_optimization

    def watched(*operands, **options):
        seen.append(options["iterations"])
        return solve(*operands, **{**options, "iterations": 1})

    monkeypatch.setattr(cells, "alternating_optimization", watched)
    scenario = Scenario(num_users=8, num_antennas=antennas, num_irs=1, num_elements=2, horizon=2)
    evaluate("local-gain-ao", scenario, episodes=1, slots=1, progress=False)
    assert set(seen) == {taken}
