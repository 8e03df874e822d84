"""Comparison of newly decoded pixels with the pixel hashes that a run recorded."""

from __future__ import annotations

from collections.abc import Iterator

from in4310repro.data.images import ImageSet, decoder
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun


def pixel_differences(run: FinishedRun, part: str, images: ImageSet, *, bitwise: bool) -> Iterator[str]:
    """Yield an error message if the hash of an image set's pixels differs from the hash that the run recorded.

    Nothing is checked if the run's version recorded no hashes of pixels.

    Args:
        run: a finished run.
        part: a part of the split.
        images: the images of the part, decoded now.
        bitwise: whether pixels must be equal even if the versions of the decoder differ.
    """
    recorded, computed = run.fingerprint.get("pixels_sha256", {}).get(part), images.pixels_sha256()
    made_by, here = run.fingerprint.get("decoder", {}), decoder()
    if recorded in (None, computed) or not (bitwise or made_by == here):
        return
    versions = [
        f"{name} {made_by.get(name, 'none')} in the run and {here.get(name, 'none')} here"
        for name in sorted(made_by.keys() | here.keys())
        if made_by.get(name) != here.get(name)
    ]
    why = f" (another decoder: {', '.join(versions)})" if versions else ""
    yield (
        f"{run.folder / names.FINGERPRINT}: pixels_sha256 of the {part} images is {recorded}; they are decoded to "
        f"{computed}{why}"
    )
