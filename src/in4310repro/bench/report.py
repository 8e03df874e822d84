"""The benchmark as a whole: what is run, and features.json and features.md."""

import io
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import resnet18

from in4310repro.bench.pipelines import Contender, Run, bare, contenders, error, ours, reference, run
from in4310repro.features.kernel import described
from in4310repro.numerics import Numerics, fingerprint
from in4310repro.progress import SILENT, Progress
from in4310repro.runs import json_bytes, write_file

FIVE = ("conv1", "layer1.1.conv1", "layer2.1.conv1", "layer3.1.conv1", "layer4.1.conv1")
RATIOS = (0.0, 1e2, 1e4, 1e6)  # mean over deviation of the synthetic maps
MANY, FEW = 50_000, 500  # images of the memory measurement
Row = dict[str, Any]


def benchmark(
    out: Path,
    numerics: Numerics,
    repeats: int = 5,
    seconds: float = 25.0,
    images: int = 64,
    batch_size: int = 32,
    side: int = 224,
    many: int = MANY,
    progress: Progress = SILENT,
) -> list[Path]:
    """Time every contender on the convolutions of ResNet-18 in both memory layouts; write features.json and .md.

    Args:
        out: the folder of the files.
        numerics: the active arithmetic and device.
        repeats: pairs of a bare and a measured run, at least.
        seconds: time for the pairs of a contender, so that the fast ones, whose ratios are near 1, have more of them.
        images: how many pass in a run.
        batch_size: images in a forward pass.
        side: pixels of a side.
        many: images of the memory measurement.
        progress: where to say how far it is.

    Raises:
        ValueError: fewer than one repeat or image.
    """
    if min(repeats, images, batch_size) < 1:
        raise ValueError(f"repeats {repeats}, images {images}, batch size {batch_size}; each must be at least 1")
    report: Row = {
        "fingerprint": fingerprint(numerics) | {"feature_kernel": described()},
        "settings": {"repeats": repeats, "seconds": seconds, "images": images, "batch_size": batch_size, "side": side},
        "loader_ms_per_image": loader_milliseconds(side),
        "synthetic_errors": synthetic_errors(numerics.device),
        "memory": memory(many, numerics.device),
        "layouts": {},
    }
    for layout in ("channels_last", "contiguous"):
        model, batches = network_and_batches(images, batch_size, side, layout, numerics.device)
        report["layouts"][layout] = compared(model, batches, repeats, seconds, progress, layout)
    files = {"features.json": json_bytes(report), "features.md": markdown(report).encode()}
    return [write_file(out / name, data) for name, data in files.items()]


def network_and_batches(
    images: int, batch_size: int, side: int, layout: str, device: str
) -> tuple[nn.Module, list[Tensor]]:
    """ResNet-18 with random weights in evaluation mode, and random images."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = resnet18(weights=None).eval()
        data = torch.randn(images, 3, side, side)
    form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    model = model.to(device=device, memory_format=form)
    return model, list(torch.split(data.to(device=device, memory_format=form), batch_size))


def compared(
    model: nn.Module, batches: list[Tensor], repeats: int, seconds: float, progress: Progress, layout: str
) -> list[Row]:
    """A row a contender: bare and contender in turn, after a first round that warms up and gives the errors."""
    convolutions = tuple(n for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    every = contenders(convolutions, FIVE)
    present = [contender for contender in every if contender.version is not None]
    expected = {
        "positions": reference(model, batches, convolutions, "positions"),
        "images": reference(model, batches, FIVE, "images"),
    }
    errors, rounds = {}, {}
    with progress.task(f"bench, {layout}, first round", len(present)) as advance:
        for contender in present:
            start = time.perf_counter()
            run(bare(), model, batches)
            own = run(contender, model, batches)
            rounds[contender.name] = max(repeats, math.ceil(seconds / (time.perf_counter() - start)))
            if contender.samples is not None:
                errors[contender.name] = error(own.covariances, expected[contender.samples])
            advance(1, contender.name)
    pairs: dict[str, list[tuple[Run, Run]]] = {contender.name: [] for contender in present}
    with progress.task(f"bench, {layout}", sum(rounds.values())) as advance:
        for turn in range(max(rounds.values())):
            for contender in present:
                if turn >= rounds[contender.name]:
                    continue
                # By turns, so that what the first leaves to the second is on either side.
                order = (bare(), contender) if turn % 2 else (contender, bare())
                first, second = (replace(run(each, model, batches), covariances={}) for each in order)
                pairs[contender.name].append((first, second) if turn % 2 else (second, first))
                advance(1, contender.name)
    images = sum(map(len, batches))
    return [row(each, pairs.get(each.name, []), errors.get(each.name), images) for each in every]


def row(contender: Contender, pairs: list[tuple[Run, Run]], worst: float | None, images: int) -> Row:
    """Medians and quartiles of one contender, each run beside the bare one before it; its needs if not installed."""
    named: Row = {"name": contender.name, "needs": contender.needs, "version": contender.version}
    if not pairs:
        return named
    low, middle, high = np.quantile([own.seconds / base.seconds for base, own in pairs], [0.25, 0.5, 0.75]).tolist()
    peaks = [own.peak_bytes for _, own in pairs if own.peak_bytes is not None]
    return named | {
        "ms_per_image": float(np.median([1e3 * own.seconds / images for _, own in pairs])),
        "hooks_ms_per_image": float(np.median([1e3 * (own.seconds - base.seconds) / images for base, own in pairs])),
        "ratio": middle,
        "ratio_quartiles": [low, high],
        "repeats": len(pairs),
        "ratio_of_fastest": min(own.seconds for _, own in pairs) / min(base.seconds for base, _ in pairs),
        "finish_ms": float(np.median([1e3 * own.finish_seconds for _, own in pairs])),
        "peak_mb": float(np.median(peaks)) / 1e6 if peaks else None,
        "error": worst,
    }


def synthetic_errors(device: str) -> dict[str, dict[str, float]]:
    """Error by contender and mean/deviation: 160 maps of 64 channels, in batches of 16."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(64, 64, generator=generator) / 8
    noise = torch.einsum("nchw,cd->ndhw", torch.randn(160, 64, 10, 10, generator=generator), mixing)
    model = nn.Sequential(nn.Identity())
    found: dict[str, dict[str, float]] = {}
    for ratio in RATIOS:
        batches = list(torch.split((noise / noise.std() + ratio).to(device), 16))
        expected = reference(model, batches, ("0",), "positions")
        for contender in contenders(("0",), ("0",)):
            if contender.samples == "positions" and contender.version is not None:
                worst = error(run(contender, model, batches).covariances, expected)
                found.setdefault(contender.name, {})[f"{ratio:g}"] = worst
    return found


