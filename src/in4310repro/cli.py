"""The command line: names a preset and paths, calls one function, prints what it wrote.

torch is imported by the commands that need it, after the arithmetic is set, and never for --help.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from in4310repro import presets
from in4310repro.numerics import Numerics, activate
from in4310repro.progress import Progress

if TYPE_CHECKING:
    from in4310repro.runs import Run

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
data_app = typer.Typer(no_args_is_help=True, help="Image folders: check one, draw the embedded scenes.")
app.add_typer(data_app, name="data")

DIFFERENCE, WRONG_INPUT, INTERRUPTED = 1, 2, 130
# Typer brings its own copy of click, or the click package, by version; this is the base class of either.
USAGE_ERROR: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


class Overrides:
    """Options that every command which trains or reports shares; each is a field of `presets.Config`."""

    data: Annotated[str | None, typer.Option(help="Folder of class folders; default: the embedded scenes.")]
    scenes: Annotated[int | None, typer.Option(help="Embedded scenes of each class.")]
    weights: Annotated[str | None, typer.Option(help="none, imagenet or a .safetensors or .pth file.")]
    model: Annotated[str | None, typer.Option(help=", ".join(presets.MODELS))]
    image_size: Annotated[int | None, typer.Option(help="Side of the square input, pixels.")]
    batch_size: Annotated[int | None, typer.Option(help="Images a training step.")]
    epochs: Annotated[int | None, typer.Option(help="Epochs of each setting.")]
    split: Annotated[str | None, typer.Option(help="training/validation/test as counts or shares.")]
    seed: Annotated[int | None, typer.Option(help="Of split, weights, order and augmentation.")]
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")]
    numerics: Annotated[str | None, typer.Option(help="auto, native or portable.")]
    precision: Annotated[str | None, typer.Option(help="fast or exact feature statistics.")]
    protocol: Annotated[str | None, typer.Option(help="corrected, published, or departures joined by commas.")]
    imagenet: Annotated[str | None, typer.Option(help="Folder of ImageNet images to compare with.")]
    cifar10: Annotated[str | None, typer.Option(help="Folder of CIFAR-10 images to compare with.")]


def with_overrides(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the shared options; it receives those that were set as its last argument, a dictionary."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[:-1]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in inspect.get_annotations(Overrides, eval_str=True).items()
    ]

    def call(**values: Any) -> None:
        overrides = {option.name: values.pop(option.name) for option in shared}
        command(**values, overrides={name: value for name, value in overrides.items() if value is not None})

    call.__doc__, call.__name__ = command.__doc__, command.__name__
    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    call.__signature__ = inspect.Signature([*keyword_only, *shared])  # type: ignore[attr-defined]
    return call


Preset = Annotated[str, typer.Option(help=f"Settings to start from: {', '.join(presets.PRESETS)}.")]
ConfigFile = Annotated[Path | None, typer.Option(help="TOML file of settings that replace the preset's.")]
Out = Annotated[Path | None, typer.Option(help="The run folder; default: runs/PRESET.")]
RunFolder = Annotated[Path, typer.Argument(help="A run folder, such as runs/demo.")]
Data = Annotated[str | None, typer.Option(help="Where the run's images are now, if they moved.")]


@app.command()
@with_overrides
def train(
    preset: Preset = "demo",
    config: ConfigFile = None,
    out: Out = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was cut off.")] = False,
    overrides: Any = None,
) -> None:
    """Train three settings, select on validation, score the test set once."""
    chosen = presets.configure(preset, config, overrides)
    numerics = _activate(chosen.numerics, chosen.device)
    from in4310repro import experiment

    run = experiment.train(chosen, numerics, out or Path("runs") / preset, _progress(), resume=resume)
    _say_result(run)


@app.command()
@with_overrides
def report(
    preset: Preset = "demo",
    config: ConfigFile = None,
    out: Out = None,
    reports: Annotated[Path, typer.Option(help="Where reports/PRESET goes.")] = Path("reports"),
    photographs: Annotated[bool, typer.Option(help="Draw the images of figure 7, else only list them.")] = True,
    resume: Annotated[
        bool, typer.Option("--resume", help="No effect: train and report take the same options.")
    ] = False,
    overrides: Any = None,
) -> None:
    """Measure the feature maps of a run and write its report: Markdown, HTML, figures and their numbers."""
    del resume
    run, recorded = _open(out or Path("runs") / preset)
    presets.configure(preset, config, overrides)
    overrides = (presets.read_file(config) if config else {}) | overrides
    free = ("data", "device", "numerics", "precision", "imagenet", "cifar10")
    apart = presets.differences(recorded, {name: value for name, value in overrides.items() if name not in free})
    if apart:
        raise ValueError(
            f"{run.folder} was trained with other settings: {'; '.join(apart)}; train again or leave them out"
        )
    changes = {name: overrides[name] for name in ("precision", "imagenet", "cifar10") if name in overrides}
    numerics = _activate_as(run, overrides.get("numerics"), overrides.get("device"))
    from in4310repro import feature_maps
    from in4310repro.report import page

    feature_maps.measure(run, replace(recorded, **changes), numerics, overrides.get("data"), _progress())
    for file in page.write(run, reports / recorded.preset, overrides.get("data"), photographs=photographs):
        _print(f"wrote {file}")


@app.command()
def verify(run: RunFolder, data: Data = None, numerics: Annotated[str | None, typer.Option()] = None) -> None:
    """Predict a run's test set again and compare with its saved scores; exit code 1 on a difference."""
    from in4310repro.runs import Run

    opened = Run.open(run)
    found = [
        f"{run / name} is missing or has other bytes than were written"
        for name in opened.changed_files()
        if name in ("manifest.json", "config.json", "fingerprint.json")
    ]
    if not found:
        active = _activate_as(opened, numerics, None)
        from in4310repro import evaluation

        found = evaluation.verify(opened, active, data, _progress())
    for difference in found:
        _print(f"difference: {difference}")
    if found:
        raise typer.Exit(DIFFERENCE)
    same = opened.read_json("fingerprint.json")["numeric_class"] == active.numeric_class
    tier = "bit for bit" if same else f"within {evaluation.SCORE_TOLERANCE:g}, in another numeric class"
    _print(f"{run}: every test score was predicted again, {tier}; no file of the run has changed")


