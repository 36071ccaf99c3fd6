"""Run a network once and record every tensor that its modules and functions compute.

Names are those of torchvision's `create_feature_extractor`: a module has its path, a function the
path of the calling module and its own name, and repeated calls are numbered ``_1``, ``_2``. The
nodes of traced graphs (`featx.networks.tapping`) get the same names, so that the name of a layer
does not depend on how it is tapped.

Why not torch.fx alone, as in torchvision: symbolic tracing fails for networks whose control flow
depends on values or shapes, such as many vision transformers, and provides neither shapes nor axes
nor costs. A real run, on the ``meta`` device if possible, works for every network that runs at all,
and yields shapes, axes, multiply-adds and the order of execution.
"""

from __future__ import annotations

import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from featx._imports import WithoutCompilerMixin
from featx.errors import ModelError
from featx.networks.axes import (
    axes_of,
    has_labels,
    is_of_images,
    label_input,
    note_axes,
    settle_axes,
)
from featx.networks.input_bands import count_input_bands
from featx.networks.layers import Container, Node, Recording

_PROBE_BATCH = 3
"""Number of images in the recorded run: a tensor of another length is not a layer."""

_MAX_PREFIX = 16
"""Maximum number of tokens before the patch tokens: class, distillation and register tokens."""

_CLASS_TOKEN = re.compile(r"(cls|class)_?(token|embed)", re.IGNORECASE)

MARK = "_featx_name"
_WHEN_TRACED = {"truediv": "div", "rdiv": "div", "mod": "remainder"}
"""Names of operators in a graph, or of reflected operators -> their names when executed."""

_SEQUENCES = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Visitor(Protocol):
    """Callback for each tensor that a network computes: its name, kind, value and first input."""

    def __call__(
        self, name: str, kind: str, value: Tensor, source: Tensor | None, *, is_new: bool
    ) -> None:
        """Visit one tensor; if not `is_new`, a module returned it unchanged, under another name."""


class Namer:
    """Assigns unique names to calls of modules and functions, in order of execution.

    Parameters
    ----------
    network : torch.nn.Module
        Network whose module paths are reserved for its modules.
    """

    def __init__(self, network: nn.Module) -> None:
        self._used = {name for name, _ in network.named_modules()}
        self._counts: Counter[str] = Counter()

    def module(self, path: str) -> str:
        """Name of the next call of the module at `path`."""
        return self._next(path, is_free=not self._counts[path])

    def function(self, path: str, function: Any) -> str:
        """Name of the next call of a function by the module at `path`."""
        name = f"{path}.{function_name(function)}" if path else function_name(function)
        return self._next(name, is_free=name not in self._used and not self._counts[name])

    def _next(self, name: str, *, is_free: bool) -> str:
        candidate = name
        while not is_free:
            candidate = f"{name}_{self._counts[name] or 1}"
            self._counts[name] += 1
            is_free = candidate not in self._used
        self._counts[name] = self._counts[name] or 1
        self._used.add(candidate)
        return candidate


def function_name(function: Any) -> str:
    """Return the name of a function, method or operator, as in torch.fx.

    Examples
    --------
    >>> function_name(operator.iadd), function_name(torch.Tensor.__radd__)
    ('add', 'add')
    """
    name = function if isinstance(function, str) else getattr(function, "__name__", "call")
    # Attributes such as `x.T` call their descriptor's __get__; a graph has a getattr.
    if name == "__get__":
        return "getattr"
    # `__iadd__` and `__radd__` are `add`, and so is `operator.iadd`, whose name is `iadd`.
    name = re.sub(r"^__(i|r)?(add|sub|mul|truediv|matmul|pow)__$", r"\2", name)
    if function in (operator.iadd, operator.isub, operator.imul, operator.itruediv):
        name = name[1:]
    # `x += y` is `add_` when executed, and `add` when traced.
    name = name.strip("_")
    return _WHEN_TRACED.get(name, name)


