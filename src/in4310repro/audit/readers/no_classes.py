"""Patterns of names that are no class names: statistics, means of some classes, folds, incomplete lists."""

from __future__ import annotations

import re

SPREADS = re.compile(
    r"(?:std\.?|sd|standard dev(?:iation)?|st\.? ?dev\.?|min(?:imum)?|max(?:imum)?|median|variance|range|gap"
    r"|(?:harmonic|geometric) mean|[hg]-?mean|(?:mean|avg\.?|average) rank|sota|state of the art|previous best"
    r"|chance|random(?: (?:baseline|guess(?:ing)?|chance))?|majority|baseline|confidence|95 ?% ci|p-?value"
    r"|(?:number|no\.?|count|#) (?:of )?(?:classes|categories)"
    r"|\u03c3|Δ|delta|diff(?:erence)?|gain|improvement|change)(?: .{0,20})?"
    r"|best(?: (?:class|value|category))?|worst(?: (?:class|value|category))?"
)
# Names in `Accuracy of ...` that are no classes.
NO_CLASS = re.compile(
    r"(?:random|chance|majority|human|baseline|target|required?|threshold|exact match|subset)\b.*"
    r"|.*\b(?:guess(?:ing)?|baseline)"
)
# Names at the end of a list that are no classes.
AT_END = re.compile(r"media|\u03c3|\u2211|previous.*|.*\bpaper\)?|coco ap")
# The mean of some classes: `Mean of natural scenes`, `Animals (mean)`, `mAP (base)`.
SOME = re.compile(
    r"(?:mean|average|avg\.?|macro|micro|weighted|overall|total|m ?ap)\b(?! of all).*"
    r"|.*[(\[](?:mean|average|avg\.?|macro|total|overall)[)\]]"
)
FOLD = re.compile(
    r"(?:k-?)?(?:fold|run|seed|trial|split|round|repeat|cv)[ _#:-]{0,2}\d{1,4}(?: .{0,20})?|\d{1,2}(?:st|nd|rd|th) fold"
)
# Titles of lists that leave classes out.
PARTIAL = re.compile(
    r"\b(?:weakest|worst|hardest|bottom|lowest|strongest|easiest)\b"
    r"|\b(?:best|top|highest|selected|some|example)(?:[- ]\d{1,3}|[- ]performing){0,2} (?:classes|categories|labels)"
)
