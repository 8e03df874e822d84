"""Parse the label before a number: it names a class, a mean over classes, an image set or a network."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from in4310repro.audit.document import Average, Measure
from in4310repro.audit.readers.numbers import images
from in4310repro.audit.readers.words import BEST, NETWORK_NAME, REMEMBERED, Heading, heading, strip_marks

# `Accuracy of plane`, `AP for class 3`, `Accuracy (plane)`, `AP[plane]`: a head that must be a measure, then a name.
OF = re.compile(
    r"(?P<head>[^(\[]{1,80}?) ?(?:\b(?:for|of|on|in|für)\b ?(?P<name>.{1,90})|[\[(] ?(?P<inside>.{1,90}?)[\])])",
    re.IGNORECASE,
)
EXPLICIT = re.compile(
    r"(?:the )?(?:class|category|label|klasse)(?![a-z]) ?[:#=_]? ?[\"']?(?P<name>[^\"']{1,60})[\"']?", re.IGNORECASE
)
# Names of a whole set: the network on the 10000 test images, the model, the test set; not: sea on the test set.
WHOLE = re.compile(
    r"(?:the |our |this |my )?(?:(?!(?:on|in|for)\b)\w+ ){0,3}(?:network|model|net|classifier|images?|samples|examples"
    r"|data ?set|data|predictions|(?:test|val|validation|train|training|testing)(?: set| split| data)?)"
    r"(?: on .{1,60}| \(.{1,30}\)|:)?",
    re.IGNORECASE,
)
CLASS_WORD = re.compile(r"\bclass", re.IGNORECASE)
TOP = re.compile(r"\btop\b", re.IGNORECASE)  # Accuracy (top-3)
LIST = re.compile(r"\d ?%|, ")  # names with values among them are a list and no name
CHANGE = re.compile(r"\b(?:delta|diff(?:erence)?|gain|drop|loss|improvement|gap|change|std|vs)(?:\b|_)|Δ")
# "train" is a class of VOC as well as an image set: the neighbouring values decide.
BARE_SET = re.compile(r"train|test|val", re.IGNORECASE)
ON_SET = re.compile(
    r"(?P<name>.{1,60}?),? (?:on|in|for) (?:the )?(?P<set>test|val|validation|train|training)\b.{0,20}", re.IGNORECASE
)
ALL_CLASSES = re.compile(r"(?:the |all )+(?:\d{1,5} )?(?:the )?(?:classes|categories)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Meaning of a label: a metric, and a class, an average, an image set or a network."""

    measure: Measure
    class_name: str | None = None
    average: Average | None = None
    image_set: str | None = None
    images: int | None = None  # of the whole set, as the label says
    network: str = ""
    clear: bool = True  # False: `plane accuracy`, where the name may be a class's or anything else's
    best: bool = False  # at its best epoch
    threshold: str = ""


@lru_cache(maxsize=REMEMBERED)
def parse_subject(label: str, measure: Measure | None = None) -> Subject | None:
    """Parse a label, using `measure` if the label names no metric. Return None if the label is not understood."""
    label = strip_marks(label).strip(" :=|,;.")
    whole = heading(label)
    if whole.measure is None:
        return _parse_without_measure(label, whole, measure) if measure else None
    of = OF.fullmatch(label)
    overlap = whole.threshold and not whole.rest  # mAP@[.5:.95]
    if of and not overlap and not (whole.measure is Measure.OTHER and TOP.search(label)):
        head = heading(of["head"])
        if head.measure and (not head.rest or BEST.fullmatch(head.rest.lower())):
            return _parse_of(head, (of["name"] or of["inside"]).strip(), whole)
    if whole.measure is Measure.AVERAGE_PRECISION and label.startswith("train "):
        return _class(replace(whole, image_set=None), "train", clear=False)
    best = BEST.search(whole.text.lower()) is not None
    rest = BEST.sub("", whole.rest.lower()).strip() and whole.rest
    if not rest:
        return _summary(whole, best)
    if LIST.search(rest) or CHANGE.search(rest.lower()):
        return None
    explicit = EXPLICIT.fullmatch(rest) or re.search(r"(?<![a-z])class[ _#]", label, re.IGNORECASE)
    if NETWORK_NAME.fullmatch(rest) or best:
        return replace(_summary(whole, best), network=rest)
    if whole.measure in (Measure.KAPPA, Measure.MATTHEWS, Measure.BALANCED_ACCURACY) and not explicit:
        return replace(_summary(whole, best), network=rest)
    name = explicit["name"] if isinstance(explicit, re.Match) and "name" in explicit.groupdict() else rest
    return _class(whole, name, clear=bool(explicit) and whole.average is None)


