"""The layers of a network: names and aliases, shapes, cost, in order of execution.

Everything here is derived from the recording that `featx.networks.tracing` makes of one run, and
needs no torch. Users call `featx.networks.configs.list_layers`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from featx.errors import LayerError, ModelError, nearest_names

CONVOLUTIONS = frozenset(
    f"{kind}{n}d" for kind in ("Conv", "conv", "ConvTranspose", "conv_transpose") for n in (1, 2, 3)
)
LINEARS = frozenset({"Linear", "NonDynamicallyQuantizableLinear", "LazyLinear", "linear"})
_POOLS = frozenset(
    f"{kind}{n}d" for kind in ("MaxPool", "AvgPool", "max_pool", "avg_pool") for n in (1, 2, 3)
)
NORMS = frozenset({"BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "batch_norm", "FrozenBatchNorm2d"})
RECTIFIERS = frozenset(
    {"ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "SELU", "CELU", "GELU", "SiLU", "Mish"}
    | {"Hardswish", "Sigmoid", "Tanh"}
    | {"relu", "relu_", "relu6", "leaky_relu", "elu", "gelu", "silu", "hardswish", "mish"}
)
_PAPER_NUMBERED = frozenset({"AlexNet", "VGG"})
_LAST_BLOCKS = re.compile(r"last([1-9]\d*)")
_TOKEN_NORM = re.compile(r"LayerNorm|RmsNorm|RMSNorm")


@dataclass(frozen=True)
class Node:
    """One tensor that a network computes from its input, as recorded in one run.

    Parameters
    ----------
    name : str
        Canonical name: that of the module that returned it, else of the function.
    names : tuple of str
        All its names, including those of the containers that returned it unchanged.
    kind : str
        Class of the module or name of the function that computed it.
    shape : tuple of int
        Shape for one image.
    axes : str
        Meaning of the dimensions: ``c``, ``chw``, ``hwc``, ``tc`` (tokens), ``ct``, or ``?``.
    macs : int
        Multiply-adds per image up to and including this node.
    source : str
        Name of the node that is its first input.
    n_prefix : int, default=0
        Number of tokens before the patch tokens: class, distillation and register tokens.
    has_class_token : bool, default=False
        Whether the first token is a class token.
    is_pointwise : bool, default=False
        Whether it is a 1x1 convolution, which may be a classifier.
    """

    name: str
    names: tuple[str, ...]
    kind: str
    shape: tuple[int, ...]
    axes: str
    macs: int
    source: str
    n_prefix: int = 0
    has_class_token: bool = False
    is_pointwise: bool = False


@dataclass(frozen=True)
class Container:
    """A module with submodules: its path, its class, and whether it is a plain sequence of them."""

    name: str
    kind: str
    is_sequence: bool


@dataclass(frozen=True)
class Recording:
    """Recording of one run of a network.

    Parameters
    ----------
    kind : str
        Class of the network.
    nodes : sequence of Node
        In order of execution.
    containers : sequence of Container
        Modules with submodules.
    logits : str
        Name of the node that the network returns.
    entered : mapping of str to int
        For each module path, the index of the first node computed after it was first called.
    classified : str, optional
        Name of the node that is the input of the classifier that the network declares; empty if it
        declares that it has none, None if it declares nothing.
    """

    kind: str
    nodes: Sequence[Node]
    containers: Sequence[Container]
    logits: str
    entered: Mapping[str, int] = field(default_factory=dict)
    classified: str | None = None


@dataclass(frozen=True)
class Layer:
    """One layer of a network.

    Parameters
    ----------
    alias : str
        Name in the terms of the literature, such as ``pool1``; empty if it has none.
    node : str
        Name in the network, such as ``features.2``.
    kind : str
        Class of the module or name of the function, such as ``MaxPool2d``.
    index : int
        Index in the order of execution.
    shape : tuple of int
        Shape of the output for one image.
    n_features : int
        Number of values in the output for one image.
    macs : int
        Multiply-adds per image up to and including this layer.
    axes : str
        Meaning of the dimensions: ``c``, ``chw``, ``hwc``, ``tc`` (tokens), ``ct``, or ``?``.
    n_prefix : int
        Number of tokens before the patch tokens: class, distillation and register tokens.
    has_class_token : bool
        Whether the first token is a class token.
    """

    alias: str
    node: str
    kind: str
    index: int
    shape: tuple[int, ...]
    n_features: int
    macs: int
    axes: str = "?"
    n_prefix: int = 0
    has_class_token: bool = False

    @property
    def n_pooled(self) -> int:
        """Number of values after averaging over positions or tokens."""
        return self.shape[self.axes.index("c")] if "c" in self.axes else self.n_features


class LayerTable(Sequence[Layer]):
    """The layers of one network, in order of execution; `find` looks them up by any name.

    Parameters
    ----------
    model : str
        Name of the network, for messages.
    recording : Recording

    Attributes
    ----------
    containers : dict of str to str
        Alias (``stageN``, ``fireN``, ``blockN``) -> path of the module.
    """

    def __init__(self, model: str, recording: Recording) -> None:
        self.model = model
        self.recording = recording
        nodes = recording.nodes
        indices = {name: i for i, node in enumerate(nodes) for name in node.names}
        containers = _container_paths(recording, indices)
        aliases = _aliases(recording, indices, containers)
        self.containers = {alias: path for alias, path in containers.items() if alias in aliases}
        # A node with several aliases is listed under the first of them.
        first_aliases = {index: alias for alias, index in reversed(aliases.items())}
        self._layers = [_layer(node, i, first_aliases.get(i, "")) for i, node in enumerate(nodes)]
        self._indices = {**aliases, **indices}
        output = self._indices[recording.logits]
        classified = _classifier_input(recording, self._indices)
        self._indices.setdefault("output", output)
        if classified is not None:
            self._indices.setdefault("logits", output)
        self._indices.setdefault("penultimate", output if classified is None else classified)

    def __len__(self) -> int:
        return len(self._layers)

    def __getitem__(self, index: int) -> Layer:  # type: ignore[override]
        return self._layers[index]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers)

    @property
    def macs(self) -> int:
        """Multiply-adds of the whole network for one image."""
        return self._layers[-1].macs

    def find(self, name: str | int) -> Layer:
        """Return a layer by its node, its alias, ``penultimate``, ``logits``, or ``-1``, ``-2``.

        Raises
        ------
        LayerError
            If there is no such layer; it suggests similar names.
        ModelError
            If the name stands for several layers, such as ``last4``.
        """
        name = str(name)
        if name in self._indices:
            return self._layers[self._indices[name]]
        if re.fullmatch(r"-\d+", name):
            return self._from_the_end(name)
        if self.is_joined(name):
            raise ModelError(f"Layer {name!r} stands for several layers; expected a single one.")
        raise LayerError(name, self.model, self.nearest(name))

    def is_joined(self, name: str | int) -> bool:
        """Whether a name stands for several layers whose features are concatenated."""
        return bool(_LAST_BLOCKS.fullmatch(str(name))) and str(name) not in self._indices

    def parts(self, name: str | int) -> list[Layer]:
        """Return the layers that a name stands for: the last N blocks for ``lastN``, else one.

        Raises
        ------
        LayerError
            If there is no such layer.
        ModelError
            If the network has fewer than N blocks, or their outputs are not tokens.
        """
        if not self.is_joined(name):
            return [self.find(name)]
        n_requested = int(str(name).removeprefix("last"))
        n_blocks = sum(alias.startswith("block") for alias in self.containers)
        numbers = range(n_blocks + 1 - n_requested, n_blocks + 1)
        blocks = [self.find(f"block{number}") for number in numbers if number > 0]
        if len(blocks) < n_requested or any(block.axes != "tc" for block in blocks):
            got = f"{n_blocks} blocks" if n_blocks else "no blocks"
            if blocks and blocks[-1].axes != "tc":
                got = "blocks of feature maps"
            raise ModelError(
                f"Layer {name!r} needs {n_requested} transformer blocks, whose outputs are tokens; "
                f"{self.model} has {got}. Choose from `featx layers {self.model}`."
            )
        return blocks

    def final_norm(self) -> Node | None:
        """Return the norm layer directly after the last transformer block; None without one.

        The linear evaluation of DINOv2 applies it to the outputs of all the last N blocks.
        """
        last = self.parts("last1")[0]
        for node in self.recording.nodes[last.index + 1 : last.index + 2]:
            follows = node.source == last.node and node.shape == last.shape
            if follows and _TOKEN_NORM.search(node.kind):
                return node
        return None

    def nearest(self, name: str) -> list[str]:
        """Return the names that are most similar to `name`, best first."""
        aliases = [layer.alias for layer in self._layers if layer.alias]
        return nearest_names(name, [*aliases, *self._indices])

    def _from_the_end(self, name: str) -> Layer:
        """``-1`` is the penultimate layer, ``-2`` the last layer with an alias before that."""
        last = self._indices["penultimate"]
        before = [layer for layer in self._layers[:last] if layer.alias]
        steps = int(name[1:])
        if steps == 1:
            return self._layers[last]
        if not 1 < steps <= len(before) + 1:
            raise LayerError(name, self.model, ["-1"])
        return before[1 - steps]


def _layer(node: Node, index: int, alias: str) -> Layer:
    return Layer(
        alias=alias,
        node=node.name,
        kind=node.kind,
        index=index,
        shape=node.shape,
        n_features=prod(node.shape),
        macs=node.macs,
        axes=node.axes,
        n_prefix=node.n_prefix,
        has_class_token=node.has_class_token,
    )


def _classifier_input(recording: Recording, indices: Mapping[str, int]) -> int | None:
    """Index of the node that is the classifier's input; None if the network has no classifier.

    Unless the network declares it, the classifier is the last linear layer or 1x1 convolution, if
    only activations, pooling and reshaping follow it.
    """
    if recording.classified is not None:
        return indices.get(recording.classified)
    index: int | None = indices[recording.logits]
    while index is not None:
        node = recording.nodes[index]
        before = indices.get(node.source)
        if node.kind in CONVOLUTIONS | LINEARS:
            is_classifier = node.kind in LINEARS or node.is_pointwise
            return max(index - 1, 0) if before is None else before if is_classifier else None
        index = before if _AFTER_CLASSIFIER.fullmatch(node.kind) else None
    return None


_AFTER_CLASSIFIER = re.compile(
    r"Identity|(Log)?[sS]oftmax|log_softmax|Dropout\d?d?|dropout|Flatten|flatten|squeeze|getitem|"
    r"view|reshape|mean|clone|contiguous|float|interpolate|(Adaptive)?\w*(Max|Avg)Pool2d|\w*(max|avg)_pool2d|"
    + "|".join(sorted(RECTIFIERS))
)


def _aliases(
    recording: Recording, indices: Mapping[str, int], containers: Mapping[str, str]
) -> dict[str, int]:
    """Alias -> index of its node; of several aliases of a node, the preferred one comes first.

    If the network itself uses names of this form with another meaning, as ShuffleNet does with
    ``stage2``, its names take precedence, and there are no other aliases with that word.
    """
    outputs = {alias: _output_index(path, recording, indices) for alias, path in containers.items()}
    numbered = {alias: index for alias, index in outputs.items() if index is not None}
    numbered |= _operation_aliases(recording)
    own = {name: index for name, index in indices.items() if _ALIAS.fullmatch(name)}
    own_words = {_word(name) for name, index in own.items() if numbered.get(name) != index}
    return own | {
        alias: index for alias, index in numbered.items() if _word(alias) not in own_words
    }


_ALIAS = re.compile(r"(?:(?:relu_)?(?:conv|fc)|pool|stage|block|fire)\d+(?:_\d+)?")


def _word(alias: str) -> str:
    """An alias without its number, such as ``conv`` for ``relu_conv1_2``."""
    return re.sub(r"^relu_|\d+(_\d+)?$", "", alias)


def _operation_aliases(recording: Recording) -> dict[str, int]:
    """``convN``, ``fcN``, ``relu_convN``, ``relu_fcN``, ``poolN`` -> index of the node."""
    number = _paper_numbers if recording.kind in _PAPER_NUMBERED else _running_numbers
    weighted: dict[str, str] = {}  # name of a convolution or linear layer, or its norm -> alias
    aliases: dict[str, int] = {}
    for index, alias in number(recording):
        aliases[alias] = index
        if not alias.startswith("pool"):
            weighted[recording.nodes[index].name] = alias
    for index, node in enumerate(recording.nodes):
        alias = weighted.get(node.source, "")
        if alias and node.kind in NORMS:
            weighted[node.name] = alias
        elif alias and node.kind in RECTIFIERS:
            aliases.setdefault(f"relu_{alias}", index)
    return aliases


def _running_numbers(recording: Recording) -> Iterator[tuple[int, str]]:
    """Index and alias of each convolution, linear and pooling layer, numbered as executed."""
    counts: Counter[str] = Counter()
    for index, node in enumerate(recording.nodes):
        if word := _operation(node.kind):
            counts[word] += 1
            yield index, f"{word}{counts[word]}"


def _paper_numbers(recording: Recording) -> Iterator[tuple[int, str]]:
    """The same with the numbers of the papers on AlexNet and VGG.

    A pooling layer has the number of the convolution or stage before it, and linear layers count
    from 6.
    """
    is_vgg = recording.kind == "VGG"
    n_stages, n_in_stage, n_linear = (1 if is_vgg else 0), 0, 5
    for index, node in enumerate(recording.nodes):
        word = _operation(node.kind)
        if word == "conv" and is_vgg:
            n_in_stage += 1
            yield index, f"conv{n_stages}_{n_in_stage}"
        elif word == "conv":
            n_stages += 1
            yield index, f"conv{n_stages}"
        elif word == "pool":
            yield index, f"pool{n_stages}"
            n_stages, n_in_stage = n_stages + is_vgg, 0
        elif word == "fc":
            n_linear += 1
            yield index, f"fc{n_linear}"


def _operation(kind: str) -> str:
    if kind in CONVOLUTIONS:
        return "conv"
    if kind in LINEARS:
        return "fc"
    return "pool" if kind in _POOLS else ""


def _container_paths(recording: Recording, indices: Mapping[str, int]) -> dict[str, str]:
    """``stageN``, ``fireN``, ``blockN`` -> module path, of containers whose output is a node.

    Fire modules count from 2, as in the SqueezeNet paper.
    """
    blocks, stages = _blocks_and_stages(recording)
    spans = [
        (recording.entered.get(block.name, last), last, block)
        for block in blocks
        if (last := _output_index(block.name, recording, indices)) is not None
    ]
    separate = [span for span in spans if not any(_is_within(span, other) for other in spans)]
    with_output = [name for name in stages if name in indices] if len(stages) > 1 else []
    paths = {f"stage{i}": name for i, name in enumerate(with_output, 1)}
    for i, (_, _, block) in enumerate(sorted(separate, key=lambda span: span[1]), 1):
        paths[f"fire{i + 1}" if block.kind == "Fire" else f"block{i}"] = block.name
    return paths


def _is_within(span: tuple[int, int, Any], other: tuple[int, int, Any]) -> bool:
    """Whether a module ran inside another: CoaT's blocks share a position encoding."""
    return other[0] <= span[0] and span[1] < other[1]


