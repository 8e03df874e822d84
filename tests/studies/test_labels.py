"""The share of wrong labels, estimated from a judged sample: cases made by hand."""

import pytest

from studies.labels import draw_sample, study

PATHS = [f"{name}/{number}.jpg" for name in ("sea", "street") for number in range(200)]
SOME = {path for path in PATHS if path.endswith("7.jpg")} | {"sea/elsewhere.jpg"}
LABELS = {f"{number}": "sea" if number < 60 else "forest" for number in range(100)}
DOUBTED = {f"{number}" for number in range(10)}


def test_as_many_doubted_as_undoubted_images_are_drawn_and_mixed() -> None:
    chosen = draw_sample(PATHS, SOME, seed=0, each=20)
    assert len(set(chosen)) == 40
    assert set(chosen) <= set(PATHS)
    doubted = [path in SOME for path in chosen]
    assert sum(doubted) == 20
    # Neither stands first, nor do they take turns.
    assert 5 < sum(doubted[:20]) < 15
    assert doubted not in ([True, False] * 20, [False, True] * 20)


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_the_paths() -> None:
    assert (
        draw_sample(PATHS[::-1], SOME, seed=3) == draw_sample(PATHS, SOME, seed=3) != draw_sample(PATHS, SOME, seed=4)
    )


def test_a_kind_with_fewer_images_is_taken_whole() -> None:
    assert set(draw_sample(PATHS, {"sea/1.jpg"}, seed=0, each=5)) >= {"sea/1.jpg"}
    assert len(draw_sample(PATHS, {"sea/1.jpg"}, seed=0, each=5)) == 6
    # By default 100 of each kind.
    assert len(draw_sample(PATHS, SOME, seed=0)) == 40 + 100


def test_shares_are_weighted_by_how_many_images_there_are_of_either_kind() -> None:
    said = {
        path: ["forest"] if path in ("0", "1", "2", "20") else ["sea", "mountain"]
        for path in ("0", "1", "2", "3", "20", "21")
    }
    found = study(LABELS, DOUBTED, said)
    # By hand: 3 of 4 of the 10 doubted, 1 of 2 of the 90 others.
    assert found.share == pytest.approx((10 * 3 / 4 + 90 * 1 / 2) / 100)
    # Without the weights it is another number.
    assert found.share != pytest.approx(4 / 6)
    assert (found.doubted.wrong, found.undoubted.wrong) == (["0", "1", "2"], ["20"])
    assert (found.doubted.open, found.undoubted.open) == (["3"], ["21"])


def test_a_kind_that_was_judged_whole_adds_nothing_to_the_interval() -> None:
    said = {path: ["sea"] for path in DOUBTED} | {"20": ["sea"], "30": ["forest"]}
    found = study(LABELS, DOUBTED, said)
    assert found.doubted.interval == [0.0, 0.0]
    low, high = found.undoubted.interval
    # Wilson's interval of 1 of 2, by its formula.
    z, n, p = 1.959963984540054, 2, 0.5
    middle, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    assert [low, high] == pytest.approx([(middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)])
    assert found.interval == pytest.approx([0.9 * low, 0.9 * high])


def test_an_image_of_another_set_and_a_kind_of_which_none_was_judged_are_refused() -> None:
    with pytest.raises(ValueError, match="elsewhere was judged, which is none of the 100 images"):
        study(LABELS, DOUBTED, {"elsewhere": ["sea"]})
    with pytest.raises(ValueError, match="no image without a doubtful label was judged, of 90; at least 1 is needed"):
        study(LABELS, DOUBTED, {"0": ["sea"]})


def test_a_label_that_is_the_only_class_said_is_neither_wrong_nor_open() -> None:
    found = study({"a": "sea", "b": "sea"}, {"a"}, {"a": ["sea"], "b": ["sea", "forest"]})
    assert (found.doubted.wrong, found.doubted.open, found.undoubted.open) == ([], [], ["b"])
