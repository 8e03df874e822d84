"""Decoding, cache and loaders: what the network sees, whatever the file was."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as transforms
from PIL import Image

from in4310repro.data import images as module
from in4310repro.data.folders import catalogue
from in4310repro.data.images import (
    DEVIATION,
    MEAN,
    ImageSet,
    batches,
    cache_folder,
    decode,
    load,
    normalised,
    training_batches,
)
from in4310repro.numerics import generator_for


def picture(width: int = 40, height: int = 30) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def image_set(count: int, size: int = 16) -> ImageSet:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    names = tuple(f"a/{number}.png" for number in range(count))
    return ImageSet("made up", names, names, generator.integers(0, 6, count), pixels)


def test_a_square_image_of_the_asked_size_is_kept_as_it_is(tmp_path: Path) -> None:
    picture(32, 32).save(tmp_path / "1.png")
    assert np.array_equal(decode(tmp_path / "1.png", 32), np.asarray(picture(32, 32)))


def test_rows_stay_rows_and_channels_stay_channels(tmp_path: Path) -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[3, 20] = (250, 120, 10)
    Image.fromarray(pixels).save(tmp_path / "1.png")
    assert decode(tmp_path / "1.png", 32)[3, 20].tolist() == [250, 120, 10]
    assert pixels.reshape(3, 32, 32).transpose(1, 2, 0)[3, 20].tolist() != [250, 120, 10]


@pytest.mark.parametrize(("width", "height"), [(150, 113), (113, 150), (40, 300)])
def test_the_middle_of_a_non_square_image_is_kept_without_distortion(width: int, height: int, tmp_path: Path) -> None:
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


def saved(mode: str, folder: Path) -> Path:
    """A file of one mode whose left half is dark and whose right half is bright."""
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
    pixels = decode(saved(mode, tmp_path), 32)
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


def test_a_text_file_named_jpg_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("no picture")
    with pytest.raises(ValueError, match=r"notes\.jpg is not a readable image"):
        decode(tmp_path / "notes.jpg", 32)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp"])
def test_a_file_cut_short_is_refused_by_name(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"cut.{suffix}"
    picture(64, 64).save(file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"cut\..* is not a readable image"):
        decode(file, 32)


def test_an_image_is_normalised_with_torchvisions_numbers() -> None:
    pixels = np.asarray(picture(32, 32))[None]
    oracle = transforms.normalize(torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2) / 255, MEAN, DEVIATION)
    torch.testing.assert_close(normalised(pixels), oracle.contiguous(), rtol=0, atol=1e-6)
    assert normalised(pixels).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [1, 7, 16, 200])
def test_an_evaluation_loader_yields_each_image_once_in_order_and_as_it_is(size: int) -> None:
    images = image_set(33)
    found = list(batches(images, size))
    assert tuple(path for batch in found for path in batch.paths) == images.paths
    assert torch.equal(torch.cat([batch.images for batch in found]), normalised(images.pixels))
    assert torch.cat([batch.labels for batch in found]).tolist() == images.labels.tolist()


@pytest.mark.parametrize("count", [32, 33, 40, 5])
def test_a_training_loader_yields_each_image_once_and_no_batch_of_one(count: int) -> None:
    images = image_set(count)
    found = list(training_batches(images, 8, "flip-shift", seed=0, epoch=0))
    assert sorted(path for batch in found for path in batch.paths) == sorted(images.paths)
    assert min(len(batch.paths) for batch in found) > 1
    labels = dict(zip(images.paths, images.labels.tolist(), strict=True))
    for batch in found:
        assert [labels[path] for path in batch.paths] == batch.labels.tolist()


def seen(images: ImageSet, seed: int, epoch: int, size: int = 8) -> dict[str, torch.Tensor]:
    loader = training_batches(images, size, "flip-shift", seed, epoch)
    return {path: image for batch in loader for path, image in zip(batch.paths, batch.images, strict=True)}


def test_augmentation_depends_on_seed_epoch_and_image_alone() -> None:
    images = image_set(24)
    fewer = ImageSet("fewer", images.paths[4:], images.keys[4:], images.labels[4:], images.pixels[4:])
    once = seen(images, 0, 0)
    for again in (seen(images, 0, 0, size=5), seen(fewer, 0, 0)):
        assert all(torch.equal(once[path], image) for path, image in again.items())
    for other in (seen(images, 0, 1), seen(images, 1, 0)):
        assert any(not torch.equal(once[path], image) for path, image in other.items())


def test_the_order_changes_with_the_epoch_and_not_with_the_batch_size() -> None:
    images = image_set(24)
    assert list(seen(images, 0, 0)) == list(seen(images, 0, 0, size=5)) != list(seen(images, 0, 1))


def test_half_of_the_images_are_flipped_and_shifts_stay_in_reach() -> None:
    column = np.zeros((16, 16, 3), np.uint8)
    column[:, 4] = 255
    places = []
    for number in range(400):
        generator = generator_for(0, "test", number)
        row = module.augmented(column, generator, "flip-shift")[8, :, 0]
        places.append(int(np.flatnonzero(row)[0]))
    assert set(places) == {3, 4, 5, 10, 11, 12}
    assert 160 < sum(place > 8 for place in places) < 240


def test_no_augmentation_changes_nothing() -> None:
    pixels = image_set(1).pixels[0]
    assert np.array_equal(module.augmented(pixels, generator_for(0, "x"), "none"), pixels)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IN4310REPRO_CACHE", str(tmp_path / "cache"))
    for number in range(12):
        file = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 20, 3), number * 20, np.uint8)).save(file)
    return tmp_path / "images"


def loaded(folder: Path, size: int = 32, *, cache: bool = True) -> ImageSet:
    return load("images", folder, catalogue(folder).entries, size, cache=cache)


def test_the_cache_gives_what_decoding_gives(folder: Path) -> None:
    fresh = loaded(folder, cache=False)
    for _ in range(2):
        assert np.array_equal(loaded(folder).pixels, fresh.pixels)
    assert len(list((cache_folder() / "pixels").iterdir())) == 1


def test_the_cache_is_read_and_not_the_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(folder)
    monkeypatch.setattr(module, "decode", None)
    loaded(folder)


def test_another_content_size_or_decoder_is_another_entry(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = loaded(folder).pixels.copy()
    Image.new("RGB", (20, 20), "red").save(folder / "a/0.png")
    assert not np.array_equal(loaded(folder).pixels, before)
    assert loaded(folder, size=48).pixels.shape[1] == 48
    monkeypatch.setattr(module, "DECODER", module.DECODER + 1)
    loaded(folder)
    assert len(list((cache_folder() / "pixels").iterdir())) == 4


@pytest.mark.parametrize("keep", [0, 60, 500])
def test_a_torn_cache_file_is_made_anew(keep: int, folder: Path) -> None:
    fresh = loaded(folder, cache=False)
    loaded(folder)
    (file,) = (cache_folder() / "pixels").iterdir()
    file.write_bytes(file.read_bytes()[:keep])
    assert np.array_equal(loaded(folder).pixels, fresh.pixels)


def test_an_interrupted_write_leaves_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            loaded(folder)
    assert list((cache_folder() / "pixels").iterdir()) == []


def test_two_processes_can_fill_the_cache_at_once(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from in4310repro.data.images import load;"
        "from in4310repro.data.folders import catalogue; root = Path(sys.argv[1]);"
        "print(load('x', root, catalogue(root).entries, 32).pixels.sum())"
    )
    command = [sys.executable, "-c", code, str(folder)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) for _ in range(2)]
    sums = {process.communicate()[0] for process in running}
    assert [process.returncode for process in running] == [0, 0]
    assert sums == {f"{loaded(folder, cache=False).pixels.sum()}\n".encode()}
    assert len(list((cache_folder() / "pixels").iterdir())) == 1
