"""The single changes of a module's syntax tree: comparisons, constants, operators, branches, returns and calls."""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Change:
    """One mutation: its position, the line of code before and after, and the mutated source of the module."""

    kind: str
    function: str  # qualified name; "" at the top of the module
    line: int
    before: str
    after: str
    source: str
    written: int  # the line of its statement in `rewrite`

    @property
    def key(self) -> tuple[str, str, str]:
        """Key that identifies the change without its line number: function, line before and line after."""
        return self.function, self.before, self.after


@dataclass(frozen=True)
class Site:
    """Place of a replaceable node in the syntax tree: its parent's field and, in a list, its index."""

    kind: str
    function: str
    statement: ast.stmt
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
    sites = list(_find_sites(tree, tree, ""))
    if number is not None and number < len(sites):
        chosen = sorted(random.Random(str(seed)).sample(range(len(sites)), number))
        sites = [sites[index] for index in chosen]
    lines = {
        node.lineno: again.lineno
        for node, again in zip(ast.walk(tree), ast.walk(ast.parse(rewrite(source))), strict=True)
        if isinstance(node, ast.stmt) and isinstance(again, ast.stmt)
    }
    return [_change(tree, site, lines[site.statement.lineno]) for site in sites]


def count_changes(source: str) -> int:
    tree = ast.parse(source)
    return sum(1 for _ in _find_sites(tree, tree, ""))


def list_keys(source: str) -> set[tuple[str, str, str]]:
    tree = ast.parse(source)
    return {(site.function, *_lines(site)) for site in _find_sites(tree, tree, "")}


def rewrite(source: str) -> str:
    """Return the source after parsing and ast.unparse, which formats it like the changed modules."""
    return ast.unparse(ast.parse(source))


def _change(tree: ast.Module, site: Site, written: int) -> Change:
    before, after = _lines(site)
    old = site.put(site.replacement)
    text = ast.unparse(tree)
    site.put(old)
    return Change(site.kind, site.function, getattr(old, "lineno", 0), before, after, text, written)


def _lines(site: Site) -> tuple[str, str]:
    """Return the statement without and with the change."""
    before = _header(site.statement)
    old = site.put(site.replacement)
    after = _header(site.replacement if old is site.statement else site.statement)
    site.put(old)
    return before, after


def _header(statement: ast.AST) -> str:
    """Return a statement in one line, without the statements inside it."""
    shown = copy.copy(statement)
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        if isinstance(getattr(shown, field, None), list):
            setattr(shown, field, [])
    if isinstance(shown, ast.FunctionDef | ast.ClassDef):
        shown.decorator_list = []
    return " ".join(ast.unparse(shown).split())


def _find_sites(parent: ast.AST, statement: ast.AST, function: str) -> Iterator[Site]:
    """Yield the replaceable nodes below a node, in the order of the text."""
    if isinstance(parent, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        function = f"{function}.{parent.name}".lstrip(".")
    if isinstance(parent, ast.stmt):
        statement = parent
    for field, value in ast.iter_fields(parent):
        if field in UNCHANGED_FIELDS or _is_message(parent, field):
            continue
        for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(node, ast.AST) or _is_left_alone(node):
                continue
            own = node if isinstance(node, ast.stmt) else statement
            assert isinstance(own, ast.stmt)
            for kind, replacement in _replacements(node, parent, field):
                yield Site(kind, function, own, parent, field, index, replacement)
            yield from _find_sites(node, statement, function)


def _is_message(parent: ast.AST, field: str) -> bool:
    """Return True for the exception or the cause of a `raise`, which are not mutated."""
    return isinstance(parent, ast.Raise) and field in ("exc", "cause")


def _is_left_alone(node: ast.AST) -> bool:
    """Return True for `if TYPE_CHECKING` and for the argument `strict` of zip, which are not mutated."""
    typing = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return typing or (isinstance(node, ast.keyword) and node.arg == "strict")


def _replacements(node: ast.AST, parent: ast.AST, field: str) -> Iterator[tuple[str, ast.AST]]:
    """Yield pairs (kind of change, replacement) for a node of the syntax tree."""
    if isinstance(node, ast.expr):
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