def _output_index(name: str, recording: Recording, indices: Mapping[str, int]) -> int | None:
    """Index of a container's output; of several outputs, as TNT's blocks have, the last tokens."""
    if name in indices:
        return indices[name]
    tokens = [
        index
        for index, node in enumerate(recording.nodes)
        if node.axes == "tc" and any(it.startswith(f"{name}.") for it in node.names)
    ]
    return tokens[-1] if tokens else None


def _blocks_and_stages(recording: Recording) -> tuple[list[Container], list[str]]:
    """Blocks, and the paths of the stages that contain them.

    Blocks are the outermost modules whose class occurs repeatedly and that contain two or more
    convolutions or linear layers. If such a module is called a stage and contains a numbered
    sequence of others, these are the blocks, and it is their stage.
    """
    repeated = _repeated(recording)
    outer = _outermost(repeated)
    inner = {
        container.name: _outermost([it for it in repeated if _is_numbered(it.name, container.name)])
        for container in outer
        if _STAGE.search(container.kind)
    }
    blocks = [block for container in outer for block in inner.get(container.name) or [container]]
    stages = [
        container.name if inner.get(container.name) else container.name.rpartition(".")[0]
        for container in outer
    ]
    return blocks, list(dict.fromkeys(stages))


_STAGE = re.compile(r"stage|level|layer|transformer", re.IGNORECASE)


def _is_numbered(name: str, parent: str) -> bool:
    """Whether a module is numbered in a sequence of `parent`, such as ``stages.0.blocks.2``."""
    return bool(re.fullmatch(re.escape(parent) + r"\.[a-z]\w*(\.\d+)+", name))


def _repeated(recording: Recording) -> list[Container]:
    """Modules of a class that occurs repeatedly, with two or more weighted layers inside."""
    entered = recording.entered
    # A second call of a module gets a numbered name; it is no second layer.
    weighted = {
        name if name in entered else re.sub(r"_\d+$", "", name)
        for node in recording.nodes
        if _operation(node.kind) in ("conv", "fc")
        for name in node.names[:1]
    }
    kinds = Counter(container.kind for container in recording.containers)
    return [
        container
        for container in recording.containers
        if not container.is_sequence
        and kinds[container.kind] > 1
        and sum(name.startswith(container.name + ".") for name in weighted) > 1
    ]


def _outermost(containers: Sequence[Container]) -> list[Container]:
    names = {container.name for container in containers}
    return [it for it in containers if names.isdisjoint(_parents(it.name))]


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name
