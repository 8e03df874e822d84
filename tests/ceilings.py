"""The most lines of code that each room of the package may have: python -m tests.ceilings [--lower].

Docstrings, comments on lines of their own and blank lines are free. `nox -s lint` compares; --lower writes
ceilings.json again where a room has become smaller. To raise a number there takes a reason in the commit.
"""

import ast
import json
import sys
import tokenize
from pathlib import Path

import in4310repro

PACKAGE = Path(in4310repro.__file__).parent
FILE = Path(__file__).with_name("ceilings.json")
LAYOUT = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def count_lines(file: Path) -> int:
    """Count the lines of a module that hold a token which is neither layout, a comment nor a part of a docstring."""
    documented = set[int]()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                documented.update(range(first.lineno, (first.end_lineno or 0) + 1))
    with file.open("rb") as stream:
        tokens = [token for token in tokenize.tokenize(stream.readline) if token.type not in LAYOUT]
    spanned = {line for token in tokens[1:] for line in range(token.start[0], token.end[0] + 1)}
    blank = {number for number, line in enumerate(file.read_bytes().splitlines(), 1) if not line.strip()}
    return len(spanned - documented - blank)


def count_rooms(package: Path = PACKAGE) -> dict[str, int]:
    """Return the lines of code of each folder directly below the package; its own modules count as `.`."""
    rooms: dict[str, int] = {}
    for file in sorted(package.rglob("*.py")):
        below = file.relative_to(package).parts
        room = below[0] if len(below) > 1 else "."
        rooms[room] = rooms.get(room, 0) + count_lines(file)
    return rooms


def find_excess(rooms: dict[str, int], ceilings: dict[str, int]) -> list[str]:
    """Return a sentence for each room that has more lines than its ceiling, or no ceiling."""
    return [
        f"{room} has {lines} lines of code; {FILE.name} allows {ceilings.get(room, 0)}"
        for room, lines in rooms.items()
        if lines > ceilings.get(room, 0)
    ]


def main() -> None:
    """Compare with the ceilings, or lower them."""
    rooms, ceilings = count_rooms(), json.loads(FILE.read_text(encoding="utf-8"))
    if "--lower" in sys.argv:
        lowered = {room: min(lines, ceilings.get(room, lines)) for room, lines in rooms.items()}
        FILE.write_text(json.dumps(lowered, indent=1) + "\n", encoding="utf-8")
    elif excess := find_excess(rooms, ceilings):
        sys.exit("\n".join(excess))


if __name__ == "__main__":
    main()
