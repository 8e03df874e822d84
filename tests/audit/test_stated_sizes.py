"""A sentence that states the size of all classes."""

from __future__ import annotations

import pytest

from in4310repro.audit.examine import audit
from in4310repro.audit.verdicts import Rank

TABLE = """
| class | accuracy |
|---|---|
| sea | 92.00 % |
| street | {wrong} % |
| forest | 98.00 % |
| ice | 90.00 % |
| town | 94.00 % |
| hill | 96.00 % |
"""
SENTENCES = (
    "300 images, 50 of each class.",
    "We test on 300 images (50 per class).",
    "There are 50 images per class, 300 in total.",
    "Each class has 50 test images.",
    "The test set holds 6 classes with 50 images each.",
    "Tested on 300 images, 50 images for each of the 6 classes.",
    "The 300 test images are evenly distributed over the classes.",
    "Evaluated on 6 x 50 images.",
    "A balanced set of 300 images.",
)


@pytest.mark.parametrize("place", ["{sentence}\n{table}", "{table}\n{sentence}\n"], ids=["above", "below"])
@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_share_of_no_whole_images_is_found_where_a_sentence_says_the_sizes(sentence: str, place: str) -> None:
    wrong = audit(place.format(sentence=sentence, table=TABLE.format(wrong="93.00")), power=False)
    assert [(finding.kind, finding.rank) for finding in wrong.findings] == [("count", Rank.AS_READ)]
    right = audit(place.format(sentence=sentence, table=TABLE.format(wrong="88.00")), power=False)
    assert right.findings == ()


@pytest.mark.parametrize(
    "sentence",
    [
        "Trained on 300 images, 50 of each class.",
        "We augment to 50 images per class.",
        "At least 50 images per class were collected.",
        "900 images, 150 of each class.",  # most values are no shares of 150... of 50 they are
        "450 test images, 150 of each class.",  # most values are no shares of 150
        "50 images per class. In another study: 40 images per class.",
        "There are 50 images.",
    ],
)
def test_other_sizes_accuse_nobody(sentence: str) -> None:
    values = "| sea | 92.31 % |\n| street | 93.07 % |\n| forest | 98.02 % |\n"
    text = f"{sentence}\n\n| class | accuracy |\n|---|---|\n{values}"
    assert [f for f in audit(text, power=False).findings if f.rank is Rank.AS_READ] == []


def test_one_image_per_class_is_no_size() -> None:
    table = "| class | accuracy |\n|---|---|\n| sea | 100 % |\n| town | 100 % |\n| wood | 50 % |\n"
    assert audit(f"The figure shows 1 image per class.\n\n{table}", power=False).findings == ()


def test_whole_percentages_of_a_part_of_the_images_are_a_condition() -> None:
    table = TABLE.format(wrong="93").replace(".00", "")
    found = audit(f"Our data: 50 images per class, a fifth of each split is used.\n{table}", power=False).findings
    assert [finding.rank for finding in found] == [Rank.UNLESS]
    assert any("are those of other images" in text for text in found[0].conditions)


def test_a_share_that_floats_cut_off_to_the_percentage_below_is_one_of_the_images() -> None:
    assert int(29 / 50 * 100) == 57
    text = (
        "The test set has 50 images per class.\n\n| class | accuracy |\n|---|---|\n| sea | 57 % |\n| town | 93.07 % |\n"
    )
    assert "93.07 %" in [finding.values[0].printed.text for finding in audit(text, power=False).findings]
