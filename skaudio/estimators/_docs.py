"""The parts of docstrings that classifier and regressor share."""

from __future__ import annotations

from typing import TypeVar

__all__ = ["document"]

Class = TypeVar("Class", bound=type)

_NETWORK = """\
    network : BaseNetwork, torch.nn.Module or callable, optional
        What recognises: one of :mod:`skaudio.networks`; a module of your own, which is copied,
        takes features of shape ``(batch, 1, n_bands, n_frames)`` and returns one column per class
        or target; or a callable with the signature of :meth:`skaudio.networks.BaseNetwork.build`.
        None means ``MTSNet()``.
    frontend : LogMelSpectrogram, MFCC, Spectrogram, PitchSalience or StackedFeatures, optional
        Computes features inside the network, batch by batch, so that `X` may hold waveforms or
        paths. Files are then read when their batch is due, and converted to its sample rate.
    crop : float, optional
        Seconds of each clip to look at: a random crop in each training epoch, the centre of
        the clip in prediction. Shorter clips are padded with silence. Needs a `frontend`.
    crop_aggregation : {"center", "mean"}, default="center"
        Whether a prediction looks at the centre crop, or averages over crops side by side that
        cover the whole clip.
    augmentation : Augmentation, list of them, "voice" or "sound", optional
        What is changed at random while training, such as
        :class:`skaudio.augmentation.AdditiveNoise`; of a list, one after another. A word stands
        for a preset that suits many corpora (:func:`skaudio.augmentation.preset`); without a
        `frontend`, only what it does to features is used.
    mixup : float, default=0.0
        Concentration of the beta distribution that pairs of clips are mixed by [1]_; 0 mixes
        none. Not with the concordance loss, which has no loss per clip to be shared.
"""

