"""Recognise lines and numbers by their context: titles, training logs and comments; numbers that are not results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from in4310repro.audit.document import Measure
from in4310repro.audit.readers.numbers import ALIKE
from in4310repro.audit.readers.words import heading, strip_marks

ABOVE = 6  # lines in which a title is looked for
CAPTION = re.compile(r"(?:figure|fig\.|table|tab\.)\s+[\dIVXLA-Z.]{1,6}\s*[.:]", re.IGNORECASE)
# Signs of a title, in contrast to a sentence: `### ...`, `**...**`, a colon at its end, `Table 3: ...`.
TITLE = re.compile(r"\s*(?:#{1,6}\s.*|\*\*.*\*\*:?|__.*__:?|.*:\s*-?|=+ .* =+|[-*] .*:|<h\d>.*|`[^`]*`)\s*")
VALUE = re.compile(r"[:=] ?\**[\d.,]+ ?%?(?: \(.*\))?\**\W*$")  # a line with a value is a result and no title
# A row of another table: `[1, 2],`, `sea  0.83`, `sea,0.83,100`, `sea 0.83 100`.
ROW = re.compile(r"^\[[^a-zA-Z]*$|^\d+\.\d{2,} [A-Z]|(?:(?:\s{2,}|\t|[,;]\s?)[\d.,]+|\s[\d.,]+ ?%?\s+[\d.,]+) ?%?$")
# Words above the columns of a confusion matrix.
AXIS = re.compile(
    r"(?:reference|actual|truth|true|predicted|prediction|observed)(?: (?:class|label|value)s?)?", re.IGNORECASE
)
LONGEST = 160
# `Epoch 3`, `Epoch=0`, `[3, 2000]`, `782/782 [01:18<00:00, 9.99it/s]`, `63/63 - 2s 31ms/step`.
RUNNING = re.compile(
    r"\b(?:epochs?|iter(?:ation)?s?|steps?|batch(?:es|_id|_idx)?) ?[:=\[(#]{0,2} ?\d|\d/\d{1,9} ?\[|\dit/s"
    r"|s/it\b|\d ?m?s/step"
    r"|\beta ?[:=]|\blr ?[:=]|^\[ ?\d{1,5}, ? {0,8}\d{1,9}\]|\bval_(?:loss|acc(?:uracy)?) ?:"
    r"|\bepoch ?\(|\b(?:improved|increased|decreased|not improve)\b",
    re.IGNORECASE,
)
LOSS = re.compile(r"\bloss\b", re.IGNORECASE)
DIGIT = re.compile(r"\d")
REPEATED = 3  # so many lines with a loss are a log, fewer a final evaluation
LINE = 2000  # characters: what is longer is data and no line that somebody reads
MARK = re.compile(r"(\s{0,12})(#+>?|//+|%+|--|\[[a-z]{2,12}\](?=\s|$))(?=\s|$|\w|\[)")
FEWEST = 3  # lines in a row with one mark: headings of Markdown are alone
SHARE = 2  # at least one in so many lines must have a number: comments in prose stay as they are
WORDS = {
    word: n for n, word in enumerate(("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), start=2)
}
NUMBER = rf"(?P<n>\d{{1,3}}|{'|'.join(WORDS)})"
FOLDS = re.compile(
    rf"\b{NUMBER}[- ]?folds?\b|\bk ?= ?(?P<k>\d{{1,3}}) ?folds?|^folds = (?P<folds>\d{{1,3}})$"
    rf"|\bover (?:the )?(?P<over>\d{{1,3}}|{'|'.join(WORDS)}) (?:random |different |independent )?"
    r"(?:runs|seeds|trials|repetitions)"
    rf"|\b(?:mean|averaged?|std|median)\b.{{0,30}} (?:over|of|across|from) (?:the |all )?"
    rf"(?P<m>\d{{1,3}}|{'|'.join(WORDS)}) (?:\w+ )?(?:folds|runs|seeds|trials|repetitions|splits)",
    re.IGNORECASE,
)
NUMBERED_FOLD = re.compile(r"[\W_]*fold[ _#:-]{0,2}(\d{1,3})\b", re.IGNORECASE)  # one line for each fold


def find_title(lines: Sequence[str], first: int, end: int) -> str:
    """Return the title above or below the lines from index `first` to `end` (exclusive); "" if there is none."""
    for line in lines[end : end + 2]:
        if CAPTION.match(strip_marks(line)[:LONGEST]):
            return strip_marks(line)[:LONGEST]
    blanks = 0
    for line in reversed(lines[max(0, first - ABOVE) : first]):
        text = line.strip()[:LINE]
        if not re.search(r"\w", text) or AXIS.fullmatch(text):
            blanks += 1
            continue
        if "|" in text or "&" in text or VALUE.search(text) or ROW.search(text):
            return ""
        plain = strip_marks(re.sub(r"^[#>\s*-]+(?=\s)", "", text)).strip("=:- #*")
        if len(text) <= LONGEST and (TITLE.fullmatch(text) or CAPTION.match(plain) or (blanks < 2 and len(text) < 70)):
            return plain
        return plain[:LONGEST] if CAPTION.match(plain) else ""
    return ""


def find_running(lines: Sequence[str]) -> frozenset[int]:
    """Return the 1-based numbers of the lines that look like output of a training log or a progress bar."""
    short = [line[:LINE] for line in lines]
    found = {number for number, line in enumerate(short, start=1) if RUNNING.search(line) and DIGIT.search(line)}
    losses = {number for number, line in enumerate(short, start=1) if LOSS.search(line) and DIGIT.search(line)}
    return frozenset(found | (losses if len(losses) >= REPEATED else set()))


def blank_comment_marks(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the lines with comment marks replaced by spaces, so that all text keeps its line and column."""
    plain: list[str] = []
    for mark, run in groupby(lines, _mark):
        block = list(run)
        numbers = sum(any(map(str.isdigit, line)) for line in block)
        if mark and len(block) >= FEWEST and SHARE * numbers >= len(block) - 2:
            block = [MARK.sub(lambda found: " " * len(found[0]), line, count=1) for line in block]
        plain += block
    return tuple(plain)


