"""What of a network is measured on a folder of images, and the statistics of its modules as JSON, CSV and text."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch

from in4310repro.data.preprocessing import Preprocessing, to_json
from in4310repro.features import FeatureResult, FeatureStatistics
from in4310repro.features.hooks import ModuleChoice
from in4310repro.runs.record_types import QUANTILES, SHOWN
from in4310repro.system.schema import LONGEST
from in4310repro.system.text import columns, csv_text, publishable_place

IMAGES = 3  # of a channel, those with the largest responses


@dataclass(frozen=True, kw_only=True)
class Request:
    """Images, network and statistics to measure; for `samples`, `precision`, `calls` see `FeatureStatistics`."""

    data: str  # folder
    model: str
    weights: str
    modules: str | None  # as `parse_modules` reads it; the network's five where none are named
    samples: Literal["images", "positions", "flat"] | None
    precision: Literal["fast", "exact"]
    calls: Literal["pool", "keep"]
    images: int  # in the sample; all, if there are fewer
    image_size: int  # side, pixels
    preprocessing: Preprocessing = field(default_factory=Preprocessing)  # what the weights say, once they are read
    batch_size: int  # images
    eigenvalues: int  # how many are listed, the largest first
    seed: int  # of the sample, and of the weights where they are "none"
    channel_axis: Mapping[str, int]  # of modules of which nothing else tells it

    def statistics(self, model: torch.nn.Module, first_image: int = 0) -> FeatureStatistics:
        """Return empty statistics of the chosen modules, ready to measure the first batch.

        Args:
            model: the built network.
            first_image: index of the first image that this process measures.

        Raises:
            ValueError: `modules` has an empty name, a pattern that is not a regular expression, or a module that the
                network lacks.
        """
        return FeatureStatistics(
            model,
            parse_modules(self.modules or ""),
            self.samples,
            self.precision,
            calls=self.calls,
            first_image=first_image,
            channel_axis=self.channel_axis,
            histogram=True,
            # Values that are not grouped by image have no channels either.
            top_images=IMAGES if self.samples else 0,
        )


def parse_modules(modules: str) -> ModuleChoice:
    """Parse a choice of modules as given on the command line.

    There are three forms: names separated by commas; `leaves`, for all modules without submodules; and a regular
    expression between slashes (`/PATTERN/`), for all modules whose whole name matches it.

    Raises:
        ValueError: a name is empty, or a pattern is not a regular expression.
    """
    if modules == "leaves":
        return "leaves"
    if len(modules) > 2 and modules[0] == modules[-1] == "/":
        try:
            return re.compile(modules[1:-1])
        except re.error as error:
            raise ValueError(f"modules {modules} is not a regular expression: {error}") from None
    names = [name.strip() for name in modules.split(",")]
    if "" in names:
        raise ValueError(f"modules is {modules!r}; it must be NAME,NAME or leaves or /PATTERN/")
    return names


def parse_axes(options: Sequence[str]) -> dict[str, int]:
    """Parse channel axes as given on the command line: one `NAME=AXIS` for each module.

    Raises:
        ValueError: the name is missing, the axis is not 1 to 9, or a name is repeated.

    Examples:
        >>> parse_axes(["features.1.0.block.4=3", "attention[1]=1"])
        {'features.1.0.block.4': 3, 'attention[1]': 1}
    """
    axes: dict[str, int] = {}
    for option in options:
        name, _, axis = option.rpartition("=")
        if not name or not re.fullmatch(r"[1-9]", axis):
            raise ValueError(f"channel axis is {option!r}; it must be NAME=AXIS, with an axis from 1 to 9")
        if name in axes:
            raise ValueError(f"channel axis {option!r} follows {name}={axes[name]}; give each name once")
        axes[name] = int(axis)
    return axes


CHANNELS = 3  # of a module, those with the largest responses


def activation_record(result: FeatureResult, paths: Sequence[str], first_image: int = 0) -> Any:
    """Return the JSON record of a module's values; `result` must have a histogram.

    It has quantiles, and the number of values between successive powers of two, by sign and power: the entry `-2^3`
    counts the values in (-16, -8], and `0` counts the zeros. With top images it has the channels that are never
    positive, and up to three channels with their images, those with the largest responses; ties go to the lower index.

    Args:
        result: the statistics of the module.
        paths: paths of the images, in the order in which they were measured.
        first_image: the index that the first image of `paths` has in the statistics.

    Raises:
        ValueError: no value is finite.
    """
    histogram, top, powers = result.histogram, result.top_images, {-1: "-2^{}", 0: "0", 1: "2^{}"}
    assert histogram is not None  # noqa: S101 - for the type checker
    record: dict[str, Any] = {
        "quantiles": {share: histogram.quantile(float(share)) for share in QUANTILES},
        "powers_of_two": {powers[sign].format(power): count for sign, power, count in histogram.by_exponent()},
    }
    if top is None:
        return record
    # With unprintable characters escaped.
    names = [(path if path.isprintable() else ascii(path)[1:-1])[:LONGEST] for path in paths]
    order = torch.sort(top.responses[:, 0], descending=True, stable=True).indices[:CHANNELS].tolist()
    of_channels = {channel: [image for image in top.images[channel].tolist() if image >= 0] for channel in order}
    named = [
        {
            "channel": channel,
            "images": [names[image - first_image] for image in images],
            "responses": top.responses[channel, : len(images)].tolist(),
        }
        for channel, images in of_channels.items()
        if images
    ]
    return record | {"never_positive": top.never_positive.nonzero().flatten().tolist(), "top_images": named}


# Attributes of a result that a module's record has in any case, and with samples the values in its table.
COUNTS = ("images", "rows", "values", "non_positive", "zeros", "non_finite")
CSV_FIELDS = (*COUNTS, "channels", "effective_rank", "clamped")
HEADING = ("module", "values <= 0", *SHOWN.values(), "never positive", "channels")
FolderResult = dict[str, Any]  # the request without full paths, and the record of each module


def folder_result(request: Request, results: Mapping[str, FeatureResult], paths: Sequence[str]) -> FolderResult:
    """Return the results of all modules as one record. `paths` are the image paths, relative to the folder.

    Without samples, a module has only what needs no channels: counts and quantiles. `non_positive` is the share of
    values <= 0, in [0, 1]; `rows` are samples of the covariance; `channels` is None for "flat"; `effective_rank`, and
    `trace_share` of the eigenvalues that are listed, are None where nothing varies; `clamped` is the magnitude of the
    most negative eigenvalue, which was set to zero; the largest of `eigenvalues` is the first. `activations` are as a
    run has them; there are none where no value is finite.
    """
    modules = {}
    for name, result in results.items():
        record = {count: getattr(result, count) for count in COUNTS}
        if result.histogram is not None and len(result.histogram.counts):
            record["activations"] = activation_record(result, paths)
        if request.samples is not None:
            spectrum = result.spectrum
            listed = min(request.eigenvalues, len(spectrum.eigenvalues))
            varies = bool(spectrum.eigenvalues.sum() > 0)
            record |= {
                "channels": len(result.moments.shift) if result.moments is not None else None,
                "effective_rank": spectrum.effective_rank() if varies else None,
                "trace_share": spectrum.trace_share(listed) if varies else None,
                "clamped": spectrum.clamped,
                "eigenvalues": spectrum.largest(listed).tolist(),
            }
        modules[name] = record
    recorded = asdict(request) | {"preprocessing": to_json(request.preprocessing)}
    recorded |= {name: publishable_place(recorded[name]) for name in ("data", "weights")}
    return {"request": recorded, "modules": modules}


def to_csv(result: FolderResult) -> str:
    """Return the statistics as CSV: a row per module, with counts, fractions, quantiles and eigenvalues."""
    longest = max(len(module.get("eigenvalues", ())) for module in result["modules"].values())
    numbered = (f"eigenvalue_{rank}" for rank in range(1, longest + 1))
    rows: list[Any] = [["module", *CSV_FIELDS, "never_positive", *map("quantile_{}".format, QUANTILES), *numbered]]
    for name, module in result["modules"].items():
        never_positive, values = _activations(module, QUANTILES)
        counts = [module.get(field) for field in CSV_FIELDS]
        rows.append([name, *counts, never_positive, *values, *module.get("eigenvalues", ())])
    return csv_text(rows)


def to_text(result: FolderResult) -> str:
    """Return a table for a terminal: fraction of values <= 0, quantiles and never-positive channels per module.

    Unknown values are shown as "-".
    """
    rows = [HEADING]
    for name, module in result["modules"].items():
        never_positive, values = _activations(module, SHOWN)
        shown = ["-" if value is None else f"{value:.3g}" for value in values]
        counts = ["-" if count is None else f"{count}" for count in (never_positive, module.get("channels"))]
        rows.append((name, f"{module['non_positive']:.2%}", *shown, *counts))
    return "\n".join(columns(rows, f"<{'>' * len(HEADING[1:])}"))


def _activations(module: Mapping[str, Any], shares: Iterable[str]) -> tuple[int | None, list[float | None]]:
    """Return the number of channels that are never positive, and some quantiles; None for what was not measured."""
    activations = module.get("activations", {})
    channels, quantiles = activations.get("never_positive"), activations.get("quantiles", {})
    return None if channels is None else len(channels), [quantiles.get(share) for share in shares]
