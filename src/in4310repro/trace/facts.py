"""Facts that cost little and name causes: options of modules, of a DataLoader, arguments, and lines of the program."""

import difflib
import hashlib
import re
import sys
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import DataLoader

from in4310repro.trace.notes import is_own
from in4310repro.trace.records import printable

# Parts of the names of those classes of torch.nn that draw random numbers in training.
DRAWING = ("Drop", "RReLU", "FractionalMaxPool")
# Parts of the names of classes that draw if they were made with dropout.
MAY_DRAW = ("RNN", "LSTM", "GRU", "Attention", "Transformer")
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
LONGEST = 300  # characters of a text
SOURCES = 200  # files of the program


def options_of(module: nn.Module) -> str:
    """Return the class, `extra_repr` and plain public attributes of a module, as text."""
    plain = {
        name: value
        for name, value in vars(module).items()
        if name[0] != "_" and name != "training" and isinstance(value, bool | int | float | str)
    }
    given = shorten_text(module.extra_repr())
    rest = [f"{name}={shorten_text(value)}" for name, value in plain.items() if f"{name}=" not in given]
    return f"{type(module).__name__}({', '.join(filter(None, [given, *rest]))})"


def shorten_text(value: object) -> str:
    """Return a value as printable text on one line, without addresses and folders."""
    text = ADDRESS.sub("", " ".join(str(value).split()))[:LONGEST]
    text = re.sub(r"(?:[A-Za-z]:)?[\\/](?:[^\s\\/'\",)]+[\\/])+", "", text)
    return printable(text)


def loader_facts(loader: DataLoader[Any]) -> dict[str, str]:
    """Return the arguments of a DataLoader and what its data set says of itself, as texts by name."""
    data: Any = loader.dataset
    depth = 0
    while hasattr(data, "dataset") and depth < 8:
        data, depth = data.dataset, depth + 1
    found: dict[str, object] = {
        "batch size": loader.batch_size,
        "sampler": type(loader.sampler).__name__,
        "batch sampler": type(loader.batch_sampler).__name__,
        "workers": loader.num_workers,
        "drop last": loader.drop_last,
        "generator seed": loader.generator.initial_seed() if loader.generator is not None else None,
        "data set": type(data).__name__,
        "images": _length(loader.dataset),
    }
    found |= (
        {name: value for name, value in vars(data).items() if "transform" in name} if hasattr(data, "__dict__") else {}
    )
    return {name: shorten_text(value) for name, value in found.items()}


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except (TypeError, NotImplementedError):
        return None


def files_of(data: Any, indices: Sequence[int]) -> list[str] | None:
    """Return the names of the files of images, where a data set such as ImageFolder lists them; otherwise None."""
    while hasattr(data, "dataset") and hasattr(data, "indices"):
        indices, data = [int(data.indices[i]) for i in indices], data.dataset
    try:
        return [re.split(r"[\\/]", data.samples[i][0])[-1] for i in indices]
    except (AttributeError, TypeError, IndexError, KeyError):
        return None


def arguments() -> list[str]:
    """Return the arguments of the process, without folders."""
    return [
        shorten_text(re.split(r"[\\/]", word)[-1] if re.match(r"[\\/.~]|\w:\\", word) else word) for word in sys.argv
    ]


def sources() -> dict[str, str]:
    """Return a hash of each line of code of the program's own files, without comments, by the file's name.

    The text of a file is the numbers of its lines, each with six hexadecimal digits.
    """
    modules = [sys.modules.get("__main__"), *sys.modules.values()]
    files = dict.fromkeys(Path(getattr(each, "__file__", None) or "") for each in modules)
    found: dict[str, str] = {}
    for file in [each for each in files if each.suffix == ".py" and each.is_file() and is_own(f"{each}")][:SOURCES]:
        below = file.is_relative_to(Path.cwd())
        name = file.relative_to(Path.cwd()).as_posix() if below else "/".join(file.parts[-2:])
        found[printable(name)] = " ".join(f"{number}:{text}" for number, text in _code_lines(file).items())
    return found


def _code_lines(file: Path) -> dict[int, str]:
    by_line: dict[int, list[str]] = {}
    try:
        with tokenize.open(file) as stream:
            for token in tokenize.generate_tokens(stream.readline):
                if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE):
                    by_line.setdefault(token.start[0], []).append(token.string)
    except (OSError, SyntaxError, tokenize.TokenError, UnicodeDecodeError):
        return {}
    texts = {number: "\0".join(tokens) for number, tokens in by_line.items() if any(map(str.strip, tokens))}
    return {number: hashlib.sha256(text.encode(errors="replace")).hexdigest()[:6] for number, text in texts.items()}


def different_lines(first: Mapping[str, str], second: Mapping[str, str]) -> Iterator[str]:
    """Yield FILE:LINES of each file of a program whose code differs, by the lines of the second where it has some."""
    main = next(iter(first)), next(iter(second))  # the program itself, which may have another name
    for name, other in [main, *((each, each) for each in dict.fromkeys([*first, *second]) if each not in main)]:
        a, b = ([each.split(":") for each in text.split()] for text in (first.get(name, ""), second.get(other, "")))
        if name not in first or other not in second:
            yield f"{name}, in one alone"
            continue
        matcher = difflib.SequenceMatcher(None, [each[1] for each in a], [each[1] for each in b], autojunk=False)
        for kind, start, end, from_, to in matcher.get_opcodes():
            if kind != "equal":
                lines = b[from_:to] or a[start:end]
                last = f"-{lines[-1][0]}" if len(lines) > 1 else ""
                yield f"{other.rpartition('/')[2]}:{lines[0][0]}{last}"