@app.command()
def compare(one: RunFolder, other: RunFolder) -> None:
    """Say whether two runs are equal to the bit and, if not, where they part; exit code 1 if not."""
    from in4310repro.compare import compare

    found = compare(_open(one)[0], _open(other)[0])
    for difference in found:
        _print(difference)
    if found:
        raise typer.Exit(DIFFERENCE)
    _print(f"{one} and {other} are equal to the bit: split, losses, weights, buffers and scores")


@app.command()
def evaluate(
    run: RunFolder,
    data: Annotated[str | None, typer.Option(help="Folder of class folders; default: the run's test set.")] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file for the numbers.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    numerics: Annotated[str | None, typer.Option(help="auto, native or portable; default: the run's.")] = None,
) -> None:
    """Measure a run's selected network on its test set, or on every image of another folder."""
    opened, _ = _open(run)
    active = _activate_as(opened, numerics, device)
    from in4310repro import experiment
    from in4310repro.runs import json_bytes, write_file

    measured = experiment.evaluate(opened, active, data, _progress())
    _print(json.dumps(measured, indent=1))
    if out:
        write_file(out, json_bytes(measured))


@app.command()
def features(
    data: Annotated[str, typer.Option(help="Folder of images, in any layout.")],
    out: Annotated[Path, typer.Option(help="FILE.json; FILE.csv and FILE.png stand beside it.")],
    model: Annotated[str, typer.Option(help=", ".join(presets.MODELS))] = "resnet18",
    weights: Annotated[str, typer.Option(help="none, imagenet or a .safetensors or .pth file.")] = "imagenet",
    modules: Annotated[str, typer.Option(help="NAME,NAME or leaves or /PATTERN/.")] = ",".join(presets.FIVE_MODULES),
    samples: Annotated[str, typer.Option(help="images, positions, flat or none (counts alone).")] = "images",
    precision: Annotated[str, typer.Option(help="fast or exact.")] = "fast",
    calls: Annotated[str, typer.Option(help="pool or keep the calls of a module that runs several times.")] = "pool",
    images: Annotated[int, typer.Option(help="Images in the sample; all, if there are fewer.")] = 200,
    image_size: Annotated[int, typer.Option(help="Side, pixels.", min=32)] = 224,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    eigenvalues: Annotated[int, typer.Option(help="How many are written, the largest first.", min=1)] = 15,
    seed: Annotated[int, typer.Option(help="Of the sample and of weights none.", min=0)] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    numerics: Annotated[str, typer.Option(help="auto, native or portable.")] = "native",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a measurement that was cut off.")] = False,
) -> None:
    """Statistics of feature maps over a folder of images, on one process or under torchrun."""
    active = _activate(numerics, device)
    from in4310repro.features.folder import Request, finish, measure, to_csv
    from in4310repro.features.kernel import described
    from in4310repro.features.part import beside
    from in4310repro.numerics import fingerprint
    from in4310repro.report import figures
    from in4310repro.runs import json_bytes, write_file

    for name, value, valid in (
        ("samples", samples, ("images", "positions", "flat", "none")),
        ("precision", precision, presets.CHOICES["precision"]),
        ("calls", calls, ("pool", "keep")),
    ):
        if value not in valid:
            raise ValueError(f"no {name} {value!r}; valid are {', '.join(valid)}")
    request = Request(
        data=data,
        model=model,
        weights=weights,
        modules=modules,
        samples=None if samples == "none" else samples,  # type: ignore[arg-type]
        precision=precision,  # type: ignore[arg-type]
        calls=calls,  # type: ignore[arg-type]
        images=images,
        image_size=image_size,
        batch_size=batch_size,
        eigenvalues=eigenvalues,
        seed=seed,
    )
    found = measure(request, active.device, _progress(), out, active.numeric_class, resume=resume)
    if found is None:
        return
    content = {
        ".json": json_bytes(found | {"fingerprint": fingerprint(active) | {"feature_kernel": described()}}),
        ".csv": to_csv(found).encode(),
        ".png": figures.png(figures.features(found["modules"])),
    }
    for suffix, written in content.items():
        _print(f"wrote {write_file(beside(out, suffix), written)}")
    finish(out)


