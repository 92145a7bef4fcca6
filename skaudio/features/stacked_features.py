"""Several kinds of features of the same waveforms, stacked along the bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skaudio._validation import BaseComposition, Interval, check_params
from skaudio.exceptions import SampleRateError
from skaudio.features._base import WaveformTransformer

__all__ = ["StackedFeatures"]


class StackedFeatures(WaveformTransformer, BaseComposition):
    """Compute several kinds of features of every waveform and stack their bands.

    Takes waveforms of shape ``(n_clips, n_samples)``, or a list of waveforms of several lengths;
    returns float32 features of shape ``(n_clips, n_bands, n_frames)``, or a list of
    ``(n_bands, n_frames)``: the bands of the first transformer, then those of the second, and so
    on. Their frames have to be the same ones.

    Parameters
    ----------
    transformers : list of tuple (str, transformer)
        Names, and transformers from waveforms to features: :class:`LogMelSpectrogram`,
        :class:`MFCC`, :class:`Spectrogram`, :class:`PitchSalience`, :class:`VoiceDescriptors`
        (not in a network). Parameters are reached as ``<name>__<parameter>``. All need one
        `sample_rate` and one `hop_length`, and frames that lie alike: frame t centred on sample
        ``t * hop_length``, as with ``center=True`` and an even `n_fft`.
    average : int, default=1
        How many frames after one another are averaged into one, so that frames every 10 ms become
        frames every 20 ms with ``average=2``. The last ones are averaged even if there are fewer.
    n_jobs : int, optional
        Number of threads; None means 1 unless a :func:`joblib.parallel_config` says otherwise.
        `n_jobs` of the transformers has no effect.

    See Also
    --------
    LogMelSpectrogram : What the others are stacked on, as a rule.
    PitchSalience : Shows the pitch, which a log-mel spectrogram does not.
    skaudio.layers.StackedFeatures : The same features in a network.

    Examples
    --------
    >>> import numpy as np
    >>> from skaudio.features import LogMelSpectrogram, PitchSalience, StackedFeatures
    >>> stacked = StackedFeatures(
    ...     [("logmel", LogMelSpectrogram(hop_length=160)), ("pitch", PitchSalience())], average=2
    ... )
    >>> stacked.set_params(logmel__n_mels=64).fit_transform(np.zeros((2, 16000))).shape
    (2, 124, 51)
    """

    _parameter_constraints: dict = {
        "transformers": [list],
        "average": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        transformers: list[tuple[str, Any]],
        *,
        average: int = 1,
        n_jobs: int | None = None,
    ) -> None:
        self.transformers = transformers
        self.average = average
        self.n_jobs = n_jobs

    @property
    def sample_rate(self) -> float:  # type: ignore[override]
        """Sample rate of all transformers, in Hz."""
        rates = {name: part.sample_rate for name, part in self._parts()}
        if len(set(rates.values())) > 1:
            raise SampleRateError(
                f"StackedFeatures: the transformers are set to different sample rates, {rates}. "
                "Set all to one."
            )
        return next(iter(rates.values()))

    layer_name = "StackedFeatures"

    def layer_arguments(self) -> dict[str, Any]:
        """Return the arguments with which :class:`skaudio.layers.StackedFeatures` does the same.

        Returns
        -------
        dict

        Raises
        ------
        TypeError
            If there is no layer that computes what a transformer computes.
        """
        self._plan()
        parts = []
        for name, part in self._parts():
            if part.layer_name is None:
                raise TypeError(
                    f"StackedFeatures: no layer computes what {name!r} does, {part!r}. Put "
                    "StackedFeatures before the estimator, in a Pipeline."
                )
            parts.append((part.layer_name, part.layer_arguments()))
        return {"parts": parts, "average": self.average}

    def n_filter_values(self) -> int:  # noqa: D102
        return sum(part.n_filter_values() for _, part in self._parts())

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters, those of the transformers included."""
        return self._get_params("transformers", deep=deep)

    def set_params(self, **params: Any) -> StackedFeatures:
        """Set parameters, those of the transformers by ``<name>__<parameter>``."""
        self._set_params("transformers", **params)
        return self

    def _parts(self) -> list[tuple[str, Any]]:
        """Return the named transformers, checked for what all of them need."""
        parts = self.transformers
        if not parts or not isinstance(parts, list) or not all(map(_is_part, parts)):
            raise ValueError(
                f"StackedFeatures: transformers is {parts!r}, but expected a list of (name, "
                "transformer), with transformers from waveforms to features, such as "
                "LogMelSpectrogram()."
            )
        self._validate_names([name for name, _ in parts])
        return parts

    def _plan(self) -> _StackPlan:
        check_params(self)
        names = [name for name, _ in self._parts()]
        _ = self.sample_rate  # raises if there are several
        plans = [part._plan() for _, part in self._parts()]
        for name, plan in zip(names, plans, strict=True):
            if not hasattr(plan, "framing"):
                raise ValueError(
                    f"StackedFeatures: {name!r} does not compute features of frames, which alone "
                    "can be stacked. Put tables side by side with sklearn's FeatureUnion, and use "
                    "one StackedFeatures in place of one inside another."
                )
        layouts = [(plan.framing.hop_length, plan.framing.shortest) for plan in plans]
        for name, layout in zip(names, layouts, strict=True):
            if layout != layouts[0]:
                hops = dict(zip(names, (hop for hop, _ in layouts), strict=True))
                raise ValueError(
                    f"StackedFeatures: the frames of {name!r} are not those of {names[0]!r}. Hops "
                    f"are {hops} samples. Set one hop_length for all, center=True and an even "
                    "n_fft."
                )
        return _StackPlan(plans, self.average)

    def _warn(self, plan: Any) -> None:
        for (_, part), plan_of_part in zip(self._parts(), plan.plans, strict=True):
            part._warn(plan_of_part)

    def _band_names(self) -> list[str]:
        return [f"{name}__{band}" for name, part in self._parts() for band in part._band_names()]


def _is_part(part: Any) -> bool:
    if not isinstance(part, tuple) or len(part) != 2 or not isinstance(part[0], str):
        return False
    # A class has the methods of its objects, so that isinstance alone would take it for one.
    return isinstance(part[1], WaveformTransformer)


@dataclass(frozen=True, eq=False)
class _StackPlan:
    plans: Sequence[Any]
    average: int

    def __call__(self, clips: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        stacks = zip(*(plan(clips) for plan in self.plans), strict=True)
        return [self._average(np.concatenate(parts)) for parts in stacks]

    def _average(self, stack: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.average == 1:
            return stack
        starts = np.arange(0, stack.shape[1], self.average)
        counts = np.minimum(self.average, stack.shape[1] - starts)
        return np.add.reduceat(stack, starts, axis=1) / counts.astype(np.float32)
