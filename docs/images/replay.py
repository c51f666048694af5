"""Draws docs/images/replay.png and replay-phone.png: a replay in Chromium; needs the extra ``browser`` and Chromium.

python docs/images/replay.py
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from irs_marl_env import replay

SLOTS = 200
SLOT = 96  # that is shown
SEED = 0
POLICIES = ("structured-local-gain", "structured-random")
SCREENS = {"replay": (1280, 800, 1), "replay-phone": (390, 844, 1)}  # width, height, points per pixel
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Write a replay to a temporary folder, and pictures of it here."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = Path(folder) / "replay.html"
        replay.write([replay.record(policy, slots=SLOTS, seed=SEED) for policy in POLICIES], page)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for name, (width, height, points) in SCREENS.items():
            size = {"width": width, "height": height}
            tab = browser.new_page(viewport=size, device_scale_factor=points, color_scheme="light")
            tab.goto(page.as_uri())
            tab.locator("#now:not(:empty)").wait_for()
            tab.locator("#slot").fill(str(SLOT))
            tab.locator("#slot").blur()
            path = Path(__file__).with_name(f"{name}.png")
            tab.screenshot(path=path)
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
        browser.close()


if __name__ == "__main__":
    main()
