"""Parse a heading or label into metric, average and image set; the remaining words are a name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from in4310repro.audit.document import Average, Measure

REMEMBERED = 20_000  # labels: a report has few different ones, a log repeats them
LONGEST = 200  # characters of a label; what is longer is prose

# Each pattern is searched in the lower-cased label, `_` and `-` as spaces; the first measure that matches counts.
THRESHOLD = r"(?: ?@? ?[\[(]?(?:iou ?=? ?)?[01]?\.?\d{1,2}(?: ?[:\- ] ?0?\.?\d{2,3}){0,2}[\])]?)?(?!\w|\.\d)"
MEASURES: tuple[tuple[Measure, Average | None, re.Pattern[str]], ...] = tuple(
    (measure, average, re.compile(pattern))
    for measure, average, pattern in (
        (Measure.OTHER, None, r"\b(?:au ?prc?|pr auc|auc pr|aucpr)\b"),
        (
            Measure.AVERAGE_PRECISION,
            Average.MACRO,
            rf"\bmean average precision(?: scores?)?(?: ?[\[(]?\bm?ap\b{THRESHOLD}[\])]?)?",
        ),
        (Measure.AVERAGE_PRECISION, Average.MACRO, rf"\b(?:mean ap|m ?ap){THRESHOLD}"),
        (Measure.AVERAGE_PRECISION, None, rf"\baverage precision(?: scores?)?(?: ?[\[(]?\bap\b{THRESHOLD}[\])]?)?"),
        (Measure.OTHER, None, r"\bap ?(?:s|m|l|small|medium|large)\b|\bar ?(?:@ ?)?\d{0,3}\b"),
        (Measure.AVERAGE_PRECISION, None, rf"\bap{THRESHOLD}(?: scores?)?"),
        (Measure.BALANCED_ACCURACY, None, r"\b(?:balanced acc(?:uracy|\b)|b ?acc\b|uar\b)"),
        (
            Measure.KAPPA,
            None,
            r"(?:\b(?:cohen'?s? )?kappa\b|κ)(?: ?[\u00d7x*]? ?100)?"
            r"(?: (?:coefficient|score|index|statistic|value|accuracy))?",
        ),
        (Measure.OTHER, None, r"\btop ?@? ?(?:[2-9]|10) err(?:or)?\b(?: rate)?"),
        (
            Measure.ERROR,
            None,
            r"(?<!absolute )(?<!squared )(?<!standard )(?:\btop ?@? ?1 )?\berr(?:or)?\b(?!\.\w)(?: rate)?(?! ?bars?)"
            r"|\bmisclassification rate\b",
        ),
        (Measure.OTHER, None, r"\b(?:acc(?:uracy)? ?[/ ] ?)?(?:top|acc|prec) ?@? ?(?:[2-9]|10)(?: acc(?:uracy)?)?\b"),
        (
            Measure.ACCURACY,
            None,
            r"\b(?:acc(?:uracy)? ?[/ ] ?)?top ?1(?: acc(?:uracy)?)?\b|\b(?:acc|prec|p|precision) ?@ ?1\b",
        ),
        (Measure.RECALL, None, r"\bproducer'?s?'? acc(?:uracy)?\b"),
        (Measure.PRECISION, None, r"\buser'?s?'? acc(?:uracy)?\b"),
        (Measure.ACCURACY, Average.OVERALL, r"\b(?:pixel acc(?:uracy)?|aacc|oa|global correct)\b"),
        (Measure.ACCURACY, Average.MACRO, r"\b(?:macc|mca|aa|average row correct)\b"),
        (Measure.OTHER, None, r"\baverage rowucol correct\b"),
        (Measure.DETECTION_RATE, None, r"\bdetection rate\b"),
        (Measure.DETECTION_PREVALENCE, None, r"\bdetection prevalence\b"),
        (Measure.PREVALENCE, None, r"\bprevalence\b"),
        (Measure.FALSE_POSITIVE_RATE, None, r"\b(?:fp rate|fpr|false positive rate|false alarm rate)\b"),
        (Measure.NEGATIVE_PREDICTIVE_VALUE, None, r"\b(?:neg(?:ative)? pred(?:ictive)? value|npv)\b"),
        (Measure.SPECIFICITY, None, r"\b(?:specificity|spec?|tnr|true negative rate)\b"),
        (
            Measure.MATTHEWS,
            None,
            r"\b(?:mcc|matthew'?s?'? (?:phi|corr(?:elation)?(?: coef(?:f?icient)?|\.)?)(?: \(mcc\))?)(?: score)?(?!\w)",
        ),
        (Measure.PRECISION, None, r"\bpos(?:itive)? pred(?:ictive)? value\b"),
        (
            Measure.ACCURACY,
            None,
            r"\baccurac(?:y|ies)\b|(?<!\.)\baccs?\b(?!\.\w)\.?|\b(?:recognition|classification) rate\b"
            r"|\bgenauigkeit\b|\bacur[aá]cia\b|\bexactitude?\b|准确率|正解率",
        ),
        (Measure.PRECISION, Average.MACRO, r"\bm ?precision\b"),
        (Measure.RECALL, Average.MACRO, r"\bm ?recall\b"),
        (Measure.F1, Average.MACRO, r"\bm(?:f1|fscore)\b"),
        (Measure.OTHER, None, r"\b(?:f2|f0\.5|dice|m?dsc|m?dice)\b"),
        (Measure.F1, None, r"\bfb ?1\b|\bf ?1(?: ?(?:scores?|measures?|scr))?\b|\bf ?(?:scores?|measures?)\b"),
        (Measure.PRECISION, None, r"\bpreciss?ions?\b|\bprec\b\.?|\bpre\b\.?|\bppv\b|\bpn\b"),
        (Measure.RECALL, None, r"\brecalls?\b|\brec\b\.?|\brc\b|\bsensitivity\b|\bsens?\b\.?|\btpr\b"),
        (Measure.OTHER, Average.MACRO, r"\bmiou\b"),
        (
            Measure.OTHER,
            None,
            r"\b(?:tp rate|roc area|prc area|iou|jaccard|auc|auroc|roc|(?:log ?)?loss|fnr|geo|iba"
            r"|(?:mean |root |relative )+(?:absolute |squared )+error|m[as]e|rmse|wer|cer|eer)\b",
        ),
    )
)
SAMPLES = re.compile(r"\bsamples? (?:avg|average)\b")  # over images, each with several labels: no mean of classes
AVERAGES: tuple[tuple[Average, re.Pattern[str]], ...] = tuple(
    (average, re.compile(pattern))
    for average, pattern in (
        (
            Average.MACRO,
            r"\bmacro(?: (?:avg\.?|averaged?|mean))?(?!\w)"
            r"|\b(?:mean|average|avg\.?) (?:over|of|across|for|on)(?: all| the| \d{1,5}){0,2} (?:classes|categories)\b"
            r"|\b(?:mean|average|avg\.?) (?:per )?(?:class|category)\b(?:es)?"
            r"|\b(?:mean|average|avg\.?) (?=per (?:class|category)\b)"
            r"|\b(?:class|category) (?:mean|average|avg\b\.?)|\bper class (?:mean|average|avg\b\.?)"
            r"|\b(?:over|across)(?: all| the)*(?: \d{1,5})? (?:classes|categories)\b",
        ),
        (Average.WEIGHTED, r"\b(?:frequency )?weighted(?: (?:avg\.?|averaged?|mean))?(?!\w)|\bw(?:td)?\.? avg\b\.?"),
        (Average.MICRO, r"\bmicro(?: (?:avg\.?|averaged?))?(?!\w)"),
        (
            Average.OVERALL,
            r"\b(?:overall|total|global|in total|gesamt|insgesamt|total[et]|totaal|samlet|i alt)\b"
            r"|\b(?:og[oó][lł]em|yhteensä|toplam|всего|итого|总体|總體|整体|全体|总计|總計|合计|合計|総合|전체|합계)\b"
            r"|\b(?:full|entire|whole|complete) (?:test |validation |data ?)?(?:set|data|dataset)\b",
        ),
        (
            Average.UNNAMED,
            r"\b(?:mean|averaged?|avg|ave)\b\.?|\ball(?: (?:combined|classes|categories|labels))?\b"
            r"|\b(?:mittelwert|durchschnitt|gjennomsnitt|snitt|medel(?:värde)?|gennemsnit|promedio|média|moyenne|gemiddelde"
            r"|średnia|keskiarvo|ortalama|(?:マクロ)?平均值?値?|均值|평균)\b"
            r"|\b\u0441\u0440\u0435\u0434\u043d(?:\u0435\u0435|\u044f\u044f)\b|(?<!\w)(?:\u00f8|\u03bc|x\u0304)(?!\w)",
        ),
    )
)
SETS = {
    "train": re.compile(r"\btrain(?:ing)?\b(?: ?(?:set|split|data(?:set)?|images?))?"),
    "val": re.compile(r"\bval(?:id(?:ation)?)?\b(?: ?(?:set|split|data(?:set)?|images?))?|\bdev(?: set)?\b"),
    "test": re.compile(r"\btest(?:ing)?\b(?: ?(?:set|split|data(?:set)?|images?))?"),
}
PERCENT = re.compile(
    r"[\[(] ?(?:in )?(?:%|percent(?:age)?|pct\.?) ?[\])]|\bin (?:%|percent)|%|\bpercent(?:age)?\b|\bpct\b"
)
BEST = re.compile(r"\b(?:best|highest|max(?:imum)?|peak|final epoch|previous|old)\b")
FILLER = re.compile(
    r"\b(?:the|scores?|values?|results?|per|each|by|for|of|on|in|over|a|is|our|your|model(?:'s)?|final|my|and|set|split|oob|estimate"
    r"|classes|class|class ?wise|categor(?:y|ies)|label|wise|evaluation|eval|rates?|average)\b"
    r"|[↑↓@#:=,.;()\[\]{}/|*→>-]"
)
# PER, persons, is not a filler: `PER f1`, `B-PER precision`, `Per Recall`.
PERSON = re.compile(
    r"\bPER\b(?!.?(?i:class|categor|label|epoch|batch|image|sample|fold))"
    r"|^(?i:per)(?=[ _](?i:precision|recall|f1|f-?score)\b)"
)
# Columns with the number of images of a class.
SIZE = re.compile(
    r"(?:#|no\.?|num(?:ber)?|n|count|total)?(?: ?of)? ?(?:test(?:ing)?|val(?:idation)?|eval(?:uation)?|total|true)? ?"
    r"(?:images?|imgs?|samples?|instances?|examples?|supports?|soporte|suporte|sup"
    r"|gts?|npos|counts?|size|total|n|pixels?|support count|"
    r"ground truths?|objects?|labels|anzahl|nombre|n[uú]mero|quantidade)(?: ?(?:count|size|\(n\)))?"
)
CORRECT = re.compile(
    r"(?:#|no\.?|num(?:ber)?)?(?: ?of)? ?(?:correct(?:ly)?(?: (?:classified|predicted|predictions?))?|hits)"
)
CLASS = re.compile(
    r"(?:the )?(?:class(?:es)?|categor(?:y|ies)|labels?)(?: ?(?:name|label|id|index|no\.?|number|type)s?)?"
    r"|clases?|categor[ií]as?|classes?|classe|kategorien?|klassen?|klasse|класс|类别|類別|分类|クラス|클래스"
    r"|(?:patholog(?:y|ie)|finding|abnormality|disorder|organ|name|type|species|emotion|disease|digit|object|gesture|activity|expression|breed|character|letter|sign"
    r"|land ?cover|crop|genus|variety|diagnosis|lesion|scene|weather|group|item|product|genre)s?"
    r"(?: ?(?:class|name|type|label|category))?|(?:\w{1,20} )?(?:class(?:es)?|categor(?:y|ies)|type|label)s?(?: name)?"
)
NETWORK = re.compile(
    r".{0,40}\b(?:models?|methods?|networks?|nets?|backbones?|approach(?:es)?|classifiers?|algorithms?|architectures?"
    r"|experiments?|runs?|config(?:uration)?s?|settings?|seeds?|folds?|epochs?|data ?sets?|splits?|sets?|optimizers?|lr"
    r"|variants?|detectors?|systems?|teams?|authors?|papers?|works?|references?|years?|versions?|strategy|stage|phase"
    r"|iterations?|steps?|partition|subset|trials?|features?|parameters?|thresholds?|prompts?)\b.{0,20}"
)
# Names that are networks and no classes: "ResNet-50 accuracy".
NETWORK_NAME = re.compile(
    r".{0,20}\b(?:(?:se-?)?resne?x?t|wrn|wide|vgg|densenet|mobilenet|efficientnet|inception|alexnet|googlenet|lenet|vit|swin"
    r"|deit|convnext|xception|nasnet|squeezenet|shufflenet|cnn|rcnn|r-cnn|dnn|mlp|rnn|lstm|gru|bert|roberta|gpt|clip|yolo"
    r"|ssd|retinanet|fcos|detr|unet|u-net|deeplab|fcn|pspnet|segformer|svm|svc|knn|k-nn|random forest|decision tree"
    r"|logistic|regression|naive bayes|xgboost|lightgbm|catboost|gbm|adaboost|mlp|ann|ensemble|baseline|ours|proposed"
    r"|model|network|classifier|adam|sgd|rmsprop|human|sota|state of the art)"
    r"(?:[-_ ]?v?\d.{0,20}|[-_ ].{0,30}|\b.{0,3})",
    re.IGNORECASE,
)
MARKS = re.compile(
    r"\*\*|__|`|~~|\\textbf|\\emph|</?\w{1,10}[^<>]{0,200}>|<br ?/?>|!?\[(?=[^\[\]]{0,200}\]\()|\]\([^()\s]{0,300}\)"
)
# Pictures beside words; arrows and dashes are not among them.
SYMBOLS = re.compile(r"[\u2600-\u27bf\ufe0f\u200d\U0001f000-\U0001faff]")
# scikit-learn's argument: `Recall (average='macro')`.
ARGUMENT = re.compile(r"\baverage ?= ?['\"](\w{5,8})['\"]")
# Markdown's single stars and underscores around a whole text.
AROUND = re.compile(r"^[*_]{1,3}(.{1,200}?)[*_]{1,3}$")
SPREADS = re.compile(
    r"(?:std\.?|sd|standard dev(?:iation)?|st\.? ?dev\.?|min(?:imum)?|max(?:imum)?|median|variance|range|gap"
    r"|(?:harmonic|geometric) mean|[hg]-?mean|(?:mean|avg\.?|average) rank|sota|state of the art|previous best"
    r"|chance|random(?: (?:baseline|guess(?:ing)?|chance))?|majority|baseline|confidence|95 ?% ci|p-?value"
    r"|(?:number|no\.?|count|#) (?:of )?(?:classes|categories)"
    r"|\u03c3|Δ|delta|diff(?:erence)?|gain|improvement|change)(?: .{0,20})?"
    r"|best(?: (?:class|value|category))?|worst(?: (?:class|value|category))?"
)
# Names in `Accuracy of ...` that are not classes.
NO_CLASS = re.compile(
    r"(?:random|chance|majority|human|baseline|target|required?|threshold|exact match|subset)\b.*"
    r"|.*\b(?:guess(?:ing)?|baseline)"
)
# Names at the end of a list that are not classes.
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


@dataclass(frozen=True, kw_only=True)
class Heading:
    """Meaning of a heading or label; its remaining words, `rest`, may name a class or a network."""

    text: str
    measure: Measure | None
    average: Average | None
    image_set: str | None
    percent: bool
    threshold: str  # 50 of AP50: columns of one measure with several thresholds are several tables
    samples: bool  # the average over samples of multi-label reports
    rest: str

    @property
    def summary(self) -> bool:
        """True if the words name an average over classes or samples, and no words remain that could name a class."""
        return not self.rest and (self.average is not None or self.samples)


def strip_marks(text: str) -> str:
    """Return the text without Markdown and HTML markup, with single spaces."""
    plain = MARKS.sub(" ", text[:2000])
    plain = " ".join(plain.replace("\u00a0", " ").split()).strip()
    around = AROUND.match(plain)
    return (around[1] if around else plain).strip()


@lru_cache(maxsize=REMEMBERED)
def heading(text: str) -> Heading:
    """Return the metric, average, image set and remaining name that a heading or label states."""
    text = strip_marks(text)[:LONGEST]
    lowered = re.sub(r"[_\u2013—-]", " ", text.lower())
    lowered = SYMBOLS.sub(" ", lowered)
    # Some letters become two characters in lower case, but the rest is cut out of the text by position.
    lowered = lowered if len(lowered) == len(text) else "".join(c.lower()[:1] or " " for c in text)
    lowered = ARGUMENT.sub(lambda match: match[1].rjust(len(match[0])), lowered)
    percent, lowered = _take_out(PERCENT, lowered)
    samples, lowered = _take_out(SAMPLES, lowered)
    measure, average, threshold, lowered = _measure(lowered)
    if PIPELINE.fullmatch(text):
        measure, average, lowered = Measure.OTHER, None, ""
    for each, pattern in AVERAGES:
        hit, lowered = _take_out(pattern, lowered)
        # `weighted mAP` is not a plain mean.
        average = each if hit and each in (Average.WEIGHTED, Average.MICRO) else average
        # `avg / total` is sklearn's weighted mean, and anything elsewhere.
        mixed = hit and each is Average.UNNAMED and average is Average.OVERALL and measure is None
        average = each if mixed else average or (each if hit else None)
    image_set = None
    for name, pattern in SETS.items():
        hit, lowered = _take_out(pattern, lowered)
        image_set = image_set or (name if hit else None)
    left = FILLER.sub(lambda match: " " * len(match[0]), lowered)
    for person in PERSON.finditer(text if len(left) == len(text) else ""):
        left = left[: person.start()] + person[0] + left[person.end() :]
    return Heading(
        text=text,
        measure=measure,
        average=average,
        image_set=image_set,
        percent=percent,
        threshold=threshold,
        samples=samples,
        rest=_rest(text, left),
    )


def _measure(lowered: str) -> tuple[Measure | None, Average | None, str, str]:
    """Return the metric that a label names, its average type, its threshold, and the rest of the label.

    The average type is the one that the metric's name implies, as in `mAP` or `OA`; None if it implies none.
    The threshold is the IoU threshold of an average precision. For a metric of type OTHER it is the metric's
    name instead, and otherwise it is empty. The metric is None if the label names none.
    """
    whole = " ".join(FILLER.sub(" ", lowered).split())
    if whole in LETTERS:
        return LETTERS[whole], None, "", " " * len(lowered)
    for measure, average, pattern in (*TEXT_SCORES, *MEASURES):
        match = pattern.search(lowered)
        if match:
            threshold = _threshold(match[0]) if measure is Measure.AVERAGE_PRECISION else ""
            left = lowered[: match.start()] + " " * len(match[0]) + lowered[match.end() :]
            if measure is not Measure.AVERAGE_PRECISION:
                _, left = _take_out(pattern, left)  # Accuracy (eval-accuracy)
            if measure is Measure.OTHER:
                threshold = match[0].strip()
            return measure, average, threshold, left
    return None, None, "", lowered


def _rest(text: str, left: str) -> str:
    """Return the part of `text` from its first to its last unrecognised word.

    `left` is a copy of `text` in which all recognised words are blanked out. If the part has an open bracket, it
    is extended to the closing one.
    """
    words = [match.span() for match in re.finditer(r"\S+", left)]
    rest = text[words[0][0] : words[-1][1]].strip() if words else ""
    if rest.count("(") > rest.count(")"):
        rest += text[words[-1][1] :].partition(")")[0] + ")"
    return rest


def _threshold(text: str) -> str:
    """Return the IoU threshold that a metric's name contains, in percent.

    It is "50" for `AP50`, `mAP@.5` and `mAP@0.50`, and "50:95" for `mAP50-95`.
    """
    numbers = re.findall(r"\d*\.?\d+", text)
    return ":".join(str(round(100 * float(number))) if "." in number else number for number in numbers)


def _take_out(pattern: re.Pattern[str], text: str) -> tuple[bool, str]:
    """Return whether the pattern occurs, and the text with each occurrence replaced by spaces."""
    replaced, hits = pattern.subn(lambda match: " " * len(match[0]), text)
    return bool(hits), replaced
