"""Random generators: each depends only on a seed and names, and draws NumPy's numbers."""

import numpy as np

from in4310repro.system.numerics import generator_for


def test_a_generator_depends_on_the_seed_and_every_name() -> None:
    def draw(*words: int | str) -> float:
        return float(generator_for(int(words[0]), *words[1:]).random())

    assert draw(0, "epoch", 1, "a") == draw(0, "epoch", 1, "a")
    assert (
        len({draw(0, "epoch", 1, "a"), draw(1, "epoch", 1, "a"), draw(0, "epoch", 2, "a"), draw(0, "epoch", 1, "b")})
        == 4
    )


def test_a_generator_is_numpys_pcg64() -> None:
    oracle = np.random.Generator(np.random.PCG64(np.random.SeedSequence([3, 7]))).random()
    assert generator_for(3, 7).random() == oracle
