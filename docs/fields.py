"""Makes docs/fields.md, the page of the fields of a scenario, from what they say themselves.

python docs/fields.py --write
"""

import argparse
from pathlib import Path

from irs_marl_env.scenario import Scenario
from irs_marl_env.scenario_help import page

PATH = Path(__file__).parent / "fields.md"


def main() -> int:
    """Writes the page, or says whether the committed one is up to date: exit code 1 if it is not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--write", action="store_true", help="write the page instead of looking whether it is right")
    text = page(Scenario)
    if parser.parse_args().write:
        PATH.write_text(text, encoding="utf-8", newline="\n")
    elif PATH.read_text(encoding="utf-8") != text:
        print(f"{PATH.name} is not up to date: run python docs/fields.py --write")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
