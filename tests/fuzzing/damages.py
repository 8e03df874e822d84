"""Random damage to JSON, TOML, tables, texts, archives and bytes."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
import unicodedata
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.random import Generator

TEXTS = (
    *("", " ", ".", "..", "../victim", "../../victim/secret.png", "/nowhere/at/all", "C:x", "\\\\host\\share"),
    *("a\0b", "a\nb", "\x1b[31m", "\u202egnp.exe", unicodedata.normalize("NFD", "café"), "٣٤", "½", "\ud800"),
    *("$\\frac", "<img src=x onerror=alert(1)>", "a|b", "[x](javascript:x)", "x" * 300, "nan", "-", "null"),
)
NUMBERS: tuple[Any, ...] = (
    *(-1, 0, 1, 2, 7, 2**31, 2**63, 2**64, 10**20, -(10**30), 10**400),
    *(0.5, -0.0, 1.5, 1e308, 5e-324, 1e-320, float("nan"), float("inf"), -float("inf")),
)
# Numbers in a TOML file: sizes either work within a second or cannot work at all.
MILD_NUMBERS: tuple[Any, ...] = (*(-1, 0, 1, 2, 3, 10**20, -(10**30), 2**63), *NUMBERS[-9:])
NOTHING: tuple[Any, ...] = (None, True, False, [], {}, "", 0)
Path = tuple[str | int, ...]


def pick(generator: Generator, choices: Any) -> Any:
    return choices[int(generator.integers(len(choices)))]


def list_places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every item inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from list_places(item, (*path, key))


def damage_json(value: Any, generator: Generator, numbers: tuple[Any, ...] = NUMBERS) -> Any:
    """Damage one item of a JSON value: delete, rename, repeat, swap or nest it, or change its type or size."""
    changed = copy.deepcopy(value)
    where = list(list_places(changed))
    if not where or generator.random() < 0.03:
        return pick(generator, [*NOTHING, [changed], {"a": changed}])
    # Every name of a key as likely as every other: a thousand hashes do not hide an epoch.
    groups: dict[Path, list[Path]] = {}
    for path in where:
        groups.setdefault(tuple(part for part in path if isinstance(part, str)), []).append(path)
    *outer, key = pick(generator, groups[pick(generator, list(groups))])
    parent = changed
    for part in outer:
        parent = parent[part]
    kind = pick(generator, ("delete", "rename", "type", "number", "text", "length", "swap", "nest", "copy"))
    _damage(parent, key, kind, generator, numbers)
    return changed


def _damage(parent: Any, key: Any, kind: str, generator: Generator, numbers: tuple[Any, ...]) -> None:
    others = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
    item = parent[key]
    if kind == "delete":
        del parent[key]
    elif kind == "rename" and isinstance(parent, dict):
        parent[pick(generator, TEXTS)] = parent.pop(key)
    elif kind == "number":
        parent[key] = pick(generator, numbers)
    elif kind == "text":
        parent[key] = pick(generator, TEXTS)
    elif kind == "length" and isinstance(item, list) and item:
        parent[key] = pick(generator, (item[:-1], item + item[-1:], item * 2, []))
    elif kind == "swap":
        other = pick(generator, others)
        parent[key], parent[other] = parent[other], parent[key]
    elif kind == "nest":
        parent[key] = pick(generator, ([item], {"a": item}, [[[]]]))
    elif kind == "copy":
        parent[key] = copy.deepcopy(parent[pick(generator, others)])
    else:
        parent[key] = pick(generator, NOTHING)


def damage_json_text(data: bytes, generator: Generator) -> bytes:
    """Return a JSON file with a damaged value, a repeated key or damaged bytes."""
    chance = generator.random()
    if chance < 0.75:
        return json.dumps(damage_json(json.loads(data), generator), indent=1).encode()
    if chance < 0.85:
        return _repeat_key(data.decode(), generator).encode()
    return damage_bytes(data, generator)


def _repeat_key(text: str, generator: Generator) -> str:
    """Return the JSON text with one key repeated with a random value; without keys, return a list of two copies."""
    keys = list(re.finditer(r'("[^"\n]*"): ', text))
    if not keys:
        return f"[{text},{text}]"
    key = pick(generator, keys)
    other = json.dumps(pick(generator, [*NOTHING, *TEXTS[:6], 3, 0.25]))
    return f"{text[: key.start()]}{key[1]}: {other}, {text[key.start() :]}"


def damage_bytes(data: bytes, generator: Generator) -> bytes:
    """Return the data with a bit flipped, the end cut off, everything removed, or some bytes inserted."""
    if not data:
        return b"\0"
    chance, place = generator.random(), int(generator.integers(len(data)))
    if chance < 0.7:
        return flip_bit(data, place, int(generator.integers(8)))
    if chance < 0.8:
        return data[:place]
    if chance < 0.85:
        return b""
    more: bytes = pick(generator, (b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", data[:100]))
    return data[:place] + more + data[place:]


def flip_bit(data: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1 << bit
    return bytes(changed)


def damage_table(data: bytes, generator: Generator) -> bytes:
    """Return a damaged CSV file: rows or columns lost, repeated or swapped, cells of another type, or wrong bytes."""
    if generator.random() < 0.2:
        return damage_bytes(data, generator)
    rows = [list(row) for row in csv.reader(io.StringIO(data.decode()))]
    first, second = (int(generator.integers(len(rows))) for _ in range(2))
    column = int(generator.integers(len(rows[0])))
    kind = pick(generator, ("delete", "repeat", "swap", "cell", "cells", "short", "long", "column", "columns"))
    if kind == "delete":
        del rows[first]
    elif kind == "repeat":
        rows.insert(second, list(rows[first]))
    elif kind == "swap":
        rows[first], rows[second] = rows[second], rows[first]
    elif kind == "cell":
        rows[first][column] = str(pick(generator, TEXTS + NUMBERS))
    elif kind == "cells":
        rows[first][column], rows[second][column] = rows[second][column], rows[first][column]
    elif kind == "short":
        rows[first].pop()
    elif kind == "long":
        rows[first].append("more")
    elif kind == "column":
        rows = [row[:column] + row[column + 1 :] for row in rows]
    else:
        rows = [row[::-1] for row in rows]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode(errors="surrogatepass")


def damage_arrays(data: bytes, generator: Generator) -> bytes:
    """Damage an npz file: lose or rename an array, change its type, length or values, or falsify a header."""
    if generator.random() < 0.3:
        return damage_bytes(data, generator)
    with np.load(io.BytesIO(data)) as file:
        arrays: dict[str, Any] = dict(file)
    name = pick(generator, sorted(arrays))
    kind = pick(generator, ("delete", "rename", "type", "length", "value", "swap", "shape", "claim", "objects"))
    if kind == "claim":
        return _falsify_header(arrays, name, generator)
    array = arrays.pop(name)
    if kind == "rename":
        arrays[pick(generator, ("", "x", "../victim", name.upper()))] = array
    elif kind != "delete":
        arrays[name] = _damage_array(array, kind, generator)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _damage_array(array: Any, kind: str, generator: Generator) -> Any:
    if kind == "type":
        numeric = array.dtype.kind != "U"
        kinds = (np.float64, np.float16, np.complex64, np.int8, np.bool_) if numeric else ("S40", "U3", object)
        return array.astype(pick(generator, kinds))
    if kind == "length":
        return pick(generator, (array[:-1], array[:0], np.concatenate([array, array[:1]]), array[0]))
    if kind == "shape":
        return pick(generator, (array.reshape(-1), array[None], array.T, array[..., :-1]))
    if kind == "objects":
        return array.astype(object)
    changed = array.copy()
    first, second = generator.integers(len(changed), size=2)
    if kind == "swap":
        changed[[first, second]] = changed[[second, first]]
    elif changed.dtype.kind == "U":
        changed[first] = pick(generator, TEXTS)
    else:
        changed[first] = pick(generator, (-1, 0, 1, 100) if changed.dtype.kind == "i" else (-1.0, 2.0, np.nan, np.inf))
    return changed


def _falsify_header(arrays: dict[str, Any], name: str, generator: Generator) -> bytes:
    """Return an archive in which one array's header claims a shape that its data do not have."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for each, array in arrays.items():
            single = io.BytesIO()
            np.save(single, array)
            content = single.getvalue()
            if each == name:
                header = io.BytesIO()
                shape = pick(generator, ((10**12,), (2**40, 2**40), (3,), (), (10**7, 10**3)))
                fields = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(header, fields)
                content = header.getvalue() + array.tobytes()
            file.writestr(f"{each}.npy", content)
    return buffer.getvalue()


