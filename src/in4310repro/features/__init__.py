"""Streaming statistics of the outputs of any module: counts, histograms, means, covariances and spectra.

`FeatureStatistics` measures a model's modules while it runs, `FeatureResult` holds what it measured of one.
"""

from in4310repro.features.activations import Histogram, TopImages
from in4310repro.features.blocks import BLOCK
from in4310repro.features.distributed import batches, first_image, gather
from in4310repro.features.hooks import ModuleChoice, choose
from in4310repro.features.kernel import kernel_description
from in4310repro.features.result import FeatureResult
from in4310repro.features.statistics import FeatureStatistics

__all__ = ["BLOCK", "FeatureResult", "FeatureStatistics", "Histogram", "ModuleChoice", "TopImages", "batches"]
__all__ += ["choose", "first_image", "gather", "kernel_description"]
