"""Image sets for comparison, in every layout of their folders."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from in4310repro.data import references
from in4310repro.data.references import Sample
from tests.builders import write_images


@pytest.mark.parametrize("pattern", ["{}.JPEG", "n0{}/1.JPEG", "val/n0{}/1.JPEG"], ids=["flat", "class", "torchvision"])
def test_imagenet_is_read_in_every_layout(pattern: str, tmp_path: Path) -> None:
    images = references.imagenet(write_images(tmp_path, *(pattern.format(n) for n in range(9))), Sample(5, 32, 0))
    assert (images.name, len(images), images.pixels.shape) == ("ImageNet", 5, (5, 32, 32, 3))


def test_a_training_part_beside_val_is_not_sampled(tmp_path: Path) -> None:
    images = references.imagenet(
        write_images(tmp_path, "train/a/1.png", "val/a/1.png", "val/b/1.png"), Sample(9, 32, 0)
    )
    assert images.paths == ("a/1.png", "b/1.png")


def write_cifar_archive(root: Path, images: NDArray[np.uint8]) -> Path:
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    with (folder / "test_batch").open("wb") as stream:
        pickle.dump({b"data": images.transpose(0, 3, 1, 2).reshape(len(images), 3072)}, stream, protocol=2)
    return root


def test_torchvisions_archive_of_cifar10_keeps_its_channels_and_rows(tmp_path: Path) -> None:
    originals = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    root = write_cifar_archive(tmp_path, originals)
    for folder in (root, root / "cifar-10-batches-py"):
        assert np.array_equal(references.cifar10(folder, Sample(12, 32, 0)).pixels, originals)
    assert not np.array_equal(originals.transpose(0, 3, 1, 2).reshape(2, 32, 32, 3), originals)


def test_class_folders_of_cifar10_are_read_too(tmp_path: Path) -> None:
    assert (
        len(references.cifar10(write_images(tmp_path, "cat/1.png", "dog/1.png", "dog/2.png"), Sample(200, 32, 0))) == 3
    )


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code from an archive ran",)


def test_an_archive_that_would_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cifar_archive(tmp_path, np.zeros((2, 32, 32, 3), np.uint8))
    (tmp_path / "cifar-10-batches-py/test_batch").write_bytes(pickle.dumps({b"data": Trap()}))
    with pytest.raises(ValueError, match=r"not CIFAR-10's test_batch: it names builtins\.print"):
        references.cifar10(tmp_path, Sample(5, 32, 0))
    assert "ran" not in capsys.readouterr().out


def test_an_array_of_another_shape_is_refused(tmp_path: Path) -> None:
    write_cifar_archive(tmp_path, np.zeros((2, 32, 32, 3), np.uint8))
    (tmp_path / "cifar-10-batches-py/test_batch").write_bytes(pickle.dumps({b"data": np.zeros((2, 5))}, protocol=2))
    with pytest.raises(ValueError, match=r"float64 of shape \(2, 5\); it must be uint8 of shape"):
        references.cifar10(tmp_path, Sample(5, 32, 0))


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_archive_is_read_or_refused_by_name(seed: int, tmp_path: Path) -> None:
    file = write_cifar_archive(tmp_path, np.zeros((2, 32, 32, 3), np.uint8)) / "cifar-10-batches-py/test_batch"
    intact, generator = file.read_bytes(), np.random.default_rng(seed)
    refusals = 0
    for _ in range(100):
        content = bytearray(intact)
        content[generator.integers(200)] = generator.integers(256)
        file.write_bytes(content)
        try:
            references.cifar10(tmp_path, Sample(2, 32, 0))
        except ValueError:
            refusals += 1
    assert refusals > 10


def test_an_archive_of_one_image_is_refused(tmp_path: Path) -> None:
    write_cifar_archive(tmp_path, np.zeros((1, 32, 32, 3), np.uint8))
    with pytest.raises(ValueError, match=r"test_batch holds uint8 of shape \(1, 3072\).*2 images or more"):
        references.cifar10(tmp_path, Sample(5, 32, 0))


def test_a_folder_with_too_few_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has 1 images for ImageNet; at least 2"):
        references.imagenet(write_images(tmp_path, "1.png"), Sample(5, 32, 0))
    with pytest.raises(ValueError, match=r"no folder .*nowhere"):
        references.cifar10(tmp_path / "nowhere", Sample(5, 32, 0))


def test_a_sample_depends_on_seed_and_names_and_is_has_exactly_the_requested_size() -> None:
    names = [f"{number}.png" for number in range(500)]
    assert len(set(references.sample_positions(names, 200, 0))) == 200
    assert (
        references.sample_positions(names, 200, 0)
        == references.sample_positions(names, 200, 0)
        != references.sample_positions(names, 200, 1)
    )
    chosen = {names[position] for position in references.sample_positions(names, 200, 0)}
    reversed_names = names[::-1]
    assert {reversed_names[position] for position in references.sample_positions(reversed_names, 200, 0)} == chosen


def test_the_sets_of_scikit_learn_are_named_after_it() -> None:
    photographs, digits = references.photographs(Sample(6, 48, 0)), references.digits(Sample(6, 48, 0))
    assert (photographs.name, digits.name) == ("scikit-learn photographs", "scikit-learn digits")
    for images in (photographs, digits):
        assert images.pixels.shape == (6, 48, 48, 3)
        assert len(set(images.keys)) == 6
    assert photographs.pixels.std() > 20
    assert len(np.unique(digits.pixels)) > 10