@app.command()
def audit(
    file: Annotated[Path, typer.Argument(help="A report as Markdown or text, or its values as strings in TOML.")],
    images: Annotated[int, typer.Option(help="Images of a set, if the report does not say.", min=1)] = 3000,
    out: Annotated[Path | None, typer.Option(help="JSON file for the findings.")] = None,
) -> None:
    """Take printed numbers apart: the counts behind them, whether they agree, what is odd; exit code 1 if not."""
    from in4310repro.audit import examine, page

    found = examine.audit(file, images=images)
    _say_findings(page.render(found), found.to_json(), out, wrong=bool(found.inconsistencies))


@app.command()
def bench(
    out: Annotated[Path, typer.Option(help="Where the tables go.")] = Path("reports/bench"),
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "cpu",
    repeats: Annotated[int, typer.Option(help="Alternating repeats, at least.", min=1)] = 5,
) -> None:
    """Time feature statistics against installed peers, with the error beside each, and portable arithmetic."""
    active = _activate("native", device)
    from in4310repro.bench import arithmetic
    from in4310repro.bench.report import benchmark

    written = benchmark(out, active, repeats, progress=_progress())
    if active.device == "cpu":
        written += arithmetic.benchmark(out, progress=_progress())
    for file in written:
        _print(f"wrote {file}")


@app.command()
@with_overrides
def ablation(
    preset: Preset = "demo",
    config: ConfigFile = None,
    out: Annotated[Path, typer.Option(help="Where the tables go.")] = Path("reports/ablation"),
    runs: Annotated[Path, typer.Option(help="Where the run folders go, named after protocols.")] = Path(
        "runs/ablation"
    ),
    departures: Annotated[str | None, typer.Option(help="Names joined by commas; default: each, then all.")] = None,
    overrides: Any = None,
) -> None:
    """Turn on one departure from the assignment at a time and print what it does to each number."""
    chosen = presets.configure(preset, config, overrides)
    numerics = _activate(chosen.numerics, chosen.device)
    from in4310repro.ablation import EACH_THEN_ALL, ablation

    asked = tuple(departures.split(",")) if departures else EACH_THEN_ALL
    for file in ablation(chosen, numerics, runs, out, _progress(), departures=asked):
        if file.suffix == ".md":
            _print(file.read_text())
        _print(f"wrote {file}")


