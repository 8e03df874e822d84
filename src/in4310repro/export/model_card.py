"""Export as a model card of Hugging Face: `README.md` with metrics in its head, intervals, limits, how to verify."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from in4310repro.export import facts
from in4310repro.export.table import Extras
from in4310repro.metrics import PER_CLASS, SCALARS
from in4310repro.report import class_exhibits, page, uncertainty, verdict
from in4310repro.runs.finished import FinishedRun, advise
from in4310repro.system.text import cells, code, markdown, verbatim
from in4310repro.verification.checks import Verification

FILE = "README.md"
BETWEEN = "\n\n"  # paragraphs
TASK = "image-classification"
# Names of metrics on the hub; a metric that is not here keeps its name.
ON_HUB = {"macro_f1": "f1", "mean_class_accuracy": "balanced_accuracy"}


def contents(run: FinishedRun, extras: Extras) -> dict[str, bytes]:
    """Return the card, to be uploaded beside the file of weights that it names.

    Its intervals are those of the report.
    """
    numbers, how = class_exhibits.test_exhibit(run).numbers, run.config.preprocessing
    preprocessing = markdown(
        f"Images are cropped to their middle, a square of {how.crop_ratio:g} times their short side, resized to "
        f"{how.size} pixels ({how.interpolation}), divided by 255, and normalized by mean "
        f"{', '.join(map(str, how.mean))} and standard deviation {', '.join(map(str, how.std))} of red, green and blue."
    )
    sections = {
        "Results": [*_results(run, numbers), *verdict.describe_selection_and_test(run)],
        "Training": [f"```\n{verbatim(page.make_record(run)['command'])}\n```", preprocessing],
        "Limits": [_items(_limits(run))],
        "How to verify": [*_verify(run), _verification(extras)],
    }
    body = "".join(f"\n## {heading}\n\n{BETWEEN.join(parts)}\n" for heading, parts in sections.items())
    unseen: Mapping[str, Any] | None = run.metrics.get("unseen")
    values, part = (unseen, "unseen") if unseen else (numbers["ours"], "test")
    metrics = [
        {"type": ON_HUB.get(name, name), "name": each.label, "value": values[name]}
        for name, each in SCALARS.items()
        if name in values
    ]
    dataset = {"type": facts.images_name(run), "name": facts.images_name(run), "split": part}
    result = {"task": {"type": TASK, "name": "Image classification"}, "dataset": dataset, "metrics": metrics}
    described = {
        "pipeline_tag": TASK,
        "tags": [TASK, facts.PACKAGE, "reproducibility"],
        "metrics": [each["type"] for each in metrics],
        "model-index": [{"name": facts.title(run), "results": [result]}],
    }
    head = yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=math.inf)
    return {FILE: f"---\n{head}---\n\n# {markdown(facts.title(run))}\n{body}".encode()}


def _results(run: FinishedRun, numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield two tables: the metrics that are one number, and those of each class, with their 95 % intervals.

    Where the run was trained on the test images, a table of the metrics on images that it never used comes first.
    """
    unseen: Mapping[str, Any] | None = run.metrics.get("unseen")
    if unseen:
        yield f"On {unseen['images']} images that the run never used:"
        values = [[each.label, f"{unseen[name]:.4f}"] for name, each in SCALARS.items() if name in unseen]
        yield _table(["metric", "value"], values)
        yield "On the test images, on which it was trained:"
    ours, intervals = numbers["ours"], numbers["intervals"]
    scalars = [
        [each.label, f"{ours[name]:.4f}", _range(intervals.get(name))] for name, each in SCALARS.items() if name in ours
    ]
    yield _table(["metric", "value", "95 %"], scalars)
    heading = ["class", "images", *(words for each in PER_CLASS.values() for words in (each.label, "95 %"))]
    columns = [numbers["classes"], numbers["images"]]
    for name in PER_CLASS:
        ends = intervals.get(name) or [None] * len(numbers["classes"])
        columns += [[f"{share:.4f}" for share in ours[name]], map(_range, ends)]
    yield _table(heading, [*zip(*columns, strict=True)])
    yield f"Intervals are {uncertainty.describe()}"


def _range(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [cells(heading), " | ".join("---" for _ in heading), *map(cells, rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _items(sentences: Iterable[str]) -> str:
    return "\n".join(f"* {markdown(sentence)}" for sentence in sentences)


def _limits(run: FinishedRun) -> Iterator[str]:
    classes = ", ".join(run.classes)
    yield f"The network knows {len(run.classes)} classes ({classes}) and gives every image to one of them."
    yield (
        f"It was trained on {sum(run.class_sizes('training'))} images ({facts.images_name(run)}) and tested on "
        f"{sum(run.class_sizes('test'))}; the numbers hold for such images."
    )
    yield f"The numbers are of one training, of seed {run.config.seed}; another seed makes another network."
    if not run.config.protocol.is_corrected:
        yield f"The protocol deviates from a correct one: {run.config.protocol.label}."
    if advice := advise(run):
        yield f"Advice at the end of the training: {advice}."
    yield "The run records no licence of its images; without one, the card states none for the weights."


def _verify(run: FinishedRun) -> list[str]:
    weights = run.best_weights
    first, second = facts.verify_commands(run)
    fingerprint, versions = run.fingerprint, run.fingerprint["versions"]
    listed = Verification.expected(run).grouped_claims
    claimed = _items(f"{'; '.join(each)} ({shown_by})" for shown_by, each in listed.items())
    return [
        f"The weights are {code(weights)} of the run folder, sha256 `{run.files.manifest()[weights]}`. With the run "
        "folder,",
        f"```\n{verbatim(first)}\n```",
        "computes its results again from weights, images and seed. Where epochs were kept,",
        f"```\n{verbatim(second)}\n```",
        f"also trains epochs again. The run was made by {facts.PACKAGE} {versions[facts.PACKAGE]} with torch "
        f"{versions['torch']} in {fingerprint['numerics']} arithmetic, numeric class "
        f"`{fingerprint['numeric_class']}`; its chain of hashes ends with `{run.training_sha256}`.",
        f"The first command leaves as claims:\n\n{claimed}",
    ]


def _verification(extras: Extras) -> str:
    if extras.verification is None:
        return markdown(f"Left out: {facts.LEFT_OUT}.")
    result = facts.verification(extras)["verification"]
    # A document of an earlier version does not name the setting.
    replays = result.get("settings_trained_again", {"": result})
    listed = [
        f"epochs {', '.join(map(str, each['epochs_trained_again']))}{markdown(f' of {name}') if name else ''}"
        for name, each in replays.items()
        if each.get("epochs_trained_again")
    ]
    replayed = f"\n\nA replay trained again: {'; '.join(listed)}." if listed else ""
    how, again = markdown(result["agreement"]), _items(result["computed_again"])
    return f"A result of the first command was given to this card. It computed again, {how}:\n\n{again}{replayed}"