def damage_tensors(data: bytes, generator: Generator) -> bytes:
    """Damage a safetensors file in its header's JSON, its header's length or any bit."""
    length = int.from_bytes(data[:8], "little")
    chance = generator.random()
    if chance < 0.5:
        return flip_bit(data, int(generator.integers(len(data))), int(generator.integers(8)))
    if chance < 0.6:
        return pick(generator, (0, 7, length - 1, length + 1, 2**62, 10**8)).to_bytes(8, "little") + data[8:]  # type: ignore[no-any-return]
    if chance < 0.7:
        return data[: int(generator.integers(len(data)))]
    header = json.dumps(damage_json(json.loads(data[8 : 8 + length]), generator)).encode()
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def toml_text(value: dict[str, Any]) -> str:
    """Return a TOML file of these values; None leaves a key out."""
    return "".join(f"{_key(name)} = {_toml(item)}\n" for name, item in value.items() if item is not None)


def _key(name: object) -> str:
    return json.dumps(str(name))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(name)} = {_toml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value) if isinstance(value, int | float) else json.dumps("" if value is None else value)


def damage_toml(value: dict[str, Any], generator: Generator) -> bytes:
    """Return a TOML file with damaged values, or a damaged text."""
    if generator.random() < 0.8:
        changed = damage_json(value, generator, MILD_NUMBERS)
        return toml_text(changed if isinstance(changed, dict) else {"a": changed}).encode(errors="surrogatepass")
    return damage_bytes(toml_text(value).encode(), generator)


