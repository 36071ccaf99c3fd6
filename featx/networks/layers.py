"""Names of a network's layers: aliases in order of execution, shapes, cost.

Pure: it works on what `featx.networks.tracing` saw while a network ran once, and imports no
torch. `featx.networks.configs.list_layers` is the way in for a user.
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
    """One tensor that a network makes of its input, as it was seen in one run.

    Parameters
    ----------
    name : str
        Its canonical name: of the module that returns it, else of the function that made it.
    names : tuple of str
        Every name it goes by, `name` and containers that return it among them.
    kind : str
        Class of the module or name of the function that made it.
    shape : tuple of int
        Shape for one image.
    axes : str
        What the dimensions are: ``c``, ``chw``, ``hwc``, ``tc`` (tokens), ``ct``, or ``?``.
    macs : int
        Multiply-adds for one image up to and with this node.
    source : str
        Name of the node that was its first input.
    n_prefix : int, default=0
        Tokens before those of the patches: class, distillation and register tokens.
    has_class_token : bool, default=False
        Whether the first of them is a class token.
    is_pointwise : bool, default=False
        Whether it is a convolution of one pixel, as a classifier may be.
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
    """A module made of others: its name, class, and whether it only runs them in sequence."""

    name: str
    kind: str
    is_sequence: bool


