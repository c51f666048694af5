"""Frames as a file: an animated GIF, an MP4 that browsers play, or the last one as a PNG (extra ``render``)."""

from __future__ import annotations

import errno
import itertools
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from irs_marl_env.output_files import replacing

MOST_IN_GIF = 5000  # frames: Pillow keeps them all until it writes the file
_COLOURS = 160  # of a GIF, the same in all frames, so that nothing flickers
_SAMPLED = 32  # frames whose colours these are
_EVERY = 4  # of which each so many is looked at
_QUALITY = "20"  # of x264's rate factor: 18 looks like the original, 23 is its default

Frames = Iterable[np.ndarray]  # (height, width, 3) uint8 each


def write_png(path: Path, frames: Frames, fps: float) -> int:
    """Write the last frame.

    Args:
        path: where to.
        frames: one after the other, at least one.
        fps: frames per second; means nothing to a picture that stands still.

    Returns:
        How many frames the file has.
    """
    image = _pillow()
    (last,) = deque(frames, maxlen=1)
    with replacing(path) as partial:
        image.fromarray(last).save(partial, optimize=True)
    return 1


def write_gif(path: Path, frames: Frames, fps: float) -> int:
    """Write an animation that repeats for ever; see :func:`write_png`."""
    image = _pillow()
    rest = iter(frames)
    begun = list(itertools.islice(rest, _SAMPLED))
    seen = image.fromarray(np.concatenate([*begun[::_EVERY], begun[-1]]))
    palette = seen.quantize(_COLOURS, method=image.Quantize.MAXCOVERAGE)
    count = 0

    def flat() -> Iterator[Any]:
        nonlocal count
        for frame in itertools.chain(begun, rest):
            count += 1
            yield image.fromarray(frame).quantize(palette=palette, dither=image.Dither.NONE)

    pictures = flat()
    first = next(pictures)
    with replacing(path) as partial:
        first.save(partial, save_all=True, append_images=pictures, duration=round(1000 / fps), loop=0)
    return count


def write_mp4(path: Path, frames: Frames, fps: float) -> int:
    """Write H.264 with the colours that every browser decodes; see :func:`write_png`. Frames have even sizes."""
    try:
        import imageio_ffmpeg

        program = imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        raise ImportError("an MP4 needs imageio-ffmpeg: pip install 'irs-marl-env[render]'") from None
    rest = iter(frames)
    first = next(rest)
    height, width, _ = first.shape
    pixels = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:.9g}", "-i", "-")
    # +faststart: it plays before it is loaded completely
    film = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", _QUALITY, "-movflags", "+faststart")
    count = 0
    with replacing(path) as partial, _ffmpeg(program, *pixels, *film, str(partial.absolute())) as pipe:
        for frame in itertools.chain([first], rest):
            pipe.write(np.ascontiguousarray(frame).data)
            count += 1
    return count


@contextmanager
def _ffmpeg(program: str, *arguments: str) -> Iterator[IO[bytes]]:
    """Ffmpeg at work on what is written to it.

    Raises:
        OSError: it could not do it, on a full disk for one; says why.
    """
    command = [program, "-y", "-loglevel", "error", *arguments]
    with tempfile.TemporaryFile() as said:
        # a session of its own: Ctrl-C is for us, who end it then
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=said, start_new_session=True) as process:
            assert process.stdin is not None
            try:
                with suppress(BrokenPipeError):  # it has ended, and its exit code and words say why
                    yield process.stdin
                with suppress(BrokenPipeError):
                    process.stdin.close()
            except BaseException:
                process.kill()
                with suppress(BrokenPipeError):
                    process.stdin.close()
                raise
        if process.returncode:
            said.seek(0)
            words = said.read().decode("utf-8", "replace").strip().splitlines() or [f"exit code {process.returncode}"]
            raise OSError(errno.EIO, f"ffmpeg failed ({words[0].rpartition('] ')[2]})")


WRITERS: dict[str, Callable[[Path, Frames, float], int]] = {".gif": write_gif, ".png": write_png, ".mp4": write_mp4}


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("pictures need pillow: pip install 'irs-marl-env[render]'") from None
    return Image
