"""The examples in the docstrings of what users call most: each is there, and runs."""

import doctest
import sys
from typing import Any

import pytest

from in4310repro import deviations, golden, metrics, models, prediction, randomness, scores, text
from in4310repro.data import batches as loaders
from in4310repro.data import folders, images, splits
from in4310repro.features import FeatureResult, FeatureStatistics, batches, gather

NAMES: tuple[Any, ...] = (
    FeatureStatistics,
    FeatureResult,
    batches,
    gather,
    metrics.class_accuracy,
    metrics.average_precision,
    folders.catalogue,
    images.decode,
    images.load_images,
    loaders.training_ranges,
    models.build,
    splits.stratified_split,
    prediction.predict,
    scores.top_and_bottom,
    golden.compare,
    deviations.parse,
    randomness.generator_for,
    text.visible,
    text.markdown,
    text.publishable_place,
)


@pytest.mark.parametrize("documented", NAMES, ids=lambda documented: documented.__name__)
def test_the_examples_of_a_docstring_run_as_they_stand(documented: Any) -> None:
    module = sys.modules[documented.__module__]
    (example, *_) = doctest.DocTestFinder(recurse=False).find(documented, globs=vars(module).copy())
    assert example.examples, f"{documented.__name__} has no examples"
    results = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example)
    assert results.failed == 0