def is_in_place(function: Any, kwargs: dict[str, Any]) -> bool:
    """Whether a function overwrites its first argument and returns it."""
    name = function if isinstance(function, str) else getattr(function, "__name__", "")
    if re.fullmatch(r"__i\w+__", name):
        return True
    return kwargs.get("inplace") is True or bool(re.fullmatch(r"[a-z]\w*[^_]_", name))


def is_leaf(module: nn.Module) -> bool:
    """Whether a module is not traced into: one of torch's own, or one without submodules."""
    if isinstance(module, _SEQUENCES):
        return not len(module)
    return module.__module__.startswith("torch.nn") or next(module.children(), None) is None


def first_tensor(value: Any) -> Tensor | None:
    """Return the first tensor in a value or in its nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return value
    items = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | tuple | list):
        return None
    return next((tensor for item in items if (tensor := first_tensor(item)) is not None), None)


def is_new(value: Tensor, function: Any = "", kwargs: dict[str, Any] | None = None) -> bool:
    """Whether a tensor was computed by this call of a function, not returned by an earlier one."""
    return is_in_place(function, kwargs or {}) or not hasattr(value, MARK)


class Trace(TorchFunctionMode):
    """Runs a network and calls a visitor with each tensor that it computes.

    Parameters
    ----------
    network : torch.nn.Module
    visit : Visitor
        Called with each tensor.
    enter : callable, optional
        Called with the path of each module and its first input, before the module runs. Only if
        this is passed are the axes of tensors tracked.
    """

    def __init__(
        self,
        network: nn.Module,
        visit: Visitor,
        enter: Callable[[str, Tensor | None], None] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.visit = visit
        self.enter = enter
        self.namer = Namer(network)
        self.stack: list[tuple[str, bool]] = []  # Running modules: path, whether inside a leaf.

    def run(self, batch: Tensor, *, with_functions: bool = True) -> Any:
        """Run the network and return its output.

        Parameters
        ----------
        batch : Tensor of shape (n, 3, h, w)
        with_functions : bool, default=True
            Whether to visit the results of functions, too, rather than of modules only.
        """
        setattr(batch, MARK, "")
        label_input(batch)
        with self._hooks():
            if not with_functions:
                return self.network(batch)
            with self:
                return self.network(batch)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        source = first_tensor(args)
        result = func(*args, **kwargs)
        # Of a leaf module, only the output is a layer, not what is computed inside it.
        value = None if self._in_leaf() else first_tensor(result)
        if value is not None and is_new(value, func, kwargs):
            path = self.stack[-1][0] if self.stack else ""
            name, kind = self.namer.function(path, func), function_name(func)
            if self.enter is not None:  # When rows are extracted, the axes are already known.
                arguments = [*args, *kwargs.values()]
                note_axes(result, kind, arguments, lambda other: func(other, *args[1:], **kwargs))
            self.visit(name, kind, value, source, is_new=True)
            setattr(value, MARK, name)
        return result

    def _in_leaf(self) -> bool:
        return bool(self.stack) and self.stack[-1][1]

    @contextmanager
    def _hooks(self) -> Iterator[None]:
        handles = []
        for path, module in self.network.named_modules():
            if path:
                handles.append(module.register_forward_pre_hook(self._enter(path)))
                handles.append(module.register_forward_hook(self._leave(path)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, path: str) -> Callable[..., None]:
        def enter(module: nn.Module, args: Any) -> None:
            if self.enter is not None:
                self.enter(path, first_tensor(args))
            # Everything called by a leaf is inside a leaf, too.
            self.stack.append((path, self._in_leaf() or is_leaf(module)))

        return enter

    def _leave(self, path: str) -> Callable[..., None]:
        def leave(module: nn.Module, args: Any, output: Any) -> None:
            self.stack.pop()
            value = first_tensor(output)
            if self._in_leaf() or value is None:
                return
            name = self.namer.module(path)
            with torch._C.DisableTorchFunction():
                kind, source = type(module).__name__, first_tensor(args)
                is_container = not is_leaf(module)
                # A container usually returns the output of its last module: another name for it.
                is_new = (not is_container and value is not source) or not hasattr(value, MARK)
                if is_new and not (is_container and has_labels(value)):
                    note_axes(output, kind, args, module.forward)
                elif not is_new or is_container:
                    settle_axes(value, source)
                self.visit(name, kind, value, source, is_new=is_new)
                if is_new:
                    setattr(value, MARK, name)

        return leave


class _MacCounter(WithoutCompilerMixin, TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Context that counts multiply-adds."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.macs += formula(*args, **(kwargs or {}), out_val=result) // 2
        return result


class _Recorder:
    """Visitor that collects nodes and the modules entered."""

    def __init__(self, network: nn.Module, counter: _MacCounter, n_images: int) -> None:
        self.prefix = _Prefix(network)
        self.counter = counter
        self.n_images = n_images
        self.names: dict[str, list[str]] = {}  # first name of a tensor -> all its names
        self.nodes: dict[str, Node] = {}  # by first name
        self.entered: dict[str, int] = {}  # path of a module -> number of nodes before it
        self.inputs: dict[str, str] = {}  # path of a module -> first name of its input
        self.n_patches: set[int] = set()

    def enter(self, path: str, source: Tensor | None) -> None:
        self.entered.setdefault(path, len(self.nodes))
        self.inputs.setdefault(path, getattr(source, MARK, ""))

    def __call__(
        self, name: str, kind: str, value: Tensor, source: Tensor | None, *, is_new: bool
    ) -> None:
        # Another name for a recorded tensor, whose axes may have become known by now.
        if not is_new:
            first = getattr(value, MARK)
            if first in self.names:
                self.names[first].append(name)
                self.nodes[first] = replace(self.nodes[first], **self._axes(value))
            return
        # A layer has one row per image, unlike position tables and index tensors.
        is_layer = value.dim() > 0 and value.shape[0] == self.n_images and is_of_images(value)
        if not is_layer or not value.is_floating_point():
            return
        self.names[name] = [name]
        self.nodes[name] = Node(
            name=name,
            names=(name,),
            kind=kind,
            shape=tuple(value.shape[1:]) or (1,),
            macs=self.counter.macs // self.n_images,
            source=getattr(source, MARK, ""),
            **self._axes(value),
        )

    def _axes(self, value: Tensor) -> dict[str, Any]:
        """Axes of a tensor and, for tokens, those before the patch tokens, as fields of `Node`."""
        axes = axes_of(value)
        n_prefix = 0
        if axes in ("chw", "hwc"):
            # Flattened later, these maps give as many patch tokens; any others are a prefix.
            self.n_patches = {math.prod(value.shape[axes.index("h") + 1 :][:2])}
        elif axes in ("tc", "ct"):
            n_tokens = value.shape[axes.index("t") + 1]
            n_prefix = self.prefix.count(n_tokens, self.n_patches)
            if not n_prefix and self.prefix.n_declared is not None:
                self.n_patches.add(n_tokens)  # NaFlex: patches that never were feature maps.
        has_class_token = n_prefix > 0 and self.prefix.has_class_token
        return {"axes": axes, "n_prefix": n_prefix, "has_class_token": has_class_token}


class _Prefix:
    """Number of tokens before the patch tokens: class, distillation and register tokens.

    Parameters
    ----------
    network : torch.nn.Module
        If it declares ``num_prefix_tokens``, as timm's networks do, that number is used.
    """

    def __init__(self, network: nn.Module) -> None:
        declared = (getattr(part, "num_prefix_tokens", None) for part in network.modules())
        self.n_declared = next((n for n in declared if isinstance(n, int)), None)
        names = [name.rpartition(".")[2] for name, _ in network.named_parameters()]
        is_named = any(_CLASS_TOKEN.match(name) for name in names)
        self.has_class_token = is_named or self.n_declared is None

    def count(self, n_tokens: int, n_patches: Set[int]) -> int:
        """Number of prefix tokens among `n_tokens`, where `n_patches` are possible grid sizes."""
        if self.n_declared is not None:
            return self.n_declared if n_tokens - self.n_declared in n_patches else 0
        # Not declared: assume a prefix if there are slightly more tokens than map positions.
        surplus = [n_tokens - n for n in n_patches]
        return next((n for n in surplus if 0 < n <= _MAX_PREFIX), 0)


def record(network: nn.Module, size: tuple[int, int]) -> Recording:
    """Record one run of a network on a batch of blank images.

    Parameters
    ----------
    network : torch.nn.Module
        In eval mode, on any device; on ``meta`` only shapes are computed.
    size : tuple of int
        Height and width of the images in px.

    Returns
    -------
    Recording

    Raises
    ------
    ModelError
        If the network computes no tensor with one row per image.
    """
    parameter = next(network.parameters(), torch.zeros(0))
    batch = torch.zeros(
        _PROBE_BATCH,
        count_input_bands(network),
        *size,
        device=parameter.device,
        dtype=parameter.dtype,
    )
    counter = _MacCounter()
    recorder = _Recorder(network, counter, _PROBE_BATCH)
    with torch.no_grad(), counter:
        output = Trace(network, recorder, recorder.enter).run(batch)
    return _recording(network, recorder, first_tensor(output))


def _recording(network: nn.Module, recorder: _Recorder, output: Tensor | None) -> Recording:
    if not recorder.nodes:
        raise ModelError(f"{type(network).__name__} computes no tensor with one row per image.")
    containers = _containers(network, recorder)
    canonical = {
        first: _canonical(names, recorder.nodes[first].kind, {c.name for c in containers})
        for first, names in recorder.names.items()
    }
    modules = dict(network.named_modules())
    nodes = [
        replace(
            node,
            name=canonical[first],
            names=tuple(recorder.names[first]),
            source=canonical.get(node.source, node.source),
            is_pointwise=_is_pointwise(modules.get(first)),
        )
        for first, node in recorder.nodes.items()
    ]
    logits = canonical.get(getattr(output, MARK, ""), nodes[-1].name)
    classified = _classifier_input(network, recorder)
    return Recording(
        kind=type(network).__name__,
        nodes=nodes,
        containers=containers,
        logits=logits,
        entered=recorder.entered,
        classified=canonical.get(classified, "") if classified is not None else None,
    )


def _is_pointwise(module: nn.Module | None) -> bool:
    return isinstance(module, nn.Conv1d | nn.Conv2d) and set(module.kernel_size) == {1}


def _classifier_input(network: nn.Module, recorder: _Recorder) -> str | None:
    """Name of the input of the classifier that a network declares by timm's ``get_classifier``.

    Empty if it declares that it has no classifier, None if it declares nothing.
    """
    try:
        classifier = network.get_classifier()  # type: ignore[operator]
    except Exception:  # No such method, one that needs arguments, or one that fails.
        return "" if getattr(network, "num_classes", None) == 0 else None
    if isinstance(classifier, tuple | list):
        classifier = next(iter(classifier), None)
    if classifier is None or isinstance(classifier, nn.Identity):
        return ""
    paths = (path for path, module in network.named_modules() if module is classifier)
    return recorder.inputs.get(next(paths, ""))


def _canonical(names: list[str], kind: str, containers: Set[str]) -> str:
    """Name of the module that computed a tensor; for a function's, of its innermost container."""
    if not kind.islower():
        return names[0]
    return next((name for name in names if name in containers), names[0])


def _containers(network: nn.Module, recorder: _Recorder) -> list[Container]:
    return [
        Container(path, type(module).__name__, isinstance(module, _SEQUENCES))
        for path, module in network.named_modules()
        if path in recorder.entered and not is_leaf(module)
    ]