def parse_pure(label: str) -> Measure | None:
    """Return the metric if the label names only a metric, as in `Per-class AP (%)`; else None."""
    found = heading(label)
    return None if found.rest or found.average not in (None, Average.MACRO) else found.measure


def _parse_of(head: Heading, name: str, whole: Heading) -> Subject:
    """Return the meaning of a label of the form `Accuracy of NAME`.

    `head` is the parsed part before `of`, and `whole` is the whole label, parsed.
    """
    best = bool(head.rest)
    explicit = EXPLICIT.fullmatch(name)
    if explicit and not ALL_CLASSES.fullmatch(name):
        own = None if BARE_SET.fullmatch(explicit["name"].strip()) else whole.image_set
        return _class(replace(head, image_set=own), explicit["name"].strip(), clear=True)
    inner = heading(name)
    if ALL_CLASSES.fullmatch(name):
        macro = head.average is not None or head.measure is Measure.AVERAGE_PRECISION
        return _summary(
            replace(head, average=Average.MACRO if macro else Average.UNNAMED, image_set=whole.image_set), best
        )
    if inner.summary and not inner.measure:
        average, samples = head.average or inner.average, head.samples or inner.samples
        return _summary(replace(head, average=average, samples=samples, image_set=whole.image_set), best)
    if inner.percent and not inner.rest:
        return _summary(whole, best)
    if BARE_SET.fullmatch(name):
        return replace(_class(head, name, clear=False), image_set=None)
    if WHOLE.fullmatch(name) or NETWORK_NAME.fullmatch(name) or not inner.rest:
        network = name if NETWORK_NAME.fullmatch(name) and not WHOLE.fullmatch(name) else ""
        found = _summary(replace(head, image_set=whole.image_set), best)
        return replace(found, network=network, images=images(name))
    if head.average is not None:
        return replace(_summary(head, best), network=name)
    on_set = ON_SET.fullmatch(name)
    found = _class(head, on_set["name"] if on_set else name, clear=True)
    return replace(found, image_set=heading(on_set["set"]).image_set) if on_set else found


def _summary(head: Heading, best: bool) -> Subject:
    # A bare `Precision: 0.61` is often that of one class: no average is assumed.
    # `Class accuracy: 0.89` without a class is some mean.
    plain = Average.UNNAMED if CLASS_WORD.search(head.text) else Average.OVERALL
    average = head.average or (plain if head.measure in (Measure.ACCURACY, Measure.ERROR) else None)
    return Subject(
        measure=Measure.OTHER if head.samples or head.measure is None else head.measure,
        average=average,
        image_set=head.image_set,
        images=images(head.text),
        best=best,
        threshold=head.threshold,
    )


def _class(head: Heading, name: str, clear: bool) -> Subject:
    return Subject(
        measure=head.measure or Measure.OTHER,
        class_name=name.strip(" :\"'"),
        image_set=head.image_set,
        clear=clear,
        threshold=head.threshold,
    )


def _parse_without_measure(label: str, whole: Heading, measure: Measure) -> Subject:
    """Return the meaning of a label that names no metric itself: `plane`, `class 3` or `Mean`."""
    if whole.summary or (not whole.rest and whole.image_set):
        average = whole.average or Average.OVERALL
        return Subject(measure=measure, average=average, image_set=whole.image_set, images=images(label))
    explicit = EXPLICIT.fullmatch(label)
    return Subject(measure=measure, class_name=(explicit["name"] if explicit else label).strip(" :\"'"))