@app.command()
def published(
    corrected: RunFolder,
    published: Annotated[list[Path], typer.Argument(help="Runs of --protocol published, a seed each.")],
    ablation: Annotated[list[Path] | None, typer.Option(help="An ablation.json; may be given several times.")] = None,
    reports: Annotated[Path, typer.Option(help="Where published.md goes.")] = Path("reports"),
) -> None:
    """Hold the published protocol against the corrected one and against what is printed, on one page."""
    from in4310repro.report import published as pages

    runs = [_open(folder)[0] for folder in published]
    for file in pages.write(_open(corrected)[0], runs, ablation or [], reports):
        _print(f"wrote {file}")


@app.command()
def fingerprint(
    numerics: Annotated[str, typer.Option(help="auto, native or portable.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Print all that could explain another result: libraries, processor, arithmetic, source."""
    from in4310repro.numerics import fingerprint

    found = fingerprint(_activate(numerics, device))
    from in4310repro.features.kernel import described

    _print(json.dumps(found | {"feature_kernel": described()}, indent=1))


@data_app.command()
def scenes(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    images: Annotated[int, typer.Option(help="Images of each class.", min=1)] = 100,
    image_size: Annotated[int, typer.Option(help="Side, pixels.", min=16)] = 64,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Draw the embedded scenes into class folders."""
    from in4310repro.data.embedded import write_scenes

    write_scenes(folder, images, image_size, seed, _progress())
    _print(f"wrote {folder}")


@data_app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="A folder of class folders.")],
    split: Annotated[Path | None, typer.Option(help="A run's split.csv: look for leaks between its parts.")] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file for all findings.")] = None,
) -> None:
    """Look for unreadable images, copies, conflicting labels and leaks; exit code 1 if something is wrong."""
    from in4310repro.data import check

    found = check.check(folder, split, _progress())
    _say_findings(check.render(found), found.to_json(), out, wrong=found.wrong)


def _say_findings(text: str, content: dict[str, Any], out: Path | None, *, wrong: bool) -> None:
    """Prints what a check found, and writes it where asked; ends with exit code 1 where something is wrong."""
    from in4310repro.runs import json_bytes, write_file

    _print(text)
    if out:
        _print(f"wrote {write_file(out, json_bytes(content))}")
    if wrong:
        raise typer.Exit(DIFFERENCE)


def main() -> None:
    """Runs a command; wrong input becomes one line and exit code 2, an interrupt exit code 130."""
    try:
        # Without standalone mode a command's exit code comes back as the value.
        code = app(standalone_mode=False)
    except USAGE_ERROR as error:
        _fail(error.format_message(), WRONG_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except (ValueError, OSError) as error:
        _fail(" ".join(str(error).split()), WRONG_INPUT)
    if code == INTERRUPTED:
        resumed = sys.argv[1:2] in (["train"], ["features"])
        more = "the same command with --resume goes on with what is kept" if resumed else "what was finished is kept"
        _fail(f"interrupted; {more}", INTERRUPTED)
    sys.exit(code)


def _fail(message: str, code: int) -> NoReturn:
    Console(stderr=True).print(f"in4310repro: {message}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)


def _print(line: str) -> None:
    Console().print(line, markup=False, highlight=False, soft_wrap=True)


def _progress() -> Progress:
    return Progress(Console(stderr=True))


def _activate(mode: str, device: str) -> Numerics:
    numerics = activate(mode, device)
    if numerics.note:
        _progress().say(numerics.note)
    return numerics


def _activate_as(run: Run, mode: str | None, device: str | None) -> Numerics:
    """The arithmetic that a run was made with, unless another is asked for."""
    recorded = run.read_json("fingerprint.json")
    return _activate(mode or recorded["numerics"], device or ("auto" if recorded["device"] != "cpu" else "cpu"))


def _open(folder: Path) -> tuple[Run, presets.Config]:
    from in4310repro.runs import Run

    run = Run.open(folder)
    return run, presets.from_json(run.read_json("config.json"))


def _say_result(run: Run) -> None:
    found = run.read_json("metrics.json")
    _print(
        f"wrote {run.folder}: {found['setting']}, epoch {found['epoch']}, mean class accuracy on test "
        f"{found['mean_class_accuracy']:.4f}, mAP {found['mean_average_precision']:.4f}"
    )
