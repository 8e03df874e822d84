"""The single changes of a module: conditions, arithmetic, constants, tables, arguments, returns and calls."""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

Entry = TypeVar("Entry")

_OPPOSITES: tuple[tuple[type[ast.cmpop], type[ast.cmpop]], ...] = (
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq)),
    *((ast.Is, ast.IsNot), (ast.In, ast.NotIn)),
)
COMPARISONS = dict(_OPPOSITES) | {second: first for first, second in _OPPOSITES}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    **dict.fromkeys((ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult), ast.Mult),
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
# Types, names of shapes, and what makes a class frozen; no number comes from them.
UNCHANGED_FIELDS = {"annotation", "returns", "decorator_list", "format_spec"}
# Words that people read, and what is the same without it where tests run.
UNCHANGED_ARGUMENTS = {"strict", "encoding", "newline", "help", "metavar", "title", "description"}
# Their first two arguments give the same in the other order, or end at once.
UNORDERED = {"max", "min", "isinstance", "issubclass", "getattr", "hasattr", "setattr", "cast"}
# Of a longer table only so many entries are left out, one at a time.
ENTRIES = 4
# Fields of a statement that hold statements.
INNER = ("body", "orelse", "finalbody", "handlers", "cases")


@dataclass(frozen=True)
class Change:
    """One mutation: its position, the line of code before and after, and the mutated source of the module."""

    kind: str
    function: str  # qualified name; "" at the top of the module
    lines: range  # of its statement, without the statements inside it
    before: str
    after: str
    source: str
    at_import: bool  # Python reads it as it imports the module: no call is needed
    decides: bool  # it lies in a condition, a comparison or a `raise`

    @property
    def line(self) -> int:
        return self.lines.start

    @property
    def key(self) -> tuple[str, str, str]:
        """Key that identifies the change without its line number: function, line before and line after."""
        return self.function, self.before, self.after


@dataclass(frozen=True)
class Place:
    """What surrounds a node: its statement, its function, and what it is part of, as in `Change`."""

    statement: ast.stmt
    function: str
    at_import: bool
    decides: bool


@dataclass(frozen=True)
class Site:
    """Place of a replaceable node in the syntax tree: its parent's field and, in a list, its index."""

    kind: str
    place: Place
    parent: ast.AST
    field: str
    index: int | None
    replacement: ast.AST

    def put(self, node: ast.AST) -> ast.AST:
        """Replace the node at the site, and return the old node."""
        held = getattr(self.parent, self.field)
        old: ast.AST = held if self.index is None else held[self.index]
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            held[self.index] = node
        return old


def make_changes(source: str, number: int | None = None, seed: int | str = 0) -> list[Change]:
    """Return `number` mutations of a module, drawn with a seed, or all of them if `number` is None."""
    tree = ast.parse(source)
    sites = _list_sites(tree)
    if number is not None and number < len(sites):
        chosen = sorted(random.Random(str(seed)).sample(range(len(sites)), number))
        sites = [sites[index] for index in chosen]
    return [_change(tree, site) for site in sites]


def count_changes(source: str) -> int:
    return len(_list_sites(ast.parse(source)))


def list_keys(source: str) -> set[tuple[str, str, str]]:
    return {(site.place.function, *_lines(site)) for site in _list_sites(ast.parse(source))}


def _list_sites(tree: ast.Module) -> list[Site]:
    return list(_find_sites(tree, Place(tree.body[0], "", True, False))) if tree.body else []


def _change(tree: ast.Module, site: Site) -> Change:
    before, after = _lines(site)
    old = site.put(site.replacement)
    text = ast.unparse(tree)
    site.put(old)
    place = site.place
    return Change(
        site.kind, place.function, _span(place.statement), before, after, text, place.at_import, place.decides
    )


def _span(statement: ast.stmt) -> range:
    """Return the lines of a statement without those of the statements inside it."""
    inside = [line for field in INNER for each in getattr(statement, field, []) if (line := getattr(each, "lineno", 0))]
    return range(statement.lineno, max(min([*inside, (statement.end_lineno or 0) + 1]), statement.lineno + 1))


def _lines(site: Site) -> tuple[str, str]:
    """Return the statement without and with the change."""
    statement = site.place.statement
    before = _header(statement)
    old = site.put(site.replacement)
    after = _header(site.replacement if old is statement else statement)
    site.put(old)
    return before, after


def _header(statement: ast.AST) -> str:
    """Return a statement in one line, without the statements inside it."""
    shown = copy.copy(statement)
    for field in INNER:
        if isinstance(getattr(shown, field, None), list):
            setattr(shown, field, [])
    if isinstance(shown, ast.FunctionDef | ast.ClassDef):
        shown.decorator_list = []
    return " ".join(ast.unparse(shown).split())