def _mark(line: str) -> str:
    found = MARK.match(line[:40])
    return found[2] if found else ""


def find_folds(lines: Sequence[str]) -> int | None:
    """Return the number of folds, runs or seeds that the text mentions; None if it mentions none."""
    for line in lines:
        match = FOLDS.search(line[:LINE])
        if match:
            given = next(filter(None, match.groupdict().values())).lower()
            return WORDS.get(given) or int(given)
    numbered = [int(match[1]) for line in lines if (match := NUMBERED_FOLD.match(line[:LINE]))]
    return max(numbered) + (min(numbered) == 0) if len(set(numbered)) > 1 else None


# Signs that a line is code or markup, whatever numbers it contains.
CODE = re.compile(
    r"^\s*(?:from \w[\w.]* import|import \w|def \w+\(|class \w+[(:]|return\b|for \w+(?:, ?\w+)* in |@\w+|elif |else:"
    r"|(?:if|while|with) .{1,200}:$|>>>|\$ |%\w+ |!\w+ |#include|library\(|\w+ ?<- ?\w|print(?:ln|f)?\()"
    r"|\w\([^()]{0,200}[=\"'][^()]{0,200}\)|\w\.\w{1,40}\([^()]{0,200}\)|^[\s)\]},;]*[)\]}][\s)\]},;]*$"
    r"|^\s*[\w.\[\]\"']{1,60} ?(?:[-+*/]?=) ?[\w.]{1,40}[(\[]"
    r"|(?:^|\s)--?[a-zA-Z][\w-]*[= ]\S|\bpython3? \S+\.py\b|\bpip3? install\b"
)
KEY = re.compile(r"\s*[\"'][^\"']{1,80}[\"']\s*:\s*[{\[]?\s*")  # of an object within another
OPTION = re.compile(
    r"^\s*:(?:header-rows|stub-columns|widths?|header|align|class|name|delim|file|figwidth|scale|height): "
)
STYLE = r"^\s*[a-z][a-z-]{2,30}: [^:;{}]{1,80};\s*$"  # of a page: margin: 0 auto;
MARKUP = re.compile(
    rf"{STYLE}|"
    rf"{OPTION.pattern}|^\s*\.\. [\w-]+::|^\s*(?:<[^<>]{{1,500}}>\s*)+$|^\s*\\(?!textbf|item)\w+\b"
    r"|^\s*!\[|^\s*\[[^\W\d]"
)


def _words(text: str) -> str:
    return f"(?:{'|'.join(text.split())})"


