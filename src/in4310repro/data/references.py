"""Image sets for comparison with the test images: ImageNet and CIFAR-10, or images that scikit-learn includes."""

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image

from in4310repro.data.folders import image_files
from in4310repro.data.images import ImageSet
from in4310repro.data.preprocessing import Preprocessing
from in4310repro.data.reading import DEFAULT, crop_square, decode
from in4310repro.system.files import bytes_sha256, open_regular
from in4310repro.system.numerics import generator_for

CIFAR_BATCHES = "cifar-10-batches-py"
CROP = 192  # width and height of the crops of photographs, pixels
PHOTOGRAPHS, DIGITS = "scikit-learn photographs", "scikit-learn digits"
IMAGENET, CIFAR10 = "ImageNet", "CIFAR-10"
Pixels = NDArray[np.uint8]  # height width channel; of a set image height width channel


@dataclass(frozen=True)
class Sample:
    """Number of images to draw from an image set, with the seed of the draw and the images' preparation."""

    count: int  # all images, if the set has fewer
    size: int  # width and height of the prepared images, pixels
    seed: int  # of the draw
    preprocessing: Preprocessing = DEFAULT


def subset(images: ImageSet, count: int, seed: int) -> ImageSet:
    """Return a sample of images, drawn without replacement and kept in the order of the set.

    Args:
        images: the set.
        count: number of images of the sample; all images if the set has fewer.
        seed: the seed. Only the seed and the paths decide which images are drawn.
    """
    return images.at(sample_positions(images.paths, count, seed))


def sample_positions(names: Sequence[str], count: int, seed: int) -> list[int]:
    """Draw `count` of the names without replacement; return their positions in increasing order.

    Each name gets a random number that depends on (seed, name), and the names with the lowest numbers are taken.
    Therefore the order of the names does not matter.
    """
    draws = [(generator_for(seed, "sample", name).random(), position) for position, name in enumerate(names)]
    return sorted(position for _, position in sorted(draws)[:count])


def imagenet(folder: Path, sample: Sample) -> ImageSet:
    """Return a sample of the images in a folder of ImageNet.

    Args:
        folder: a folder in torchvision's layout (`val/n01440764/...`), of which only `val` is read, or any folder
            of images.
        sample: the number of images, and their preparation.

    Raises:
        ValueError: the folder does not exist or has fewer than two images, or an image cannot be read.
    """
    return _from_files(IMAGENET, folder / "val" if (folder / "val").is_dir() else folder, sample)


def cifar10(folder: Path, sample: Sample) -> ImageSet:
    """Return a sample of CIFAR-10's test images.

    Args:
        folder: a folder in torchvision's layout (`cifar-10-batches-py`), of which only `test_batch` is read, or
            any folder of images.
        sample: the number of images, and their preparation.

    Raises:
        ValueError: the folder does not exist or has fewer than two images, or a file is corrupt.
    """
    packed = folder if folder.name == CIFAR_BATCHES else folder / CIFAR_BATCHES
    if not packed.is_dir():
        return _from_files(CIFAR10, folder, sample)
    arrays = _cifar_arrays(packed / "test_batch")
    return _from_arrays(CIFAR10, [f"test_batch/{index:05d}" for index in range(len(arrays))], arrays, sample)


def photographs(sample: Sample) -> ImageSet:
    """Return random crops of 192 x 192 pixels, taken in turn from scikit-learn's two photographs."""
    # Imported here because it takes a second and is needed only without an ImageNet folder.
    import sklearn.datasets

    originals = sklearn.datasets.load_sample_images().images
    generator = generator_for(sample.seed, "photographs")
    paths, crops = [], []
    for index in range(sample.count):
        number = index % len(originals)
        height, width = originals[number].shape[:2]
        top, left = int(generator.integers(height - CROP)), int(generator.integers(width - CROP))
        paths.append(f"photograph{number}/{top},{left}")
        crops.append(originals[number][top : top + CROP, left : left + CROP])
    return _from_arrays(PHOTOGRAPHS, paths, crops, sample)


