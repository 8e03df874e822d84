"""Export of the images and their split as Croissant metadata, beside a copy of split.csv."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from in4310repro.data.splits import PARTS
from in4310repro.export import facts
from in4310repro.export.extras import Extras
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import json_bytes

FILE = "croissant.json"
# As the specification's appendix has it.
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
MEDIA_TYPES = {
    ".bmp": "image/bmp",
    ".gif": "image/gif",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".ppm": "image/x-portable-pixmap",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".webp": "image/webp",
}
IMAGES = "image-files"


def contents(run: FinishedRun, extras: Extras) -> dict[str, bytes | Path]:
    """Return `croissant.json` and a copy of `split.csv`; the images are where the JSON file is put."""
    return {FILE: json_bytes(_dataset(run, extras)), names.SPLIT: run.files.file(names.SPLIT)}


def _dataset(run: FinishedRun, extras: Extras) -> dict[str, Any]:
    """Return the metadata of the images as JSON-LD, with a record set of the split."""
    images = facts.images_name(run)
    supports = {part: len(run.split.parts[part]) for part in PARTS}
    date = {"datePublished": extras.date} if extras.date else {}
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": images,
        "description": (
            f"{sum(supports.values())} images of {len(run.classes)} classes ({', '.join(run.classes)}): "
            f"{', '.join(f'{count} {part}' for part, count in supports.items())}. The split is that of a run of "
            f"{facts.PACKAGE} with manifest sha256 {run.files.manifest_sha256()}. The images are not included; they "
            "are found below the folder of this file, and each one's sha256 is in the record set `split`."
        ),
        **date,
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": names.SPLIT,
                "name": names.SPLIT,
                "contentUrl": names.SPLIT,
                "encodingFormat": "text/csv",
                "sha256": run.files.manifest()[names.SPLIT],
            },
            _file_set(run),
        ],
        "recordSet": [_split_records(), _parts()],
    }


def _file_set(run: FinishedRun) -> dict[str, Any]:
    """Return the FileSet of the images, with a pattern for each suffix and depth of folders, such as `*/*.bmp`."""
    paths = [PurePosixPath(entry.path) for part in run.split.parts.values() for entry in part]
    suffixes = {path.suffix.lower() for path in paths}
    return {
        "@type": "cr:FileSet",
        "@id": IMAGES,
        "name": IMAGES,
        "encodingFormat": sorted({MEDIA_TYPES[suffix] for suffix in suffixes}),
        "includes": sorted({f"{'*/' * (len(path.parts) - 1)}*{path.suffix}" for path in paths}),
    }


def _split_records() -> dict[str, Any]:
    columns = {
        "path": "Path of the image below the folder of the images",
        "class": "Class of the image",
        "sha256": "sha256 of the image's file",
        "part": "Part of the split: training, validation or test",
    }
    return {
        "@type": "cr:RecordSet",
        "@id": "split",
        "name": "split",
        "key": {"@id": "split/path"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"split/{name}",
                "name": name,
                "description": what,
                "dataType": "sc:Text",
                "source": {"fileObject": {"@id": names.SPLIT}, "extract": {"column": name}},
                **({"references": {"field": {"@id": "parts/name"}}} if name == "part" else {}),
            }
            for name, what in columns.items()
        ],
    }


def _parts() -> dict[str, Any]:
    """Return the record set of the parts with the terms by which Croissant knows them."""
    terms = dict(zip(PARTS, ("TrainingSplit", "ValidationSplit", "TestSplit"), strict=True))
    return {
        "@type": "cr:RecordSet",
        "@id": "parts",
        "name": "parts",
        "dataType": "cr:Split",
        "key": {"@id": "parts/name"},
        "field": [
            {"@type": "cr:Field", "@id": "parts/name", "name": "name", "dataType": "sc:Text"},
            {"@type": "cr:Field", "@id": "parts/term", "name": "term", "dataType": "sc:URL"},
        ],
        "data": [
            {"parts/name": part, "parts/term": f"http://mlcommons.org/croissant/{term}"} for part, term in terms.items()
        ],
    }
