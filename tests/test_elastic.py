"""A training that continues with another number of processes after a loss keeps its bits."""

from __future__ import annotations

import os

import pytest

from benchmarks.elastic import Elastic
from in4310repro.system.numerics import generator_for


@pytest.mark.soak
@pytest.mark.process
@pytest.mark.long(120)
@pytest.mark.skipif(os.name != "posix", reason="processes that are killed")
def test_two_rounds_of_the_soak_end_with_the_same_bits(tmp_path_factory: pytest.TempPathFactory) -> None:
    elastic = Elastic(tmp_path_factory.mktemp("elastic"))
    rounds = [elastic.round(generator_for(0, "elastic", number)) for number in range(2)]
    assert [wrong for _, wrong in rounds] == [[], []]
    assert any("killed" in each for happened, _ in rounds for each in happened)
