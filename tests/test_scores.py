"""Scores: the images at both ends of a ranking, and metrics that need what a file does not hold."""

import pytest

from in4310repro.deviations import Deviation
from in4310repro.scores import top_and_bottom
from tests.builders import made_up_scores


def test_top_and_bottom_by_sorting() -> None:
    scores = made_up_scores()
    oracle = sorted(zip(scores.softmax[:, 2].tolist(), scores.paths, strict=True), reverse=True)
    ends = top_and_bottom(scores, 2)
    assert [(image["score"], image["path"]) for image in ends["top"]] == oracle[:10]
    assert [(image["score"], image["path"]) for image in ends["bottom"]] == oracle[::-1][:10]
    assert ends["top"][0]["label"] == scores.labels[scores.paths.index(ends["top"][0]["path"])]


def test_average_precision_of_logits_is_refused_where_none_were_kept() -> None:
    with pytest.raises(ValueError, match="have no logits; predict again"):
        made_up_scores().metrics(frozenset({Deviation.AP_FROM_LOGITS}))
