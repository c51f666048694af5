"""The radio link under its public name: what :mod:`irs_marl_env.physics.radio` offers to users of the package."""

from irs_marl_env.physics.radio import *  # noqa: F403  (all of the list below, and no second list of it)
from irs_marl_env.physics.radio import __all__ as __all__
