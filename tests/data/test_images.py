"""Decoding and its cache: square RGB pixels from any image file."""

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch
import torchvision.transforms.v2.functional as transforms
from PIL import Image
from rich.console import Console

from in4310repro.data import images as module
from in4310repro.data.cache import SUFFIX, cache_folder
from in4310repro.data.folders import catalogue
from in4310repro.data.images import ImageSet, decoder, evaluation_batches, load_images, training_batches
from in4310repro.data.reading import decode
from in4310repro.system.progress import SILENT, Progress
from tests.builders import write_images


def picture(width: int = 40, height: int = 30) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_a_square_image_of_the_requested_size_is_decoded_unchanged(tmp_path: Path) -> None:
    picture(32, 32).save(tmp_path / "1.png")
    assert np.array_equal(decode(tmp_path / "1.png", 32), np.asarray(picture(32, 32)))


def test_rows_stay_rows_and_channels_stay_channels(tmp_path: Path) -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[3, 20] = (250, 120, 10)
    Image.fromarray(pixels).save(tmp_path / "1.png")
    assert decode(tmp_path / "1.png", 32)[3, 20].tolist() == [250, 120, 10]
    assert pixels.reshape(3, 32, 32).transpose(1, 2, 0)[3, 20].tolist() != [250, 120, 10]


@pytest.mark.parametrize(("width", "height"), [(150, 113), (113, 150), (40, 300)])
def test_a_non_square_image_is_cropped_without_distortion(width: int, height: int, tmp_path: Path) -> None:
    picture(width, height).save(tmp_path / "1.png")
    short = min(width, height)
    left, top = (width - short) / 2, (height - short) / 2
    box = (left, top, left + short, top + short)
    expected = picture(width, height).resize((64, 64), Image.Resampling.BILINEAR, box)
    assert np.array_equal(decode(tmp_path / "1.png", 64), np.asarray(expected))
    squeezed = picture(width, height).resize((64, 64), Image.Resampling.BILINEAR)
    assert not np.array_equal(decode(tmp_path / "1.png", 64), np.asarray(squeezed))


def test_resizing_agrees_with_torchvision(tmp_path: Path) -> None:
    picture(60, 60).save(tmp_path / "1.png")
    tensor = torch.from_numpy(np.asarray(picture(60, 60)).copy()).permute(2, 0, 1)
    oracle = transforms.resize(tensor, [32, 32], antialias=True).permute(1, 2, 0).numpy()
    assert np.abs(decode(tmp_path / "1.png", 32).astype(int) - oracle).max() <= 1


def write_halves(mode: str, folder: Path) -> Path:
    """Write an image in the Pillow mode `mode`, dark on the left and bright on the right."""
    halves = np.repeat(np.array([[40, 200]], np.uint8), 16, axis=1).repeat(32, axis=0)
    grey = Image.fromarray(halves)
    if mode == "I;16":
        file = folder / "16.png"
        Image.fromarray(halves.astype(np.uint16) * 256).save(file)
    elif mode == "CMYK":
        file = folder / "1.jpg"
        grey.convert("RGB").convert("CMYK").save(file, quality=100)
    else:
        file = folder / f"{mode}.png"
        grey.convert("RGB").convert(mode).save(file)
    return file


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "LA", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_three_channels(mode: str, tmp_path: Path) -> None:
    pixels = decode(write_halves(mode, tmp_path), 32)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    dark, bright = pixels[:, 2:14].mean(), pixels[:, 18:30].mean()
    assert dark < 90 < 150 < bright


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_become_white(mode: str, tmp_path: Path) -> None:
    if mode == "P":
        image = Image.new("P", (32, 32), 0)
        image.putpalette([10, 20, 30] * 256)
        image.save(tmp_path / "1.png", transparency=0)
    else:
        image = Image.new("RGBA", (32, 32), (10, 20, 30, 0)).convert(mode)
        image.save(tmp_path / "1.png")
    assert (decode(tmp_path / "1.png", 32) == 255).all()


@pytest.mark.parametrize(
    ("mode", "suffix"), [("F", "tif"), ("I", "tif"), ("LAB", "tif"), ("F", "ppm")], ids=lambda value: str(value)
)
def test_a_mode_without_certain_colours_is_refused_with_the_valid_ones(mode: str, suffix: str, tmp_path: Path) -> None:
    Image.new(mode, (8, 8)).save(tmp_path / f"1.{suffix}")
    with pytest.raises(ValueError, match=rf"1\.{suffix} is not .* mode {mode} .*; it must be grey of 8 or 16 bits"):
        decode(tmp_path / f"1.{suffix}", 8)


GREY_16 = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)


