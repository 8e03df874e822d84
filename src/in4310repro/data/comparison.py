"""Image sets to hold against the run's own: ImageNet and CIFAR-10 folders, and two that scikit-learn ships."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from in4310repro.data.folders import image_files
from in4310repro.data.images import ImageSet, decode, square
from in4310repro.numerics import generator_for

CIFAR_BATCHES = "cifar-10-batches-py"
PHOTOGRAPHS, DIGITS = "scikit-learn photographs", "scikit-learn digits"


def subset(images: ImageSet, count: int, seed: int) -> ImageSet:
    """A sample without replacement, in the order of the set; all images where it has no more than `count`."""
    kept = sampled(images.paths, count, seed)
    return ImageSet(
        images.name,
        tuple(images.paths[index] for index in kept),
        tuple(images.keys[index] for index in kept),
        images.labels[kept],
        images.pixels[kept],
    )


def sampled(names: Sequence[str], count: int, seed: int) -> list[int]:
    """Positions of the `count` names that (seed, name) draws lowest, in order."""
    draws = [(generator_for(seed, "sample", name).random(), position) for position, name in enumerate(names)]
    return sorted(position for _, position in sorted(draws)[:count])


def imagenet(folder: Path, count: int, size: int, seed: int) -> ImageSet:
    """Images of a folder with ImageNet's: torchvision's layout (`val/n01440764/...`), class folders or flat.

    Raises:
        ValueError: no such folder, or fewer than two images.
    """
    return _from_files("ImageNet", folder / "val" if (folder / "val").is_dir() else folder, count, size, seed)


def cifar10(folder: Path, count: int, size: int, seed: int) -> ImageSet:
    """Test images of CIFAR-10: torchvision's layout (`cifar-10-batches-py`), class folders or flat.

    Raises:
        ValueError: no such folder, a damaged archive, or fewer than two images.
    """
    packed = folder if folder.name == CIFAR_BATCHES else folder / CIFAR_BATCHES
    if not packed.is_dir():
        return _from_files("CIFAR-10", folder, count, size, seed)
    arrays = _cifar_arrays(packed / "test_batch")
    names = [f"test_batch/{index:05d}" for index in range(len(arrays))]
    kept = sampled(names, count, seed)
    return _from_arrays("CIFAR-10", [names[index] for index in kept], [arrays[index] for index in kept], size)


def photographs(count: int, size: int, seed: int) -> ImageSet:
    """Crops of 192 pixels from the two photographs that scikit-learn ships."""
    # Here and not above: it takes a second, which only those who have no ImageNet folder need to spend.
    import sklearn.datasets

    originals = sklearn.datasets.load_sample_images().images
    generator = generator_for(seed, "photographs")
    names, crops = [], []
    for index in range(count):
        height, width = originals[index % len(originals)].shape[:2]
        top, left = int(generator.integers(height - 192)), int(generator.integers(width - 192))
        names.append(f"photograph{index % len(originals)}/{top},{left}")
        crops.append(originals[index % len(originals)][top : top + 192, left : left + 192])
    return _from_arrays(PHOTOGRAPHS, names, crops, size)


def digits(count: int, size: int, seed: int) -> ImageSet:
    """Handwritten digits of 8x8 pixels from scikit-learn, enlarged."""
    import sklearn.datasets

    grey = (sklearn.datasets.load_digits().images * 255 // 16).astype(np.uint8)
    names = [f"digit/{index:04d}" for index in range(len(grey))]
    kept = sampled(names, count, seed)
    return _from_arrays(DIGITS, [names[i] for i in kept], [np.stack([grey[i]] * 3, axis=-1) for i in kept], size)


def _from_files(name: str, folder: Path, count: int, size: int, seed: int) -> ImageSet:
    files = image_files(folder)
    if len(files) < 2:
        raise ValueError(f"{folder} has {len(files)} images for {name}; at least 2 are needed")
    paths = [file.relative_to(folder).as_posix() for file in files]
    kept = sampled(paths, count, seed)
    pixels = [decode(folder / paths[index], size) for index in kept]
    return _image_set(name, [paths[index] for index in kept], np.stack(pixels))


def _from_arrays(name: str, names: Sequence[str], arrays: Sequence[NDArray[Any]], size: int) -> ImageSet:
    pixels = [square(Image.fromarray(np.ascontiguousarray(array)), size) for array in arrays]
    return _image_set(name, names, np.stack(pixels))


def _image_set(name: str, paths: Sequence[str], pixels: NDArray[Any]) -> ImageSet:
    """Images whose classes nobody asks for: all have label 0."""
    keys = tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in pixels)
    return ImageSet(name, tuple(paths), keys, np.zeros(len(paths), np.int64), pixels)


def _cifar_arrays(file: Path) -> NDArray[Any]:
    """CIFAR-10's images as image height width channel; the file holds each as 3 planes of 32x32."""
    try:
        with file.open("rb") as stream:
            data = np.asarray(_ArraysOnly(stream, encoding="bytes").load()[b"data"])
    except FileNotFoundError:
        raise ValueError(f"{file} is not there; {CIFAR_BATCHES} holds test_batch") from None
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is not CIFAR-10's test_batch: {error}") from None
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072:
        raise ValueError(f"{file} holds {data.dtype} of shape {data.shape}; uint8 of shape (images, 3072) is valid")
    return data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


class _ArraysOnly(pickle.Unpickler):
    """Builds arrays and plain values; everything else that a pickle could name is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.removeprefix("numpy.").replace("_core", "core"), name) == (
            "core.multiarray",
            "_reconstruct",
        ):
            return np.empty(0).__reduce__()[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):
            return lambda text, encoding: text.encode(encoding)
        raise pickle.UnpicklingError(f"it names {module}.{name}")
