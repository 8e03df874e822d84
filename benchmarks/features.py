"""Benchmark of feature statistics: each tool timed against bare forward passes, in features.json and bench.md."""

import io
import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import resnet18

from benchmarks import tables
from benchmarks.contenders import Contender, Covariances, bare_pass, contenders, feature_statistics
from benchmarks.measurement import Measurement, measure, reference_covariances, worst_error
from benchmarks.peers import PEERS, Peers
from benchmarks.records import ContenderRow, FeatureBenchmark, FeatureBenchmarkSettings
from in4310repro.features.kernel import kernel_description
from in4310repro.system.context import Context
from in4310repro.system.fingerprint import fingerprint
from in4310repro.system.progress import Progress

FIVE = ("conv1", "layer1.1.conv1", "layer2.1.conv1", "layer3.1.conv1", "layer4.1.conv1")
MEANS = (0.0, 1e2, 1e4, 1e6)  # of the synthetic maps, in standard deviations
MANY, FEW = 50_000, 500  # images of the memory measurement
Pair = tuple[Measurement, Measurement]  # of the bare pass and of a contender


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """Options of the benchmark of feature statistics.

    Raises:
        ValueError: fewer than one repeat or image.
    """

    repeats: int = 5  # minimum number of pairs of a bare and a measured pass
    # Time for the pairs of one contender. Fast contenders, whose ratios are near 1, get more pairs in it.
    seconds: float = 25.0
    images: int = 64  # in a pass
    batch_size: int = 32  # images in a forward pass
    side: int = 224  # pixels
    memory_images: int = MANY
    peers: Peers = field(default_factory=lambda: PEERS)

    def __post_init__(self) -> None:
        if min(self.repeats, self.images, self.batch_size) < 1:
            values = f"repeats {self.repeats}, images {self.images}, batch size {self.batch_size}"
            raise ValueError(f"{values}; each must be at least 1")

    def record(self) -> FeatureBenchmarkSettings:
        """Return the options that affect all timings, in the form that features.json holds."""
        return FeatureBenchmarkSettings(
            repeats=self.repeats,
            seconds=self.seconds,
            images=self.images,
            batch_size=self.batch_size,
            side=self.side,
        )


def benchmark(out: Path, context: Context, options: BenchmarkOptions) -> list[Path]:
    """Time every contender on ResNet-18's convolutions in two memory layouts; write features.json and bench.md.

    Args:
        out: the folder to write the files to.
        context: arithmetic, progress and processes of the computation.
        options: options of the benchmark.

    Returns:
        The files that were written.
    """
    report = FeatureBenchmark(
        fingerprint=fingerprint(context.numerics) | {"feature_kernel": kernel_description()},
        settings=options.record(),
        loader_ms_per_image=loader_milliseconds(options.side),
        synthetic_errors=synthetic_errors(context.numerics.device, options.peers),
        memory=peak_memory(options.memory_images, context.numerics.device),
        layouts={},
    )
    for layout in ("channels_last", "contiguous"):
        model, batches = build_workload(options, layout, context.numerics.device)
        report["layouts"][layout] = time_contenders(model, batches, options, context.progress, layout)
    return tables.write(out, "features", report)


def build_workload(options: BenchmarkOptions, layout: str, device: str) -> tuple[nn.Module, list[Tensor]]:
    """Return ResNet-18 with random weights in evaluation mode, and batches of random images."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = resnet18(weights=None).eval()
        images = torch.randn(options.images, 3, options.side, options.side)
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    model = model.to(device=device, memory_format=memory_format)
    return model, list(torch.split(images.to(device=device, memory_format=memory_format), options.batch_size))


def time_contenders(
    model: nn.Module, batches: list[Tensor], options: BenchmarkOptions, progress: Progress, layout: str
) -> list[ContenderRow]:
    """Return a row for each contender, with its error and its times, measured in turn with bare passes."""
    convolutions = tuple(name for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    every = contenders(convolutions, FIVE, options.peers)
    installed = [contender for contender in every if contender.version is not None]
    expected = {
        "positions": reference_covariances(model, batches, convolutions, "positions"),
        "images": reference_covariances(model, batches, FIVE, "images"),
    }
    rounds: dict[str, int] = {}
    errors: dict[str, float] = {}
    with progress.task(f"bench, {layout}, first round", len(installed)) as advance:
        for contender in installed:
            covariances, seconds = measure_first_pair(contender, model, batches)
            rounds[contender.name] = max(options.repeats, math.ceil(options.seconds / seconds))
            if contender.samples is not None:
                errors[contender.name] = worst_error(covariances, expected[contender.samples])
            advance(1, contender.name)
    pairs: dict[str, list[Pair]] = {contender.name: [] for contender in installed}
    with progress.task(f"bench, {layout}", sum(rounds.values())) as advance:
        for turn in range(max(rounds.values())):
            for contender in (each for each in installed if turn < rounds[each.name]):
                pairs[contender.name].append(measure_pair(contender, model, batches, bare_first=turn % 2 == 1))
                advance(1, contender.name)
    images = sum(map(len, batches))
    return [summarize(each, pairs.get(each.name, []), errors.get(each.name), images) for each in every]


def measure_first_pair(contender: Contender, model: nn.Module, batches: list[Tensor]) -> tuple[Covariances, float]:
    """Return the contender's covariances, and the seconds of a bare pass and the contender's pass together."""
    start = time.perf_counter()
    measure(bare_pass(), model, batches)
    covariances = measure(contender, model, batches).covariances
    return covariances, time.perf_counter() - start


def measure_pair(contender: Contender, model: nn.Module, batches: list[Tensor], *, bare_first: bool) -> Pair:
    """Time a bare pass and a contender's pass; callers alternate `bare_first`, so that neither always runs second."""
    order = (bare_pass(), contender) if bare_first else (contender, bare_pass())
    first, second = (replace(measure(each, model, batches), covariances={}) for each in order)
    return (first, second) if bare_first else (second, first)


