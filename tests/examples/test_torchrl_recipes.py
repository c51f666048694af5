"""The recipes of TorchRL and BenchMARL: they train, and print a table beside the rules."""

import importlib

import pytest


@pytest.mark.parametrize(
    ("name", "updates", "rows"),
    [("mappo", 1, ["MAPPO"]), ("maddpg", 3, ["before training", "MADDPG"]), ("qmix", 3, ["QMIX"])],
)
def test_recipes_of_torchrl(name, updates, rows, capsys):
    collectors = pytest.importorskip("torchrl.collectors", reason="needs the extra 'torchrl'")
    if not hasattr(collectors, "Collector"):
        pytest.skip("the recipes are for TorchRL 0.14")
    importlib.import_module(f"examples.torchrl_{name}").main(updates, episodes=2)
    check(capsys.readouterr().out, *rows)


def test_recipe_of_benchmarl(capsys):
    pytest.importorskip("benchmarl", reason="needs the extra 'benchmarl'")
    importlib.import_module("examples.benchmarl_run").main(frames=1_024, episodes=2)
    check(capsys.readouterr().out, "Mappo", "Iddpg")


def check(printed, *names):
    for name in ("random", "structured-local-gain", *names, "sum_rate [bit/s/Hz]"):
        assert name in printed