@dataclass(frozen=True)
class Recording:
    """What one run of a network showed.

    Parameters
    ----------
    kind : str
        Class of the network.
    nodes : sequence of Node
        In order of execution.
    containers : sequence of Container
        Modules made of others, in the order in which they finished.
    logits : str
        Name of the node that the network returns.
    entered : mapping of str to int
        For each module, how many nodes were there when it was first called.
    classified : str, optional
        Name of the node that goes into the classifier that the network declares; empty where it
        declares to have none.
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
        Its name in the literature's terms, such as ``pool1``; empty where it has none.
    node : str
        Its name in the network, such as ``features.2``.
    kind : str
        Class of the module or name of the function, such as ``MaxPool2d``.
    index : int
        Its place in the order of execution.
    shape : tuple of int
        Shape of its output for one image.
    n_features : int
        Values in its output.
    macs : int
        Multiply-adds for one image up to and with this layer.
    axes : str
        What the dimensions are: ``c``, ``chw``, ``hwc``, ``tc`` (tokens), ``ct``, or ``?``.
    n_prefix : int
        Tokens before those of the patches: class, distillation and register tokens.
    has_class_token : bool
        Whether the first of them is a class token.
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
        """Values left when the layer is averaged over places or tokens."""
        return self.shape[self.axes.index("c")] if "c" in self.axes else self.n_features


class LayerTable(Sequence[Layer]):
    """The layers of one network, in order of execution, found by any of their names.

    Parameters
    ----------
    model : str
        The network's name, for messages.
    recording : Recording
        What was seen while it ran.

    Attributes
    ----------
    containers : dict of str to str
        ``stageN``, ``fireN``, ``blockN`` -> path of the module.
    """

    def __init__(self, model: str, recording: Recording) -> None:
        self.model = model
        self.recording = recording
        nodes = recording.nodes
        self._places = {name: i for i, node in enumerate(nodes) for name in node.names}
        containers = _container_paths(recording, self._places)
        aliases = _aliases(recording, self._places, containers)
        self.containers = {alias: it for alias, it in containers.items() if alias in aliases}
        shown = {index: alias for alias, index in reversed(aliases.items())}
        self._layers = [_layer(node, i, shown.get(i, "")) for i, node in enumerate(nodes)]
        self._places = {**aliases, **self._places}
        output = self._places[recording.logits]
        classified = _classified(recording, self._places)
        self._places.setdefault("output", output)
        if classified is not None:
            self._places.setdefault("logits", output)
        self._places.setdefault("penultimate", output if classified is None else classified)

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
        """Layer of a name: a node, an alias, ``penultimate``, ``logits``, or ``-1``, ``-2``.

        Raises
        ------
        LayerError
            If there is none of that name; it carries the nearest.
        """
        name = str(name)
        if name in self._places:
            return self._layers[self._places[name]]
        if re.fullmatch(r"-\d+", name):
            return self._from_the_end(name)
        if self.is_joined(name):
            raise ModelError(f"Layer {name!r} is several layers side by side; expected one.")
        raise LayerError(name, self.model, self.nearest(name))

    def is_joined(self, name: str | int) -> bool:
        """Whether a name stands for several layers side by side."""
        return bool(_LAST_BLOCKS.fullmatch(str(name))) and str(name) not in self._places

    def parts(self, name: str | int) -> list[Layer]:
        """Layers whose values a name stands for: one, and of ``lastN`` the last N blocks.

        Raises
        ------
        LayerError
            If there is none of that name.
        ModelError
            If the network has fewer blocks, or they are not blocks of tokens.
        """
        if not self.is_joined(name):
            return [self.find(name)]
        n_wanted = int(str(name).removeprefix("last"))
        n_blocks = sum(alias.startswith("block") for alias in self.containers)
        numbers = range(n_blocks + 1 - n_wanted, n_blocks + 1)
        blocks = [self.find(f"block{number}") for number in numbers if number > 0]
        if len(blocks) < n_wanted or any(block.axes != "tc" for block in blocks):
            what = f"{n_blocks} blocks" if n_blocks else "no blocks"
            if blocks and blocks[-1].axes != "tc":
                what = "blocks of feature maps"
            raise ModelError(
                f"Layer {name!r} needs {n_wanted} blocks of tokens, as vision transformers have "
                f"them; {self.model} has {what}. Name its layers, see `featx layers {self.model}`."
            )
        return blocks

    def final_norm(self) -> Node | None:
        """The norm that the network puts after its last block of tokens, where it has one.

        As in the evaluation of DINOv2, it belongs to what each of the last blocks gives.
        """
        last = self.parts("last1")[0]
        after = self.recording.nodes[last.index + 1 : last.index + 2]
        found = [node for node in after if node.source == last.node and node.shape == last.shape]
        return next((node for node in found if _TOKEN_NORM.search(node.kind)), None)

    def nearest(self, name: str) -> list[str]:
        """Names most like `name`, best first."""
        aliases = [layer.alias for layer in self._layers if layer.alias]
        return nearest_names(name, [*aliases, *self._places])

    def _from_the_end(self, name: str) -> Layer:
        """``-1`` is the penultimate layer, ``-2`` the layer with an alias before it."""
        last = self._places["penultimate"]
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


def _classified(recording: Recording, indices: Mapping[str, int]) -> int | None:
    """Index of what goes into the classifier; None where the network has none.

    A classifier is the last layer with weights, where nothing follows it but rectifiers,
    pooling and what only brings its values into shape. A convolution that is one has one pixel.
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
        index = before if _AFTER.fullmatch(node.kind) else None
    return None


_AFTER = re.compile(
    r"Identity|(Log)?[sS]oftmax|log_softmax|Dropout\d?d?|dropout|Flatten|flatten|squeeze|getitem|"
    r"view|reshape|mean|clone|contiguous|float|interpolate|(Adaptive)?\w*(Max|Avg)Pool2d|\w*(max|avg)_pool2d|"
    + "|".join(sorted(RECTIFIERS))
)


def _aliases(
    recording: Recording, indices: Mapping[str, int], containers: Mapping[str, str]
) -> dict[str, int]:
    """Alias -> place, the one to show first where a node has several.

    A word that the network itself uses, as ShuffleNet does ``stage2``, is left to it.
    """
    held = {alias: _place(path, recording, indices) for alias, path in containers.items()}
    places = {alias: place for alias, place in held.items() if place is not None}
    numbered = {**places, **_operation_aliases(recording)}
    own = {name: index for name, index in indices.items() if _ALIAS.fullmatch(name)}
    taken = {_word(name) for name, index in own.items() if numbered.get(name) != index}
    kept = {name: index for name, index in numbered.items() if _word(name) not in taken}
    return {**own, **kept}


