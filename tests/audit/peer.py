"""Reports checked by the package mlscorecheck for comparison, each class one-vs-rest with known sizes."""

from __future__ import annotations

import logging
from collections import defaultdict

from mlscorecheck.check.binary import check_1_testset_no_kfold

from tests.audit.reports import Report, decimals_of, is_percent, number

SCORES = {"accuracy": "sens", "recall": "sens", "precision": "ppv", "f1": "f1p", "f1-score": "f1p"}


def rejects(report: Report) -> bool | None:
    """Return True if mlscorecheck finds some class's scores inconsistent, or None if it can check no class.

    Class accuracy is the sensitivity of the class against the rest. Its uncertainty is half a unit of the last
    printed decimal, as mlscorecheck's documentation asks for rounded scores.
    """
    logging.getLogger("mlscorecheck").setLevel(logging.ERROR)
    rows: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
    for cell in report.of_role("class"):
        column = SCORES.get(cell.column.lower().removesuffix(" (%)"))
        if column and cell.row in report.sizes:
            scale = 100 if is_percent(cell.text) else 1
            unit = 10.0 ** -decimals_of(cell.text) / scale
            rows[cell.row][column] = (number(cell.text) / scale, unit / 2)
    total = sum(report.sizes.values())
    answers = [_row_rejected(report.sizes[name], total, scores) for name, scores in rows.items()]
    return any(answers) if answers else None


def _row_rejected(size: int, total: int, scores: dict[str, tuple[float, float]]) -> bool:
    result = check_1_testset_no_kfold(
        testset={"p": size, "n": total - size},
        scores={name: value for name, (value, _) in scores.items()},
        eps={name: half for name, (_, half) in scores.items()},
    )
    return bool(result["inconsistency"])
