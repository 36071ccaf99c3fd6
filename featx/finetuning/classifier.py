"""Fine-tuning of a network on images and their classes, as a scikit-learn classifier."""

from __future__ import annotations

import numbers
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted
from torch.utils.data import DataLoader

from featx._lists import parse_names
from featx.data.datasets import train_test_indices
from featx.data.images import MAX_PIXELS, Images
from featx.data.percentiles import measure_range
from featx.data.reading import N_RGB, Reading
from featx.errors import DatasetError, SpecError, TrainingError, one_line
from featx.finetuning.augmentation import Augmentation
from featx.finetuning.checkpoints import Checkpointer
from featx.finetuning.freezing import Policy, plan_training
from featx.finetuning.heads import (
    Head,
    Prepared,
    parse_sizes,
    prepare_network,
)
from featx.finetuning.split_network import FrozenPart
from featx.finetuning.trainer import Stage, StagedNetwork, Trainer, make_inputs
from featx.finetuning.training_images import LabeledImages
from featx.finetuning.training_loop import OPTIMIZERS, SCHEDULES, TrainingSettings
from featx.networks.configs import find_config
from featx.networks.devices import check_precision, find_device
from featx.networks.sources.base import RANDOM
from featx.networks.sources.finding import find_source
from featx.networks.sources.local import ModuleSource
from featx.process.phases import phase
from featx.streaming.progress import ProgressCallback
from featx.trust.callables import Trust

Indices = npt.NDArray[np.intp]
_TUNE_LR, SCRATCH_LR = 1e-4, 1e-3

_SOURCE = ("model", "weights", "load", "store", "trust")
"""Parameters that the extractor of a frozen part has too."""

_RUN_ONLY = {"checkpoint", "store", "device", "model", "trust"}
"""Parameters that a checkpoint does not depend on; the model is identified by its layers."""


