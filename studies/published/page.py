"""Page on the published numbers: an audit of the published values, and an experiment on how they arose.

The hypothesis is stated in `deviations`. Its consequences are compared with the published and the measured
values.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import jinja2

from in4310repro.audit.examine import audit
from in4310repro.audit.verdicts import Audit
from in4310repro.metrics import ClassMetrics, Interval, mean_interval, wilson
from in4310repro.report import page
from in4310repro.report.exhibit import original
from in4310repro.report.figures import to_png
from in4310repro.report.markup import environment
from in4310repro.report.verdict import describe_differences
from in4310repro.runs import config as configuration
from in4310repro.runs.deviations import CORRECTED, HYPOTHESIS, PUBLISHED_BATCH_SIZE
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import json_bytes, read_json, write_file
from in4310repro.system.text import publishable_place, shell_command, shell_word
from studies.ablation import AblationReport, by_chance, change as describe_change, command_of, read_report
from studies.published import evidence, figures
from studies.published.evidence import Consequence, consequences, format_span
from studies.published.numbers import RunSummary, format_as_toml, non_positive_percent, refuse_incomparable, summarize

PRINTED = "published/original.toml"  # the printed values, as a file to audit


class PublishedNumbers(TypedDict):
    """Content of `published/numbers.json`: all numbers of the page on the published report."""

    classes: list[str]
    printed: dict[str, ClassMetrics]
    corrected: RunSummary
    published: list[RunSummary]
    non_positive_percent: dict[str, dict[str, float]]
    consequences: list[Consequence]
    runs: dict[str, dict[str, Any]]  # the corrected run first


def write(
    corrected: FinishedRun, published: Sequence[FinishedRun], ablations: Sequence[Path], reports: Path
) -> list[Path]:
    """Write the page on the published numbers, `published.md`, with its figures and JSON files.

    The published values are also written as a TOML file, which the command `audit` can read.

    Args:
        corrected: a finished run of the corrected protocol, with measured feature maps.
        published: finished runs of the protocol by which the published values may have been measured. These runs
            differ from `corrected` only in protocol and seed.
        ablations: the `ablation.json` files to include.
        reports: folder of the page.

    Raises:
        ValueError: a run has the wrong protocol, or the runs are not comparable.
    """
    refuse_incomparable(corrected, published)
    records = {_name(run): page.make_record(run) for run in (corrected, *published)}
    if len(records) <= len(published):
        names = ", ".join(_name(run) for run in (corrected, *published))
        raise ValueError(f"the runs would be published as {names}; expected a different folder name for each")
    printed = write_file(reports / PRINTED, format_as_toml(original()).encode())
    printed_audit = audit(printed)
    summaries = [summarize(run) for run in published]
    numbers = PublishedNumbers(
        classes=original()["classes"],
        printed=original()["settings"],
        corrected=summarize(corrected),
        published=summaries,
        non_positive_percent=non_positive_percent(corrected),
        consequences=consequences(summarize(corrected), summaries),
        runs=records,
    )
    reported_ablations: list[AblationReport] = [read_report(file) for file in ablations]
    return [printed, *write_page(numbers, printed_audit, reported_ablations, reports)]


def write_evidence(
    corrected: FinishedRun, published: Sequence[FinishedRun], ablations: Sequence[Path], reports: Path
) -> list[Path]:
    """Add the results of runs that start from ImageNet weights to the page on the published numbers.

    The results are also written to `published/imagenet.json`. The arguments are those of `write`.

    Raises:
        ValueError: the page does not exist yet, the runs start from random weights, or the runs are not
            comparable.
    """
    file = reports / "published" / "numbers.json"
    if not file.is_file():
        raise ValueError(
            f"{file} does not exist: write it first, of the runs from scratch, by `nox -s evidence -- published`"
        )
    printed = audit(reports / PRINTED)
    found = evidence.make_evidence(corrected, published, printed)
    written = write_file(reports / evidence.FILE, json_bytes(found))
    reported = [read_report(each) for each in ablations]
    return [written, *write_page(read_json(file), printed, reported, reports)]


def write_page(
    numbers: PublishedNumbers,
    printed_audit: Audit,
    ablations: Sequence[AblationReport],
    reports: Path,
    *,
    places: Sequence[str] = (),
) -> list[Path]:
    """Write the page, its figures and its JSON file from the given numbers; return the paths of the files.

    `places` are the paths of the ablations' files from the page, to which it links.
    """
    rows = _accuracy_rows(numbers)
    drawn = {
        "accuracy": figures.draw_accuracies(rows),
        "settings": figures.draw_settings(numbers),
        "non_positive": figures.draw_shares(numbers["non_positive_percent"]),
    }
    files = {f"published/{name}.png": to_png(figure) for name, figure in drawn.items()}
    files["published/numbers.json"] = json_bytes({**numbers, "accuracy_intervals": rows["intervals"]})
    context = _context(numbers, rows, ablations, reports) | {"audit": printed_audit}
    for table, place in zip(context["ablations"], places, strict=False):
        table["file"] = place
    files["published.md"] = _render(context).encode()
    return [write_file(reports / name, content) for name, content in files.items()]


def _render(context: Mapping[str, object]) -> str:
    beside = jinja2.FileSystemLoader(Path(__file__).parent)
    return environment(html=False).overlay(loader=beside).get_template("page.md.jinja").render(context)


def _name(run: FinishedRun) -> str:
    """Return the path of the run's folder, or only its last component if the path would reveal private names."""
    return publishable_place(run.folder.as_posix())


