"""Groups of copies are the connected components of their links."""

import numpy as np
import pytest
import scipy.sparse

from in4310repro.data.splits import link, members


@pytest.mark.parametrize("seed", range(4))
def test_groups_are_the_connected_components_of_their_links(seed: int) -> None:
    generator = np.random.default_rng(seed)
    groups = [generator.choice(40, generator.integers(1, 4), replace=False).tolist() for _ in range(12)]
    graph = np.zeros((40, 40))
    for group in groups:
        graph[group[0], group] = 1
    _, component = scipy.sparse.csgraph.connected_components(graph, directed=False)
    numbers = link(40, groups)
    assert numbers == [int(np.nonzero(component == each)[0][0]) for each in component]
    assert members(numbers) == [
        np.nonzero(component == each)[0].tolist() for each in dict.fromkeys(component) if (component == each).sum() > 1
    ]
