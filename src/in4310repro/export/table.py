"""Table of the formats of an export, which imports none of them: `--help` shows it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from pathlib import Path
from typing import NamedTuple

from in4310repro.system.text import did_you_mean


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


FORMATS = {
    "in-toto": Format(module="in_toto", what="an in-toto statement, to be signed", takes=("verification", "report")),
    "ro-crate": Format(
        module="ro_crate", what="an RO-Crate of run and report", takes=("verification", "report", "date")
    ),
    "croissant": Format(module="croissant", what="the images and their split for Croissant", takes=("date",)),
    "model-card": Format(module="model_card", what="a model card of Hugging Face", takes=("verification",)),
    "codecheck": Format(module="codecheck", what="codecheck.yml with the outputs", takes=("verification", "report")),
    "bundle": Format(
        module="bundle",
        what="all of it in one zip, for a deposit",
        takes=("verification", "report", "images", "pixels", "date"),
        zip_name="bundle.zip",
    ),
    "onnx": Format(module="onnx", what="the selected network for other runtimes", takes=("images",)),
}
# Options of the command, and the fields of `Extras` that they fill.
OPTIONS = {
    "--verification": "verification",
    "--report": "report",
    "--data": "images",
    "--pixels": "pixels",
    "--date": "date",
}
LEFT_OUT = {"verification": "what verify computes again", "report": "the report and its figures"}


def refuse_unknown(name: str) -> None:
    """Raise ValueError if there is no such format."""
    if name not in FORMATS:
        raise ValueError(f"no format {name[:100]!r}; valid are {', '.join(FORMATS)}{did_you_mean(name[:100], FORMATS)}")


def refuse_no_date(text: str) -> None:
    """Raise ValueError unless the text is a day as YYYY-MM-DD."""
    try:
        valid = date.fromisoformat(text).isoformat() == text
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"--date {text[:100]} is no date; YYYY-MM-DD is valid")


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