def digits(sample: Sample) -> ImageSet:
    """Return a sample of scikit-learn's 1797 handwritten digits of 8 x 8 pixels in 17 levels of grey."""
    import sklearn.datasets

    grey = (sklearn.datasets.load_digits().images * 255 // 16).astype(np.uint8)
    coloured = np.repeat(grey[..., None], 3, axis=-1)
    return _from_arrays(DIGITS, [f"digit/{index:04d}" for index in range(len(coloured))], coloured, sample)


# The two sets beside the test images: the option that names a folder of one, and how it is read with and without.
COMPARED = (("imagenet", imagenet, photographs), ("cifar10", cifar10, digits))


def _from_files(name: str, folder: Path, sample: Sample) -> ImageSet:
    files = image_files(folder)
    if len(files) < 2:
        raise ValueError(f"{folder} has {len(files)} images for {name}; at least 2 are needed")
    paths = [file.relative_to(folder).as_posix() for file in files]
    return _draw(name, paths, lambda index: decode(files[index], sample.size, None, sample.preprocessing), sample)


def _from_arrays(name: str, paths: Sequence[str], arrays: Sequence[Pixels] | Pixels, sample: Sample) -> ImageSet:
    def crop(index: int) -> Pixels:
        return crop_square(Image.fromarray(np.ascontiguousarray(arrays[index])), sample.size, sample.preprocessing)

    return _draw(name, paths, crop, sample)


def _draw(name: str, paths: Sequence[str], pixels_of: Callable[[int], Pixels], sample: Sample) -> ImageSet:
    """Draw a sample of images, and return it as an image set called `name`.

    The key of an image, on which random draws depend, is the sha256 of its pixels. All labels are 0, because
    labels are not used.
    """
    chosen = sample_positions(paths, sample.count, sample.seed)
    pixels = np.stack([pixels_of(index) for index in chosen])
    keys = tuple(bytes_sha256(image.tobytes()) for image in pixels)
    labels, drawn = np.zeros(len(chosen), np.int64), tuple(paths[index] for index in chosen)
    return ImageSet(name, drawn, keys, labels, pixels, preprocessing=sample.preprocessing)


def _cifar_arrays(file: Path) -> UInt8[np.ndarray, "image 32 32 3"]:
    """Return CIFAR-10's images as [image, row, column, channel]; the file stores each channel separately.

    Format: https://www.cs.toronto.edu/~kriz/cifar.html.
    """
    try:
        with open_regular(file) as stream:
            data = np.asarray(_ArraysOnly(stream, encoding="bytes").load()[b"data"])
    except FileNotFoundError:
        raise ValueError(f"{file} is not there; {CIFAR_BATCHES} holds test_batch") from None
    # A corrupt pickle can raise almost anything: IndexError, AttributeError, OverflowError, ...
    except Exception as error:
        raise ValueError(f"{file} is not CIFAR-10's test_batch: {f'{error}' or type(error).__name__}") from None
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072 or len(data) < 2:
        raise ValueError(
            f"{file} holds {data.dtype} of shape {data.shape}; it must be uint8 of shape (2 images or more, 3072)"
        )
    # A pickle can hold a dtype equal to uint8 that Pillow does not recognise.
    return data.astype(np.dtype("u1")).reshape(len(data), 3, 32, 32).transpose(0, 2, 3, 1)


class _ArraysOnly(pickle._Unpickler):
    """Unpickler that only creates NumPy arrays and plain values, so that a file cannot run code.

    Python's own unpickler: the one in C takes gigabytes of memory for one damaged index.
    """

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            # By which NumPy restores an array, before version 2 and since.
            case "numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct":
                return np.empty(0).__reduce__()[0]
            case "numpy", "ndarray" | "dtype":
                return getattr(np, name)
            case "_codecs", "encode":
                return lambda text, encoding: text.encode(encoding)
        raise pickle.UnpicklingError(f"it names {module}.{name}")
