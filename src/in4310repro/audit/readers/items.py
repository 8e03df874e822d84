"""Decide if scores are about tokens or entities: a token accuracy is no average of entity scores."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from in4310repro.audit.document import Average, Item, Measure, Table, Value

NEAR = 6  # lines around a table in which words say what is counted
# conlleval and its relatives count phrases that are right only as a whole.
ENTITIES = re.compile(
    r"\bFB1\b|\btokens with \d+ phrases\b|\bconll ?eval\b|\bseqeval\b|\bnamed[- ]entit|\bentity[- ]level\b"
    r"|\bspan[- ]level\b|\bchunk(?:s|ing)?\b.{0,20}\bF1\b|\bNER\b",
    re.IGNORECASE,
)
TAGS = re.compile(r"(?:[BIESLUO][-_]\w.{0,30}|O)")  # B-PER, I-LOC, O: of tokens
NAMES = re.compile(
    r"PER(?:S(?:ON)?)?|LOC(?:ATION)?|ORG(?:ANI[SZ]ATION)?|MISC|GPE|NORP|FAC(?:ILITY)?|DATE|TIME|MONEY|PERCENT|QUANTITY|ORDINAL"
    r"|CARDINAL|LANGUAGE|LAW|EVENT|PRODUCT|WORK_OF_ART|NP|VP|PP|SBAR|ADVP|ADJP|DISEASE|CHEMICAL|GENE|PROTEIN|DNA|RNA",
    re.IGNORECASE,
)


def assign_items(table: Table, lines: Sequence[str]) -> Table:
    """Return the table with its values marked as of entities or tokens if names or nearby lines say so."""
    item = _find_item(table, lines)
    if item is Item.IMAGE or any(value.item is not Item.IMAGE for value in table.values):
        return table
    return replace(table, values=tuple(replace(value, item=_item_of_value(value, item)) for value in table.values))


def _find_item(table: Table, lines: Sequence[str]) -> Item:
    if not table.whole_images:
        return Item.BOX
    names = [name for value in table.values if (name := value.class_name)]
    if names and 2 * sum(TAGS.fullmatch(name) is not None for name in names) > len(names):
        return Item.TOKEN
    near = "\n".join(line[:500] for line in lines[max(0, table.first - 1 - NEAR) : table.last + NEAR])
    scored = {value.measure for value in table.values} & {Measure.PRECISION, Measure.RECALL, Measure.F1}
    known = sum(NAMES.fullmatch(name) is not None for name in names)
    micro = any(value.average is Average.MICRO for value in table.values)
    of_entities = (names and 2 * known >= len(names)) or (known and micro) or ENTITIES.search(near)
    return Item.ENTITY if scored and "O" not in names and of_entities else Item.IMAGE


def _item_of_value(value: Value, item: Item) -> Item:
    return Item.TOKEN if item is Item.ENTITY and value.measure is Measure.ACCURACY else item