def summarize(contender: Contender, pairs: list[Pair], error: float | None, images: int) -> ContenderRow:
    """Return medians and quartiles of a contender's times, each divided by that of the bare pass in its pair."""
    row = ContenderRow(name=contender.name, needs=contender.needs, version=contender.version)
    if not pairs:
        return row
    ratios = [measured.seconds / base.seconds for base, measured in pairs]
    lower, middle, upper = np.quantile(ratios, [0.25, 0.5, 0.75]).tolist()
    peaks = [measured.peak_bytes for _, measured in pairs if measured.peak_bytes is not None]
    differences = [measured.seconds - base.seconds for base, measured in pairs]
    row["ms_per_image"] = float(np.median([1e3 * measured.seconds / images for _, measured in pairs]))
    row["hooks_ms_per_image"] = float(np.median([1e3 * difference / images for difference in differences]))
    row["ratio"] = middle
    row["ratio_quartiles"] = [lower, upper]
    row["repeats"] = len(pairs)
    row["ratio_of_fastest"] = min(measured.seconds for _, measured in pairs) / min(base.seconds for base, _ in pairs)
    row["finish_ms"] = float(np.median([1e3 * measured.finish_seconds for _, measured in pairs]))
    row["peak_mb"] = float(np.median(peaks)) / 1e6 if peaks else None
    row["error"] = error
    return row


def synthetic_errors(device: str, peers: Peers) -> dict[str, dict[str, float]]:
    """Return relative errors on synthetic maps, by contender and by mean of the maps in standard deviations.

    There are 160 maps of 64 channels, in batches of 16.
    """
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(64, 64, generator=generator) / 8
    noise = torch.einsum("nchw,cd->ndhw", torch.randn(160, 64, 10, 10, generator=generator), mixing)
    model = nn.Sequential(nn.Identity())
    errors: dict[str, dict[str, float]] = {}
    for mean in MEANS:
        batches = list(torch.split((noise / noise.std() + mean).to(device), 16))
        expected = reference_covariances(model, batches, ("0",), "positions")
        for contender in contenders(("0",), ("0",), peers):
            if contender.samples == "positions" and contender.version is not None:
                error = worst_error(measure(contender, model, batches).covariances, expected)
                errors.setdefault(contender.name, {})[f"{mean:g}"] = error
    return errors


def peak_memory(many: int, device: str) -> dict[str, float | None]:
    """Return the peak memory above that at the start, in megabytes, for `FEW` and for `many` images."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(inplace=True), nn.Conv2d(16, 32, 3)).eval().to(device)
        batch = torch.randn(100, 3, 12, 12).to(device)
    peaks: dict[str, float | None] = {}
    for images in (FEW, FEW, many):  # the first warms up
        contender = feature_statistics("small", ("0", "2"), "positions")
        peak = measure(contender, model, [batch] * (images // 100)).peak_bytes
        peaks[f"{images} images"] = None if peak is None else peak / 1e6
    return peaks


def loader_milliseconds(side: int, images: int = 40) -> float:
    """Return the milliseconds per image to decode a JPEG file of 150 x 150 pixels, resize and normalize it."""
    pixels = np.random.default_rng(0).integers(0, 256, (15, 15, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((150, 150)).save(file, "JPEG")
    start = time.perf_counter()
    for _ in range(images):
        image = Image.open(file).convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
        (torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255 - 0.45) / 0.225
    return 1e3 * (time.perf_counter() - start) / images
