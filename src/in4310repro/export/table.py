"""Table of the formats of an export, which imports none of them: `--help` shows it."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from in4310repro.system.text import did_you_mean


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What `export` was given besides the run; what is absent is left out of the files, which say so.

    Attributes:
        verification: the document that `verify RUN --json` printed, as `facts.read_verification` returns it.
        report: the folder of the run's report.
        images: the folder of the run's images, where they are not where the run names them.
        pixels: whether formats that can hold decoded images hold them.
        date: the day of publication as YYYY-MM-DD, since a run records no date.
    """

    verification: Mapping[str, Any] | None = None
    report: Path | None = None
    images: Path | None = None
    pixels: bool = False
    date: str | None = None


Contents = dict[str, bytes | Path]  # by path below a folder: what a file holds, or the file that it is a copy of


class Format(NamedTuple):
    """A format of an export.

    Attributes:
        module: the module with its function `contents`, and `describe` where there is something to say of the files.
        what: what it is, for the help.
        takes: fields of `Extras` that it reads.
        zip_name: the zip file that holds the files; empty where they are written beside each other.
    """

    module: str
    what: str
    takes: tuple[str, ...]
    zip_name: str = ""


# Options of the command, and the fields of `Extras` that they fill.
OPTIONS = {"--verification": "verification", "--report": "report", "--data": "images", "--pixels": "pixels"}
OPTIONS |= {"--date": "date"}
FORMATS = {
    "in-toto": Format("in_toto", "an in-toto statement, to be signed", ("verification", "report")),
    "ro-crate": Format("ro_crate", "an RO-Crate of run and report", ("verification", "report", "date")),
    "croissant": Format("croissant", "the images and their split for Croissant", ("date",)),
    "model-card": Format("model_card", "a model card of Hugging Face", ("verification",)),
    "codecheck": Format("codecheck", "codecheck.yml with the outputs", ("verification", "report")),
    "bundle": Format("bundle", "all of it in one zip, for a deposit", tuple(OPTIONS.values()), "bundle.zip"),
    "onnx": Format("onnx", "the selected network for other runtimes", ("images",)),
}
LEFT_OUT = {"verification": "what verify computes again", "report": "the report and its figures"}


def refuse_unknown(name: str) -> None:
    """Raise ValueError if there is no such format."""
    if name not in FORMATS:
        raise ValueError(f"no format {name[:100]!r}; there are {', '.join(FORMATS)}{did_you_mean(name[:100], FORMATS)}")


def refuse_no_date(text: str) -> None:
    """Raise ValueError unless the text is a day as YYYY-MM-DD."""
    with suppress(ValueError):
        if date.fromisoformat(text).isoformat() == text:
            return
    raise ValueError(f"--date {text[:100]} is not a date; it must be YYYY-MM-DD")


def refuse_dateless(name: str, day: str | None) -> None:
    """Raise ValueError if a format needs a day of publication and none was given."""
    if name == "ro-crate" and day is None:
        raise ValueError(
            "an RO-Crate says when it is published, and a run records no date; --date YYYY-MM-DD is needed"
        )


def refuse_file(out: Path) -> None:
    """Raise ValueError if a file is where the folder of an export would be."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; a folder is needed")


def unused(name: str, given: Collection[str]) -> list[str]:
    """Return the options that filled one of the `given` fields of `Extras`, which the format does not read."""
    return [option for option, field in OPTIONS.items() if field in given and field not in FORMATS[name].takes]
