"""Pictures are read upright: every orientation and format, against Pillow and arrays rotated by hand."""

from __future__ import annotations

import struct
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin, TiffImagePlugin, TiffTags

from in4310repro.data import check, reading, scenes
from in4310repro.data.folders import catalogue
from in4310repro.data.images import load_images
from in4310repro.data.preprocessing import IGNORED, Preprocessing
from in4310repro.data.reading import decode, read_rgb
from in4310repro.report.photographs import load_jpeg
from tests.builders import findings_of

Pixels = NDArray[np.uint8]
TAG = 0x0112
LOSSLESS = {"png": {}, "webp": {"lossless": True, "exact": True}}
FILES = (*LOSSLESS, "jpg")
# Lossless pixels of which no two orientations are equal.
STORED: Pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
BY_HAND: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
# The types of an entry that hold one, with their codes of `struct`.
WHOLE_NUMBERS = {3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}


def block(value: object) -> bytes:
    """Return EXIF data that Pillow writes for an orientation of `value`."""
    tags = Image.Exif()
    tags[TAG] = value
    return tags.tobytes()


def entry(kind: int, count: int, field: bytes, order: str = "<") -> bytes:
    """Return EXIF data with one orientation entry of any data type, count and byte order."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(f"{order}IHHHI", 8, 1, TAG, kind, count) + field + bytes(4)


def saved(file: Path, exif_block: bytes | None, pixels: Pixels = STORED) -> Path:
    options: dict[str, Any] = {**LOSSLESS.get(file.suffix[1:], {"quality": 90})}
    Image.fromarray(pixels).save(file, **options | ({} if exif_block is None else {"exif": exif_block}))
    return file


def pixels_of(file: Path, orientation: str = "exif") -> Pixels:
    with file.open("rb") as stream:
        return np.asarray(read_rgb(stream, orientation).image)


def transposed_by_pillow(file: Path) -> Pixels:
    with Image.open(file) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


@pytest.mark.parametrize("suffix", FILES)
@pytest.mark.parametrize("value", BY_HAND)
def test_every_orientation_is_applied_as_by_pillow_and_by_hand(value: int, suffix: str, tmp_path: Path) -> None:
    file = saved(tmp_path / f"x.{suffix}", block(value))
    with Image.open(file) as image:
        stored = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(pixels_of(file), BY_HAND[value](stored))
    np.testing.assert_array_equal(pixels_of(file), transposed_by_pillow(file))
    np.testing.assert_array_equal(pixels_of(file, IGNORED), stored)
    with file.open("rb") as stream:
        assert read_rgb(stream).orientation == value


@pytest.mark.parametrize("value", BY_HAND)
def test_a_tiff_that_pillow_has_turned_is_not_turned_again(value: int, tmp_path: Path) -> None:
    Image.fromarray(STORED).save(tmp_path / "x.tif", tiffinfo={TAG: value})
    for orientation in ("exif", IGNORED):
        np.testing.assert_array_equal(pixels_of(tmp_path / "x.tif", orientation), BY_HAND[value](STORED))
    with (tmp_path / "x.tif").open("rb") as stream:
        assert read_rgb(stream).orientation == value


@pytest.mark.parametrize("value", BY_HAND)
def test_a_heic_that_its_decoder_has_turned_is_not_turned_again(value: int, tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    Image.fromarray(STORED).resize((80, 48), 0).save(tmp_path / "x.heic", exif=block(value), quality=-1)
    Image.fromarray(STORED).resize((80, 48), 0).save(tmp_path / "plain.heic", quality=-1)
    np.testing.assert_array_equal(pixels_of(tmp_path / "x.heic"), BY_HAND[value](pixels_of(tmp_path / "plain.heic")))
    np.testing.assert_array_equal(pixels_of(tmp_path / "x.heic"), transposed_by_pillow(tmp_path / "x.heic"))


@pytest.mark.parametrize("suffix", ["bmp", "gif", "ppm"])
def test_a_format_without_exif_is_read_as_it_lies(suffix: str, tmp_path: Path) -> None:
    Image.fromarray(STORED).convert("L").save(tmp_path / f"x.{suffix}")
    np.testing.assert_array_equal(pixels_of(tmp_path / f"x.{suffix}"), pixels_of(tmp_path / f"x.{suffix}", IGNORED))


@pytest.mark.parametrize(
    "wrong",
    [{6: BY_HAND[8]}, {6: BY_HAND[3], 3: BY_HAND[6]}, {6: BY_HAND[5]}, {6: lambda a: BY_HAND[6](BY_HAND[6](a))}],
    ids=["other-way-round", "3-and-6-swapped", "transposed", "twice"],
)
def test_known_wrong_ways_give_other_pixels(wrong: dict[int, Callable[[Pixels], Pixels]], tmp_path: Path) -> None:
    for value, turn in wrong.items():
        file = saved(tmp_path / f"{value}.png", block(value))
        assert not np.array_equal(pixels_of(file), turn(STORED))


ABSURD = {
    "0": block(0),
    "9": block(9),
    "65535": block(65535),
    "text": entry(2, 2, b"6\0\0\0"),
    "bytes": entry(7, 1, b"\x06\0\0\0"),
    "a byte, which Pillow leaves alone too": entry(1, 1, b"\x06\0\0\0"),
    "below zero": entry(8, 1, struct.pack("<hxx", -6)),
    "two values": entry(3, 2, struct.pack("<HH", 6, 6)),
    "float": entry(11, 1, struct.pack("<f", 6.0)),
    "an empty block": b"",
    "no EXIF": b"Exif\0\0nothing of the kind",
    "another order of bytes": b"II*\0" + entry(3, 1, b"\x06\0\0\0")[4:8][::-1] + entry(3, 1, b"\x06\0\0\0")[8:],
    "a directory beyond the block": b"II*\0" + struct.pack("<I", 2**32 - 1),
    "a directory that is not whole": b"II*\0" + struct.pack("<IHHHI", 8, 3, TAG, 3, 1) + b"\x06\0\0\0" + bytes(4),
}


@pytest.mark.parametrize("suffix", FILES)
@pytest.mark.parametrize("name", ABSURD)
def test_an_absurd_or_damaged_orientation_is_none(name: str, suffix: str, tmp_path: Path) -> None:
    file, plain = saved(tmp_path / f"x.{suffix}", ABSURD[name]), saved(tmp_path / f"plain.{suffix}", None)
    np.testing.assert_array_equal(pixels_of(file), pixels_of(plain))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", WHOLE_NUMBERS)
def test_both_orders_of_bytes_and_all_whole_numbers_are_read(kind: int, order: str, tmp_path: Path) -> None:
    whole = entry(kind, 1, struct.pack(order + WHOLE_NUMBERS[kind], 6).ljust(4, b"\0"), order)
    assert reading.exif_orientation(whole) == reading.exif_orientation(b"Exif\0\0" + whole) == 6
    # The last four bytes lead to another directory, and nothing of this one.
    assert {reading.exif_orientation(whole[:length]) for length in range(len(whole) - 4)} == {None}
    file = saved(tmp_path / "x.png", whole)
    np.testing.assert_array_equal(pixels_of(file), BY_HAND[6](STORED))
    np.testing.assert_array_equal(pixels_of(file), transposed_by_pillow(file))


def raw_profile(block_of_exif: bytes, header: str = "\nexif\n") -> PngImagePlugin.PngInfo:
    """Return EXIF data as a PNG text, as ImageMagick writes it: name, length, lines of hexadecimal digits."""
    digits = block_of_exif.hex()
    lines = "\n".join(digits[place : place + 72] for place in range(0, len(digits), 72))
    return texts({reading.RAW_PROFILE: f"{header}{len(block_of_exif):8}\n{lines}\n"})


def texts(by_keyword: dict[str, str]) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    for keyword, text in by_keyword.items():
        info.add_text(keyword, text, zip=keyword != reading.XMP_TEXT)
    return info


def as_attribute(value: object) -> str:
    return f'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{value}"/>'


def as_element(value: object) -> str:
    return f"<rdf:Description><tiff:Orientation>{value}</tiff:Orientation></rdf:Description>"


def with_xmp(file: Path, packet: str, exif_block: bytes = b"") -> Path:
    """Write an image with an XMP packet, stored as the file's format (PNG, WebP, JPEG or TIFF) requires."""
    picture, wanted = Image.fromarray(STORED), {"exif": exif_block} if exif_block else {}
    if file.suffix == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt(reading.XMP_TEXT, packet)
        picture.save(file, pnginfo=info, **wanted)  # type: ignore[arg-type]
    elif file.suffix == ".webp":
        picture.save(file, lossless=True, exact=True, xmp=packet.encode(), **wanted)  # type: ignore[arg-type]
    elif file.suffix == ".jpg":
        whole = saved(file, exif_block or None).read_bytes()
        segment = b"http://ns.adobe.com/xap/1.0/\0" + packet.encode()
        file.write_bytes(whole[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + whole[2:])
    else:
        tags = {700: packet.encode()} | ({TAG: reading.exif_orientation(exif_block)} if exif_block else {})
        picture.save(file, tiffinfo=tags)
    return file


@pytest.mark.parametrize("value", BY_HAND)
def test_the_raw_profile_of_a_png_is_read_as_by_pillow(value: int, tmp_path: Path) -> None:
    file = tmp_path / "x.png"
    Image.fromarray(STORED).save(file, pnginfo=raw_profile(block(value)))
    np.testing.assert_array_equal(pixels_of(file), BY_HAND[value](STORED))
    np.testing.assert_array_equal(pixels_of(file), transposed_by_pillow(file))
    np.testing.assert_array_equal(pixels_of(file, IGNORED), STORED)


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg", "tif"])
@pytest.mark.parametrize("written", [as_attribute, as_element])
@pytest.mark.parametrize("value", BY_HAND)
def test_xmp_alone_turns_a_picture(value: int, written: Callable[[object], str], suffix: str, tmp_path: Path) -> None:
    file = with_xmp(tmp_path / f"x.{suffix}", written(value))
    stored = pixels_of(with_xmp(tmp_path / f"plain.{suffix}", written(1)))
    np.testing.assert_array_equal(pixels_of(file), BY_HAND[value](stored))
    with file.open("rb") as stream:
        assert read_rgb(stream).orientation == value
    if suffix != "tif":
        np.testing.assert_array_equal(pixels_of(file), transposed_by_pillow(file))


def test_xmp_is_read_from_undefined_bytes_of_a_tiff_and_from_a_plain_text_of_a_png(tmp_path: Path) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[700], tags.tagtype[700] = as_attribute(6).encode(), TiffTags.UNDEFINED
    Image.fromarray(STORED).save(tmp_path / "x.tif", tiffinfo=tags)
    Image.fromarray(STORED).save(tmp_path / "x.png", pnginfo=texts({reading.XMP_TEXT: as_attribute(6)}))
    for suffix in ("tif", "png"):
        np.testing.assert_array_equal(pixels_of(tmp_path / f"x.{suffix}"), BY_HAND[6](STORED))


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg", "tif"])
@pytest.mark.parametrize("value", [1, 3, 8])
def test_exif_wins_over_xmp_even_where_it_says_upright(value: int, suffix: str, tmp_path: Path) -> None:
    file = with_xmp(tmp_path / f"x.{suffix}", as_attribute(6), block(value))
    stored = pixels_of(with_xmp(tmp_path / f"plain.{suffix}", as_attribute(1)))
    np.testing.assert_array_equal(pixels_of(file), BY_HAND[value](stored))


def test_exif_without_an_orientation_and_a_damaged_block_leave_it_to_xmp(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x010F] = "a maker"
    for number, without in enumerate((tags.tobytes(), block(3)[:12])):
        file = with_xmp(tmp_path / f"{number}.png", as_attribute(6), without)
        np.testing.assert_array_equal(pixels_of(file), BY_HAND[6](STORED))


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg", "tif"])
@pytest.mark.parametrize(
    "packet",
    [as_attribute(0), as_attribute(9), as_attribute(65), as_element("six"), as_element(""), as_attribute(6)[:-3], "<x"],
)
def test_an_absurd_or_damaged_xmp_is_none(packet: str, suffix: str, tmp_path: Path) -> None:
    file, plain = with_xmp(tmp_path / f"x.{suffix}", packet), with_xmp(tmp_path / f"plain.{suffix}", as_attribute(1))
    np.testing.assert_array_equal(pixels_of(file), pixels_of(plain))


@pytest.mark.parametrize(
    "by_keyword",
    [
        {reading.RAW_PROFILE: ""},
        {reading.RAW_PROFILE: "\nexif\n      32\n" + block(6).hex()[:-41]},
        {reading.RAW_PROFILE: "\nexif\n      32\n" + block(6).hex()[:40]},
        {reading.RAW_PROFILE: "\nexif\n      32\nzz" + block(6).hex()},
        {reading.RAW_PROFILE: "\nexif\n      32\n\u00e9" + block(6).hex()},
        {reading.RAW_PROFILE: block(6).hex()},
        {"exif": block(6).decode("latin-1")},
        {"Raw profile type APP1": "\ngeneric profile\n      32\n" + block(6).hex()},
    ],
    ids=["empty", "half a byte", "cut off", "no hexadecimal", "no ASCII", "no header", "compressed", "another name"],
)
def test_a_damaged_raw_profile_is_none(by_keyword: dict[str, str], tmp_path: Path) -> None:
    Image.fromarray(STORED).save(tmp_path / "x.png", pnginfo=texts(by_keyword))
    np.testing.assert_array_equal(pixels_of(tmp_path / "x.png"), STORED)


def test_random_bytes_are_no_orientation_or_one_of_the_eight() -> None:
    generator = np.random.default_rng(0)
    for _ in range(2000):
        tail = generator.integers(0, 256, int(generator.integers(0, 60)), np.uint8).tobytes()
        assert reading.exif_orientation(b"MM\0*" + bytes([0, 0, 0, 8]) + tail) in {None, *BY_HAND}


def test_a_truncated_block_reads_alike_whatever_becomes_of_warnings(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[TAG], tags[0x010F] = 6, "a maker whose name does not fit into an entry"
    whole = tags.tobytes()
    for cut in range(len(whole)):
        file = saved(tmp_path / "x.jpg", whole[:cut])
        found = []
        for action in ("error", "ignore"):
            with warnings.catch_warnings(action=action):
                found.append(pixels_of(file))
        np.testing.assert_array_equal(found[0], found[1])


def test_warnings_of_other_threads_are_as_they_were_after_many_decode_at_once(tmp_path: Path) -> None:
    files = [saved(tmp_path / f"{number}.jpg", block(6)[:20]) for number in range(8)]
    before = list(warnings.filters)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    failures: list[BaseException] = []

    def work(file: Path) -> None:
        try:
            for _ in range(20):
                pixels_of(file)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(file,)) for file in files]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert (failures, list(warnings.filters)) == ([], before)


