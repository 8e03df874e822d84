"""Rows of bad input: images and folders of images."""

from __future__ import annotations

import os
import struct
import unicodedata
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.bad_input.row import each_of, refusals_of, rows_of
from tests.bad_input.sandbox import Sandbox
from tests.special_files import link_to_a_device, named_pipe, unix_socket

row = rows_of("images and folders")

TRAIN = "train --preset tiny --data photos --split 10/4/4"
TRAIN_20 = "train --preset tiny --data photos --split 11/4/4"
refused = refusals_of("images and folders", TRAIN_20)
CHECK = "data check photos"
FEATURES = "features --data photos --weights none --image-size 32 --images 50 --out maps.json"
Make = Callable[[Sandbox], object]


def photos(box: Sandbox) -> None:
    box.photos()


def with_file(name: str, content: str | bytes) -> Make:
    def make(box: Sandbox) -> None:
        box.photos()
        box.write(f"photos/{name}", content)

    return make


def with_tiff(pixels: np.ndarray, mode: str | None = None) -> Make:
    def make(box: Sandbox) -> None:
        root = box.photos()
        image = Image.fromarray(pixels) if mode is None else Image.fromarray(pixels).convert(mode)
        image.save(root / "cat/x.tif")

    return make


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """Return a PNG whose header states this size; `data` need not match it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    ends = chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + ends


def truncated(box: Sandbox) -> None:
    root = box.photos()
    data = (root / "cat/0.png").read_bytes()
    (root / "cat/x.png").write_bytes(data[: len(data) // 2])


def special(kind: str, name: str = "photos/cat/x.png") -> Make:
    """Return a function that makes image folders in which the file `name` is of a special `kind`, such as a FIFO."""

    def make(box: Sandbox) -> None:
        box.photos()
        path = box.work / name
        if kind == "FIFO":
            named_pipe(path)
        elif kind == "socket":
            unix_socket(path)
        elif kind == "link to a device":
            link_to_a_device(path)
        else:
            named_pipe(box.root / "victim/pipe")
            path.symlink_to(box.root / "victim/pipe")

    return make


def linked(target: str, name: str) -> Make:
    def make(box: Sandbox) -> None:
        box.photos()
        (box.work / name).symlink_to(target)

    return make


def two_normal_forms(of_class: bool) -> Make:
    """Make two class or file names that differ only in their Unicode normalisation."""

    def make(box: Sandbox) -> None:
        names = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
        if of_class:
            box.photos(classes=(*names, "dog"), images=6)
        else:
            root = box.photos()
            for number, name in enumerate(names):
                Image.new("RGB", (32, 32), (number, 1, 2)).save(root / f"cat/{name}.png")

    return make


def only_one_class(box: Sandbox) -> None:
    box.photos(classes=("cat",))


def beside_the_classes(box: Sandbox) -> None:
    root = box.photos()
    (root / "cat/0.png").rename(root / "loose.png")


def years_in_classes(box: Sandbox) -> None:
    box.photos(classes=("cat/2023", "cat/2024", "dog/2023", "dog/2024"))


def classes_beside_a_part(box: Sandbox) -> None:
    box.photos(classes=("cat", "dog", "test/cat", "test/dog"))


def an_empty_class(box: Sandbox) -> None:
    (box.photos() / "bird").mkdir()


def a_single_pixel(box: Sandbox) -> None:
    Image.new("RGB", (1, 1)).save(box.photos() / "cat/x.png")


def a_small_class(box: Sandbox) -> None:
    root = box.photos()
    for number in range(2, 9):
        (root / f"dog/{number}.png").unlink()


def a_folder_named_like_an_image(box: Sandbox) -> None:
    (box.photos() / "cat/x.png").mkdir()


def a_byte_that_is_no_utf8(box: Sandbox) -> None:
    root = box.photos() / "cat"
    (root / "0.png").rename(root / os.fsdecode(b"\xff.png"))


def with_copy(into: str) -> Make:
    def make(box: Sandbox) -> None:
        root = box.photos()
        (root / into).write_bytes((root / "cat/0.png").read_bytes())

    return make


def comparison(box: Sandbox) -> None:
    (box.work / "empty").mkdir()


def run_and_photos(box: Sandbox) -> None:
    box.run()
    box.photos()


ROWS = [
    row("the folder is not there", "train --preset tiny --data nowhere", 2, "no folder nowhere"),
    row("the folder is a file", "train --preset tiny --data note", 2, "note", make=lambda box: box.write("note", "x")),
    row("the folder is empty", "train --preset tiny --data empty", 2, "empty", make=comparison),
    row("the name of the folder is empty", "train --preset tiny --data ''", 2, "data"),
    row("there is one class alone", TRAIN, 2, "photos", "at least 2", make=only_one_class),
    row("an image lies beside the class folders", TRAIN, 2, "loose.png", "ROOT/CLASS/IMAGE", make=beside_the_classes),
    row("nothing tells whether classes or years are the classes", TRAIN, 2, "photos", "outermost has cat 18, dog 18",
        "innermost has 2023 18, 2024 18", make=years_in_classes),
    row("a folder of tests is beside classes", TRAIN, 2, "photos", "outermost has cat 9, dog 9, test 18",
        "innermost has cat 18, dog 18", make=classes_beside_a_part),
    row("a choice of class folders is unknown", f"{TRAIN} --class-folders inner", 2, "'inner'", "outermost, innermost",
        make=photos),
    row("class folders are chosen without a folder", "train --preset tiny --class-folders innermost", 2, "--data"),
    row("a class folder is empty", TRAIN, 2, "photos/bird", "no images", make=an_empty_class),
    row("a class has two images", "train --preset tiny --data photos --split 5/3/3", 2, "dog", "2 images",
        make=a_small_class),
    refused("a text is named .jpg", "cat/x.jpg", "no", make=with_file("cat/x.jpg", "a text")),
    refused("an image is empty", "cat/x.jpg", make=with_file("cat/x.jpg", b"")),
    refused("a PNG ends in the middle", "cat/x.png", make=truncated),
    refused("a PNG claims 10^10 pixels", "cat/x.png", make=with_file("cat/x.png", png(100_000, 100_000))),
    refused("a PNG claims no width", "cat/x.png", make=with_file("cat/x.png", png(0, 32))),
    refused("a TIFF holds floats", "cat/x.tif", make=with_tiff(np.ones((32, 32), np.float32))),
    refused("a TIFF holds 32-bit integers", "cat/x.tif", make=with_tiff(np.full((32, 32), 1 << 20, np.int32))),
    refused("an image is a FIFO", "cat/x.png", make=special("FIFO")),
    refused("an image is a socket", "cat/x.png", make=special("socket")),
    refused("an image is a link to a device", "cat/x.png", make=special("link to a device")),
    refused("an image is a link to a FIFO", "cat/x.png", make=special("link to a FIFO")),
    refused("an image is a link to nothing", "cat/x.png", make=linked("nothing", "photos/cat/x.png")),
    row("a folder is a link to a folder around it", TRAIN, 2, "photos/cat/up", "link",
        make=linked("..", "photos/cat/up")),
    row("a folder is named like an image", TRAIN, 2, "x.png", make=a_folder_named_like_an_image),
    refused("a file name has a line break", "rename it", make=with_file("cat/a\nb.png", png(1, 1))),
    refused("a file name turns the terminal's text around", "rename it",
        make=with_file("cat/\u202egnp.png", png(1, 1))),
    row("a file name is not UTF-8", TRAIN, 2, "rename it", make=a_byte_that_is_no_utf8),
    row("a class name has an escape sequence", "train --preset tiny --data photos --split 10/4/4", 2, "rename it",
        make=lambda box: box.photos(classes=("cat", "d\x1b[31mog"))),
    row("two classes differ by Unicode normalisation", TRAIN, 2, "caf", make=two_normal_forms(True)),
    row("two files differ by Unicode normalisation", "train --preset tiny --data photos --split 12/4/4", 2, "caf",
        make=two_normal_forms(False)),
    row("the ImageNet folder is not there", "train --preset tiny --imagenet nowhere", 2, "nowhere"),
    row("the CIFAR-10 folder is empty", "train --preset tiny --cifar10 empty", 2, "empty", make=comparison),
    row("a checked folder is not there", "data check nowhere", 2, "nowhere"),
    row("a checked class is empty", CHECK, 1, "bird has no images", "18 images: cat 9, dog 9", make=an_empty_class),
    row("nothing tells the classes of a checked folder", CHECK, 1, "outermost has cat 18, dog 18", "36 images",
        make=years_in_classes),
    row("a checked folder has one class", CHECK, 1, "at least 2 are needed", "9 images", make=only_one_class),
    row("a checked image lies beside the classes", CHECK, 1, "loose.png", "17 images", make=beside_the_classes),
    row("a checked image has one pixel", CHECK, 0, "cat/x.png (1 x 1 pixels)", make=a_single_pixel),
    row("a checked image is a text", CHECK, 1, "1 unreadable", "x.jpg", make=with_file("cat/x.jpg", "a text")),
    row("a checked TIFF holds floats, which train refuses", CHECK, 1, "1 unreadable", "x.tif",
        make=with_tiff(np.ones((32, 32), np.float32))),
    row("a checked TIFF holds 32-bit integers, which train refuses", CHECK, 1, "1 unreadable", "x.tif",
        make=with_tiff(np.full((32, 32), 1 << 20, np.int32))),
    row("two classes hold one image", CHECK, 1, "several labels", "cat/0.png", make=with_copy("dog/x.png")),
    row("the check's result is a folder", f"{CHECK} --out empty", 2, "empty", make=each_of(photos, comparison)),
    row("a measured folder is empty", FEATURES.replace("photos", "empty"), 2, "0 images in empty", make=comparison),
    row("a measured image is a text", FEATURES, 2, "cat/x.jpg", make=with_file("cat/x.jpg", "a text")),
    row("a measured image is a FIFO", FEATURES, 2, "cat/x.png", make=special("FIFO")),
    row("an evaluated folder has other classes", "evaluate runs/tiny --data photos", 2, "cat", "buildings",
        make=run_and_photos),
    row("an evaluated folder is not there", "evaluate runs/tiny --data nowhere", 2, "nowhere", make=run_and_photos),
    row("the images of a verified run lie elsewhere", "verify runs/tiny --data photos", 2, "photos", "--data",
        make=run_and_photos),
    row("the images of a reported run lie elsewhere", "report runs/tiny --data photos", 2, "photos", "--data",
        make=run_and_photos),
    row("scenes are drawn into a folder with files", "data scenes photos", 2, "photos is not empty", make=photos),
    row("scenes are drawn into a file", "data scenes note", 2, "note", make=lambda box: box.write("note", "x")),
]  # fmt: skip