_ALIAS = re.compile(r"(?:(?:relu_)?(?:conv|fc)|pool|stage|block|fire)\d+(?:_\d+)?")


def _word(alias: str) -> str:
    return re.sub(r"^relu_|\d+(_\d+)?$", "", alias)


def _operation_aliases(recording: Recording) -> dict[str, int]:
    """``convN``, ``fcN``, ``relu_convN``, ``relu_fcN``, ``poolN`` -> place."""
    number = _paper_numbers if recording.kind in _PAPER_NUMBERED else _running_numbers
    weighted: dict[str, str] = {}  # node that a rectifier may follow -> alias of its weights
    aliases: dict[str, int] = {}
    for index, alias in number(recording):
        aliases[alias] = index
        if not alias.startswith("pool"):
            weighted[recording.nodes[index].name] = alias
    for index, node in enumerate(recording.nodes):
        followed = weighted.get(node.source)
        if followed and node.kind in NORMS:
            weighted[node.name] = followed
        elif followed and node.kind in RECTIFIERS:
            aliases.setdefault(f"relu_{followed}", index)
    return aliases


def _running_numbers(recording: Recording) -> Iterator[tuple[int, str]]:
    """Each convolution, linear layer and pooling with its number in order of execution."""
    counts: Counter[str] = Counter()
    for index, node in enumerate(recording.nodes):
        if word := _operation(node.kind):
            counts[word] += 1
            yield index, f"{word}{counts[word]}"


def _paper_numbers(recording: Recording) -> Iterator[tuple[int, str]]:
    """AlexNet's and VGG's numbers: pooling after its convolution, linear layers from 6."""
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
    """``stageN``, ``fireN``, ``blockN`` -> path; fire modules count from 2, as in their paper.

    Only of those whose output is a layer: at `indices`, by name.
    """
    blocks, stages = _blocks_and_stages(recording)
    spans = [
        (place, recording.entered.get(block.name, place), block)
        for block in blocks
        if (place := _place(block.name, recording, indices)) is not None
    ]
    apart = [span for span in spans if not any(_is_within(span, other) for other in spans)]
    held = [name for name in stages if name in indices] if len(stages) > 1 else []
    paths = {f"stage{i}": name for i, name in enumerate(held, 1)}
    for i, (_, _, block) in enumerate(sorted(apart, key=lambda span: span[0]), 1):
        paths[f"fire{i + 1}" if block.kind == "Fire" else f"block{i}"] = block.name
    return paths


def _is_within(span: tuple[int, int, Any], other: tuple[int, int, Any]) -> bool:
    """Whether a module ran while another did: CoaT's blocks share an encoding of positions."""
    return other[1] <= span[1] and span[0] < other[0]


def _place(name: str, recording: Recording, indices: Mapping[str, int]) -> int | None:
    """Place of what a block returns: of several tensors, as TNT's return, the tokens made last."""
    if name in indices:
        return indices[name]
    inside = [
        index
        for index, node in enumerate(recording.nodes)
        if node.axes == "tc" and any(it.startswith(f"{name}.") for it in node.names)
    ]
    return inside[-1] if inside else None


def _blocks_and_stages(recording: Recording) -> tuple[list[Container], list[str]]:
    """Blocks, and the names of the stages that hold them.

    A block is a repeated class of modules with two or more weighted layers, outermost first. A
    class that is called a stage and holds such modules in a row is none, but what holds blocks.
    """
    repeated = _repeated(recording)
    outer = _outermost(repeated)
    inner = {
        container.name: _outermost([it for it in repeated if _is_in_row(it.name, container.name)])
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


def _is_in_row(name: str, holder: str) -> bool:
    """Whether a module is numbered in a sequence of the holder, such as ``stages.0.blocks.2``."""
    return bool(re.fullmatch(re.escape(holder) + r"\.[a-z]\w*(\.\d+)+", name))


def _repeated(recording: Recording) -> list[Container]:
    """Modules of a class that occurs again, with two or more weighted layers inside."""
    entered = recording.entered
    # A second call of a module has a name with a number after it: that is no second layer.
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
