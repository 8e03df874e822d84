"""What feature maps say: streaming counts, means, covariances and spectra of any module's output."""

from in4310repro.features.statistics import FeatureStatistics

__all__ = ["FeatureStatistics"]
