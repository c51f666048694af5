"""Policies that need no learning, by name; :mod:`irs_marl_env.evaluation` runs them next to learned ones."""

from irs_marl_env.policies.planner import Planner
from irs_marl_env.policies.policy import POLICIES, ClassicalPolicy, UniformPolicy, with_margin, with_weights

__all__ = ["POLICIES", "ClassicalPolicy", "Planner", "UniformPolicy", "with_margin", "with_weights"]
