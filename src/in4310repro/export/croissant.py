"""Export of the images and their split as Croissant metadata, beside a copy of split.csv."""

from pathlib import Path, PurePosixPath
from typing import Any

from in4310repro.data.splits import PARTS
from in4310repro.export import facts
from in4310repro.export.table import Contents, Extras
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import json_bytes, read_json

FILE = "croissant.json"
# As the specification's appendix has it.
CONTEXT = Path(__file__).with_name("croissant_context.json")
IMAGES = "image-files"


def contents(run: FinishedRun, extras: Extras) -> Contents:
    """Return `croissant.json` and a copy of `split.csv`; the images are where the JSON file is put."""
    images = facts.images_name(run)
    paths = [PurePosixPath(entry.path) for part in run.split.parts.values() for entry in part]
    types = sorted({facts.MEDIA_TYPES[path.suffix.lower()] for path in paths})
    # For each suffix and depth of folders, such as `*/*.bmp`.
    patterns = {f"{'*/' * (len(path.parts) - 1)}*{path.suffix}" for path in paths}
    supports = {part: len(run.split.parts[part]) for part in PARTS}
    columns = {
        "path": "Path of the image below the folder of the images",
        "class": "Class of the image",
        "sha256": "sha256 of the image's file",
        "part": "Part of the split: training, validation or test",
    }
    fields = []
    for name, what in columns.items():
        source = {"fileObject": {"@id": names.SPLIT}, "extract": {"column": name}}
        fields.append(_node("Field", name, "split/", description=what, dataType="sc:Text", source=source))
    fields[-1]["references"] = {"field": {"@id": "parts/name"}}
    # The parts, with the terms by which Croissant knows them.
    terms = zip(PARTS, ("TrainingSplit", "ValidationSplit", "TestSplit"), strict=True)
    kinds = {"name": "sc:Text", "term": "sc:URL"}
    parts = _node(
        "RecordSet",
        "parts",
        dataType="cr:Split",
        key={"@id": "parts/name"},
        field=[_node("Field", name, "parts/", dataType=kind) for name, kind in kinds.items()],
        data=[{"parts/name": part, "parts/term": f"http://mlcommons.org/croissant/{term}"} for part, term in terms],
    )
    dataset = {
        "@context": read_json(CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": images,
        "description": (
            f"{sum(supports.values())} images of {len(run.classes)} classes ({', '.join(run.classes)}): "
            f"{', '.join(f'{count} {part}' for part, count in supports.items())}. The split is that of a run of "
            f"{facts.PACKAGE} with manifest sha256 {run.files.manifest_sha256()}. The images are not included; they "
            "are found below the folder of this file, and each one's sha256 is in the record set `split`."
        ),
        **({"datePublished": extras.date} if extras.date else {}),
        "distribution": [
            _node(
                "FileObject",
                names.SPLIT,
                contentUrl=names.SPLIT,
                encodingFormat="text/csv",
                sha256=run.files.manifest()[names.SPLIT],
            ),
            _node("FileSet", IMAGES, encodingFormat=types, includes=sorted(patterns)),
        ],
        "recordSet": [_node("RecordSet", "split", key={"@id": "split/path"}, field=fields), parts],
    }
    return {FILE: json_bytes(dataset), names.SPLIT: run.files.file(names.SPLIT)}


def _node(kind: str, name: str, below: str = "", **fields: Any) -> dict[str, Any]:
    return {"@type": f"cr:{kind}", "@id": f"{below}{name}", "name": name, **fields}
