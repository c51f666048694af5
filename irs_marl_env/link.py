"""The radio link under its public name: what :mod:`irs_marl_env.physics.radio` offers to users of the package."""

from irs_marl_env.physics.radio import *  # noqa: F403
from irs_marl_env.physics.radio import __all__ as __all__
