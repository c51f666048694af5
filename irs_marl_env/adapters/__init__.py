"""Thin shells of other libraries over the batched environment, each imported where it is used.

All of them say of the end of an episode what it is, a time limit: nothing terminates, a learner bootstraps from the
last observation. docs/libraries.md has what was measured with each.
"""
