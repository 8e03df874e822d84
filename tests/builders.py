"""Image sets and image folders that several tests use."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from in4310repro.data import check
from in4310repro.data.images import ImageSet
from in4310repro.data.splits import Split, from_csv
from in4310repro.metrics.scores import Scores
from in4310repro.runs import chain
from in4310repro.runs.config import Config, from_json
from in4310repro.runs.folder import RunFolder
from in4310repro.system.progress import SILENT, Advance, Progress

if TYPE_CHECKING:
    from in4310repro.evaluation.feature_maps.measurement import Request

# What a file of weights does not say that is no run's and has no metadata.
AS_IMAGENET = "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --interpolation bilinear --crop-ratio 1"


@dataclass(frozen=True)
class Watched(Progress):
    """Progress display that passes each step of a task to `step`, and each message to `say`."""

    step: Callable[[str, int, str], object] = lambda _title, _done, _detail: None
    say: Callable[[str], object] = lambda _line: None

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:  # noqa: ARG002
        def advance(done: int, detail: str) -> None:
            self.step(title, done, detail)

        yield advance

    def message(self, line: str) -> None:
        self.say(line)


def findings_of(root: Path, split: Path | None = None, progress: Progress = SILENT) -> check.Findings:
    """Return what the check of a folder finds; `split` is a split.csv to compare it with."""
    return check.check(root, from_csv(split, root) if split else None, progress)[1]


def feature_request(**options: Any) -> "Request":
    """Return what the command `features` measures with these options."""
    from in4310repro.cli.features import SAMPLE, features
    from in4310repro.evaluation.feature_maps.measurement import Request

    asked = features.make_context("features", []).params
    usual = {each.name: asked[each.name] for each in fields(Request) if each.name in asked}
    return Request(**usual | {"images": SAMPLE, "channel_axis": {}} | options)


def image_set(count: int, size: int = 32, seed: int = 0) -> ImageSet:
    """Return `count` random images with labels 0 to 5 in turn; images of a higher label are brighter."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 6
    noise = generator.integers(0, 40, (count, size, size, 3))
    pixels = (labels[:, None, None, None] * 40 + noise).astype(np.uint8)
    names = tuple(f"{seed}/{number:03d}.png" for number in range(count))
    return ImageSet("synthetic", names, names, labels, pixels)


def write_images(root: Path, *paths: str, size: int = 8) -> Path:
    """Write an image of one colour to each path below the root, all different; return the root."""
    for number, path in enumerate(paths):
        # Steps of 16, so that JPEG keeps the colours apart.
        colour = (number % 16 * 16, number // 16 % 16 * 16, number // 256)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (size, size), colour).save(root / path)
    return root


def write_class_folders(root: Path, counts: Mapping[str, int], size: int = 32) -> Path:
    """Write `counts[CLASS]` different images as `root/CLASS/0.png` and so on; return the root."""
    return write_images(root, *(f"{name}/{n}.png" for name, count in counts.items() for n in range(count)), size=size)


def inside_json(content: Any, place: str) -> tuple[Any, str | int]:
    """Return the list or object that holds the value at `place` (such as `supports/test`), and the path's last key.

    A number is the index of an item of a list.
    """
    *outer, last = [int(part) if part.isdigit() else part for part in place.split("/")]
    for part in outer:
        content = content[part]
    return content, last


def relink(entries: list[Any], start_sha256: str | None = None) -> list[Any]:
    """Set `previous` in each entry of a `tensors.json` to the hash of the entry before it; return the entries.

    Args:
        entries: as a forger changed them.
        start_sha256: the hash that the first entry holds; None keeps its own.
    """
    previous = start_sha256 or entries[0]["previous"]
    for entry in entries:
        entry["previous"] = previous
        canonical = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
        previous = hashlib.sha256(canonical).hexdigest()
    return entries


def pixels_of(pixels: Any, config: Config, split: Split) -> tuple[dict[str, str], dict[str, str]]:
    """Return the hashes of the images that a run reads, and for each part the hash that its fingerprint has.

    An image without a hash, such as one with a new name, gets that of no pixels.
    """
    read = {part: split.parts[config.protocol.part_read_as(part)] for part in split.parts}
    hashes = {part: {each.path: pixels.get(each.path, "0" * 64) for each in read[part]} for part in read}
    whole = {path: sha256 for each in hashes.values() for path, sha256 in each.items()}
    digests = {part: b"".join(map(bytes.fromhex, each.values())) for part, each in hashes.items()}
    return dict(sorted(whole.items())), {part: hashlib.sha256(each).hexdigest() for part, each in digests.items()}


def rechain(folder: Path) -> None:
    """Recompute a run's hash chains and its list of pixel hashes after other files were changed, with the manifest."""
    run = RunFolder.open(folder)
    config, split = from_json(run.read_json("config.json"), "config.json"), from_csv(folder / "split.csv", folder)
    if config.is_canonical:
        kept, of_parts = pixels_of(run.read_json("pixels.json"), config, split)
        run.write_json("pixels.json", kept)
        run.write_json("fingerprint.json", run.read_json("fingerprint.json") | {"pixels_sha256": of_parts})
    for setting in config.settings:
        tensors = {each.name: run.read_json(f"{each.name}/tensors.json") for each in config.settings}
        start = chain.starts(config, run.read_json("fingerprint.json"), split, tensors)[setting.name]
        run.write_json(f"{setting.name}/tensors.json", relink(tensors[setting.name], start))


def made_up_scores(count: int = 40) -> Scores:
    """Return random softmax scores and labels of six classes for images 000.png, 001.png, ..."""
    softmax = np.random.default_rng(0).dirichlet(np.ones(6), count).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 6, count)
    return Scores(tuple(f"{number:03d}.png" for number in range(count)), labels, softmax, 1.0)
