"""Scores of programs that read texts: spaCy's one-letter names, and scores of written texts, which no check uses."""

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
# Rescaled or medians, they keep to no rule between precision, recall and F1.
OF_TEXTS = re.compile(
    r"\b(?:bert ?score|rouge ?(?:\d|l\w*)|sacrebleu|bleu(?: ?\d| score)|median (?=acc|prec|rec|f1))[\w ]*"
)
TEXT_SCORES: tuple[tuple[Measure, Average | None, re.Pattern[str]], ...] = (*SPACY, (Measure.OTHER, None, OF_TEXTS))