def _find_sites(parent: ast.AST, place: Place) -> Iterator[Site]:
    """Yield the replaceable nodes below a node, in the order of the text."""
    if isinstance(parent, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        place = replace(place, function=f"{place.function}.{parent.name}".lstrip("."))
    if isinstance(parent, ast.stmt):
        place = replace(place, statement=parent)
    for field, value in ast.iter_fields(parent):
        # As a module is imported, what stands in brackets is mostly a type.
        if field in UNCHANGED_FIELDS or _is_message(parent, field) or (field == "slice" and place.at_import):
            continue
        # Defaults of arguments are read with the module, and a function's body when it is called.
        here = place
        if field == "body" and isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            here = replace(here, at_import=False)
        if field == "test" or isinstance(parent, ast.Raise | ast.Compare | ast.comprehension):
            here = replace(here, decides=True)
        for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(node, ast.AST) or _is_left_alone(node):
                continue
            own = replace(
                here,
                statement=node if isinstance(node, ast.stmt) else here.statement,
                decides=here.decides or isinstance(node, ast.Raise | ast.Compare | ast.BoolOp),
            )
            for kind, replacement in _replacements(node, parent, field, own.at_import):
                yield Site(kind, own, parent, field, index, replacement)
            yield from _find_sites(node, here)


def _is_message(parent: ast.AST, field: str) -> bool:
    """Return True for the exception or the cause of a `raise`, which are not mutated."""
    return isinstance(parent, ast.Raise) and field in ("exc", "cause")


def _is_left_alone(node: ast.AST) -> bool:
    """Return True for `if TYPE_CHECKING`, `__all__` and `UNCHANGED_ARGUMENTS`, which are not mutated."""
    typing = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    names = isinstance(node, ast.Assign) and any(getattr(each, "id", "") == "__all__" for each in node.targets)
    return typing or names or (isinstance(node, ast.keyword) and node.arg in UNCHANGED_ARGUMENTS)


def _replacements(node: ast.AST, parent: ast.AST, field: str, at_import: bool) -> Iterator[tuple[str, ast.AST]]:
    """Yield pairs (kind of change, replacement) for a node of the syntax tree."""
    if isinstance(node, ast.expr):
        yield from (("table", other) for other in _shorter_tables(node, at_import))
        yield from (("branch", ast.Constant(value)) for value in _branches(parent, field))
        yield from _other_expressions(node)
    elif isinstance(node, ast.stmt):
        yield from _other_statements(node)


def _branches(parent: ast.AST, field: str) -> tuple[bool, ...]:
    """Return the constants that may replace a condition: not True in `while`, whose loop would never end."""
    if field == "test" and isinstance(parent, ast.If | ast.IfExp):
        return (True, False)
    if field == "test" and isinstance(parent, ast.While):
        return (False,)
    return (True,) if field == "ifs" else ()


def _other_expressions(node: ast.expr) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                ops = [*node.ops[:index], COMPARISONS[type(operator)](), *node.ops[index + 1 :]]
                yield "comparison", ast.Compare(node.left, ops, node.comparators)
        case ast.Constant() if not isinstance(node.value, str | bytes) and node.value not in (None, ...):
            yield from (("constant", ast.Constant(value)) for value in _other_constants(node.value))
        case ast.BoolOp():
            yield "operator", ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        case ast.BinOp() if not (_is_text(node.left) or _is_text(node.right)):
            yield "operator", ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)
        case ast.UnaryOp():
            yield "operator", node.operand
        case ast.Call():
            yield from (("argument", other) for other in _other_arguments(node))


def _shorter_tables(node: ast.expr, at_import: bool) -> Iterator[ast.expr]:
    """Yield a dict without one of its entries, and as the module is imported other tables too."""
    match node:
        case ast.Dict(keys=keys, values=values) if len(keys) > 1:
            for index in _pick(len(keys)):
                yield ast.Dict(_without(keys, index), _without(values, index))
        case ast.List(elts=elts, ctx=ast.Load()) | ast.Tuple(elts=elts, ctx=ast.Load()) | ast.Set(elts=elts) if (
            at_import and len(elts) > 1
        ):
            for index in _pick(len(elts)):
                shorter = copy.copy(node)
                shorter.elts = _without(elts, index)
                yield shorter


def _pick(number: int) -> list[int]:
    return sorted({round(each * (number - 1) / (ENTRIES - 1)) for each in range(ENTRIES)})


def _without(values: list[Entry], index: int) -> list[Entry]:
    return [*values[:index], *values[index + 1 :]]


def _other_arguments(node: ast.Call) -> Iterator[ast.Call]:
    """Yield a call without one of its named arguments, and with its first two in the other order."""
    for index, named in enumerate(node.keywords):
        if named.arg and named.arg not in UNCHANGED_ARGUMENTS:
            yield ast.Call(node.func, node.args, _without(node.keywords, index))
    if len(node.args) >= 2 and all(isinstance(each, ast.Name | ast.Attribute) for each in node.args[:2]):
        first, second, *rest = node.args
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name not in UNORDERED and ast.dump(first) != ast.dump(second):
            yield ast.Call(node.func, [second, first, *rest], node.keywords)


def _other_statements(node: ast.stmt) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.AugAssign() if not _is_text(node.value):
            yield "operator", ast.AugAssign(node.target, OPERATORS[type(node.op)](), node.value)
        case ast.Return() if node.value is not None and not _is_none(node.value):
            yield "return", ast.Return(ast.Constant(None))
        case ast.Raise():
            yield "branch", ast.Pass()
        case ast.Continue():
            yield "branch", ast.Break()
        case ast.Break():
            yield "branch", ast.Continue()
        case ast.Expr(value=ast.Call()):
            yield "call", ast.Pass()


def _other_constants(value: complex) -> tuple[complex, ...]:
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return (value + 1, value - 1) if value > 0 else (value + 1,)
    return (value * 2 if value else 1.0,)


def _is_text(node: ast.AST) -> bool:
    """Return True if a node is a string, for which other operators would be type errors."""
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
