"""The records in features.json and arithmetic.json, with their fields."""

from typing import NotRequired, TypedDict

from in4310repro.fingerprint import Fingerprint


class ContenderRow(TypedDict):
    """One contender in one memory layout; the measured fields are missing where it is not installed."""

    name: str
    needs: str  # distribution
    version: str | None  # None: not installed
    ms_per_image: NotRequired[float]  # median
    hooks_ms_per_image: NotRequired[float]  # median of the difference to the bare pass
    ratio: NotRequired[float]  # median of the ratio to the bare pass
    ratio_quartiles: NotRequired[list[float]]  # lower and upper
    repeats: NotRequired[int]  # pairs of a bare and a measured pass
    ratio_of_fastest: NotRequired[float]
    finish_ms: NotRequired[float]  # median
    peak_mb: NotRequired[float | None]  # median
    error: NotRequired[float | None]  # relative; None for counts alone


class FeatureBenchmarkSettings(TypedDict):
    """The options of a benchmark of feature statistics, as recorded."""

    repeats: int
    seconds: float
    images: int
    batch_size: int
    side: int  # pixels


class FeatureBenchmark(TypedDict):
    """Cost and error of feature statistics: features.json."""

    fingerprint: Fingerprint
    settings: FeatureBenchmarkSettings
    loader_ms_per_image: float
    synthetic_errors: dict[str, dict[str, float]]  # contender -> mean in standard deviations -> relative error
    memory: dict[str, float | None]  # number of images -> peak megabytes above the start
    layouts: dict[str, list[ContenderRow]]


class ArithmeticBenchmarkSettings(TypedDict):
    """The options of a benchmark of portable arithmetic, as recorded."""

    repeats: int
    steps: int
    image_size: int  # pixels
    batch_size: int  # images


class ArithmeticBenchmark(TypedDict):
    """Training speed in both arithmetic modes: arithmetic.json."""

    fingerprint: Fingerprint
    settings: ArithmeticBenchmarkSettings
    images_per_second: dict[str, list[float]]  # mode -> one value per repeat
    portable_over_native: list[float]
