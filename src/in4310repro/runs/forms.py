"""JSON Schema of every JSON file of a run, from the types by which this package reads it, for other readers."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from in4310repro.data.preprocessing import APPLIED
from in4310repro.runs import config, deviations, names, presets, records, settings
from in4310repro.system.fingerprint import Fingerprint
from in4310repro.system.schema import Text

# What a run writes of options whose types say less; `validate` and the like refuse the same values.
NARROWER: dict[str, Any] = {
    "format": Literal[config.OF_RUNS],
    "preset": Literal[tuple(presets.PRESETS)],
    "orientation": Literal[APPLIED],
    "protocol": list[Literal[tuple(map(str, deviations.Deviation))]],  # type: ignore[misc]
    "mean": Annotated[list[Annotated[float, Field(gt=-1e6, lt=1e6)]], Field(min_length=3, max_length=3)],
    "std": Annotated[list[Annotated[float, Field(gt=1e-6, lt=1e6)]], Field(min_length=3, max_length=3)],
    "crop_ratio": Annotated[float, Field(gt=0, le=1)],
    "warm_up": Annotated[float, Field(ge=0, lt=1)],
    "learning_rate": Annotated[float, Field(gt=0)],
    "head_learning_rate": Annotated[float, Field(gt=0)] | None,
    "weight_decay": Annotated[float, Field(ge=0)],
    "momentum": Annotated[float, Field(ge=0, lt=1)],
}


def _kind(name: str, option: settings.Option) -> Any:
    kind = NARROWER.get(name, option.kind)
    if option.choices and name not in NARROWER:
        kind = NotRequired[Literal[option.choices]] if option.left_out else Literal[option.choices]
    return kind if option.high is None else Annotated[int, Field(ge=option.low, le=option.high)]


def _options(record: type, **special: Any) -> Any:
    """Return a TypedDict with the fields of a dataclass of options."""
    kinds = {name: _kind(name, option) for name, option in settings.options_of(record).items()}
    return TypedDict(record.__name__, kinds | special)  # type: ignore[operator]


def _list(kind: Any, least: int = 0) -> Any:
    return Annotated[list[kind], Field(min_length=least)]


RECORDS: Mapping[str, Any] = {
    names.CONFIG: _options(
        config.Config, settings=_list(_options(settings.OptimizerSetting), least=1), modules=_list(Text, least=1)
    ),
    names.FINGERPRINT: Fingerprint,
    names.PIXELS: records.Pixels,
    names.GROUPS: records.Groups,
    names.METRICS: records.RunMetrics,
    names.FEATURES: records.FeatureMaps,
    names.MANIFEST: records.Manifest,
    names.HISTORY: list[records.HistoryRow],
    names.TENSORS: list[records.EpochHashes],
}


def schemas() -> dict[str, Any]:
    """Return JSON Schemas: `$defs` of records, and `files` by file name, of a setting's file by that in its folder."""
    strict = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    # Wrapped in a list, as in `system.schema`.
    adapters = [(name, "validation", TypeAdapter(_list(kind), config=strict)) for name, kind in RECORDS.items()]
    of_files, shared = TypeAdapter.json_schemas(adapters)  # type: ignore[arg-type]
    plain: dict[str, Any] = _without_words(
        {"$defs": shared["$defs"], "files": {name: of_files[name, "validation"]["items"] for name in RECORDS}}
    )
    return plain


def _without_words(schema: Any) -> Any:
    """Leave out titles and descriptions, which say nothing of a value."""
    if isinstance(schema, list):
        return [_without_words(each) for each in schema]
    if isinstance(schema, dict):
        dropped = [k for k in ("title", "description") if isinstance(schema.get(k), str)]
        return {k: _without_words(v) for k, v in schema.items() if k not in dropped}
    return schema
