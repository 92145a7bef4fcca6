"""Start from what another training has learned: which weights are taken over, which are trained.

====================  ===================================  ====================================
mode                  starts from                          trains
====================  ===================================  ====================================
``scratch``           nothing                              everything
``finetune``          all but the head                     everything
``last-layer``        all but the head                     the head
``adapters``          the trunk, and norms where there is  the set of the new corpus: adapters,
                      one set of them                      norms, pooling unless shared, head
====================  ===================================  ====================================

The head is taken over as well where the labels are the same, except in ``adapters``. What is not
trained is frozen: it gets no gradient and stays in evaluation, so that its running statistics do
not change either.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from torch import Tensor, nn

import skaudio.networks as networks
from skaudio.estimators._data import Corpus
from skaudio.estimators._module import Architecture, differences
from skaudio.estimators._targets import Target
from skaudio.estimators._trained_net import TrainedNetMixin
from skaudio.persistence import load

__all__ = [
    "MODES",
    "Mode",
    "Pretrained",
    "check_mode",
    "eval_frozen",
    "freeze",
    "open_pretrained",
    "start_weights",
]

Mode = Literal["scratch", "finetune", "last-layer", "adapters"]
MODES = ("scratch", "finetune", "last-layer", "adapters")

_REMEDY = (
    "Pass a fitted AudioClassifier or AudioRegressor in sklearn.frozen.FrozenEstimator(...), or "
    "the path of a file that skaudio.save wrote"
)


def check_mode(mode: str | None, pretrained: Any, network: Any) -> None:
    """Refuse a mode without something to start from, and the reverse.

    Raises
    ------
    ValueError
        If one of the two is missing, or `network` has no adapters where they are to be trained.
    """
    if mode is None and pretrained is not None:
        raise ValueError(
            f"pretrained is given, but mode is None, which trains from scratch. Set mode to one "
            f"of {', '.join(map(repr, MODES[1:]))}, or set pretrained=None."
        )
    if mode not in (None, "scratch") and pretrained is None:
        raise ValueError(
            f"mode={mode!r} starts from a trained network, but pretrained is None. "
            f"{_REMEDY}; or set mode='scratch'."
        )
    if mode == "adapters" and network is not None and not getattr(network, "has_adapters", False):
        kinds = [getattr(networks, name) for name in networks.__all__]
        having = [kind.__name__ for kind in kinds if getattr(kind, "has_adapters", False)]
        raise ValueError(
            f"mode='adapters' needs a network with adapters, but network is {network!r}. Take one "
            f"of {', '.join(having)}; or mode='last-layer', which any network has."
        )


@dataclass(frozen=True)
class Pretrained:
    """A trained network to start from.

    Parameters
    ----------
    architecture : Architecture
        How the network was built.
    targets : tuple of Target
        What it has learned to tell, of each corpus.
    network : torch.nn.Module
        Only read here.
    """

    architecture: Architecture
    targets: tuple[Target, ...]
    network: nn.Module

    def identity(self) -> Any:
        """Return what tells this network from others, to be hashed: all that it is."""
        targets = [target.identity() for target in self.targets]
        return self.architecture, targets, self.network.state_dict()

    def n_outputs(self, mode: str, n_outputs: int | tuple[int, ...]) -> int | tuple[int, ...]:
        """Say how a network for so many outputs is asked for: a tuple asks for adapters."""
        if isinstance(n_outputs, tuple) or mode == "scratch":
            return n_outputs
        has_adapters = mode == "adapters" or isinstance(self.architecture.n_outputs, tuple)
        return (n_outputs,) if has_adapters else n_outputs

    def check_fit(self, architecture: Architecture) -> None:
        """Refuse to start a network for other features than these.

        Raises
        ------
        ValueError
            If bands or settings of the front end differ; the message names all differences.
        """
        found = differences(architecture.n_bands, self.architecture.n_bands, "n_bands")
        # Features computed outside may come from anywhere: only their bands can be compared.
        if None not in (architecture.frontend, self.architecture.frontend):
            found |= differences(architecture.frontend, self.architecture.frontend, "frontend")
        if found:
            raise ValueError(
                f"pretrained was trained on other features: {_list(found)}. Compute the same ones."
            )

    @torch.no_grad()
    def start(
        self, architecture: Architecture, network: nn.Module, mode: str, target: Target
    ) -> bool:
        """Copy weights into a network that was just built.

        Parameters
        ----------
        architecture : Architecture
            Of the new network.
        network : torch.nn.Module
            Changed in place.
        mode : str
        target : Target
            What the new network is to learn.

        Returns
        -------
        bool
            Whether the head has been taken over.

        Raises
        ------
        ValueError
            If the two do not fit; the message names the parameters in which they differ.
        """
        keeps_head = mode != "adapters" and target.is_like(self.targets[0])
        state, found = network.state_dict(), self.network.state_dict()
        wanted = _adapters_start(network, self.network) if mode == "adapters" else list(state)
        if not keeps_head:
            head = _prefixes(network, _need_head(network))
            wanted = [name for name in wanted if not name.startswith(head)]
        places = {name: _place(found, name) for name in wanted}
        for name, place in places.items():
            if place not in found or found[place].shape != state[name].shape:
                self._refuse(architecture, name, state[name], found.get(place))
        # A pooling that all share is not needed where each corpus has its own.
        owned = (*_prefixes(self.network, _find_head(self.network)), "sets.", "trunk.pooling.")
        for name in found.keys() - places.values():
            if not name.startswith(owned):
                self._refuse(architecture, name, None, found[name])
        network.load_state_dict(state | {name: found[place] for name, place in places.items()})
        return keeps_head

    def _refuse(
        self, architecture: Architecture, name: str, wanted: Tensor | None, found: Tensor | None
    ) -> None:
        ours, theirs = architecture, self.architecture
        found_differences = differences(ours.network, theirs.network, "network") | differences(
            ours.n_frames, theirs.n_frames, "n_frames"
        )
        here, there = (None if part is None else tuple(part.shape) for part in (wanted, found))
        raise ValueError(
            f"pretrained is another network: {_list(found_differences) or 'built otherwise'} "
            f"(weights {name}: {here} here, {there} there). Set network=None to take its "
            "description, or train one like it."
        )


def open_pretrained(given: Any, mode: str) -> Pretrained:
    """Look into a fitted estimator, or load the file that has one."""
    where = "pretrained"
    if isinstance(given, (str, Path)):
        where = f"pretrained={str(given)!r}"
        given = load(given)
    found = given.estimator if isinstance(given, FrozenEstimator) else given
    if not isinstance(found, TrainedNetMixin):
        raise TypeError(
            f"{where} is a {type(found).__name__}, but expected a model of skaudio. "
            f"{_REMEDY}. Of a Pipeline, pass the last step."
        )
    if not found.__sklearn_is_fitted__():
        raise NotFittedError(
            f"{where} is a {type(found).__name__} that is not fitted. Fit it first, and pass "
            "FrozenEstimator(model): clone, which cross-validation and searches call, empties an "
            "estimator that is passed as it is."
        )
    corpora = [str(name) for name in getattr(found, "corpora_", ())]
    if mode in ("finetune", "last-layer") and len(corpora) > 1:
        raise ValueError(
            f"{where} was trained on several corpora, {corpora}, but mode={mode!r} starts "
            "from the layers of one. Pass FrozenEstimator(model.for_corpus(name)), or set "
            "mode='adapters'."
        )
    return Pretrained(found.architecture_, found.net_.targets, found.net_.module_.network)


def start_weights(net: Any, pretrained: Pretrained | None, corpora: Sequence[Corpus]) -> None:
    """Set the weights that training begins with, where they are not random ones."""
    network, mode = net.module_.network, net.settings.mode
    if pretrained is not None and mode != "scratch":
        pretrained.check_fit(net.architecture)
        if pretrained.start(net.architecture, network, mode, corpora[0].target):
            return  # the head has been taken over
    if not isinstance(net.architecture.network, nn.Module):
        for corpus in corpora:
            _start_head(network, corpus)


def _start_head(network: nn.Module, corpus: Corpus) -> None:
    """Let an untrained network predict the shares of the classes, or the mean."""
    target, training = corpus.target, corpus.training
    head = _find_head(network, training.corpus)
    layers = [] if head is None else list(head.modules())
    last = next((part for part in reversed(layers) if isinstance(part, nn.Linear)), None)
    if last is not None and last.bias is not None and last.out_features == target.n_outputs:
        with torch.no_grad():
            last.bias.copy_(torch.from_numpy(target.first_bias(training.target, training.weight)))


def _find_head(network: Any, corpus: int = 0) -> nn.Module | None:
    """Return what maps the vector of a clip to outputs; None if the network does not say."""
    owner = network.sets[corpus] if hasattr(network, "sets") else network
    head = getattr(owner, "head", None)
    return head if isinstance(head, nn.Module) else None


def _need_head(network: Any, corpus: int = 0) -> nn.Module:
    head = _find_head(network, corpus)
    if head is None:
        raise ValueError(
            f"{type(network).__name__} has no attribute `head`, so that it is not known which "
            "layers are new for other labels. Call its last layer `head`."
        )
    return head


def freeze(network: nn.Module, mode: str) -> None:
    """Let the parameters that a mode trains require gradients, and no others.

    From scratch, a network keeps what it froze itself.
    """
    if mode != "scratch":
        network.requires_grad_(False)
        _trained_part(network, mode).requires_grad_(True)


def eval_frozen(network: nn.Module, mode: str) -> None:
    """Put what a mode does not train into evaluation, in a network that is set to training."""
    trained = _trained_part(network, mode)
    if trained is network:
        return
    inside = set(trained.modules())
    for module in network.modules():
        # What contains the trained part is not frozen as a whole.
        if inside.isdisjoint(module.modules()):
            module.training = False


def _trained_part(network: Any, mode: str) -> nn.Module:
    if mode == "last-layer":
        return _need_head(network)
    return network.sets if mode == "adapters" else network


def _adapters_start(network: Any, source: Any) -> list[str]:
    """List what new corpora take over: the trunk, and the norms of the only set there is."""
    names = [f"trunk.{name}" for name in network.trunk.state_dict()]
    for place in range(len(network.sets) if len(getattr(source, "sets", ())) == 1 else 0):
        head = set(_need_head(network, place).modules())
        for name, part in network.sets[place].named_modules(prefix=f"sets.{place}"):
            if isinstance(part, nn.modules.batchnorm._BatchNorm) and part not in head:
                names += [f"{name}.{key}" for key in part.state_dict()]
    return names


def _place(state: dict[str, Tensor], name: str) -> str:
    """Say under which name weights stand elsewhere, those of any set in the only one.

    A pooling may be shared in one network and a corpus' in the other.
    """
    name = re.sub(r"^sets\.\d+\.", "sets.0.", name)
    places = ("trunk.pooling.", "sets.0.pooling.")
    for own, other in (places, places[::-1]):
        if name.startswith(own) and name not in state:
            name = other + name.removeprefix(own)
            break
    return name


def _prefixes(network: nn.Module, part: nn.Module | None) -> tuple[str, ...]:
    """Return how the names of a part's weights begin: twice, if it has two names."""
    named = network.named_modules(remove_duplicate=False)
    return tuple(f"{name}." for name, module in named if module is part)


def _list(found: dict[str, tuple[Any, Any]]) -> str:
    return ", ".join(
        f"{name} is {now!r} here, {then!r} there" for name, (now, then) in found.items()
    )
