"""The Markdown tables of both benchmarks, from their records."""

import statistics

from in4310repro.bench.records import ArithmeticBenchmark, ContenderRow, FeatureBenchmark


def feature_tables(report: FeatureBenchmark) -> str:
    """The content of features.md."""
    environment, settings = report["fingerprint"], report["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    lines = [
        "# Feature statistics: cost and error",
        "",
        f"{environment['processor']}, {environment['threads']} threads, {environment['device']}, "
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
    """The content of arithmetic.md."""
    environment, settings = report["fingerprint"], report["settings"]
    rows = [*report["images_per_second"].items(), ("portable / native", report["portable_over_native"])]
    lines = [
        "# What portable arithmetic costs",
        "",
        f"Training steps of ResNet-18 at {settings['image_size']} px in batches of {settings['batch_size']} on "
        f"{environment['processor']} ({environment['capability']}), {environment['threads']} threads, "
        f"torch {environment['versions']['torch']}; the modes in turns.",
        "",
        "| | median | lowest | highest |",
        "| --- | --- | --- | --- |",
    ]
    for name, values in rows:
        unit = "" if "/" in name else " images/s"
        digits = 2 if "/" in name else 0
        cells = (statistics.median(values), min(values), max(values))
        lines.append(f"| {name} | " + " | ".join(f"{cell:.{digits}f}{unit}" for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _format(value: float | None, form: str) -> str:
    """A number, or a dash for None."""
    return "-" if value is None else format(value, form)
