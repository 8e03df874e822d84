"""Reading, writing and validation of the configuration of a run (all options that change its results)."""

import math
import reprlib
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args

from in4310repro.data.preprocessing import DECIDED_BY_WEIGHTS, IGNORED, Preprocessing, channels, refuse_invalid
from in4310repro.models.sources import ALL, FROM, HEAD, open_network
from in4310repro.runs import deviations, settings as s
from in4310repro.runs.settings import FORMAT, OPTIONS, Config as Config, OptimizerSetting, Option
from in4310repro.system import files, machine, text

Values = dict[str, Any]  # of a configuration, by name, as JSON and TOML hold them
OF_RUNS = (3, 4, 5, 6, FORMAT)  # formats of runs that are read
OF_REPORTS = (2, *OF_RUNS)  # and of configurations by themselves, as reports hold them
LARGEST = 1e30
# What a value of each annotated type may be, or None where that is annotated too; ranges are checked afterwards.
ACCEPTED_TYPES: dict[Any, tuple[type, ...]] = {
    int: (int,),
    float: (int, float),
    str: (str,),
    tuple[float, ...]: (str, list, tuple),
    Literal["fast", "exact"]: (str,),
    deviations.Protocol: (str, list),
}


def with_preprocessing(config: Config, given: Preprocessing | None) -> Config:
    """Replace preprocessing options that are None by those of the weights; return the new configuration.

    Args:
        config: a configuration; some preprocessing options may be None.
        given: the preprocessing that the weights' file states; None if it states none.

    Raises:
        ValueError: neither the weights nor the configuration states the preprocessing.
    """
    asked = [name for name in DECIDED_BY_WEIGHTS if getattr(config, name) is None]
    if asked and given is None:
        raise ValueError(
            f"{config.weights} does not say how images are prepared for it; --mean, --std, --interpolation and "
            "--crop-ratio do, for most networks 0.485,0.456,0.406 and 0.229,0.224,0.225, bilinear and 1"
        )
    return replace(config, **{name: getattr(given, name) for name in asked})


