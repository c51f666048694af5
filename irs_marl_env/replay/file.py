"""The HTML file of a replay: one page with everything in it, which asks the network for nothing.

What comes from outside (names of policies and scenarios) stands in JSON and is shown as text, never as HTML, and the
page's own security policy lets no other script run than the one it was written with.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any

from irs_marl_env import output_files
from irs_marl_env.checks import shown
from irs_marl_env.replay.pack import packed
from irs_marl_env.replay.record import Record

SCRIPTS = ("data.js", "look.js", "map.js", "charts.js", "player.js")  # in this order, in one function
ENDINGS = (".html", ".htm")


def write(records: Record | Sequence[Record], path: str | PathLike[str]) -> int:
    """Write the replay of one policy, or of two side by side, as an HTML file.

    The file is complete or not there: it is written beside its place and moved.

    Args:
        records: what :func:`irs_marl_env.replay.record` returned.
        path: where to; must end in ``.html``.

    Returns:
        The size of the file in bytes.

    Raises:
        ValueError: another ending, no such folder, or records that cannot stand side by side.
        OSError: the file cannot be written; what was there before is still there.
    """
    target = check_out(path)
    text = page([records] if isinstance(records, Record) else list(records))
    data = text.encode("utf-8")
    with output_files.replacing(target) as partial:
        partial.write_bytes(data)
    return len(data)


def check_out(path: str | PathLike[str], name: str = "path") -> Path:
    """The path of a replay to be written; ``name`` is what a message calls it.

    Raises:
        ValueError: its name does not end like one, it is a folder, its folder is not there, or nobody may write there.
    """
    found = Path(path)
    if found.suffix.lower() not in ENDINGS:
        raise ValueError(f"{name} {shown(str(path))}: must end in .html")
    output_files.check_out(found, name, moved=True)
    return found


def page(records: Sequence[Record]) -> str:
    """The HTML of a replay; the same records make the same text."""
    content, block = packed(records)
    style = _resource("player.css")
    script = '(() => {\n"use strict";\n' + "\n".join(_resource(name) for name in SCRIPTS) + "\n})();\n"
    policies = " and ".join(each.policy for each in records)
    fill = {
        "title": html.escape(f"{policies} on {records[0].title}"),
        "security": f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'",
        "style": style,
        "content": _json(content),
        "numbers": base64.b64encode(block).decode("ascii"),
        "script": script,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda place: fill[place.group(1)], _resource("player.html"))


def _resource(name: str) -> str:
    return resources.files("irs_marl_env.replay").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _json(content: dict[str, Any]) -> str:
    """JSON that cannot end the element it stands in, whatever the texts in it say."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text
