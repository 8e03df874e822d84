"""An audit as text to read: the verdict, the counts, then what is proven, what is odd, and what was not seen."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from in4310repro.audit.examine import Audit
from in4310repro.audit.reading import PRECISION
from in4310repro.audit.sizes import Counted

WIDTH = 120
# Less than this share of random strings refused is no power worth the name.
POWERLESS = 0.005


def render(audit: Audit) -> str:
    """The whole audit as lines of at most 120 characters, table rows aside."""
    values = sum(len(column.values) for table in audit.tables for column in table.columns.values())
    sections = [
        [f"{len(audit.tables)} tables, {values} class values, {len(audit.means)} means checked", *_verdict(audit)],
        list(_counts(audit)),
        list(_means(audit)),
        list(_power(audit)),
        list(_proven(audit)),
        list(_odd(audit)),
        [f"Remark: {remark}." for remark in audit.remarks],
    ]
    return "\n\n".join("\n".join(map(_wrapped, section)) for section in sections if section)


def _wrapped(line: str) -> str:
    # The columns of a row stand apart by two spaces; a sentence has none.
    return line if "  " in line.strip() else textwrap.fill(line, WIDTH, subsequent_indent="    ")


def _verdict(audit: Audit) -> Iterator[str]:
    wrong, odd = len(audit.inconsistencies), len(audit.oddities)
    yield f"Proven: {wrong or 'no'} arithmetical {'inconsistencies' if wrong > 1 else 'inconsistency'}."
    yield f"Odd, which proves nothing: {odd}."


def _counts(audit: Audit) -> Iterator[str]:
    if not audit.counted:
        return
    explanation = audit.explanation
    apart = explanation.cost[0]
    also = f"; {', '.join(explanation.equals)} would do as well" if explanation.equals else ""
    also += f"; {apart} of them not printed so" if apart else ""
    yield f"Accuracies as k/n with n <= {audit.bound}, printed as {explanation.convention}{also}."
    for group in audit.sizes:
        smallest, taken = list(group.smallest.values()), list(group.taken.values())
        yield f"Smallest class sizes that fit {', '.join(group.tables)}: {_listed(smallest)}, together {sum(smallest)}."
        if taken != smallest:
            yield f"The only ones that fit and sum to {audit.images} images: {_listed(taken)}."
    labels = list(audit.counted[0].sizes)
    rows = [["correct images of", *labels, "all", "of", "errors", "accuracy"]]
    yield from _aligned([*rows, *(_row(table, labels) for table in audit.counted)])


def _row(table: Counted, labels: Sequence[str]) -> list[str]:
    totals, images = table.totals, table.images
    cells = [table.name, *(_span(table.correct[label]) for label in labels), _span(totals)]
    if not totals:
        return [*cells, "?", "?", "?"]
    errors = range(images - totals[-1], images - totals[0] + 1)
    return [*cells, str(images), _span(errors), f"{totals[0] / images:.4f}"]


def _span(counts: range | None) -> str:
    if not counts:
        return "?"
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        yield "  ".join([first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:], strict=True))])


def _listed(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers))


def _means(audit: Audit) -> Iterator[str]:
    if audit.means:
        agreeing, bitwise = sum(mean.agrees for mean in audit.means), sum(mean.last_bit for mean in audit.means)
        yield (
            f"Means: {agreeing} of {len(audit.means)} agree with their printed parts, {bitwise} of them to the last "
            "bit when the parts are summed from left to right as doubles."
        )


def _power(audit: Audit) -> Iterator[str]:
    if audit.power:
        yield _power_of_counts(audit.power.decimals, audit.power.refused, audit.power.exact, audit.bound)
    if audit.means:
        loosest = max(float(mean.allowed) for mean in audit.means)
        yield f"Power of means: one is refused when it is off by more than its rounding, {loosest:.1e} at the loosest."
    if any(table.columns[PRECISION].values for table in audit.tables):
        yield (
            "Power for average precision: none by counts, as it is no k/n with a known n; only through its mean (a "
            "digit moves that by a sixth with six classes), its range and its floor."
        )


def _power_of_counts(decimals: int, refused: float, exact: bool, bound: int) -> str:
    if refused < POWERLESS and exact:
        return (
            f"Power of counts: none at {decimals} decimals. {1 - refused:.1%} of all such numbers are some k/n with "
            f"n <= {bound}, so no accuracy can be refused by itself."
        )
    share = f"{100 * refused:.10g} %" if exact else f"at least {100 * refused:.10g} %"
    return (
        f"Power of counts at {decimals} decimals: {share} of random numbers are no k/n with n <= {bound} and would be "
        "called inconsistent."
    )


def _proven(audit: Audit) -> Iterator[str]:
    for finding in audit.inconsistencies:
        yield f"Inconsistent ({finding.kind}): {finding.where}: {finding.says}."


def _odd(audit: Audit) -> Iterator[str]:
    for oddity in audit.oddities:
        yield f"Odd ({oddity.kind}): {oddity.where}: {oddity.says}; probability {oddity.probability}."
        yield from (f"  {line}." for line in oddity.evidence)
        yield f"  Assumed: {oddity.assumes}."