def _accuracy_rows(numbers: PublishedNumbers) -> figures.AccuracyRows:
    """Return the numbers of the main figure: class accuracies and their mean, by protocol and image set."""
    published, records = numbers["published"], list(numbers["runs"].values())[1:]
    # The images that the shared split never reads are those that the corrected protocol trains and validates on.
    unseen = [_sizes(record["metrics"]["supports"], "training", "validation") for record in records]
    tested = _sizes({"test": published[0]["supports"]}, "test")
    measured: dict[str, list[tuple[ClassMetrics, Sequence[int]]]] = {
        "as printed": [(numbers["printed"]["test"], tested)],
        "supposed protocol, seen images": [(run["test"], tested) for run in published],
        "the same networks, unseen images": [
            (run["unseen"], sizes) for run, sizes in zip(published, unseen, strict=True)
        ],
        "corrected protocol": [(numbers["corrected"]["test"], tested)],
    }
    rows = {
        way: [[*values["class_accuracy"], values["mean_class_accuracy"]] for values, _ in runs]
        for way, runs in measured.items()
    }
    return {
        "classes": numbers["classes"],
        "rows": rows,
        "intervals": {way: [_intervals(*run) for run in runs] for way, runs in measured.items()},
        "legend": {way: f"{way}: mean {format_span([row[-1] for row in listed])}" for way, listed in rows.items()},
    }


def _sizes(supports: Mapping[str, Mapping[str, int]], *parts: str) -> list[int]:
    """Return the number of images of each class, summed over the given parts of the split."""
    return [sum(counts) for counts in zip(*(supports[part].values() for part in parts), strict=True)]


def _intervals(values: ClassMetrics, sizes: Sequence[int]) -> list[Interval]:
    """Return the 95 % interval of each class accuracy and of their mean."""
    correct = [round(share * size) for share, size in zip(values["class_accuracy"], sizes, strict=True)]
    return [*map(wilson, correct, sizes), mean_interval(correct, sizes)]


def _context(
    numbers: PublishedNumbers, rows: figures.AccuracyRows, ablations: Sequence[AblationReport], reports: Path
) -> dict[str, Any]:
    names = [*numbers["classes"], "mean"]
    runs = numbers["runs"]
    corrected = next(iter(runs.values()))
    config = configuration.from_json(corrected["config"], "the corrected run")
    conditions = describe_differences(config, corrected["metrics"])
    published = numbers["published"]
    found = evidence.read(reports)
    return {
        "numbers": numbers,
        "consequences": numbers["consequences"],
        "supported": numbers["consequences"][0]["holds"],
        "span": format_span,
        "seen": [run["test"]["mean_class_accuracy"] for run in published],
        "unseen": [run["unseen"]["mean_class_accuracy"] for run in published],
        "unseen_images": published[0]["unseen"]["images"],
        "accuracy_rows": [
            (name, *(format_span([row[place] for row in listed]) for listed in rows["rows"].values()))
            for place, name in enumerate(names)
        ],
        "ways": list(rows["rows"]),
        "setting_rows": _setting_rows(numbers),
        "conditions": {subject: sentence for subject, sentence in conditions.items() if subject != "Protocol"},
        "ablations": [_ablation_table(report) for report in ablations],
        "meaning": {deviation: deviation.meaning for deviation in HYPOTHESIS},
        "batch": PUBLISHED_BATCH_SIZE,
        "commands": [_command(record, name) for name, record in runs.items()],
        "page_command": shell_command(["nox", "-s", "evidence", "--", "published", *runs]),
        "first": _first_setting(numbers, found),
        "run_config": config,
        "run_format": corrected["config"].get("format", 1),
        "standard_error": _standard_error(numbers["corrected"]),
        "fingerprint": corrected["fingerprint"],
        "imagenet": found,
        "imagenet_commands": _imagenet_commands(found) if found else [],
        "likelihood": evidence.format_probabilities,
        "audit_command": shell_command(["in4310repro", "audit", f"{publishable_place(reports.as_posix())}/{PRINTED}"]),
    }