def from_json(value: Any, source: str) -> Config:
    """Return the configuration read from JSON values that `to_json` returned.

    Raises:
        ValueError: unsupported format, unknown key, or value out of range; the message names the source.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("preset"), str):
        raise ValueError(f"{source} holds no configuration, which is an object with preset, seed and so on")
    check_format(value, source, OF_REPORTS)
    number, given = value["format"], {name: each for name, each in value.items() if name != "format"}
    if number <= s.LAST_WITHOUT_ORIENTATION:
        if "orientation" in given:
            raise ValueError(f"{source}: format {number} has no setting orientation; format {FORMAT} has")
        given["orientation"] = IGNORED
    try:
        return _replace(Config(preset=value["preset"], format=number), given, source)
    except ValueError as error:
        raise ValueError(str(error) if source in str(error) else f"{source}: {error}") from None


def check_format(value: Any, source: str, formats: tuple[int, ...] = OF_RUNS) -> None:
    """Raise ValueError if this version cannot read the format of a configuration.

    Raises:
        ValueError: the format is not one of `formats`.
    """
    if isinstance(value, Mapping) and (found := value.get("format", 1)) not in formats:
        raise ValueError(
            f"{source} is of format {found} and this version reads formats {', '.join(map(str, formats[:-1]))} and "
            f"{formats[-1]}; train the run again, or read it with the version that made it"
        )


def to_json(config: Config, number: int | None = None) -> Values:
    """Return the configuration as JSON values, which `from_json` can read.

    The value of `protocol` is a sorted list of the names of the deviations from the assignment.

    Args:
        config: the configuration.
        number: the number of the format; None: that of the configuration, so that older runs and their checkpoints
            are continued in their own format.
    """
    number = config.written_format if number is None else number
    values = asdict(config) | {"format": number, "protocol": config.protocol.names}
    if number <= s.LAST_WITHOUT_ORIENTATION:
        del values["orientation"]
    return {"format": number} | {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if not OPTIONS[name].left_out or value != getattr(Config, name)
    }


def read_toml(file: Path) -> Values:
    """Return the configuration options in a TOML file, by name.

    Raises:
        ValueError: the file does not exist, is not TOML, or names a preset, which only the command line may do.
    """
    try:
        values = tomllib.loads(files.decode(files.read_bytes(file, files.LARGEST_TEXT)))
    except FileNotFoundError:
        raise ValueError(f"no file {file}; --config takes a TOML file of settings") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not TOML: {files.strip_advice(error)}") from None
    if "preset" in values:
        raise ValueError(f"{file} names preset {values['preset']!r}; remove it there and give --preset")
    return values


def change(config: Config, changes: Values, source: str) -> Config:
    """Return the configuration with some values replaced, and check the result.

    Args:
        config: the configuration before the change.
        changes: new values by name, as read from TOML, JSON or the command line.
        source: the origin of the values, for error messages.

    Raises:
        ValueError: a name is unknown, a value has a wrong type or is out of range, or an optimizer does not use it.
            The message about a wrong name or type states the source.
    """
    changed = _replace(config, changes, source)
    refuse_unused_values(changed)
    return changed


def _replace(config: Config, changes: Values, source: str) -> Config:
    values = _convert(Config, changes, source)
    if "settings" in values:
        values["settings"] = tuple(_optimizer_setting(entry, source) for entry in values["settings"])
    values |= {name: channels(values[name], name) for name in ("mean", "std") if values.get(name) is not None}
    if "protocol" in values:
        values["protocol"] = deviations.parse(values["protocol"])
    return validate(replace(config, **values))


def _optimizer_setting(entry: Any, source: str) -> OptimizerSetting:
    if not isinstance(entry, dict):
        raise ValueError(f"{source}: settings are tables such as [[settings]] name, optimizer; got {entry!r}")
    if missing := [name for name in ("name", "optimizer") if name not in entry]:
        raise ValueError(f"{source}: a setting lacks {', '.join(missing)}; it has {sorted(entry)}")
    return OptimizerSetting(**_convert(OptimizerSetting, entry, source))


def _convert(record: type, values: Values, source: str) -> Values:
    """Return the values converted to the types of their fields, such as a list to a tuple or an int to a float.

    Raises:
        ValueError: a name is unknown, or a value has a wrong type.
    """
    options, converted = s.options_of(record), Values()
    options.pop("format", None)
    try:
        for name, value in values.items():
            if name not in options:
                valid = f"{', '.join(sorted(options))}{text.did_you_mean(name[:100], options)}"
                raise ValueError(f"unknown setting {name[:100]!r}; it must be one of {valid}")
            converted[name] = _convert_value(name, options[name], value)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    return converted


def _convert_value(name: str, option: Option, value: Any) -> Any:
    has_none = isinstance(option.kind, UnionType)
    if has_none and value is None:
        return None
    kind = get_args(option.kind)[0] if has_none else option.kind
    accepted = ACCEPTED_TYPES.get(kind, (list, tuple))
    fits = isinstance(value, accepted) and not isinstance(value, bool)
    if not fits:
        expected = " or ".join(each.__name__ for each in accepted)
        raise ValueError(f"{name} is {reprlib.repr(value)}; it takes {expected}")
    if value == "" or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{name} is {value!r}; it needs a value")
    if isinstance(value, str) and "\0" in value:
        raise ValueError(f"{name} is {value[:100]!r}; it must be a text without the character 0")
    names = value if kind in (deviations.Protocol, tuple[str, ...]) and not isinstance(value, str) else ()
    if not all(isinstance(each, str) and each.isprintable() and each for each in names):
        raise ValueError(f"{name} is {reprlib.repr(value)}; it must be a list of names")
    if name == "model":
        open_network(value)
    if option.choices:
        s.check_choice(name, value)
    if kind is float:
        if abs(value) > LARGEST:
            raise ValueError(f"{name} is {machine.brief(Decimal(value))}; it must be at most {LARGEST:g}")
        return float(value)
    return tuple(value) if isinstance(value, list) else value


def validate(config: Config) -> Config:
    """Return the configuration, after checking that every value is in its range.

    Raises:
        ValueError: a value is out of range, or its optimizer does not use it; the message names it.
    """
    files.folder_name(config.preset, "preset")
    for name, option in OPTIONS.items():
        if option.high is not None and not option.low <= (value := getattr(config, name)) <= option.high:
            limit = f"it must be at most {option.high}" if value > option.high else f"it must be at least {option.low}"
            raise ValueError(f"{name} is {value if abs(value) < 10**30 else machine.brief(Decimal(value))}; {limit}")
    if not config.modules:
        raise ValueError("modules is []; at least one name such as conv1 is needed")
    if not 0 <= config.warm_up < 1:
        raise ValueError(f"warm_up is {config.warm_up}; it must be a share of the steps in [0, 1)")
    if config.group == s.LOOK_ALIKES and config.weights == "none":
        raise ValueError(
            f"group is {s.LOOK_ALIKES}, which are found by the features of weights, and weights is none; it must be "
            "imagenet or a file"
        )
    refuse_invalid(config.preprocessing)
    _check_settings(config)
    if config.written_format >= s.EVERY_VALUE_USED:
        refuse_unused_values(config)
    return config


def _check_settings(config: Config) -> None:
    names = [each.name for each in config.settings]
    # In any case of letters, which some file systems do not tell apart.
    if not names or len({name.casefold() for name in names}) != len(names):
        raise ValueError(f"settings are named {names}; at least one is needed, and names must differ in more than case")
    for each in config.settings:
        files.folder_name(each.name, "setting")
        rates = each.learning_rate, 1 if each.head_learning_rate is None else each.head_learning_rate
        if min(rates) <= 0 or each.weight_decay < 0 or not 0 <= each.momentum < 1:
            raise ValueError(f"{each}: it needs [head_]learning_rate > 0, weight_decay >= 0 and 0 <= momentum < 1")
        _check_part(config, each)


def _check_part(config: Config, setting: OptimizerSetting) -> None:
    """Raise ValueError if a setting's trained part is invalid or does not suit its optimizer or protocol."""
    part, fits = config.trained_part(setting), config.fits_head(setting)
    if part not in (HEAD, ALL) and not (part.startswith(FROM) and part != FROM):
        valid = f"it must be {HEAD}, {ALL} or {FROM}LAYER{text.did_you_mean(part, (HEAD, ALL))}"
        raise ValueError(f"train is {part!r}; {valid}")
    if fits != (setting.optimizer == s.FITS_HEAD):
        raise ValueError(
            f"setting {setting.name} trains {part} by {setting.optimizer}; L-BFGS fits a {HEAD}, and the other "
            f"optimizers train {ALL} or {FROM}LAYER"
        )
    if fits and setting.head_learning_rate is not None:
        raise ValueError(
            f"setting {setting.name} fits a head, whose learning rate would be {setting.head_learning_rate:g}; a "
            f"fit has none: leave head_learning_rate out, or train {ALL} or {FROM}LAYER"
        )
    if fits and (unfit := config.protocol.names_unfit_for_heads):
        raise ValueError(f"the fit of a head cannot have {', '.join(unfit)}; train {ALL} can")


def refuse_unused_values(config: Config) -> None:
    """Raise ValueError if a setting has a value that its optimizer does not use.

    Runs up to format 6 may have recorded one.
    """
    for setting in config.settings:
        for name, users in s.unused_values(setting).items():
            raise ValueError(
                f"setting {setting.name}: {name} is {getattr(setting, name):g}, and {setting.optimizer} has none; "
                f"leave it out, or take {' or '.join(users)}, which has one"
            )
