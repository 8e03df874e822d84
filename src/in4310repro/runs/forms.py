"""JSON Schema of every JSON file of a run, from the types by which this package reads it, for other readers."""

import json
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from in4310repro.data.preprocessing import APPLIED
from in4310repro.runs import config, deviations, names, presets, record_types, settings
from in4310repro.system.fingerprint import Fingerprint
from in4310repro.system.schema import Text


def _float(**bounds: Any) -> Any:
    return Annotated[float, Field(**bounds)]


def _list(kind: Any, **lengths: Any) -> Any:
    return Annotated[list[kind], Field(**lengths)]


# What a run writes of options whose types say less; `validate` and the like refuse the same values.
NARROWER: config.Values = {
    "format": Literal[config.OF_RUNS],
    "preset": Literal[tuple(presets.PRESETS)],
    "orientation": Literal[APPLIED],
    "protocol": list[Literal[tuple(map(str, deviations.Deviation))]],  # type: ignore[misc]
    "mean": _list(_float(gt=-1e6, lt=1e6), min_length=3, max_length=3),
    "std": _list(_float(gt=1e-6, lt=1e6), min_length=3, max_length=3),
    "crop_ratio": _float(gt=0, le=1),
    "warm_up": _float(ge=0, lt=1),
    "learning_rate": _float(gt=0),
    "head_learning_rate": _float(gt=0) | None,
    "weight_decay": _float(ge=0),
    "momentum": _float(ge=0, lt=1),
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


RECORDS: config.Values = {
    names.CONFIG: _options(
        config.Config,
        settings=_list(_options(settings.OptimizerSetting), min_length=1),
        modules=_list(Text, min_length=1),
    ),
    names.FINGERPRINT: Fingerprint,
    names.PIXELS: record_types.Pixels,
    names.GROUPS: record_types.Groups,
    names.METRICS: record_types.RunMetrics,
    names.FEATURES: record_types.FeatureMaps,
    names.MANIFEST: record_types.Manifest,
    names.HISTORY: record_types.History,
    names.TENSORS: record_types.Chain,
}


def schemas() -> config.Values:
    """Return JSON Schemas: `$defs` of records, and `files` by file name, of a setting's file by that in its folder."""
    strict = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    # Wrapped in a list, as in `system.schema`.
    adapters = [(name, "validation", TypeAdapter(_list(kind), config=strict)) for name, kind in RECORDS.items()]
    of_files, shared = TypeAdapter.json_schemas(adapters)  # type: ignore[arg-type]
    files = {name: of_files[name, "validation"]["items"] for name in RECORDS}
    text = json.dumps({"$defs": shared["$defs"], "files": files})
    plain: config.Values = json.loads(text, object_hook=_without_words)
    return plain


def _without_words(schema: config.Values) -> config.Values:
    """Leave out titles and descriptions, which say nothing of a value."""
    return {k: v for k, v in schema.items() if k not in ("title", "description") or not isinstance(v, str)}
