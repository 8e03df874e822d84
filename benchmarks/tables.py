"""The page of the benchmarks, made from their records.

python -m benchmarks.tables [FOLDER]    writes bench.md again from the JSON files in FOLDER, without measuring
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.records import (
    ArithmeticBenchmark,
    Bfloat16Row,
    ContenderRow,
    FeatureBenchmark,
    LayerRow,
    NetworkRow,
    ProcessesBenchmark,
    RatioRow,
    TraceBenchmark,
)
from in4310repro.system.files import json_bytes, read_json, write_file
from in4310repro.system.text import markdown

# Columns of the table of networks, by name in the record.
CONTENDERS = {"folded": "folded", "onnxruntime": "onnxruntime", "openvino": "OpenVINO", "plain script": "plain"}
FORMATS = {"channels_last": "c", "contiguous": "n"}
FOLDER = Path("reports/bench")
PAGE = "bench.md"


def write(out: Path, name: str, record: Mapping[str, Any]) -> list[Path]:
    """Write the record of a benchmark, and the page again from all records in the folder; return the paths."""
    written = write_file(out / f"{name}.json", json_bytes(record))
    return [written, write_page(out)]


def write_page(out: Path) -> Path:
    """Write the page from the records in the folder."""
    records = {name: read_json(out / f"{name}.json") for name in SECTIONS if (out / f"{name}.json").is_file()}
    return write_file(out / PAGE, page(records).encode())


def page(records: Mapping[str, Any]) -> str:
    """Return the text of bench.md, with a section for each benchmark that was run."""
    sections = [SECTIONS[name](record) for name, record in records.items()]
    return "\n".join(["# Benchmarks", "", INTRODUCTION, "", "\n".join(sections)])


def feature_tables(report: FeatureBenchmark) -> str:
    """Return the section on the cost and the error of feature statistics."""
    environment, settings = report["fingerprint"], report["settings"]
    lines = [
        "## Feature statistics",
        "",
        f"{markdown(environment['processor'])}, {environment['threads']} threads, {environment['device']}, "
        f"{environment['numerics']} arithmetic, torch {environment['versions']['torch']}. "
        f"Feature statistics on the CPU: {environment.get('feature_kernel')}.",
        f"ResNet-18 at {settings['side']} px, {settings['images']} images in batches of {settings['batch_size']}, "
        f"{settings['repeats']} alternating repeats or more, for {settings['seconds']:g} s. "
        f"Loading a JPEG as a normalized tensor takes {report['loader_ms_per_image']:.2f} ms.",
        "",
        "* Ratio: time divided by that of the bare forward pass just before or after; median [quartiles].",
        "* Finish: time after the last batch.",
        "* Error: the largest relative error over modules, of the covariance (Frobenius norm) and its 8 largest "
        "eigenvalues.",
    ]
    for layout, rows in report["layouts"].items():
        lines += ["", f"### Memory layout {layout}", "", *_contender_table(rows)]
    means = next(iter(report["synthetic_errors"].values()), {})
    names = [f"mean/deviation {mean}" for mean in means]
    lines += [
        "",
        "### Errors on 64 synthetic channels",
        "",
        f"| | {' | '.join(names)} |",
        "|---|" + "---|" * len(names),
    ]
    for name, errors in report["synthetic_errors"].items():
        lines.append(f"| {name} | " + " | ".join(f"{error:.0e}" for error in errors.values()) + " |")
    peaks = ", ".join(f"{_format(peak, '.1f')} MB for {_thousands(name)}" for name, peak in report["memory"].items())
    return "\n".join([*lines, "", f"Peak memory of a small network: {peaks}.", ""])


def _contender_table(rows: list[ContenderRow]) -> list[str]:
    lines = ["| | ratio | ms per image | finish, ms | peak, MB | error |", "|---|---|---|---|---|---|"]
    for row in rows:
        if row["version"] is None:
            lines.append(f"| {row['name']} | {row['needs']} is not installed | | | | |")
            continue
        lower, upper = row["ratio_quartiles"]
        cells = (
            row["name"],
            f"{row['ratio']:.3f} [{lower:.3f}, {upper:.3f}]",
            f"{row['ms_per_image']:.2f}",
            f"{row['finish_ms']:.1f}",
            _format(row["peak_mb"], ".0f"),
            _format(row["error"], ".0e"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def arithmetic_table(report: ArithmeticBenchmark) -> str:
    """Return the section on portable arithmetic beside PyTorch's own."""
    environment = report["fingerprint"]
    lines = [
        "## Portable arithmetic beside PyTorch's",
        "",
        f"{markdown(environment['processor'])} ({environment['capability']}), torch "
        f"{environment['versions']['torch']}. Each ratio is to the time of stock PyTorch, which is "
        f"eager and in float32: the median over {report['repeats']} pairs or more that ran one after the other "
        "[lowest, highest]; below 1, the program is faster than stock. Milliseconds are medians of their own, so that "
        "their quotient can differ from the ratio. Each program ran once untimed before. No "
        "dropout.",
        *_network_table(report),
        *_bfloat16_lines(report["bfloat16"], report["networks"]),
        "",
        "### Trainings",
        "",
        f"Images per second of ResNet-18 with SGD at 64 px, {environment['threads']} threads of the same processor: of "
        "a run, from its `history.json`, and of a bare loop of stock PyTorch on one batch in memory.",
        "",
        "| batch | native | portable | portable / native | bare loop | native / bare | portable / bare |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for loop in report["loop"]:
        native, portable, bare = loop["native"], loop["portable"], loop["bare_native"]
        cells = f"{native:.0f} | {portable:.0f} | {portable / native:.2f} | {bare:.0f} | {native / bare:.2f}"
        lines.append(f"| {loop['batch_size']} | {cells} | {portable / bare:.2f} |")
    lines += [
        "",
        "### Convolutions of ResNet-18 beside oneDNN",
        "",
        'Ratio on one thread, and method. "Direct" is the definition; the others compute tiles of 2 x 2, 2 x 4 or '
        "4 x 4 results, or whole maps of 2 x 2, with fewer products.",
        "",
        "| | forward | gradient of the maps | gradient of the weights |",
        "| --- | --- | --- | --- |",
        *_layer_rows(report["layers"]),
    ]
    return "\n".join([*lines, ""])


def _network_table(report: ArithmeticBenchmark) -> list[str]:
    """Return the table of whole networks, a line for each workload and number of threads, and what its columns are."""
    rows, versions = report["networks"], report.get("runtimes", {})
    if not rows:
        return []
    timed = [name for name in CONTENDERS if any(name in row.get("contenders", {}) for row in rows)]
    heads = ["", "threads", "stock, ms", "portable, ms", "portable", *(CONTENDERS[name] for name in timed)]
    notes = {
        "folded": "* Folded: stock with batch norm folded into the convolutions by `torch.nn.utils.fuse_conv_bn_eval`.",
        "plain script": "* Plain, over stock: stock in a process of its own with the defaults of OpenMP and of "
        "the C library, so that the system maps memory again and again. The last column is portable over plain.",
    }
    if "plain script" in timed:
        heads.append("portable / plain")
    lines = [
        "",
        "* Stock: channels_last (c) or contiguous (n) memory for images and weights, the faster one where both were "
        "timed; in inference under `inference_mode`; its allocator tuned as commands of this package do.",
        *(notes[name] for name in timed if name in notes),
        *(
            f"* {CONTENDERS[name]} {f'{version}, in float32' if version else 'is not installed'}."
            for name, version in versions.items()
        ),
        "",
        f"| {' | '.join(heads)} |",
        "|" + " --- |" * len(heads),
    ]
    for row in rows:
        others = row.get("contenders", {})
        cells = [
            row["name"],
            f"{row['threads']}",
            f"{row['native_ms']:.1f} {FORMATS[row.get('memory_format', 'channels_last')]}",
            f"{row['portable_ms']:.1f}",
            f"{row['ratio']:.2f} [{row['lowest']:.2f}, {row['highest']:.2f}]",
            *(_format(others[name]["ratio"] if name in others else None, ".2f") for name in timed),
        ]
        if "plain script" in timed:
            cells.append(_format(row.get("ratio_to_plain"), ".2f"))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _layer_rows(rows: list[LayerRow]) -> list[str]:
    """Return lines for each batch: one for each convolution, with ratio and method of forward pass and gradients."""
    lines = []
    for images, layers in groupby(rows, key=lambda row: row["name"].partition(": ")[0]):
        lines.append(f"| *{images}* | | | |")
        for layer, group in groupby(layers, key=lambda row: row["name"].partition(": ")[2].rpartition(", ")[0]):
            found = {row["name"].rpartition(", ")[2]: f"{row['ratio']:.2f} {row['method']}" for row in group}
            kernels = ("forward", "gradient of the maps", "gradient of the weights")
            lines.append(f"| {layer} | {' | '.join(found.get(kernel, '-') for kernel in kernels)} |")
    return lines


def _bfloat16_lines(rows: list[Bfloat16Row], networks: list[NetworkRow]) -> list[str]:
    """Return the lines on what stock torch gains by bfloat16 for one network; none without rows."""
    if not rows:
        return []
    names = {row["name"] for row in rows}
    spans = zip(_spans(rows), _spans([row for row in networks if row["name"] in names]), strict=True)
    ratios = "; ".join(f"{span} (portable: {portable.partition(' for ')[0]})" for span, portable in spans)
    return [
        "",
        "For comparison, stock PyTorch with bfloat16 autocast takes this part of its float32 time for "
        f"{rows[0]['name'].partition(',')[0]} with these sizes and threads, medians over pairs: {ratios}. "
        "Its products are of bfloat16 numbers, which have 8 significant bits.",
    ]


def _spans(rows: Sequence[RatioRow]) -> list[str]:
    """Return the lowest and highest ratio of training steps, and those of inference."""
    ratios = {
        what: [row["ratio"] for row in rows if row["name"].endswith(what.removeprefix("a "))]
        for what in ("a training step", "inference")
    }
    return [f"{min(each):.2f} to {max(each):.2f} for {what}" for what, each in ratios.items() if each]


def processes_table(report: ProcessesBenchmark) -> str:
    """Return the section on training by several processes."""
    environment = report["fingerprint"]
    lines = [
        "## Several processes",
        "",
        f"{markdown(environment['processor'])}, {report['cores']} cores, torch {environment['versions']['torch']} "
        "with gloo. ResNet-18 with SGD in the training loop, on images in memory; medians over steps, means over "
        "processes. Without messages: the processes side by side, each on its share alone. Memory: the peak of "
        "resident memory.",
        "",
        f"{report['cores']} cores show the cost of messages, not the gain of several machines.",
    ]
    for workload in report["workloads"]:
        lines += [
            "",
            f"### {workload['image_size']} px, {workload['batch_size']} images, {workload['repeats']} steps",
            "",
            "| processes | threads of each | step, ms | without messages, ms | memory of each, MB |",
            "| --- | --- | --- | --- | --- |",
        ]
        for run in workload["runs"]:
            ranks = run["ranks"]
            seconds, alone = (fmean(rank[key] for rank in ranks) for key in ("seconds", "alone"))
            without = f"{1000 * alone:.0f}" if len(ranks) > 1 else "-"
            memory = " ".join(_format(rank["resident_mb"], ".0f") for rank in ranks)
            lines.append(f"| {len(ranks)} | {run['threads']} | {1000 * seconds:.0f} | {without} | {memory} |")
    return "\n".join([*lines, ""])


def traces_table(report: TraceBenchmark) -> str:
    """Return the section on the cost of traces."""
    environment = report["fingerprint"]
    lines = [
        "## Traces",
        "",
        f"{markdown(environment['processor'])} ({environment['capability']}), torch "
        f"{environment['versions']['torch']}: training steps of {report['model']} at {report['image_size']} px with "
        f"{report['batch_size']} images and AdamW, {report['threads']} threads, native arithmetic. Each step is timed "
        "next to a bare one; median [quartiles]. Fastest: the ratio of the fastest steps. Processor: the "
        "ratio of the processor time of all threads, which other processes change less.",
        "",
        f"A step has {report['tensors']:,} traced tensors, each with {report['bytes_of_each']:.0f} bytes in the file.",
        "",
        "| | ratio | fastest | processor | step, ms | bare step, ms | repeats |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in report["rows"]:
        if row["version"] is None:
            lines.append(f"| {row['name']} | {row['needs']} is not installed | | | | | |")
            continue
        lower, upper = row["ratio_quartiles"]
        times = f"{row['ms']:.0f} | {row['bare_ms']:.0f} | {row['repeats']}"
        ratio = f"{row['ratio']:.2f} [{lower:.2f}, {upper:.2f}] | {row['ratio_of_fastest']:.2f}"
        lines.append(f"| {row['name']} | {ratio} | {row['processor_ratio']:.2f} | {times} |")
    return "\n".join([*lines, ""])


def _thousands(words: str) -> str:
    """Write the number that begins the words with commas, as in "50,000 images"."""
    number, _, rest = words.partition(" ")
    return f"{int(number):,} {rest}"


def _format(value: float | None, form: str) -> str:
    """Format a number, or return a dash for None."""
    return "-" if value is None else format(value, form)


INTRODUCTION = (
    "What do feature statistics, portable arithmetic, several processes and traces cost? Measured by `nox -s bench`, "
    "on the machines that each section names; every number is in the JSON files beside this page."
)
# Name of the record -> its section, in the order of the page.
SECTIONS: dict[str, Callable[[Any], str]] = {
    "features": feature_tables,
    "arithmetic": arithmetic_table,
    "processes": processes_table,
    "traces": traces_table,
}

if __name__ == "__main__":
    write_page(Path(sys.argv[1]) if sys.argv[1:] else FOLDER)
