"""Patterns of scores that text programs print: spaCy's one-letter names, and text scores that no check uses."""

from __future__ import annotations

import re

from in4310repro.audit.document import Average, Measure

# A heading of one letter, as detectors and spaCy print; in a longer text it is a word.
LETTERS = {"p": Measure.PRECISION, "r": Measure.RECALL, "f": Measure.F1, "f1": Measure.F1}
# NER P, ents_f, cats_macro_r; those of entities are over all of them at once.
SPACY = tuple(
    (measure, average, re.compile(rf"\b(?:{names}) {letter}\b(?! \w)"))
    for letter, measure in LETTERS.items()
    if len(letter) == 1
    for average, names in ((Average.MICRO, "ner|ents|cats micro"), (Average.MACRO, "cats macro"))
)
# spaCy's scores of tokens, tags and sentences beside them: TOKEN_ACC, sents_p, DEP_UAS, cats_score.
PIPELINE = re.compile(r"(?:token|tag|pos|morph|lemma|sents?|dep|spans?|cats)_(?!m[ia]cro_[prf]$)\w+", re.IGNORECASE)
# These are rescaled or medians, so that no rule between precision, recall and F1 applies.
OF_TEXTS = re.compile(
    r"\b(?:bert ?score|rouge ?(?:\d|l\w*)|sacrebleu|bleu(?: ?\d| score)|median (?=acc|prec|rec|f1))[\w ]*"
)
# Costs of a network, in tables beside its scores.
COSTS = re.compile(
    r"\b(?:model|file) size\b[\w ]*(?: ?\(\w+\))?|\b(?:inference|training|train|test|prediction) ?time\b"
    r"|\b(?:latency|throughput|g?flops)\b(?: ?\(\w+\))?"
)
TEXT_SCORES: tuple[tuple[Measure, Average | None, re.Pattern[str]], ...] = (
    *SPACY,
    (Measure.OTHER, None, OF_TEXTS),
    (Measure.OTHER, None, COSTS),
)
