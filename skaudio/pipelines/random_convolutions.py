"""Random convolutions: from features of any length to one row of numbers per clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from numbers import Integral
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import conv2d

from skaudio._validation import (
    Clips,
    Interval,
    check_feature_names_in,
    check_features,
    fit_context,
    with_bands,
)
from skaudio.features import BandScaler

__all__ = ["RandomConvolutions"]

_STATISTICS = ("share", "max", "std", "excess")

# Shares of training frames whose response is under the threshold.
_QUANTILES = (0.25, 0.5, 0.75, 0.9)

# Frames of digital silence all have the same response. Where that is the quantile, rounding would
# decide on which side of it they fall, and the share be near 0 on one machine and near 1 on
# another. A threshold lies higher by this, of responses whose deviation is about 1 or more: far
# more than rounding, and too little to matter otherwise.
_MARGIN = 1e-3

# Thresholds are learned from this many training frames, of clips drawn at random. Of n independent
# values, the share under an estimated median has a deviation of 1 / (2 sqrt(n)): 0.004 here, and
# some times that for frames, which resemble their neighbours. More would not move a threshold
# visibly.
_THRESHOLD_FRAMES = 2**14

# Frames of a batch: enough to outweigh the cost of the calls, few enough for the responses of a
# bank to a batch (n_kernels x n_places x frames) to stay in the processor's cache.
_BATCH_FRAMES = 512


class RandomConvolutions(TransformerMixin, BaseEstimator):
    r"""Compute how strongly, and how often, each of many random patterns occurs in a clip.

    Every pattern is a small patch of some bands and frames, drawn at random and smooth along the
    bands. It slides over the whole clip at several heights; at each height four numbers tell what
    it met. None of this is trained, so that a linear model such as
    :class:`~sklearn.linear_model.RidgeClassifier` behind it learns in seconds what a convolutional
    network needs minutes for. Takes features of shape ``(n_clips, n_bands, n_frames)``, a list of
    ``(n_bands, n_frames)``, or sequences of one band; returns a float32 table of shape
    ``(n_clips, n_columns)``.

    Parameters
    ----------
    n_kernels : int, default=448
        Patterns to draw, spread evenly over all combinations of height, length and dilation.
    heights : sequence of int, default=(8, 16, 32, 64)
        Bands that a pattern covers; more than the features have stand for all of them. A pattern
        is applied from the lowest band on in steps of half its height.
    lengths : sequence of int, default=(5, 9)
        Frames that a pattern has, odd numbers.
    dilations : sequence of int, default=(1, 2, 4, 8)
        Distances, in frames, between the frames that a pattern looks at.
    random_state : int, RandomState instance or None, default=None
        What patterns, thresholds and the clips to learn them from are drawn with. An integer gives
        the same bits in every call, for the same clips and number of torch threads.

    Attributes
    ----------
    kernels_ : list of ndarray of shape (n_kernels_of_bank, height, length)
        One bank for each combination of height, length and dilation. Float32, each kernel of mean
        0 and norm 1.
    dilations_ : list of int
        Dilation of each bank.
    thresholds_ : list of ndarray of shape (n_kernels_of_bank, n_places)
        Threshold of each kernel of each bank, at each place along the bands.
    mean_, scale_ : ndarray of shape (n_bands,)
        Mean and deviation of each band over all training frames.

    See Also
    --------
    BlockScaler : Standardises the columns for a linear model.
    audio_pipeline : A whole recogniser with random convolutions in it.
    skaudio.features.TemporalStatistics : Statistics of each band on its own.

    Notes
    -----
    With :math:`x` a clip whose bands are standardised by what they are in training clips, and zero
    before its first and after its last frame, a kernel :math:`k` of :math:`h` bands and :math:`l`
    frames (odd) with dilation :math:`d` responds at place :math:`p` and time :math:`t` with

    .. math:: r_p(t) = \sum_{i<h,\, j<l} k_{ij}\, x_{p h / 2 + i,\; t + (j - (l-1)/2)\, d}

    which is as long as the clip, whatever the kernel's length. With its threshold :math:`\theta_p`,
    just above a quantile (25, 50, 75 or 90%, drawn at random) of the same response to training
    clips, the columns are the share of frames with :math:`r_p(t) > \theta_p`, the maximum and the
    deviation of :math:`r_p`, and the mean of :math:`\max(r_p(t) - \theta_p, 0)`. Kernels are drawn
    on a grid of a quarter of their height, and interpolated.

    The idea is that of ROCKET [1]_ for single time series, with pooled numbers as in MultiRocket
    [2]_.

    Clips of one length are computed together, in batches whose shape depends on that length alone:
    a clip's row has the same bits alone and among others. Memory beyond the result does not grow
    with the number of clips.

    References
    ----------
    .. [1] Dempster, Petitjean, Webb, "ROCKET: exceptionally fast and accurate time series
       classification using random convolutional kernels", 2020.
    .. [2] Tan, Dempster, Bergmeir, Webb, "MultiRocket: multiple pooling operators and
       transformations for fast and effective time series classification", 2022.

    Examples
    --------
    >>> from sklearn.linear_model import RidgeClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from skaudio import LogMelSpectrogram
    >>> from skaudio.datasets import make_tones
    >>> from skaudio.pipelines import BlockScaler, RandomConvolutions
    >>> X, y = make_tones(60, sample_rate=8000, random_state=0)
    >>> model = make_pipeline(
    ...     LogMelSpectrogram(sample_rate=8000),
    ...     RandomConvolutions(64, random_state=0),
    ...     BlockScaler(),
    ...     RidgeClassifier(),
    ... )
    >>> model.fit(X[:40], y[:40]).score(X[40:], y[40:])
    1.0
    """

    _parameter_constraints: dict = {
        "n_kernels": [Interval(Integral, 1, None, closed="left")],
        "heights": [tuple, list],
        "lengths": [tuple, list],
        "dilations": [tuple, list],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_kernels: int = 448,
        *,
        heights: Sequence[int] = (8, 16, 32, 64),
        lengths: Sequence[int] = (5, 9),
        dilations: Sequence[int] = (1, 2, 4, 8),
        random_state: Any = None,
    ) -> None:
        self.n_kernels = n_kernels
        self.heights = heights
        self.lengths = lengths
        self.dilations = dilations
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Draw the kernels, and learn the bands' scales and the thresholds.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_bands, n_frames) or (n_clips, n_frames), or list \
                of array-likes of shape (n_bands, n_frames) or (n_frames,)
            Features of the training clips.
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        AudioFormatError
            If a clip is empty, a path, or differs from the others in its number of bands.
        ValueError
            If a parameter is out of range, or a value is NaN or infinite.
        """
        self._check_sizes()
        clips = with_bands(check_features(self, X, reset=True))
        rng = check_random_state(self.random_state)
        scaler = BandScaler().fit(clips)
        self.mean_, self.scale_ = scaler.mean_, scaler.scale_
        self._draw_kernels(rng, n_bands=len(clips[0]))
        self._learn_thresholds(rng, _some_clips(clips, rng))
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Compute the columns of every clip.

        Parameters
        ----------
        X : array-like or list of array-likes
            Features as in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_clips, n_columns)
            Float32: for each bank of kernels the four numbers, each for all kernels of the bank,
            each for all its places.
        """
        check_is_fitted(self)
        clips = with_bands(check_features(self, X, reset=False))
        ends = np.cumsum([0, *(len(_STATISTICS) * t.size for t in self.thresholds_)]).tolist()
        table = np.empty((len(clips), ends[-1]), dtype=np.float32)
        with torch.inference_mode():
            for places, batch in self._batches(clips):
                for bank, columns in enumerate(pairwise(ends)):
                    threshold = torch.from_numpy(self.thresholds_[bank]).unsqueeze(-1)
                    numbers = _pool(self._respond(bank, batch), threshold).flatten(1)
                    table[places, slice(*columns)] = numbers[: len(places)].numpy()
        return table

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the columns: height, length, dilation, kernel, place, statistic.

        Parameters
        ----------
        input_features : array-like of str, optional
            Checked against the bands seen in ``fit``, and not used.

        Returns
        -------
        ndarray of shape (n_columns,), str
            Such as ``"h8_l5_d2_k0_p3_max"``: the maximum of the first kernel of 8 bands and 5
            frames with dilation 2, at the fourth place along the bands.
        """
        check_is_fitted(self)
        if input_features is not None:
            check_feature_names_in(self, input_features)
        names = [
            f"h{kernels.shape[1]}_l{kernels.shape[2]}_d{dilation}_k{kernel}_p{place}_{statistic}"
            for kernels, dilation, thresholds in zip(
                self.kernels_, self.dilations_, self.thresholds_, strict=True
            )
            for statistic in _STATISTICS
            for kernel, place in np.ndindex(thresholds.shape)
        ]
        return np.array(names, dtype=object)

    def _check_sizes(self) -> None:
        for name in ("heights", "lengths", "dilations"):
            sizes = getattr(self, name)
            odd_only = name == "lengths"
            wrong = [
                n for n in sizes
                if not isinstance(n, Integral) or n < 1 or (odd_only and n % 2 == 0)
            ]  # fmt: skip
            if wrong or not sizes:
                wanted = "odd numbers" if odd_only else "integers"
                raise ValueError(f"{name} is {sizes!r}, but expected {wanted} from 1 on.")

    def _draw_kernels(self, rng: np.random.RandomState, n_bands: int) -> None:
        heights = sorted({min(int(height), n_bands) for height in self.heights})
        lowest = heights[0]
        if 1 in self.lengths and _count_rows(lowest) == 1:
            raise ValueError(
                f"lengths is {self.lengths!r}, but a kernel of one frame and {lowest} bands has no "
                "shape. Choose lengths from 3 on, or heights from 8 on for features of as many "
                "bands."
            )
        sizes = heights, dict.fromkeys(self.lengths), dict.fromkeys(self.dilations)
        banks = list(product(*sizes))
        self.kernels_, self.dilations_ = [], []
        for bank, (height, length, dilation) in enumerate(banks):
            # The first banks take what is left over by an even division; empty ones are left out.
            n = self.n_kernels // len(banks) + (bank < self.n_kernels % len(banks))
            if n:
                self.kernels_.append(_smooth_kernels(rng, n, height, int(length)))
                self.dilations_.append(int(dilation))

    def _learn_thresholds(self, rng: np.random.RandomState, clips: Clips) -> None:
        batches = list(self._batches(clips))
        self.thresholds_ = []
        with torch.inference_mode():
            for bank in range(len(self.kernels_)):
                responses = torch.cat(
                    [
                        self._respond(bank, batch)[: len(places)].permute(1, 2, 0, 3).flatten(2)
                        for places, batch in batches
                    ],
                    dim=2,
                ).numpy()  # kernel, place, all frames
                drawn = rng.randint(len(_QUANTILES), size=responses.shape[:2])
                thresholds = np.empty(drawn.shape, dtype=np.float32)
                for i, quantile in enumerate(_QUANTILES):
                    thresholds[drawn == i] = np.quantile(responses[drawn == i], quantile, axis=1)
                thresholds += _MARGIN
                self.thresholds_.append(thresholds)

    def _batches(self, clips: Clips) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Yield places of clips of one length, and the clips, standardised, as one batch.

        How a convolution is computed depends on the shape of its input. A last batch is therefore
        filled up with silence rather than made smaller: rounding, too, is then the same whatever
        other clips there are.
        """
        mean, scale = (
            torch.from_numpy(part.astype(np.float32))[:, None] for part in (self.mean_, self.scale_)
        )
        n_frames = np.array([clip.shape[1] for clip in clips])
        for length in np.unique(n_frames).tolist():
            places = np.flatnonzero(n_frames == length)
            size = max(1, _BATCH_FRAMES // length)
            for start in range(0, len(places), size):
                part = places[start : start + size]
                batch = torch.zeros(size, 1, len(mean), length)
                for row, place in zip(batch, part, strict=False):
                    row[0] = (torch.from_numpy(clips[place]) - mean) / scale
                yield part, batch

    def _respond(self, bank: int, batch: Tensor) -> Tensor:
        """Convolve (clip, 1, band, frame) with a bank, to (clip, kernel, place, frame)."""
        kernels, dilation = torch.from_numpy(self.kernels_[bank]), self.dilations_[bank]
        _, height, length = kernels.shape
        return conv2d(
            batch,
            kernels.unsqueeze(1),
            stride=(max(height // 2, 1), 1),
            padding=(0, (length - 1) // 2 * dilation),
            dilation=(1, dilation),
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


def _pool(response: Tensor, threshold: Tensor) -> Tensor:
    """Reduce (clip, kernel, place, frame) to four numbers, (clip, 4, kernel, place)."""
    excess = (response - threshold).relu_()
    peak = response.amax(-1)
    # Twenty times as fast as Tensor.std, which updates mean and deviation value by value.
    centred = response - response.mean(-1, keepdim=True)
    deviation = vector_norm(centred, dim=-1) / response.shape[-1] ** 0.5
    mean_excess = excess.mean(-1)
    share = excess.sign_().mean(-1)
    return torch.stack([share, peak, deviation, mean_excess], dim=1)


def _smooth_kernels(
    rng: np.random.RandomState, n_kernels: int, height: int, length: int
) -> NDArray[np.float32]:
    """Draw kernels that vary slowly along the bands, of mean 0 and norm 1."""
    coarse = rng.standard_normal((n_kernels, _count_rows(height), length))
    kernels = _interpolate(coarse, height)
    kernels -= kernels.mean(axis=(1, 2), keepdims=True)
    kernels /= np.sqrt(np.square(kernels).sum(axis=(1, 2), keepdims=True))
    return kernels.astype(np.float32)


def _count_rows(height: int) -> int:
    """Count the random numbers along so many bands of a kernel."""
    return max(height // 4, 1)


def _interpolate(coarse: NDArray[np.float64], height: int) -> NDArray[np.float64]:
    """Interpolate linearly along the second axis; both grids have cells of equal height."""
    n_rows = coarse.shape[1]
    position = np.clip((np.arange(height) + 0.5) * n_rows / height - 0.5, 0, n_rows - 1)
    below = np.floor(position).astype(int)
    share = (position - below)[:, np.newaxis]
    above = np.minimum(below + 1, n_rows - 1)
    return coarse[:, below] * (1 - share) + coarse[:, above] * share


def _some_clips(clips: Clips, rng: np.random.RandomState) -> Clips:
    """Draw clips at random until they have as many frames as thresholds are learned from."""
    chosen, n_frames = [], 0
    for place in rng.permutation(len(clips)):
        chosen.append(clips[place])
        n_frames += clips[place].shape[1]
        if n_frames >= _THRESHOLD_FRAMES:
            break
    return chosen
