"""The images of a study: as many of both kinds, mixed, by the seed."""

from in4310repro.doubts.study import drawn

PATHS = [f"{name}/{number}.jpg" for name in ("sea", "street") for number in range(200)]
DOUBTED = {path for path in PATHS if path.endswith("7.jpg")} | {"sea/elsewhere.jpg"}


def test_as_many_doubted_as_undoubted_images_are_drawn_and_mixed() -> None:
    chosen = drawn(PATHS, DOUBTED, seed=0, each=20)
    assert len(set(chosen)) == 40
    assert set(chosen) <= set(PATHS)
    doubted = [path in DOUBTED for path in chosen]
    assert sum(doubted) == 20
    # Neither stands first, nor do they take turns.
    assert 5 < sum(doubted[:20]) < 15
    assert doubted not in ([True, False] * 20, [False, True] * 20)


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_the_paths() -> None:
    assert drawn(PATHS[::-1], DOUBTED, seed=3) == drawn(PATHS, DOUBTED, seed=3) != drawn(PATHS, DOUBTED, seed=4)


def test_a_kind_with_fewer_images_is_taken_whole() -> None:
    assert set(drawn(PATHS, {"sea/1.jpg"}, seed=0, each=5)) >= {"sea/1.jpg"}
    assert len(drawn(PATHS, {"sea/1.jpg"}, seed=0, each=5)) == 6