@pytest.fixture
def telephone(tmp_path: Path) -> Path:
    """Return a folder of scenes of three classes with one rotated copy, which has an orientation tag."""
    for name in ("forest", "sea", "street"):
        (tmp_path / name).mkdir()
        for number in range(3):
            saved(tmp_path / name / f"{number}.png", None, scenes.draw(name, number, 96, 0))
    upright = Image.fromarray(scenes.draw("street", 2, 96, 0))
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "sea/held.jpg", exif=block(6), quality=90)
    return tmp_path


def test_the_check_counts_what_was_turned_and_finds_a_near_copy_and_no_turned_one(telephone: Path) -> None:
    findings = findings_of(telephone)
    assert findings.near_duplicates == [["sea/held.jpg", "street/2.png"]]
    assert (findings.turned, findings.oriented, findings.wrong) == ([], {"sea/held.jpg": 6}, False)
    assert findings.to_json()["oriented"] == {"sea/held.jpg": 6}
    lines = check.render(findings).splitlines()
    place = lines.index("1 pictures with an EXIF orientation, which was applied")
    assert lines[place + 1] == "  sea/held.jpg (turned right)"
    # Read as it lies, it was reported as turned, without the reason.
    before = check.examine(catalogue(telephone), orientation=IGNORED)
    assert [(each.first, each.how) for each in before.turned] == [("sea/held.jpg", "turned right")]
    assert (before.near_duplicates, before.oriented) == ([], {})
    (telephone / "sea/held.jpg").unlink()
    assert "orientation" not in check.render(findings_of(telephone))


