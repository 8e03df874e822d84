"""The Markdown tables of the benchmarks, made from their records."""

from statistics import fmean

from benchmarks.records import (
    ArithmeticBenchmark,
    Bfloat16Row,
    ContenderRow,
    FeatureBenchmark,
    PairedRow,
    ProcessesBenchmark,
    TraceBenchmark,
)
from in4310repro.system.text import markdown


def feature_tables(report: FeatureBenchmark) -> str:
    """Return the text of features.md, with the tables of the benchmark of feature statistics."""
    environment, settings = report["fingerprint"], report["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    lines = [
        "# Feature statistics: cost and error",
        "",
        f"{markdown(environment['processor'])}, {environment['threads']} threads, {environment['device']}, "
        f"{environment['numerics']} arithmetic; {versions}. "
        f"Feature statistics on the CPU: {environment.get('feature_kernel')}.",
        f"ResNet-18 at {settings['side']} px, {settings['images']} images in batches of {settings['batch_size']}, "
        f"{settings['repeats']} alternating repeats or more, for {settings['seconds']:g} s; medians, quartiles in "
        "brackets. Ratio: time to the bare forward pass just before or after. Error: worst over modules of covariance "
        "(Frobenius) and 8 largest eigenvalues.",
        f"Loader: {report['loader_ms_per_image']:.2f} ms per image (JPEG to normalized tensor).",
    ]
    for layout, rows in report["layouts"].items():
        lines += ["", f"## {layout}", "", *_contender_table(rows)]
    means = next(iter(report["synthetic_errors"].values()), {})
    names = [f"mean/deviation {mean}" for mean in means]
    lines += ["", "## Errors on 64 synthetic channels", "", f"| | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for name, errors in report["synthetic_errors"].items():
        lines.append(f"| {name} | " + " | ".join(f"{error:.0e}" for error in errors.values()) + " |")
    lines += ["", "## Peak memory of a small network", ""]
    lines += [f"* {name}: {_format(peak, '.1f')} MB" for name, peak in report["memory"].items()]
    return "\n".join(lines) + "\n"


def _contender_table(rows: list[ContenderRow]) -> list[str]:
    lines = [
        "| | ratio | repeats | fastest | ms per image | of it hooks | finish, ms | peak, MB | error |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["version"] is None:
            lines.append(f"| {row['name']} | {row['needs']} is not installed | | | | | | | |")
            continue
        lower, upper = row["ratio_quartiles"]
        cells = (
            row["name"],
            f"{row['ratio']:.3f} [{lower:.3f}, {upper:.3f}]",
            row["repeats"],
            f"{row['ratio_of_fastest']:.3f}",
            f"{row['ms_per_image']:.2f}",
            f"{row['hooks_ms_per_image']:.2f}",
            f"{row['finish_ms']:.1f}",
            _format(row["peak_mb"], ".0f"),
            _format(row["error"], ".0e"),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def arithmetic_table(report: ArithmeticBenchmark) -> str:
    """Return the text of arithmetic.md, with the tables of the benchmark of arithmetic."""
    environment = report["fingerprint"]
    peak = report["gflops_per_thread"]
    lines = [
        "# Portable arithmetic beside torch's own",
        "",
        f"On {markdown(environment['processor'])} ({environment['capability']}), torch "
        f"{environment['versions']['torch']}. Each ratio is portable / native, the median over {report['repeats']} "
        "pairs that ran one after the other, each program after an untimed run of its own, with the lowest and the "
        f"highest. One thread reaches {peak:.0f} GFLOP/s of fused products in a loop; the last column is the share of "
        "that which portable arithmetic reaches, counted by the products in the definition of the convolutions and "
        "the head: methods with fewer products reach more. "
        "Dropout is 0.",
        "",
        "| | threads | native, ms | portable, ms | ratio | share of the peak |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in report["networks"]:
        share = row["gflops"] / peak / row["threads"]
        lines.append(f"{_paired_cells(row)} {share:.0%} |")
    lines += [
        *_bfloat16_lines(report["bfloat16"]),
        "",
        "## Trainings",
        "",
        "Images per second of a run with SGD at 64 px, as its `history.json` says, and of a bare loop of stock torch "
        "on one batch in memory.",
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
        "## Convolutions of ResNet-18 beside oneDNN",
        "",
        "Method of portable arithmetic: direct is the definition; the others take fewer products, for tiles of 2 x 2, "
        "2 x 4 or 4 x 4 results, or for whole maps of 2 x 2.",
        "",
        "| | threads | native, ms | portable, ms | ratio | method |",
        "| --- | --- | --- | --- | --- | --- |",
        *(f"{_paired_cells(row)} {row['method']} |" for row in report["layers"]),
    ]
    return "\n".join([*lines, ""])


def _bfloat16_lines(rows: list[Bfloat16Row]) -> list[str]:
    """Return the lines that say what stock torch gains by bfloat16 for one network; none without rows."""
    ratios = {
        what: [row["ratio"] for row in rows if row["name"].endswith(what)] for what in ("training step", "inference")
    }
    spans = [f"{min(each):.2f} to {max(each):.2f} for {what}" for what, each in ratios.items() if each]
    if not spans:
        return []
    return [
        "",
        "For comparison, stock PyTorch with bfloat16 autocast takes this part of its float32 time for "
        f"{rows[0]['name'].partition(',')[0]} with these sizes and threads: {', '.join(spans)} (each the median over "
        "pairs). Those are other numbers, of 8 bits precision.",
    ]


def _paired_cells(row: PairedRow) -> str:
    times = f"{row['native_ms']:.2f} | {row['portable_ms']:.2f}"
    ratio = f"{row['ratio']:.2f} [{row['lowest']:.2f}, {row['highest']:.2f}]"
    return f"| {row['name']} | {row['threads']} | {times} | {ratio} |"


def processes_table(report: ProcessesBenchmark) -> str:
    """Return the text of processes.md, with the tables of the benchmark of training by several processes."""
    environment = report["fingerprint"]
    lines = [
        "# Several processes: cost",
        "",
        f"On {markdown(environment['processor'])}, {report['cores']} cores, torch {environment['versions']['torch']} "
        "with gloo. ResNet-18 with SGD in the training loop, on images in memory; medians over steps, means over "
        "processes. Without messages: the processes side by side, each on its share alone. Memory: resident, at its "
        "highest.",
        "",
        f"{report['cores']} cores show what messages cost. They do not show what several machines gain, and with more "
        "processes than cores a process also waits for a core.",
    ]
    for workload in report["workloads"]:
        lines += [
            "",
            f"## {workload['image_size']} px, {workload['batch_size']} images, {workload['repeats']} steps",
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
    """Return the text of traces.md, with the table of the benchmark of traces."""
    environment = report["fingerprint"]
    lines = [
        "# Traces: cost",
        "",
        f"On {markdown(environment['processor'])} ({environment['capability']}), torch "
        f"{environment['versions']['torch']}: training steps of {report['model']} at {report['image_size']} px with "
        f"{report['batch_size']} images and AdamW, {report['threads']} threads, native arithmetic. Each step is timed "
        "next to a bare one; medians, quartiles in brackets. Fastest: the ratio of the fastest steps. Processor: the "
        "ratio of the processor time of all threads, which other processes move less.",
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


def _format(value: float | None, form: str) -> str:
    """Format a number, or return a dash for None."""
    return "-" if value is None else format(value, form)