class FineTunedClassifier(ClassifierMixin, BaseEstimator):
    """A pre-trained network with a new head, fine-tuned on images and their classes.

    Training has two stages: first only the head, with all other layers frozen; then, if more
    layers are to be trained, those layers, at a lower learning rate. If images do not change
    between epochs, frozen layers run only once and their features are stored.

    Parameters
    ----------
    model : str, path or torch.nn.Module, default="featxnet"
        As in `featx.extractors.cnn.CNNFeatures`.
    weights : str or path, default="default"
    load : str, optional
        Pattern of the tensors to load from the weights, such as ``conv*``.
    train : str, optional
        ``head`` (and layers that the weights do not provide), ``all``, or a layer: this one and
        all deeper ones. By default the head, or all layers if the weights are random.
    freeze : sequence of str, default=()
        Layers that are never trained.
    rates : mapping of str to float, optional
        Learning rates of layers in the second stage; zero freezes a layer.
    layer_decay : float, default=1.0
        Factor between the learning rates of a layer and the one before it, in the second stage.
    batch_norm : {"frozen", "adapt"}, default="frozen"
        As in `featx.finetuning.freezing.Policy`.
    head_layer : str, optional
        Input of a dense head; by default the last feature maps, averaged over their positions.
    hidden : tuple of int, default=()
        Sizes of new dense layers before the logits.
    dropout : float, default=0.0
        Dropout rate before each dense layer.
    head_norm : bool, default=False
        Whether to add batch norm before each dense layer.
    pooling : str, default="auto"
        How a network of timm pools its feature maps or tokens: ``auto`` for its own way, or
        ``cls``, ``mean``, ``cls+mean``, ``gap``, ``max``, ``gem``.
    head_epochs : int, default=30
        Epochs of the first stage, which is omitted for random weights.
    head_lr : float, default=1e-3
    epochs : int, default=15
        Epochs of the second stage.
    lr : float, optional
        Learning rate of the second stage; by default 1e-4, for random weights 1e-3.
    optimizer : {"adam", "adamw", "sgd"}, default="adam"
    weight_decay : float, default=0.0
    batch_size : int, default=32
    warmup : float, default=1.0
        Epochs of linear warm-up of the learning rate.
    schedule : {"cosine", "constant"}, default="cosine"
    patience : int, optional, default=8
        Epochs without a lower validation loss before a stage ends; None disables early stopping.
        The weights with the lowest loss are restored in any case.
    validation : float, default=0.2
        Fraction of the images of each class held out for early stopping. With zero, or with one
        image per class, all images are used for training and all epochs are run.
    class_weight : {"balanced"}, optional
        Give every class the same weight in the loss, however many images it has.
    augment : str, default="none"
        Preset and changes to it, see `featx.finetuning.augmentation.Augmentation`.
    flip : bool, default=True
        Whether presets may mirror images.
    size, crop : int or tuple of int, optional
        Input size in px; by default as the weights expect. Smaller images are enlarged.
    precision : {"fp32", "bf16"}, default="fp32"
    device : str, default="auto"
    random_state : int, default=0
        Seed of the head's weights, the order of images, and everything else that is random.
    checkpoint : path, optional
        Folder to save a checkpoint to after each epoch. After a kill the same call resumes there
        and, on a CPU, reaches the same weights bit for bit.
    store : {"default"}, path, FeatureStore or None
        Store of the features of frozen layers.
    trust : path, str, or sequence of these, optional
        As in `featx.extractors.cnn.CNNFeatures`.
    image_shape, value_range, window, pages, bands, max_pixels
        As in `featx.extractors.base.Extractor`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    network_ : torch.nn.Module
        The network, in evaluation mode, on the CPU.
    preprocessing_ : Preprocessing
        Preprocessing of its images.
    replacements_ : list of dict
        Modules of the original network that were replaced, and by what.
    report_ : LoadReport
        Which tensors of the weights were loaded, renamed, skipped or newly initialized.
    prepared_ : Prepared
        The network with its layers and its source; not pickled.
    history_ : list of dict
        A row per epoch: ``stage``, ``epoch``, ``train_loss``, ``valid_loss``, ``valid_acc``.
    freeze_checks_ : dict of str to FreezeCheck
        For each stage, which frozen tensors were verified to be unchanged, bit for bit.
    notes_ : list of str
        What was decided and why.
    seconds_ : float
        Training time, including epochs before a kill.

    Raises
    ------
    TrainingError
        If the loss is not finite, a frozen tensor changed, or a checkpoint is of another run.

    References
    ----------
    .. [1] Yosinski et al., "How transferable are features in deep neural networks?", NIPS 2014.

    Examples
    --------
    >>> from featx import load_dataset
    >>> digits = load_dataset("digits").take(range(60))
    >>> tuned = FineTunedClassifier("featxnet", size=32, head_epochs=5)
    >>> tuned.fit(digits.images, digits.labels).predict(digits.images).shape
    (60,)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "load": [str, None],
        "weights": [str, os.PathLike],
        "train": [str, None],
        "freeze": [str, list, tuple],
        "rates": [Mapping, None],
        "layer_decay": [Interval(numbers.Real, 0, 1, closed="right")],
        "batch_norm": [StrOptions({"frozen", "adapt"})],
        "head_layer": [str, None],
        "hidden": [str, list, tuple],
        "dropout": [Interval(numbers.Real, 0, 1, closed="left")],
        "head_norm": ["boolean"],
        "pooling": [str],
        "head_epochs": [Interval(numbers.Integral, 0, None, closed="left")],
        "head_lr": [Interval(numbers.Real, 0, None, closed="neither")],
        "epochs": [Interval(numbers.Integral, 0, None, closed="left")],
        "lr": [Interval(numbers.Real, 0, None, closed="neither"), None],
        "optimizer": [StrOptions(set(OPTIMIZERS))],
        "weight_decay": [Interval(numbers.Real, 0, None, closed="left")],
        "batch_size": [Interval(numbers.Integral, 1, None, closed="left")],
        "warmup": [Interval(numbers.Real, 0, None, closed="left")],
        "schedule": [StrOptions(set(SCHEDULES))],
        "patience": [Interval(numbers.Integral, 1, None, closed="left"), None],
        "validation": [Interval(numbers.Real, 0, 1, closed="left")],
        "class_weight": [StrOptions({"balanced"}), None],
        "augment": [str, Augmentation],
        "flip": ["boolean"],
        "precision": [StrOptions({"fp32", "bf16"})],
        "device": [str],
        "random_state": [numbers.Integral],
        "checkpoint": [str, os.PathLike, None],
        "trust": [str, os.PathLike, list, tuple, None],
    }

    def __init__(
        self,
        model: Any = "featxnet",
        *,
        weights: str | os.PathLike[str] = "default",
        load: str | None = None,
        train: str | None = None,
        freeze: Sequence[str] = (),
        rates: Mapping[str, float] | None = None,
        layer_decay: float = 1.0,
        batch_norm: str = "frozen",
        head_layer: str | None = None,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        head_norm: bool = False,
        pooling: str = "auto",
        head_epochs: int = 30,
        head_lr: float = 1e-3,
        epochs: int = 15,
        lr: float | None = None,
        optimizer: str = "adam",
        weight_decay: float = 0.0,
        batch_size: int = 32,
        warmup: float = 1.0,
        schedule: str = "cosine",
        patience: int | None = 8,
        validation: float = 0.2,
        class_weight: str | None = None,
        augment: str = "none",
        flip: bool = True,
        size: int | tuple[int, int] | None = None,
        crop: int | tuple[int, int] | None = None,
        precision: str = "fp32",
        device: str = "auto",
        random_state: int = 0,
        checkpoint: str | os.PathLike[str] | None = None,
        store: Any = None,
        trust: Trust = None,
        image_shape: tuple[int, ...] | None = None,
        value_range: tuple[float, float] | str | None = None,
        window: tuple[float, float] | None = None,
        pages: str | None = None,
        bands: Sequence[int] | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.model = model
        self.weights = weights
        self.load = load
        self.train = train
        self.freeze = freeze
        self.rates = rates
        self.layer_decay = layer_decay
        self.batch_norm = batch_norm
        self.head_layer = head_layer
        self.hidden = hidden
        self.dropout = dropout
        self.head_norm = head_norm
        self.pooling = pooling
        self.head_epochs = head_epochs
        self.head_lr = head_lr
        self.epochs = epochs
        self.lr = lr
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.warmup = warmup
        self.schedule = schedule
        self.patience = patience
        self.validation = validation
        self.class_weight = class_weight
        self.augment = augment
        self.flip = flip
        self.size = size
        self.crop = crop
        self.precision = precision
        self.device = device
        self.random_state = random_state
        self.checkpoint = checkpoint
        self.store = store
        self.trust = trust
        self.image_shape = image_shape
        self.value_range = value_range
        self.window = window
        self.pages = pages
        self.bands = bands
        self.max_pixels = max_pixels

    @phase("train network")
    def fit(
        self,
        X: Any,
        y: Any,
        *,
        held_out: Any = None,
        groups: Any = None,
        keep_checkpoint: bool = False,
        progress: ProgressCallback | None = None,
    ) -> Self:
        """Train on images and their classes.

        Parameters
        ----------
        X : Images
            As every extractor takes them.
        y : array-like of shape (n_images,)
        held_out : array of bool, shape (n_images,), optional
            Images held out for early stopping, in place of a random fraction of each class.
        groups : array of str, shape (n_images,), optional
            Images of one group, such as a patient's, are held out together.
        keep_checkpoint : bool, default=False
            Whether to keep the checkpoint after training: the same call then ends at once.
        progress : ProgressCallback, optional
            Receives decisions and the losses of each epoch.
        """
        started = time.perf_counter()
        self._validate_params()
        check_precision(self.precision, self.device)
        progress = progress or ProgressCallback()
        data = self._read(X, y)
        self.notes_: list[str] = []
        self.prepared_ = self.prepare(len(self.classes_))
        self.preprocessing_ = self.prepared_.config.preprocessing
        self.replacements_, self.report_ = self.prepared_.replacements, self.prepared_.report
        train, valid = self._divide(data, held_out, groups)
        checkpoint = self._open_checkpoint(train, valid)
        trainer = Trainer(
            self.prepared_,
            self._training_settings(train.targets),
            train,
            valid,
            source={name: getattr(self, name) for name in _SOURCE},
            checkpoint=checkpoint,
            notes=self.notes_,
            progress=progress,
        )
        trainer.note(f"weights {self.prepared_.config.weights.name}: {self.report_}")
        seconds_before = checkpoint.seconds
        trainer.run(self.stages(self.prepared_))
        if not keep_checkpoint:
            checkpoint.remove()
        self.history_, self.freeze_checks_ = trainer.history, trainer.freeze_checks
        self._frozen_part: FrozenPart | None = trainer.frozen_part
        self.seconds_ = seconds_before + time.perf_counter() - started
        self.network_ = self.prepared_.network.to("cpu").eval().requires_grad_(False)
        return self

    @phase("predict", is_shared=True)
    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Probability of each class, shape (n_images, n_classes)."""
        check_is_fitted(self, "network_")
        images = self._images(X)
        data = LabeledImages(images, np.zeros(len(images), np.int64))
        device, part = find_device(self.device), self._frozen_part
        network = StagedNetwork(
            self.network_, None, self.preprocessing_, None if part is None else part.tail
        )
        network.to(device).train(False)
        inputs = make_inputs(data, self.preprocessing_, part)
        with torch.inference_mode():
            probabilities = [
                network(batch.to(device)).softmax(1).double().cpu()
                for batch, _ in DataLoader(inputs, batch_size=self.batch_size)
            ]
        self.network_.to("cpu")
        return torch.cat(probabilities).numpy()

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Class of each image."""
        return self.classes_[self.predict_proba(X).argmax(1)]

    def prepare(self, n_classes: int, *, with_values: bool = True) -> Prepared:
        """The network with its head, before any training.

        Parameters
        ----------
        n_classes : int
        with_values : bool, default=True
            If False, weights are not read but treated as loaded, which suffices for a summary.
        """
        is_module = isinstance(find_source(self.model, trust=self.trust), ModuleSource)
        is_read = with_values or is_module or self.load is not None
        config = find_config(
            self.model,
            weights=self.weights if is_read else RANDOM,
            load=self.load,
            size=self.size,
            crop=self.crop,
            device=self.device,
            trust=self.trust,
        )
        head = Head(
            self.head_layer,
            parse_sizes(self.hidden),
            float(self.dropout),
            bool(self.head_norm),
            self.pooling,
        )
        prepared = prepare_network(config, n_classes, head, random_state=int(self.random_state))
        if not is_read and self.weights != RANDOM:
            prepared.take_as_loaded()
        return prepared

    def stages(self, prepared: Prepared) -> list[Stage]:
        """Stages of training: the head, then further layers; a single stage for random weights."""
        freeze = tuple(parse_names(self.freeze))
        train = default_train(self.weights) if self.train is None else self.train
        is_head_only = train == "head"
        first = Policy("head", freeze, self.head_lr, batch_norm=self.batch_norm)
        lr = self.lr or (SCRATCH_LR if prepared.is_random else _TUNE_LR)
        second = Policy(
            train,
            freeze,
            lr,
            rates=self.rates or {},
            layer_decay=self.layer_decay,
            batch_norm=self.batch_norm,
        )
        stages = []
        if self.head_epochs and (is_head_only or not prepared.is_random):
            stages.append(Stage("head", plan_training(prepared, first), self.head_epochs))
        if self.epochs and not is_head_only:
            stages.append(Stage("tune", plan_training(prepared, second), self.epochs))
        if not stages:
            raise TrainingError("No epochs to train; set head_epochs or epochs above zero.")
        return stages

    def __getstate__(self) -> dict[str, Any]:
        """State without the network's source, which is code."""
        dropped = {"prepared_": None, "_frozen_part": None}
        return {k: dropped.get(k, v) for k, v in super().__getstate__().items()}

    def _images(self, X: Any, *, reset: bool = False) -> Images:
        if not isinstance(X, Images):
            X = Images(
                X,
                image_shape=self.image_shape,
                value_range=self.value_range,
                window=self.window,
                pages=self.pages,
                bands=self.bands,
                max_pixels=self.max_pixels,
            )
        check_bands(X.reading)
        if X.reading.percentiles is None:
            return X
        if reset:
            self.value_range_ = measure_range(X).limits
        return X.read_as(replace(X.reading, value_range=self.value_range_))

    def _read(self, X: Any, y: Any) -> LabeledImages:
        images, labels = self._images(X, reset=True), _check_labels(y)
        if len(images) != len(labels):
            raise DatasetError(f"Got {len(images)} images but {len(labels)} labels.")
        self.classes_, targets = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise DatasetError(f"Expected two classes or more; got only {self.classes_}.")
        return LabeledImages(images, targets.astype(np.int64))

    def _divide(
        self, data: LabeledImages, held_out: Any, groups: Any
    ) -> tuple[LabeledImages, LabeledImages | None]:
        """Images to train on, and those held out for early stopping."""
        train, valid = hold_out(data.targets, self.validation, self.random_state, held_out, groups)
        if not len(valid):
            if self.validation:
                self.notes_.append("one image per class: none is held out for early stopping")
            return data, None
        missing = self.classes_[np.setdiff1d(data.targets, data.targets[train])]
        if len(missing):
            raise DatasetError(
                f"All training images of {', '.join(map(str, missing))} are held out for early "
                "stopping; add training images, or remove these classes."
            )
        return data.take(train), data.take(valid)

    def _open_checkpoint(self, train: LabeledImages, valid: LabeledImages | None) -> Checkpointer:
        """The checkpoint of exactly this run."""
        parts = [train] if valid is None else [train, valid]
        prepared = self.prepared_
        nodes = [(node.name, node.kind, node.source) for node in prepared.table.recording.nodes]
        parameters = self.get_params(deep=False)
        settings = [
            {name: str(value) for name, value in parameters.items() if name not in _RUN_ONLY},
            [prepared.config.source.identity, nodes, asdict(prepared.config.preprocessing)],
            [part.targets.tolist() for part in parts],
        ]
        images = [part.images for part in parts]
        return Checkpointer.of_run(self.checkpoint, prepared.network, images, settings)

    def _training_settings(self, targets: npt.NDArray[np.int64]) -> TrainingSettings:
        return TrainingSettings(
            optimizer=self.optimizer,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            warmup=self.warmup,
            schedule=self.schedule,
            patience=self.patience,
            precision=self.precision,
            device=find_device(self.device),
            random_state=int(self.random_state),
            n_classes=len(self.classes_),
            class_weights=self._class_weights(targets),
            augmentation=Augmentation.parse(self.augment, flip=self.flip),
        )

    def _class_weights(self, targets: npt.NDArray[np.int64]) -> torch.Tensor | None:
        if self.class_weight is None:
            return None
        classes = np.arange(len(self.classes_))
        weights = compute_class_weight(self.class_weight, classes=classes, y=targets)
        return torch.tensor(weights, dtype=torch.float32)