def test_training_and_pages_see_it_upright_and_pages_carry_no_orientation_for_browsers(telephone: Path) -> None:
    held, upright = telephone / "sea/held.jpg", telephone / "street/2.png"

    def distance(pixels: Pixels) -> float:
        return float(np.abs(pixels.astype(int) - decode(upright, len(pixels))).mean())

    assert distance(decode(held, 64)) < 4 < distance(decode(held, 64, None, Preprocessing(orientation=IGNORED)))
    sha256 = next(each.sha256 for each in catalogue(telephone).entries if each.path == "sea/held.jpg")
    shown = load_jpeg(held, sha256)
    (telephone / "shown.jpg").write_bytes(shown)
    with Image.open(telephone / "shown.jpg") as image:
        assert image.getexif().get(TAG) is None
        assert distance(np.asarray(image)) < 6


def test_the_cache_keeps_all_ways_to_read_an_image_apart(telephone: Path) -> None:
    entries = catalogue(telephone).entries
    place = next(n for n, each in enumerate(entries) if each.path == "sea/held.jpg")
    others = [Preprocessing(crop_ratio=0.5), Preprocessing(crop_ratio=0.75), Preprocessing(interpolation="nearest")]
    ways = [Preprocessing(), Preprocessing(orientation=IGNORED), *others]
    read = set()
    for how in ways * 2:
        images = load_images("x", telephone, entries, 48, preprocessing=how)
        fresh = load_images("x", telephone, entries, 48, preprocessing=how, cache=False)
        np.testing.assert_array_equal(images.pixels, fresh.pixels)
        read.add(images.pixels[place].tobytes())
    assert len(read) == len(ways)