def _standard_error(run: RunSummary) -> float:
    """Return the standard error of a run's mean class accuracy due to the random choice of test images."""
    accuracies = run["test"]["class_accuracy"]
    variances = [p * (1 - p) / n for p, n in zip(accuracies, run["supports"].values(), strict=True)]
    return math.sqrt(sum(variances)) / len(variances)


def _imagenet_commands(found: evidence.Evidence) -> list[str]:
    runs = found["runs"]
    page_command = shell_command(["nox", "-s", "evidence", "--", "published", *runs, "--from-imagenet"])
    return [*(_command(record, name) for name, record in runs.items()), page_command]


def _command(record: Mapping[str, Any], name: str) -> str:
    # Older runs recorded a nox session, whose options follow `--`.
    before, separator, options = record["command"].partition(" -- ")
    if not separator:
        words = shlex.split(before.partition(" && ")[0])[2:]
        options = shell_command(words[2:] if words[0] == "--out" else words)
    return f"in4310repro train {options} --out {shell_word(name)}"


def _first_setting(numbers: PublishedNumbers, found: evidence.Evidence | None) -> dict[str, str]:
    """Return the name and mean class accuracies of the first training setting, for the page's template.

    `found` has the results of runs that start from ImageNet weights; None if there are no such runs.
    """
    name = next(iter(numbers["corrected"]["settings"]))

    def accuracies(runs: Sequence[RunSummary]) -> str:
        return format_span([run["settings"][name]["mean_class_accuracy"] for run in runs])

    from_imagenet = accuracies(found["published"]) if found else ""
    return {"name": name, "seen": accuracies(numbers["published"]), "from_imagenet": from_imagenet}


def _setting_rows(numbers: PublishedNumbers) -> list[tuple[str, ...]]:
    """Return a table row for each training setting.

    A row gives three values of each metric: the printed one, that of the `published` runs, and that of the
    `corrected` run.
    """
    rows: list[tuple[str, ...]] = []
    for optimizer, name in zip(original()["optimizers"], numbers["corrected"]["settings"], strict=True):
        printed, corrected = numbers["printed"][optimizer], numbers["corrected"]["settings"][name]
        published = [run["settings"][name] for run in numbers["published"]]
        row = [name]
        for metric in ("mean_class_accuracy", "mean_average_precision"):
            seen = format_span([best[metric] for best in published])
            row += [f"{printed[metric]:.4f}", seen, f"{corrected[metric]:.4f}"]
        rows.append(tuple(row))
    return rows


def _ablation_table(report: AblationReport) -> dict[str, Any]:
    """Return the template values of an ablation, with a table row for each protocol except `corrected`.

    The protocols are single deviations from the corrected protocol, and `published` with all deviations.
    """
    base = report["numbers"][CORRECTED]
    config = configuration.from_json(report["config"], "an ablation")
    return {
        "data": "The photographs" if config.data else "Drawn scenes",
        "config": config,
        "command": command_of(report),
        "by_chance": by_chance(report),
        "file": "",
        "corrected": {name: base[name] for name in ("test accuracy", "test mAP")},
        "rows": [(name, *_changes(base, numbers)) for name, numbers in report["numbers"].items() if name != CORRECTED],
    }


def _changes(base: Mapping[str, float | None], numbers: Mapping[str, float | None]) -> tuple[str, ...]:
    unseen = numbers["accuracy on unseen images"]
    pairs = {name: (before, after) for name, before in base.items() if before is not None and (after := numbers[name])}
    shares = [after - before for name, (before, after) in pairs.items() if name.startswith("non-positive share")]
    ratios = [after / before for name, (before, after) in pairs.items() if name.startswith("largest eigenvalue")]
    share = 100 * sum(shares) / len(shares)
    return (
        describe_change(base["test accuracy"], numbers["test accuracy"]),
        describe_change(base["test mAP"], numbers["test mAP"]),
        "-" if unseen is None else f"{unseen:.4f}",
        "." if share == 0 else f"{share:+.2f}",
        "." if set(ratios) == {1.0} else f"{min(ratios):.3g} to {max(ratios):.3g}",
    )
