"""Flat vectors of actions, observations and states, and the named arrays in them."""
