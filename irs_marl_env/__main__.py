"""``python -m irs_marl_env``."""

import sys

from irs_marl_env.cli import main

if __name__ == "__main__":
    sys.exit(main())
