"""Streaming statistics of the outputs of a model's modules: counts, histograms, means, covariances and spectra.

`FeatureStatistics` measures modules while their model runs, `FeatureResult` holds the result of one.
"""

from in4310repro.features.activations import Histogram, TopImages
from in4310repro.features.blocks import batches, first_image
from in4310repro.features.result import FeatureResult
from in4310repro.features.statistics import FeatureStatistics, gather

__all__ = ["FeatureResult", "FeatureStatistics", "Histogram", "TopImages", "batches", "first_image", "gather"]
