"""Rows of bad input: environment variables, caches, disks, and errors of the program itself."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from in4310repro.evaluation import evaluation
from tests.bad_input.images import photos
from tests.bad_input.row import rows_of
from tests.bad_input.sandbox import Sandbox

row, disk = rows_of("environment"), rows_of("disks")

MAPS = "features --data photos --weights none --image-size 32 --out maps.json"
EVALUATE = "evaluate runs/tiny"


def variables(prepare: Callable[[Sandbox], object], **values: str) -> Callable[[Sandbox], object]:
    def make(box: Sandbox) -> None:
        prepare(box)
        box.environment |= values

    return make


def own_cache(box: Sandbox) -> Path:
    """Fill a cache inside the sandbox with the decoded test images, and return its path."""
    box.run()
    cache = box.root / "home/cache"
    box.environment["IN4310REPRO_CACHE"] = str(cache)
    outcome = box.call(EVALUATE.split())
    assert outcome.code == 0, outcome.err
    return cache


def cache_is_a_file(box: Sandbox) -> None:
    box.run()
    box.write("cache", "x")
    box.environment["IN4310REPRO_CACHE"] = str(box.work / "cache")


def a_cached_pixel_is_another(box: Sandbox) -> None:
    (file,) = (own_cache(box) / "pixels").iterdir()
    data = bytearray(file.read_bytes())
    data[-100] ^= 64
    file.write_bytes(bytes(data))


def a_cached_scene_is_another(box: Sandbox) -> None:
    cache = own_cache(box)
    scene = sorted((cache / "scenes").rglob("*.bmp"))[0]
    data = bytearray(scene.read_bytes())
    data[-100] ^= 64
    scene.write_bytes(bytes(data))


def the_seal_of_the_scenes_is_gone(box: Sandbox) -> None:
    for seal in (own_cache(box) / "scenes").rglob(".contents"):
        seal.unlink()


def the_pixel_cache_is_a_file(box: Sandbox) -> None:
    cache = own_cache(box)
    shutil.rmtree(cache / "pixels")
    (cache / "pixels").write_text("x")


def fails(error: BaseException, target: object, name: str) -> Callable[[Sandbox], object]:
    """Make a run, and let one function of the program raise `error`."""

    def raises(*_arguments: object, **_options: object) -> None:
        raise error

    def make(box: Sandbox) -> None:
        box.run()
        photos(box)
        box.patch(target, name, raises)

    return make


def no_space() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_only() -> OSError:
    return OSError(errno.EROFS, os.strerror(errno.EROFS))


CACHE = ("home/cache*",)

ROWS = [
    row("the cache is a file", EVALUATE, 2, "cache", make=cache_is_a_file),
    row("a pixel in the cache has another byte: it is decoded again", EVALUATE, 0, "12 images", written=CACHE,
        make=a_cached_pixel_is_another, intact="the run; the numbers are right"),
    row("a scene in the cache has another byte", EVALUATE, 2, "home/cache", make=a_cached_scene_is_another),
    row("the seal of the scenes in the cache is gone", EVALUATE, 2, "home/cache", make=the_seal_of_the_scenes_is_gone),
    row("the folder of cached pixels is a file", EVALUATE, 2, "home/cache", make=the_pixel_cache_is_a_file),
    row("the limit of the cache is beyond any disk", EVALUATE, 2, "IN4310REPRO_CACHE_LIMIT", "1e300", "such as 20",
        make=variables(Sandbox.run, IN4310REPRO_CACHE_LIMIT="1e300")),
    row("the limit of the cache is empty", "cache", 2, "IN4310REPRO_CACHE_LIMIT", "such as 20",
        make=variables(photos, IN4310REPRO_CACHE_LIMIT="")),
    row("the number of processes is a word", MAPS, 2, "WORLD_SIZE", "many", make=variables(photos, WORLD_SIZE="many")),
    row("the number of processes is 0", MAPS, 2, "WORLD_SIZE", make=variables(photos, WORLD_SIZE="0")),
    row("the number of processes is empty", MAPS, 2, "WORLD_SIZE", make=variables(photos, WORLD_SIZE="")),
    row(
        "the rank is beyond the processes",
        MAPS,
        2,
        "RANK",
        make=variables(photos, WORLD_SIZE="2", RANK="5", LOCAL_RANK="5", MASTER_ADDR="localhost", MASTER_PORT="29501"),
    ),
    row("there is no rank", MAPS, 2, "RANK", make=variables(photos, WORLD_SIZE="2")),
    row("the width of the terminal is a word", "verify runs/none", 2, "runs/none", make=variables(photos, COLUMNS="x")),
    row("the program has an error", EVALUATE, 70, "KeyError", written=("temporary/*",),
        make=fails(KeyError("a mistake of ours"), evaluation, "examine")),
    row("the program runs out of memory", EVALUATE, 2, "memory",
        make=fails(MemoryError("cannot allocate"), evaluation, "examine")),
    disk("the disk is full as a training begins", "train --preset tiny --out new", 2, "new/", "space",
         make=fails(no_space(), os, "fsync"), written=("work/new",)),
    disk("the disk is full as a result is written", f"{EVALUATE} --out result.json", 2, "result.json", "space",
         make=fails(no_space(), os, "fsync")),
    disk("the disk is read-only as a result is written", f"{EVALUATE} --out result.json", 2, "result.json",
         make=fails(read_only(), os, "fsync")),
    disk(
        "the disk is full as an audit's page is written",
        "audit photos.txt --out page.html",
        2,
        "page.html",
        "space",
        make=lambda box: (fails(no_space(), os, "fsync")(box), box.write("photos.txt", "Accuracy: 50.0% (5/10)\n")),
    ),
    disk("the disk is full as a report is written", "report runs/tiny --no-photographs", 2, "space",
         make=fails(no_space(), os, "fsync"), written=("work/reports",)),
    disk("the disk is full as a result of measurements is written", MAPS, 2, "maps", "space",
         make=fails(no_space(), os, "fsync")),
]  # fmt: skip