UNITS = _words(
    "ms s secs? seconds? min mins minutes? h hrs? hours? days? weeks? months? years? [KMGT]i?B bytes? fps it/s Hz"
    " [GM]?FLOPs? [GM]?MACs? px pixels? mm cm W params parameters k M B cores? GPUs? CPUs?"
)
# Words before a number that make it a setting, or a place in a list.
SETTINGS = _words(
    r"epochs? iter(?:ation)?s? steps? batch(?:[\s_-]?size)? lr learning[\s_-]?rate seed random[\s_-]?state momentum"
    r" dropout weight[\s_-]?decay alpha beta\d? gamma lambda eps(?:ilon)? thresholds? k n c [cn]_\w+ max_\w+ min_\w+"
    r" num_\w+ size width height depth layers? units? filters? kernel stride padding input line lines folds? runs? part"
    r" step stage phase section chapter figure fig\.? table tab\.? eq\.? page pp?\.? task week day lesson lab homework"
    r" exercise question issue pr class(?:es)? label no\.? number port workers? patience top vocab(?:ulary)?"
    " parameters? params"
)
THINGS = _words(
    "epochs? iterations? steps? batches classes categories labels? images? samples? examples? instances? rows columns"
    " features? attributes files? folders? tokens? words sentences documents? phrases entities layers? neurons units"
    " filters folds? runs? seeds? trees neighbou?rs models? networks? users? people persons? patients subjects species"
    " languages points times degrees dimensions? dims? bits? channels objects boxes pages records entries observations"
    " gradients non-null variables reviews tweets emails messages participants frames videos years? datasets? groups"
    " pixels values questions positives? negatives?"
)
PROGRAMS = _words(
    r"v version python torch pytorch tensorflow keras cuda sklearn scikit-learn numpy ubuntu weka java apache spark"
    r" dl4j license gpl cc[\s-]by(?:-\w+)*"
)
FILES = _words("py ipynb csv txt pth? png jpe?g json ya?ml h5 pkl zip tar gz pdf md onnx ckpt bin npz?")
MONTHS = rf"{_words('jan feb mar apr may jun jul aug sep oct nov dec')}[a-z]*"
# Endings of the names of settings that programs print: train_batch_size: 8, eval_runtime: 25.6.
SETTING_NAMES = _words(
    "flos samples size steps? rate decay dropout ratio runtime seconds? per_second seed epochs weight beta\\d? epsilon"
    " length dim workers layers heads prob probability norm"
)
COUNT = r"\d[\d,.' _]{0,18}[kKmMB]?"
# Each is removed from the line; if no digit is left, the line is context of the first kind that was removed.
KINDS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        ("link or file", rf"\bhttps?://\S+|\bwww\.\S+|\S*[/\\]\S*\.\w{{1,6}}\b|\b[\w-]+\.{FILES}\b|\S+@\S+\.\w+"),
        ("link or file", r"\barxiv:? ?\d{4}\.\d{4,5}|\b10\.\d{4,5}/\S+"),
        ("link or file", r"\b[\w.]*[a-z_][\w.]*:\d+(?= - )"),
        ("date or time", r"\b\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:[T _]\d{1,2}[:-]\d{2}(?:[:-]\d{2}(?:[.,]\d+)?)?Z?)?"),
        (
            "date or time",
            r"\b\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}\b(?! ?%)|\b\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[ap]m)?\b",
        ),
        ("date or time", rf"\b{MONTHS} \d{{1,2}}(?:st|nd|rd|th)?,?(?: \d{{4}})?\b"),
        ("date or time", rf"\b\d{{1,2}}(?:st|nd|rd|th)? {MONTHS}(?: \d{{4}})?\b"),
        ("date or time", r"(?<![\d.,])(?:19|20)\d{2}(?![\d.,%])|(?<![\d.,])(?:19|20)\d{2}(?=[.,]?(?:\s|$|\)))"),
        ("version", rf"\b{PROGRAMS}[ =:v-]{{0,3}}\d+(?:\.\d+)*\b|(?:[=<>~!]=|[<>^]) ?\d+(?:\.\d+)+"),
        ("version", r"\bv?\d+\.\d+\.\d+(?:[.\w-]*)\b"),
        ("duration or size", rf"{COUNT} ?{UNITS}(?:/\w+)?\b|\b\d+ ?[x\u00d7*] ?\d+(?: ?[x\u00d7*] ?\d+)*\b"),
        ("running value", r"\b\d+it \[[^\]]*\]"),
        ("running value", r"\b\d{1,9} ?/ ?\d{1,9} ?(?=\[)|\bepochs? ?[\[(#:]* ?\d+(?: ?/ ?\d+)?"),
        ("count", rf"(?<![\d.,%]){COUNT}\+? (?:\w+[ -]){{0,2}}{THINGS}\b|\b(?:one|two) of \d+\b|\bn ?= ?{COUNT}"),
        ("count", rf"\b(?:#|number|no\.?|total|count) (?:of )?(?:\w+:? ){{0,6}}[:=]? ?{COUNT}(?![\d.,%])"),
        ("count", rf"\b{THINGS}(?: (?:\w+ )?(?:\w+))?\W{{0,4}}[:=]\W{{0,4}}{COUNT}(?![\d.,%])"),
        ("count", r"\b\w+_count\w* ?[:=] ?\d+(?![\d.,%])"),
        ("count", r"\(\d+(?:, ?\d+)*,?\)"),
        ("setting", rf"\b{SETTINGS}\b\W{{0,4}}(?:[:=(#]|is|of|to|at|->)?\W{{0,3}}[-+]?\d[\d.,e+-]*(?![\d%])"),
        ("setting", r"\bbetas ?= ?\([^()]{1,40}\)"),
        ("setting", rf"\b\w+_{SETTING_NAMES}\b[\"']?\W{{1,4}}[-+]?\d[\d.e+-]*(?![\d%])"),
        ("link or file", r"(?<![\w.])(?=[0-9a-f]*[a-f])[0-9a-f]{20,64}\b"),
        ("setting", r"@ ?\[?\d[\d.:]*\]?|\b(?:when|where|with|for|at) \w+ ?= ?-?\d[\d.e-]*"),
        (
            "numbering",
            r"^\W{0,8}\d{1,3}(?:\.\d{1,3}){0,3}[.):]?(?=\s|$)(?=\W*[^\W\d])|\[\d{1,3}\](?=[:\s]|$)|\(\d{1,2}\)",
        ),
        ("numbering", r"\b(?:In|Out) ?\[\d*\]:?|#\d+\b"),
        ("name", r"[^\W\d][\w+]*[-_.]?\d+(?:[-_.]?\w+)*(?<![.,])|\b\d+(?:st|nd|rd|th|D|d|x|-\w+)\b"),
    )
)
# Statistics at the start of a line that no check uses.
OTHER = re.compile(
    # spaCy's output beside the scores of entities.
    r"^\W*(?-i:TOK|TAG|POS|MORPH|LEMMA|UAS|LAS|SPEED|Words(?:/s)?|Textcat|TEXTCAT|SENT [PRF])(?: {2,}|\t)\d[\d.]*$"
    r"|\bAverage (?:Precision|Recall) +\(A[PR]\) @ ?\["
    r"|^\W*(?:token_acc|tag_acc|pos_acc|morph_acc|lemma_acc|dep_[ul]as|sents_[prf]|speed|tok2vec_loss|ner_loss)\W{1,4}[\d.]+\W*$"
    r"|^\W*(?:\d\d ?% (?:ci|conf)|no information rate|prevalence|detection (?:rate|prevalence)"
    r"|p-?value|mcnemar|confidence interval|std\b|standard deviation"
    r"|(?:null|residual) deviance|aic\b|log ?-?likelihood|reliability|coverage of cases|mean rel|total cost"
    r"|average cost|k&b|class complexity|f-?beta|gmeasure|perplexity|(?:train|val|test|valid)?\w*[ _]?loss\b)",
    re.IGNORECASE,
)
# Headings of columns that hold no results.
NO_RESULT = re.compile(
    rf"(?:\w+ ){{0,2}}(?:{SETTINGS}|{THINGS}|{UNITS}|time|duration|latency|speed|params|memory|index|id|#|year|date)"
    rf"(?: ?[(\[].{{1,12}}[)\]])?",
    re.IGNORECASE,
)
LABEL = re.compile(r"[|:=\t]| {2,}")  # what ends the label of a line


