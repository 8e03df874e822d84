"""Table of the formats of an export, which imports none of them: `--help` shows it."""

from __future__ import annotations

from typing import NamedTuple


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
