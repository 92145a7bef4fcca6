"""Estimators: from arrays or files to predictions."""

from skaudio.estimators.classifier import AudioClassifier
from skaudio.estimators.multi_corpus import MultiCorpusClassifier
from skaudio.estimators.regressor import AudioRegressor

__all__ = ["AudioClassifier", "AudioRegressor", "MultiCorpusClassifier"]