def is_setting(name: str) -> bool:
    """Return whether a heading or label names a hyperparameter, a duration, a size or a number of objects."""
    return NO_RESULT.fullmatch(" ".join(re.sub(r"[_-]", " ", name).split())) is not None


def classify_context(line: str) -> str:
    """Return the reason why a line contains no result, such as "code" or "markup".

    The reason is an empty string if some number of the line may be a result.
    """
    if len(line) > LINE:
        return ""
    if CODE.search(line):
        return "code"
    if KEY.fullmatch(line):
        return "name"
    if MARKUP.search(line):
        return "markup"
    first = heading(LABEL.split(line.strip(" |*-"), maxsplit=1)[0])
    if OTHER.search(line) or (first.measure is Measure.OTHER and not first.rest):
        return "measure that no check uses"
    text, kinds = _remove(line)
    return kinds[0] if kinds and not DIGIT.search(text) else ""


def remove_context(line: str) -> str:
    """Return the line without numbers that are not results, such as dates and hyperparameters."""
    return _remove(line)[0]


def _remove(line: str) -> tuple[str, list[str]]:
    text, kinds = " ".join(line.translate(ALIKE).split()), []
    for kind, pattern in KINDS:
        text, hits = pattern.subn(" ", text)
        kinds += [kind] * bool(hits)
    return text, kinds
