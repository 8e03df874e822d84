"""The examples in docstrings run, and the most used functions have one."""

import doctest
import importlib
import pkgutil
import sys
from pathlib import Path
from typing import Any

import pytest

import in4310repro
from in4310repro import golden, metrics, models
from in4310repro.data import folders, images, reading, splits
from in4310repro.evaluation import prediction
from in4310repro.features import FeatureResult, FeatureStatistics, batches, gather
from in4310repro.metrics import scores
from in4310repro.runs import deviations
from in4310repro.system import numerics, text

NAMES: tuple[Any, ...] = (
    FeatureStatistics,
    FeatureResult,
    batches,
    gather,
    metrics.class_accuracy,
    metrics.average_precision,
    folders.catalogue,
    reading.decode,
    images.load_images,
    images.training_ranges,
    models.build,
    splits.stratified_split,
    prediction.predict,
    scores.top_and_bottom,
    golden.compare,
    deviations.parse,
    numerics.generator_for,
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


def modules_with_examples() -> list[str]:
    walked = pkgutil.walk_packages(in4310repro.__path__, "in4310repro.")
    specs = [each.module_finder.find_spec(each.name, None) for each in walked]
    files = {spec.name: spec.origin for spec in specs if spec and spec.origin and spec.origin.endswith(".py")}
    return sorted(name for name, file in files.items() if ">>>" in Path(file).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", modules_with_examples())
def test_every_example_of_a_module_runs_as_it_stands(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0
