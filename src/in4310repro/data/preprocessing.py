"""Preprocessing of images for a network, as a record that is stored in the file of its weights."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

# Pillow's, with antialiasing but for the first.
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
# Fields that belong to the weights; the size can be chosen, and the orientation is that of the run.
DECIDED_BY_WEIGHTS = ("mean", "std", "interpolation", "crop_ratio")
# Whether pictures are turned upright by their EXIF orientation; versions whose config.json lacks the key ignored it.
APPLIED, IGNORED = "exif", "ignored"
ORIENTATIONS = (APPLIED, IGNORED)
SIZES = (32, 2**14)  # smallest and largest side of the square, pixels
METADATA = "preprocessing"  # its key in the metadata of a safetensors file


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Steps from a decoded image to a network's input: square crop, resizing, (pixel / 255 - mean) / std.

    The default is torchvision's normalisation for its ImageNet weights, with the largest square.
    """

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)  # of red, green and blue in [0, 1]
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"
    crop_ratio: float = 1.0  # side of the square, as a share of the image's short side
    size: int = 224  # side of the square when it is resized, pixels
    orientation: str = APPLIED


def to_json(preprocessing: Preprocessing) -> dict[str, object]:
    """Return the preprocessing as JSON values, without image size and EXIF orientation."""
    values = ((name, getattr(preprocessing, name)) for name in DECIDED_BY_WEIGHTS)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values}


def from_json(values: Mapping[str, Any]) -> Preprocessing:
    """Return the preprocessing from JSON values as `to_json` returns them, possibly with an image size.

    Raises:
        KeyError: a value is missing.
        TypeError: the record is not a JSON object.
        ValueError: a value has a wrong type or is out of range.
    """
    ratio, size = values["crop_ratio"], values.get("size", Preprocessing.size)
    if type(ratio) not in (int, float):
        raise ValueError(f"crop_ratio is {ratio!r}; it must be a number")
    if type(size) is not int or not SIZES[0] <= size <= SIZES[1]:
        raise ValueError(f"size is {size!r}; it must be a whole number from {SIZES[0]} to {SIZES[1]}")
    mean, std = (channels(values[name], name) for name in ("mean", "std"))
    record = Preprocessing(mean=mean, std=std, interpolation=values["interpolation"], crop_ratio=ratio, size=size)
    refuse_invalid(record)
    # Only then, since no float has the size of a whole number of 400 digits.
    return replace(record, crop_ratio=float(ratio))


def to_metadata(preprocessing: Preprocessing) -> dict[str, str]:
    """Return the preprocessing as metadata of a safetensors file of weights."""
    return {METADATA: json.dumps(to_json(preprocessing) | {"size": preprocessing.size})}


def without_size(preprocessing: Preprocessing) -> dict[str, str]:
    """Return the metadata that older versions wrote to a weights file: preprocessing without the image size."""
    return {METADATA: json.dumps(to_json(preprocessing))}


def channels(value: str | Sequence[object], name: str) -> tuple[float, ...]:
    """Return the values for red, green and blue as three numbers.

    Args:
        value: a list of numbers, or text with commas.
        name: the option's name, for the error message.

    Raises:
        ValueError: the value is not three numbers.

    Examples:
        >>> channels("0.5,0.5,0.25", "mean")
        (0.5, 0.5, 0.25)
    """
    try:
        parts = value.split(",") if isinstance(value, str) else value
        red, green, blue = (float(part) for part in parts if not isinstance(part, bool))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is {str(value)[:100]}; it must be three numbers, such as 0.5,0.5,0.5") from None
    return red, green, blue


def refuse_invalid(values: Preprocessing) -> None:
    """Raise ValueError if a value is invalid, such as a standard deviation of 0 or a crop ratio above 1."""
    for name, low, which in (("mean", -1e6, "numbers"), ("std", 1e-6, "numbers above 0")):
        if not all(low < value < 1e6 for value in getattr(values, name)):
            raise ValueError(f"{name} is {list(getattr(values, name))}; it must be {which} for red, green and blue")
    if values.interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation is {values.interpolation!r}; it must be one of {', '.join(INTERPOLATIONS)}")
    if not 0 < values.crop_ratio <= 1:
        raise ValueError(f"crop_ratio is {str(values.crop_ratio)[:100]}; it must be above 0 and at most 1")