@pytest.mark.parametrize("suffix", ["png", "tif", "ppm"])
def test_16_bit_grey_keeps_its_upper_8_bits(suffix: str, tmp_path: Path) -> None:
    if suffix == "ppm":
        # Which not every Pillow writes.
        (tmp_path / "1.ppm").write_bytes(b"P5 8 8 65535\n" + GREY_16.astype(">u2").tobytes())
    else:
        Image.fromarray(GREY_16).save(tmp_path / f"1.{suffix}")
    assert np.array_equal(decode(tmp_path / f"1.{suffix}", 8)[..., 0], GREY_16 // 256)


@pytest.mark.parametrize(("tag", "value"), [(258, 12), (262, 0)], ids=["12 bits", "white is zero"])
def test_16_bit_tiff_on_another_scale_is_refused(tag: int, value: int, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(GREY_16).save(buffer, "TIFF")
    content = bytearray(buffer.getvalue())
    # An entry of a directory: tag, type (3 is short), number of values, value.
    entry = content.index(struct.pack("<HHI", tag, 3, 1))
    content[entry + 8 : entry + 10] = struct.pack("<H", value)
    (tmp_path / "1.tif").write_bytes(content)
    with pytest.raises(ValueError, match=r"mode I;16 has no certain RGB values"):
        decode(tmp_path / "1.tif", 8)


def test_an_animation_is_its_first_picture(tmp_path: Path) -> None:
    colours = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for suffix in ("gif", "png", "webp", "tif"):
        file = tmp_path / f"1.{suffix}"
        colours[0].save(file, save_all=True, append_images=colours[1:], lossless=True)
        with Image.open(file) as opened:
            assert opened.n_frames == 2  # type: ignore[attr-defined]  # of animations
        assert (decode(file, 8) == (255, 0, 0)).all()


def test_an_image_that_claims_more_pixels_than_pillow_allows_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    picture(8, 8).save(tmp_path / "1.png")
    content = bytearray((tmp_path / "1.png").read_bytes())
    content[16:24] = struct.pack(">II", 30000, 30000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "1.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"1\.png is not a readable image .*900000000 pixels"):
        decode(tmp_path / "1.png", 8)


def test_a_format_that_another_program_would_draw_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n")
    with pytest.raises(ValueError, match=r"it is none of BMP, GIF, JPEG"):
        decode(tmp_path / "1.png", 8)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "gif", "tif", "webp", "ppm"])
def test_a_damaged_image_is_read_or_refused(suffix: str, tmp_path: Path) -> None:
    picture(24, 24).save(tmp_path / f"1.{suffix}")
    intact = (tmp_path / f"1.{suffix}").read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(60):
        content = bytearray(intact)
        for position in generator.integers(0, min(len(content), 200), 3):
            content[position] = generator.integers(256)
        (tmp_path / f"2.{suffix}").write_bytes(content)
        with contextlib.suppress(ValueError):
            decode(tmp_path / f"2.{suffix}", 8)


def test_a_text_file_named_jpg_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("no picture")
    with pytest.raises(ValueError, match=r"notes\.jpg is not a readable image"):
        decode(tmp_path / "notes.jpg", 32)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp"])
def test_a_truncated_file_is_refused_by_name(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"truncated.{suffix}"
    picture(64, 64).save(file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"truncated\..* is not a readable image"):
        decode(file, 32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IN4310REPRO_CACHE", str(tmp_path / "cache"))
    return write_images(tmp_path / "images", *(f"{'ab'[n % 2]}/{n}.png" for n in range(12)), size=20)


def load(folder: Path, size: int = 32, *, cache: bool = True, progress: Progress = SILENT) -> ImageSet:
    return load_images("images", folder, catalogue(folder).entries, size, cache=cache, progress=progress)


def test_the_cache_lies_where_a_variable_says_or_where_the_system_keeps_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IN4310REPRO_CACHE", "mine")
    assert cache_folder() == Path("mine")
    monkeypatch.delenv("IN4310REPRO_CACHE")
    assert cache_folder() == Path(platformdirs.user_cache_dir("in4310repro", appauthor=False))
    monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path}")
    if sys.platform == "linux":
        assert cache_folder() == tmp_path / "in4310repro"


def test_without_a_home_the_cache_is_in_no_folder_named_like_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IN4310REPRO_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    # What Python gives where no home is known.
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    if sys.platform != "win32":
        with pytest.raises(ValueError, match="no home folder for the cache; IN4310REPRO_CACHE names"):
            cache_folder()


def test_the_cache_holds_the_decoded_pixels(folder: Path) -> None:
    decoded = load(folder, cache=False)
    for _ in range(2):
        assert np.array_equal(load(folder).pixels, decoded.pixels)
    assert len(list((cache_folder() / "pixels").iterdir())) == 1


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg"])
def test_tiff_files_of_every_kind_are_cached(compression: str, folder: Path) -> None:
    for number in range(2):
        pages = [picture(20 + number, 20), picture(20, 20)]
        pages[0].save(folder / f"a/{number}.tif", compression=compression, save_all=True, append_images=pages[1:])
    load(folder)
    assert np.array_equal(load(folder).pixels, load(folder, cache=False).pixels)


def test_the_cache_is_read_and_not_the_files(folder: Path) -> None:
    entries, before = catalogue(folder).entries, load(folder)
    shutil.rmtree(folder)
    assert np.array_equal(load_images("images", folder, entries, 32).pixels, before.pixels)


def test_another_content_size_or_decoder_is_another_entry(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load(folder).pixels.copy()
    Image.new("RGB", (20, 20), "red").save(folder / "a/0.png")
    assert not np.array_equal(load(folder).pixels, before)
    assert load(folder, size=48).pixels.shape[1] == 48
    monkeypatch.setattr(module, "DECODER", module.DECODER + 1)
    load(folder)
    assert len(list((cache_folder() / "pixels").iterdir())) == 4


@pytest.mark.parametrize("length", [0, 60, 500])
def test_a_corrupt_cache_file_is_replaced(length: int, folder: Path) -> None:
    decoded = load(folder, cache=False)
    load(folder)
    (file,) = (cache_folder() / "pixels").iterdir()
    file.write_bytes(file.read_bytes()[:length])
    assert np.array_equal(load(folder).pixels, decoded.pixels)


RECORD = 32 * 32 * 3 + 32  # pixels and sha256, bytes


def change_byte(content: bytearray, position: int) -> None:
    content[position] ^= 1


def exchange_two_records(content: bytearray) -> None:
    content[:RECORD], content[RECORD : 2 * RECORD] = content[RECORD : 2 * RECORD], content[:RECORD]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: change_byte(content, 0),
        lambda content: change_byte(content, 7 * RECORD + 100),
        lambda content: change_byte(content, 5 * RECORD - 1),
        lambda content: change_byte(content, -1),
        exchange_two_records,
        lambda content: content.append(0),
        lambda content: content.__delitem__(slice(5 * RECORD, None)),
    ],
    ids=["first pixel", "a pixel", "a hash", "last hash", "exchanged", "longer", "shorter"],
)
def test_a_cache_with_any_changed_byte_is_decoded_again_with_a_message(
    damage: Callable[[bytearray], None], folder: Path
) -> None:
    load(folder)
    (file,) = (cache_folder() / "pixels").iterdir()
    intact, content = file.read_bytes(), bytearray(file.read_bytes())
    damage(content)
    file.write_bytes(content)
    printed = io.StringIO()
    images, _ = (load(folder, progress=Progress(Console(file=printed, width=500))) for _ in range(2))
    assert np.array_equal(images.pixels, load(folder, cache=False).pixels)
    assert printed.getvalue().count(f"{file} is damaged; what is wrong in it is decoded again") == 1
    assert file.read_bytes() == intact


def test_the_cache_of_other_images_is_not_taken(folder: Path) -> None:
    load(folder)
    (other,) = (cache_folder() / "pixels").iterdir()
    Image.new("RGB", (20, 20), "red").save(folder / "a/0.png")
    load(folder)
    (file,) = set((cache_folder() / "pixels").iterdir()) - {other}
    file.write_bytes(other.read_bytes())
    assert np.array_equal(load(folder).pixels, load(folder, cache=False).pixels)


def test_a_cache_that_is_changed_while_it_is_used_is_refused(folder: Path) -> None:
    load(folder)
    images = load(folder)
    assert images.cached
    with images.cached.file.open("r+b") as stream:
        stream.seek(8 * RECORD)
        stream.write(bytes([images.pixels[8, 0, 0, 0] ^ 1]))
    with pytest.raises(ValueError, match=re.escape("was changed while it was in use (image 8); start again")):
        list(evaluation_batches(images, 5))
    with pytest.raises(ValueError, match="was changed while it was in use"):
        list(training_batches(images, 5, "flip", seed=0, epoch=0))
    assert np.array_equal(load(folder).pixels, load(folder, cache=False).pixels)


def test_an_image_that_changed_since_it_was_hashed_is_not_cached(folder: Path) -> None:
    entries = catalogue(folder).entries
    Image.new("RGB", (20, 20), "red").save(folder / "a/4.png")
    with pytest.raises(ValueError, match=r"4\.png was changed while it was read"):
        load_images("images", folder, entries, 32)
    assert list((cache_folder() / "pixels").iterdir()) == []


def test_pixels_in_the_second_format_of_the_cache_are_found_by_decoder_size_contents_and_orientation(
    tmp_path: Path,
) -> None:
    entries = catalogue(write_images(tmp_path, "a/1.png", "b/1.png", size=32)).entries
    load_images("images", tmp_path, entries, 32)
    settings = [2, decoder(), 32, [entry.sha256 for entry in entries], "exif"]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    assert (cache_folder() / "pixels" / f"{key[:32]}{SUFFIX}").exists()
