"""JSON Schema of every JSON file of a run, from the types by which this package reads it, for other readers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from in4310repro.data.preprocessing import APPLIED
from in4310repro.runs import names
from in4310repro.runs.config import OF_RUNS, Config
from in4310repro.runs.deviations import Deviation
from in4310repro.runs.presets import PRESETS
from in4310repro.runs.records import EpochHashes, FeatureMaps, Groups, HistoryRow, Manifest, Pixels, RunMetrics
from in4310repro.runs.settings import OptimizerSetting, Option, options_of
from in4310repro.system.fingerprint import Fingerprint
from in4310repro.system.schema import Text

# What a run writes of options whose types say less; `validate` and the like refuse the same values.
NARROWER: dict[str, Any] = {
    "format": Literal[OF_RUNS],
    "preset": Literal[tuple(PRESETS)],
    "orientation": Literal[APPLIED],
    "protocol": list[Literal[tuple(map(str, Deviation))]],  # type: ignore[misc]
    "mean": Annotated[list[Annotated[float, Field(gt=-1e6, lt=1e6)]], Field(min_length=3, max_length=3)],
    "std": Annotated[list[Annotated[float, Field(gt=1e-6, lt=1e6)]], Field(min_length=3, max_length=3)],
    "crop_ratio": Annotated[float, Field(gt=0, le=1)],
    "warm_up": Annotated[float, Field(ge=0, lt=1)],
    "learning_rate": Annotated[float, Field(gt=0)],
    "head_learning_rate": Annotated[float, Field(gt=0)] | None,
    "weight_decay": Annotated[float, Field(ge=0)],
    "momentum": Annotated[float, Field(ge=0, lt=1)],
}


def _kind(name: str, kind: Any, option: Option) -> Any:
    if name in NARROWER:
        return NARROWER[name]
    if option.choices:
        return NotRequired[Literal[option.choices]] if option.left_out else Literal[option.choices]
    if option.high is not None:
        return Annotated[int, Field(ge=option.low, le=option.high)]
    return kind


def _options(record: type, **special: Any) -> Any:
    """Return a TypedDict with the fields of a dataclass of options."""
    hints = get_type_hints(record)
    kinds = {name: special.get(name, _kind(name, hints[name], option)) for name, option in options_of(record).items()}
    return TypedDict(record.__name__, kinds)  # type: ignore[operator]


def _list(kind: Any, least: int = 0) -> Any:
    return Annotated[list[kind], Field(min_length=least)]


RECORDS: Mapping[str, Any] = {
    names.CONFIG: _options(Config, settings=_list(_options(OptimizerSetting), least=1), modules=_list(Text, least=1)),
    names.FINGERPRINT: Fingerprint,
    names.PIXELS: Pixels,
    names.GROUPS: Groups,
    names.METRICS: RunMetrics,
    names.FEATURES: FeatureMaps,
    names.MANIFEST: Manifest,
    names.HISTORY: list[HistoryRow],
    names.TENSORS: list[EpochHashes],
}


def schemas() -> dict[str, Any]:
    """Return JSON Schemas: `$defs` of records, and `files` by file name, of a setting's file by that in its folder."""
    strict = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    # Wrapped in a list, as in `system.schema`.
    adapters = [(name, "validation", TypeAdapter(_list(kind), config=strict)) for name, kind in RECORDS.items()]
    of_files, shared = TypeAdapter.json_schemas(adapters)  # type: ignore[arg-type]
    files = {name: of_files[name, "validation"]["items"] for name in RECORDS}
    plain: dict[str, Any] = _without_words({"$defs": shared["$defs"], "files": files})
    return plain


def _without_words(schema: Any) -> Any:
    """Leave out titles and descriptions, which say nothing of a value."""
    if isinstance(schema, list):
        return [_without_words(each) for each in schema]
    if isinstance(schema, dict):
        words = ("title", "description")
        return {k: _without_words(v) for k, v in schema.items() if not (k in words and isinstance(v, str))}
    return schema
