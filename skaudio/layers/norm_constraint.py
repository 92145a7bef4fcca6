"""Bounds on the norm of a layer's weights, the projection on them, and a mixin for layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn

from skaudio.layers.precision import at_least_float32

__all__ = ["NormConstrained", "NormConstraint", "check_bounds", "project_norms"]

_EPS = 1e-9


@dataclass(frozen=True)
class NormConstraint:
    r"""Bounds on the norms of a weight, and the projection that restores them.

    The norm :math:`n = \sqrt{\sum w^2}` runs over `axis_norm`; every other axis counts its own
    norms. A part of the weight (a filter, say) whose norm is out of bounds is scaled:

    ============  ===============================  =============================================
    constraint    given                            new weight
    ============  ===============================  =============================================
    none          ``max_norm=None``                :math:`w`
    MaxNorm       `max_norm`                       :math:`w \, \min(n, b) / (\epsilon + n)`
    MinMaxNorm    `min_norm`, `max_norm`           :math:`w \, (r \, \mathrm{clip}(n, a, b) +
                                                   (1 - r) \, n) / (\epsilon + n)`
    UnitNorm      both 1.0                         :math:`w / (\epsilon + n)`
    ============  ===============================  =============================================

    with :math:`a` = `min_norm`, :math:`b` = `max_norm` and :math:`r` = `minmax_rate`. A part
    within its bounds, give or take rounding, keeps its bits.

    Parameters
    ----------
    max_norm : float or None
        Largest norm, > 0; None for no constraint.
    min_norm : float, optional
        Smallest norm, in (0, max_norm]. Without a `max_norm` it is ignored.
    axis_norm : int or sequence of int
        Axes of the weight that one norm covers.
    minmax_rate : float, default=1.0
        Share of the way to the bounds that MinMaxNorm goes at each projection, in (0, 1].

    Raises
    ------
    ValueError
        If a norm is not positive, `min_norm` exceeds `max_norm`, the rate is outside (0, 1], or
        `axis_norm` is not made of distinct integers.

    See Also
    --------
    ConstrainedConv2d, ConstrainedLinear, DepthwiseConv2d : Layers with such a constraint.
    project_norms : Projects all such layers of a network.

    References
    ----------
    .. [1] Keras' weight constraints ``MaxNorm``, ``MinMaxNorm`` and ``UnitNorm``.
    .. [2] Del Pup et al., "SelfEEG: A Python library for Self-Supervised Learning in
       Electroencephalography", JOSS 9(95), 6224, 2024.
    """

    max_norm: float | None
    min_norm: float | None = None
    axis_norm: int | Sequence[int] = 1
    minmax_rate: float = 1.0
    axes: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_bounds(self.max_norm, self.min_norm, self.minmax_rate)
        axes = self.axis_norm if isinstance(self.axis_norm, Sequence) else (self.axis_norm,)
        integers = all(isinstance(axis, Integral) for axis in axes)
        if not axes or not integers or len(set(axes)) < len(axes):
            raise ValueError(
                f"axis_norm={self.axis_norm!r}, but expected one or more distinct integers."
            )
        object.__setattr__(self, "axes", tuple(int(axis) for axis in axes))

    @property
    def is_strict(self) -> bool:
        """Whether one projection reaches the bounds."""
        # UnitNorm knows no rate.
        return self.minmax_rate == 1 or self.min_norm is None or self.min_norm == self.max_norm == 1

    def check_axes(self, n_axes: int) -> None:
        """Raise a ValueError if a weight of `n_axes` axes lacks one of `axis_norm`."""
        if any(not -n_axes <= axis < n_axes for axis in self.axes):
            raise ValueError(
                f"axis_norm={self.axis_norm!r} names an axis that does not exist: the weight has "
                f"axes 0 to {n_axes - 1}."
            )
        if len({axis % n_axes for axis in self.axes}) < len(self.axes):
            raise ValueError(f"axis_norm={self.axis_norm!r} names an axis twice.")

    def is_broken_by(self, weight: Tensor) -> bool:
        """Tell whether a norm is out of bounds by more than rounding."""
        if self.max_norm is None:
            return False
        norm = self._norm(weight)
        if self.min_norm is None:  # the forward of most layers asks this: one number will do
            return norm.max().item() > self.max_norm * (1 + _slack(weight, norm))
        return bool(self._is_out(weight, norm).any())

    @torch.no_grad()
    def project_(self, weight: Tensor, eps: float = _EPS) -> None:
        """Bring `weight` into its bounds, or `minmax_rate` of the way there, in place.

        Parameters
        ----------
        weight : Tensor
            Any floating-point weight that has the axes `axis_norm`.
        eps : float, default=1e-9
            Keeps zero weights zero.
        """
        if self.max_norm is None:
            return
        norm = self._norm(weight)
        wanted = norm.clamp(self.min_norm, self.max_norm)
        if not self.is_strict:
            wanted = torch.lerp(norm, wanted, self.minmax_rate)
        # Multiplying by exactly one keeps the bits; no branch, so an accelerator never waits.
        weight.mul_(torch.where(self._is_out(weight, norm), wanted / (eps + norm), 1.0))

    def _norm(self, weight: Tensor) -> Tensor:
        # In float16 squares of weights under 2e-4 vanish, and of those over 256 they overflow.
        dtype = at_least_float32(weight.dtype)
        return torch.linalg.vector_norm(weight.detach(), dim=self.axes, keepdim=True, dtype=dtype)

    def _is_out(self, weight: Tensor, norm: Tensor) -> Tensor:
        high, slack = self.max_norm or math.inf, _slack(weight, norm)
        out = norm > high * (1 + slack)
        if self.min_norm is not None:
            # The formula's epsilon leaves a little missing. Nothing can lift a zero weight: it
            # has no direction.
            out |= (norm < self.min_norm * (1 - slack) - 2 * _EPS) & (norm > 0)
        return out


def _slack(weight: Tensor, norm: Tensor) -> float:
    # What rounding may add to the relative norm of a projected weight: that of each weight, eps of
    # its dtype, and that of a sum over as many squares. Errors of n random roundings grow with the
    # square root of n.
    n_summed = weight.numel() // max(1, norm.numel())
    return torch.finfo(weight.dtype).eps + torch.finfo(norm.dtype).eps * n_summed**0.5


def check_bounds(
    max_norm: Any, min_norm: Any = None, minmax_rate: Any = 1.0, prefix: str = ""
) -> None:
    """Raise an error unless these are bounds for a :class:`NormConstraint`.

    Parameters
    ----------
    max_norm, min_norm, minmax_rate
        As for :class:`NormConstraint`.
    prefix : str, default=""
        What stands before these names in the signature that the user sees, such as ``"depth_"``.

    Raises
    ------
    ValueError
        If a norm is not positive, `min_norm` exceeds `max_norm`, or the rate is outside (0, 1].
    """
    for name, norm in {"max_norm": max_norm, "min_norm": min_norm}.items():
        if norm is not None and not (isinstance(norm, Real) and float(norm) > 0):
            raise ValueError(f"{prefix}{name}={norm!r}, but expected a number > 0, or None.")
    if min_norm and max_norm and min_norm > max_norm:
        raise ValueError(
            f"{prefix}min_norm={min_norm!r} exceeds {prefix}max_norm={max_norm!r}, but expected "
            "at most that."
        )
    if not (isinstance(minmax_rate, Real) and 0 < float(minmax_rate) <= 1):
        raise ValueError(f"{prefix}minmax_rate={minmax_rate!r}, but expected a number in (0, 1].")


def _is_trainable(weight: Tensor) -> bool:
    # torch.func and replicas put plain tensors in a parameter's place: not ours to change.
    return isinstance(weight, nn.Parameter) and weight.requires_grad and not weight.is_meta


class NormConstrained:
    """Mixin for a torch module with a `weight`: holds it to a :class:`NormConstraint`.

    Stands before the torch class among the bases; the constructor ends with
    :meth:`_constrain`. Parameters and ``state_dict`` stay those of the torch class.

    The bound is kept by :meth:`scale_norm` after each step of an optimizer
    (:func:`project_norms` calls it for a whole model, the callback
    :class:`~skaudio.callbacks.NormScaling` in an estimator). In a loop that does not call it,
    a forward in training mode restores the bounds first, if one projection can (a
    `minmax_rate` of 1) and a norm is out by more than rounding; compiled code does not look.
    In evaluation a forward changes nothing, and so does loading a ``state_dict``.

    See Also
    --------
    NormConstraint : The bounds and the projection.
    ConstrainedConv2d, ConstrainedLinear, DepthwiseConv2d : Layers made with this mixin.
    project_norms : Projects all such layers of a network.
    skaudio.callbacks.NormScaling : Does it after each training step of an estimator.
    """

    weight: Tensor
    training: bool
    constraint: NormConstraint
    _seen: tuple[Tensor, int, NormConstraint] | None = None

    def _constrain(self, *args: Any) -> None:
        self.constraint = NormConstraint(*args)
        self.constraint.check_axes(self.weight.ndim)

    def forward(self, x: Tensor) -> Tensor:
        """Compute what the torch class computes, in training with the weight in its bounds."""
        if self.training and not torch.compiler.is_compiling():
            self.restore_norm_()
        return super().forward(x)  # type: ignore[misc]

    def scale_norm(self, eps: float = _EPS) -> None:
        """Project the weight, in place; call it once after each step of the optimizer.

        A frozen weight (one that requires no gradient) is left alone, as the optimizer does.

        Parameters
        ----------
        eps : float, default=1e-9
            Added to norms before dividing by them.
        """
        weight = self.weight
        if _is_trainable(weight):
            self.constraint.project_(weight, eps)
            self._remember(weight)

    def restore_norm_(self) -> None:
        """Project the weight if it breaks a bound that one projection can restore.

        Unlike :meth:`scale_norm` this does not touch a weight within its bounds, so that a
        graph which already used it can still run backward.
        """
        weight, constraint = self.weight, self.constraint
        if not constraint.is_strict or not _is_trainable(weight) or self._is_known(weight):
            return
        if constraint.is_broken_by(weight):
            constraint.project_(weight)
        self._remember(weight)

    # To compare a norm with its bound costs microseconds on a CPU, but on an accelerator it waits
    # for all work that is queued. There the tensor's version, which every in-place change counts
    # up, tells whether anything happened since.

    def _remember(self, weight: Tensor) -> None:
        if weight.device.type != "cpu":
            self._seen = (weight, weight._version, self.constraint)

    def _is_known(self, weight: Tensor) -> bool:
        if self._seen is None or weight.device.type == "cpu":
            return False
        seen, version, constraint = self._seen
        return seen is weight and constraint is self.constraint and version == weight._version

    def __getstate__(self) -> dict[str, Any]:
        # A copy's weight counts its versions anew.
        return {name: value for name, value in self.__dict__.items() if name != "_seen"}

    def extra_repr(self) -> str:
        """Append the constraint to the torch class's description."""
        return f"{super().extra_repr()}, {self.constraint}"  # type: ignore[misc]


def project_norms(module: nn.Module) -> None:
    """Project the weights of every norm-constrained layer of `module` into their bounds.

    In a plain torch loop this is the one line after ``optimizer.step()``:

    >>> import torch
    >>> from skaudio.layers import ConstrainedLinear, project_norms
    >>> model = torch.nn.Sequential(ConstrainedLinear(8, 4, max_norm=0.5))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=10.0)
    >>> model(torch.ones(2, 8)).sum().backward()
    >>> optimizer.step()
    >>> project_norms(model)
    >>> bool((model[0].weight.norm(dim=1) < 0.5 + 1e-3).all())
    True

    Parameters
    ----------
    module : torch.nn.Module
        Of it and its submodules, each that has a method ``scale_norm()`` is asked to, once.

    See Also
    --------
    skaudio.callbacks.NormScaling : Does it after each training step of an estimator.
    """
    for layer in module.modules():
        scale_norm = getattr(layer, "scale_norm", None)
        if scale_norm is not None:
            scale_norm()