_TRAINING = """\
    optimizer : {"adamw", "adam", "sgd", "rmsprop", "adadelta"} or callable, default="adamw"
        A callable is called with the parameters and ``lr`` (and ``weight_decay`` unless that is
        0), as any class of :mod:`torch.optim`. ``"sgd"`` has momentum 0.9.
    lr : float, default=0.002
        The highest learning rate of the training.
    weight_decay : float, default=0.05
        Of kernels alone: norms and biases do not decay.
    lr_schedule : {"one_cycle", "cosine", "multistep", "plateau", "staged"} or None, \
            default="one_cycle"
        How the learning rate changes: it rises to `lr`, then falls; falls along a cosine; falls
        tenfold after each third of the epochs; falls tenfold after ``patience / 2`` epochs without
        improvement; falls in the three stages of EmoNet, each ending after `patience` epochs
        without a validation score that is better by more than 0.005; stays.
    lr_decay : float or {"size"}, default=0.0
        The rate of step n is divided by ``1 + lr_decay * n``; n counts within a stage where the
        schedule has stages, within the training elsewhere. "size" is EmoNet's rule: 0.005 for less
        than 500 training clips, 0.002 for less than 1000, 0.0005 for less than 10 000, else 1e-6.
        :meth:`partial_fit` trains at the rate `lr`, without schedule and decay.
    clip_norm : float or None, default=5.0
        Largest norm of the gradient; longer ones are scaled down. None leaves all as they are.
    max_epochs : int, optional
        By default as many as 2000 steps take, but 10 at least and 150 at most (of several corpora,
        2000 steps of each); with ``lr_schedule="staged"``, whose stages end by themselves, 1000.
    batch_size : int, default=8
        Clips per training step. Small batches make many steps of little data; larger ones are
        faster on large corpora and on a GPU.
    early_stopping : bool, default=False
        Hold back clips for validation, end the training after `patience` epochs without
        improvement, and keep the weights of the best epoch. Without `groups` the clips are drawn
        at random, so that a speaker may stand on both sides and validation scores are too high.
    validation_fraction : float, default=0.1
        Share of clips to hold back; with `groups` that of the one among k equal folds of whole
        groups that comes closest, so that it is a half at most. Where each of these has all clips
        of some class, groups are held back one by one that leave it some. What is learned of `y`
        before the training (balanced weights, mean and deviation of numbers) is learned of all
        clips.
    monitor : {"valid_loss", "valid_score"}, default="valid_loss"
        What tells the best epoch. The score is the unweighted average recall or the concordance
        correlation, and knows no weights; ``"staged"`` goes by it in any case.
    patience : int, default=10
        Epochs without improvement that end the training with `early_stopping`, and a stage with
        ``lr_schedule="staged"``; half as many lower the rate with "plateau".
    mode : {"scratch", "finetune", "last-layer", "adapters"}, optional
        What is trained, and what it starts from [2]_. "finetune" takes all weights but the head
        from `pretrained`, and trains everything, also what `VGG16Net` froze before. "last-layer"
        takes the same and trains the head alone. "adapters" takes what all corpora share, freezes
        it, and trains a new set of adapters, norms, pooling and head; for networks with adapters.
        The head is taken over as well if the labels are the same, except for "adapters". "scratch"
        takes nothing (but the description of the network, if `network` is None), so that a search
        can compare all four.
        What is frozen stays the same to the last bit. None is "scratch" without `pretrained`.
    pretrained : estimator, FrozenEstimator, str or Path, optional
        Fitted classifier or regressor, or the path of a file that :func:`skaudio.save` wrote. Wrap
        an estimator as ``sklearn.frozen.FrozenEstimator(model)`` under cross-validation, whose
        ``clone`` empties it otherwise. Bands and front end must be those that it was trained with
        (without a front end on both sides only the bands can be compared). If `network` is None,
        its network's description is taken.
    callbacks : list of skorch callbacks, optional
        For example ``[skorch.callbacks.TensorBoard(SummaryWriter())]``, which needs the extra
        ``skaudio[tensorboard]``. With skorch's ``LRScheduler``, set ``lr_schedule=None``. One of
        :mod:`skaudio.callbacks` takes the place of the built-in one.
    checkpoint_dir : str or Path, optional
        Folder for checkpoints. Each run has a subfolder of its own, named after its parameters
        and data. If a run was killed, the same :meth:`fit` continues it and ends with the same
        result as if nothing had happened; a finished run starts afresh. The state of `callbacks`
        is not saved, and they do not tell runs apart: one goes on with those that are set by then.
    device : str, default="auto"
        A torch device such as ``"cpu"`` or ``"cuda:1"``; "auto" takes the GPU if there is one.
    amp : {"bfloat16", "float16"}, optional
        Precision of the training on a GPU; without one it does nothing.
    n_jobs : int, optional
        Threads that read files ahead. None means 1, or what :func:`joblib.parallel_config` says;
        -1 means all cores. The result does not depend on it.
    n_threads : int, optional
        Threads that torch computes with in :meth:`fit` and predictions. The last bits of a result
        depend on their number. None leaves torch's own setting, which differs between the main
        process (all cores) and joblib's workers (one); set 1 for the same bits everywhere, and
        wherever other work runs on the machine: there, several threads are slower than one.
    warm_start : bool, default=False
        Whether another call of :meth:`fit` goes on with the trained network. Loss, optimiser,
        `lr`, `augmentation`, `mixup` and `amp` are then those set by now; `network` and
        `frontend` must stay as they were, and the device is that of the first fit. Such further
        training writes no checkpoints.
    random_state : int, RandomState instance or None, default=None
        With an integer the result is the same to the last bit on a CPU, for the same number of
        torch threads. Global random generators are left as they were.
    verbose : int, default=0
        1 shows progress bars, of the training and of long predictions; 2 prints a line for each
        epoch instead.
"""

_ATTRIBUTES = """\
    architecture_ : Architecture
        What it takes to build the network again: its description, front end, bands, outputs and
        frames.
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the torch module.
    history_ : DataFrame
        One row per epoch: ``train_loss``, ``valid_loss``, ``valid_score``, ``lr``, ``dur``
        (seconds), and what the network reports of itself.
    n_clips_ : int
        Clips that the last call of ``fit`` or ``partial_fit`` trained on, without those held back
        for validation.
    n_parameters_, n_trained_parameters_ : int
        Parameters of the network, and those of them that are not frozen.
    n_features_in_ : int
        Bands seen in :meth:`fit`, or columns of a 2-D array.
"""


_SHARED = {
    "network parameters": _NETWORK,
    "training parameters": _TRAINING,
    "attributes": _ATTRIBUTES,
}


def document(cls: Class) -> Class:
    """Fill in the parts of a docstring that classifier and regressor share."""
    for name, text in _SHARED.items():
        cls.__doc__ = (cls.__doc__ or "").replace(f"    <{name}>\n", text)
    return cls