def memory(many: int, device: str) -> dict[str, float | None]:
    """Peak megabytes above the start for FEW and for `many` images through a small network."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(inplace=True), nn.Conv2d(16, 32, 3)).eval().to(device)
        batch = torch.randn(100, 3, 12, 12).to(device)
    found: dict[str, float | None] = {}
    for images in (FEW, FEW, many):  # the first warms up
        contender = ours("small", ("0", "2"), "positions")
        used = run(contender, model, [batch] * (images // 100)).peak_bytes
        found[f"{images} images"] = None if used is None else used / 1e6
    return found


def loader_milliseconds(side: int, images: int = 40) -> float:
    """Milliseconds to decode a 150 x 150 JPEG file, resize and normalise it."""
    pixels = np.random.default_rng(0).integers(0, 256, (15, 15, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((150, 150)).save(file, "JPEG")
    start = time.perf_counter()
    for _ in range(images):
        image = Image.open(file).convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
        (torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255 - 0.45) / 0.225
    return 1e3 * (time.perf_counter() - start) / images


def markdown(report: Row) -> str:
    """The report's tables."""
    mark, settings = report["fingerprint"], report["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in mark["versions"].items())
    lines = [
        "# Feature statistics: cost and error",
        "",
        f"{mark['processor']}, {mark['threads']} threads, {mark['device']}, {mark['numerics']} arithmetic; {versions}. "
        f"Feature statistics on the processor: {mark['feature_kernel']}.",
        f"ResNet-18 at {settings['side']} px, {settings['images']} images in batches of {settings['batch_size']}, "
        f"{settings['repeats']} alternating repeats or more, for {settings['seconds']:g} s; medians, quartiles in "
        "brackets. Ratio: time to the bare forward pass just before or after. Error: worst over modules of covariance "
        "(Frobenius) and 8 largest eigenvalues.",
        f"Loader: {report['loader_ms_per_image']:.2f} ms an image (JPEG to normalised tensor).",
    ]
    for layout, rows in report["layouts"].items():
        lines += ["", f"## {layout}", "", *table(rows)]
    names = [f"mean/deviation {ratio:g}" for ratio in RATIOS]
    lines += ["", "## Errors on 64 synthetic channels", "", f"| | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for name, errors in report["synthetic_errors"].items():
        lines.append(f"| {name} | " + " | ".join(f"{value:.0e}" for value in errors.values()) + " |")
    lines += ["", "## Peak memory of a small network", ""]
    lines += [f"* {name}: {shown(used, '.1f')} MB" for name, used in report["memory"].items()]
    return "\n".join(lines) + "\n"


def table(rows: list[Row]) -> list[str]:
    """One row a contender."""
    lines = [
        "| | ratio | repeats | fastest | ms an image | of it hooks | finish, ms | peak, MB | error |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in rows:
        if each["version"] is None:
            lines.append(f"| {each['name']} | {each['needs']} is not installed | | | | | | | |")
            continue
        low, high = each["ratio_quartiles"]
        cells = (
            each["name"],
            f"{each['ratio']:.3f} [{low:.3f}, {high:.3f}]",
            each["repeats"],
            f"{each['ratio_of_fastest']:.3f}",
            f"{each['ms_per_image']:.2f}",
            f"{each['hooks_ms_per_image']:.2f}",
            f"{each['finish_ms']:.1f}",
            shown(each["peak_mb"], ".0f"),
            shown(each["error"], ".0e"),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def shown(value: float | None, form: str) -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None else format(value, form)