def check_bands(reading: Reading) -> None:
    """Refuse images of other than one or three bands.

    Raises
    ------
    SpecError
    """
    if reading.n_bands != N_RGB or reading.is_each:
        raise SpecError(
            "Training needs gray or RGB images: select one band or three (--bands 4,3,2)."
        )


def _check_labels(y: Any) -> npt.NDArray[Any]:
    """Labels as one column of classes, as scikit-learn's classifiers accept them."""
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DatasetError(
            f"Expected one label per image; got an array of shape {labels.shape}. Convert one-hot "
            "labels by y.argmax(axis=1)."
        )
    is_missing = np.array([value is None or value != value for value in labels.tolist()], bool)
    if is_missing.any():
        raise DatasetError(
            f"{is_missing.sum():,} of {len(labels):,} labels are missing or NaN, the first at "
            f"index {is_missing.argmax()}; remove these images."
        )
    try:
        check_classification_targets(labels)
    except ValueError as error:
        raise DatasetError(f"Labels must be classes: {one_line(error)}") from error
    return labels


def default_train(weights: Any) -> str:
    """Default of ``train``: all layers if the weights are random, else the head.

    Examples
    --------
    >>> default_train("default"), default_train("random")
    ('head', 'all')
    """
    return "all" if weights == RANDOM else "head"


def hold_out(
    labels: Any, fraction: float, random_state: int, held_out: Any = None, groups: Any = None
) -> tuple[Indices, Indices]:
    """Indices of the images to train on, and of those held out for early stopping.

    Parameters
    ----------
    labels : array of shape (n_images,)
    fraction : float
        Fraction of each class held out at random.
    random_state : int
    held_out : array of bool, shape (n_images,), optional
        Images to hold out instead of random ones.
    groups : array of str, shape (n_images,), optional
        Images of one group are held out together.
    """
    if held_out is not None:
        is_held_out = np.asarray(held_out, bool)
        return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
    if not fraction:
        return np.arange(len(labels)), np.empty(0, np.intp)
    targets = np.unique(labels, return_inverse=True)[1]
    return train_test_indices(
        targets, train_size=1 - fraction, random_state=random_state, groups=groups
    )