def damage_print(data: bytes, generator: Generator) -> bytes:
    """Return a damaged report: a number, line, sign or word of its text is changed, or any of its bytes."""
    if generator.random() < 0.25:
        return damage_bytes(data, generator)
    text = data.decode()
    kind = pick(generator, ("number", "number", "line", "repeat", "swap", "sign", "word"))
    if kind == "number":
        return _replace_match(
            text, r"\d+(\.\d+)?", str(pick(generator, (*NUMBERS, "1,5", "٣٤", "1e999", "0x1"))), generator
        )
    if kind == "word":
        return _replace_match(text, r"[^\W\d]+", pick(generator, TEXTS), generator)
    if kind == "sign":
        return _replace_match(text, r"[|&,:<>{}\[\]%=\"]", pick(generator, ("", "|", "\\", "&", '"', "%%")), generator)
    lines = text.splitlines(keepends=True)
    first, second = (int(generator.integers(len(lines))) for _ in range(2))
    if kind == "line":
        del lines[first]
    elif kind == "repeat":
        lines[first:first] = [lines[second]] * int(pick(generator, (1, 3, 30)))
    else:
        lines[first], lines[second] = lines[second], lines[first]
    return "".join(lines).encode(errors="surrogatepass")


def _replace_match(text: str, pattern: str, new: str, generator: Generator) -> bytes:
    matches = list(re.finditer(pattern, text))
    if not matches:
        return text.encode()
    match = pick(generator, matches)
    return f"{text[: match.start()]}{new}{text[match.end() :]}".encode(errors="surrogatepass")
