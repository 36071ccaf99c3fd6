"""Run a network once and see every tensor it makes, whether a module made it or a function.

Names are those of torchvision's `create_feature_extractor`: a module by its path, a function
by the path of the module that calls it and its own name, further calls with ``_1``, ``_2``.
The same names are given to a traced graph (`featx.networks.tapping`), so that a layer is called
the same however it is tapped.

Why not torch.fx alone, on which torchvision's function rests: symbolic tracing refuses networks
whose control flow depends on values or shapes, as many vision transformers' does, and it knows
neither shapes nor axes nor costs. One real run, on the ``meta`` device where possible, works for
every network that runs at all, and sees shapes, axes, multiply-adds and the order of execution.
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
"""Images in the recorded run; what does not have as many rows is no layer."""

_MAX_PREFIX = 16
"""Most tokens that a network puts before those of its patches: class, distillation, registers."""

_CLASS_TOKEN = re.compile(r"(cls|class)_?(token|embed)", re.IGNORECASE)

MARK = "_featx_name"
_WHEN_TRACED = {"truediv": "div", "rdiv": "div", "mod": "remainder"}
"""Names of operators in a graph, or on the right -> their names where they run."""

_SEQUENCES = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Visitor(Protocol):
    """Called with each tensor a network makes: its name, kind, value and first input."""

    def __call__(
        self, name: str, kind: str, value: Tensor, source: Tensor | None, *, is_new: bool
    ) -> None:
        """See one tensor; one that is not new was returned by a module unchanged."""


class Namer:
    """Names for calls of modules and functions, in order of execution.

    Parameters
    ----------
    network : torch.nn.Module
        Whose modules' names no function may take.
    """

    def __init__(self, network: nn.Module) -> None:
        self._taken = {name for name, _ in network.named_modules()}
        self._counts: Counter[str] = Counter()

    def module(self, path: str) -> str:
        """Name of the next call of the module at `path`."""
        return self._next(path, is_free=not self._counts[path])

    def function(self, path: str, function: Any) -> str:
        """Name of the next call of a function by the module at `path`."""
        name = f"{path}.{function_name(function)}" if path else function_name(function)
        return self._next(name, is_free=name not in self._taken and not self._counts[name])

    def _next(self, name: str, *, is_free: bool) -> str:
        found = name
        while not is_free:
            found = f"{name}_{self._counts[name] or 1}"
            self._counts[name] += 1
            is_free = found not in self._taken
        self._counts[name] = self._counts[name] or 1
        self._taken.add(found)
        return found


def function_name(function: Any) -> str:
    """Name of a function, method or operator, as torch.fx has it.

    Examples
    --------
    >>> function_name(operator.iadd), function_name(torch.Tensor.__radd__)
    ('add', 'add')
    """
    name = function if isinstance(function, str) else getattr(function, "__name__", "call")
    if name == "__get__":
        return "getattr"
    name = re.sub(r"^__(i|r)?(add|sub|mul|truediv|matmul|pow)__$", r"\2", name)
    if function in (operator.iadd, operator.isub, operator.imul, operator.itruediv):
        name = name[1:]
    name = name.strip("_")  # `x += y` is `add_` when run, and `add` when traced.
    return _WHEN_TRACED.get(name, name)


def is_in_place(function: Any, kwargs: dict[str, Any]) -> bool:
    """Whether a function returns its first argument, overwritten."""
    name = function if isinstance(function, str) else getattr(function, "__name__", "")
    if re.fullmatch(r"__i\w+__", name):
        return True
    return kwargs.get("inplace") is True or bool(re.fullmatch(r"[a-z]\w*[^_]_", name))


def is_leaf(module: nn.Module) -> bool:
    """Whether a module is one step: torch's own, or one without modules inside."""
    if isinstance(module, _SEQUENCES):
        return not len(module)
    return module.__module__.startswith("torch.nn") or next(module.children(), None) is None


def first_tensor(value: Any) -> Tensor | None:
    """The tensor in a value, or the first where there are several."""
    if isinstance(value, Tensor):
        return value
    items = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | tuple | list):
        return None
    return next((found for item in items if (found := first_tensor(item)) is not None), None)


def is_new(value: Tensor, function: Any = "", kwargs: dict[str, Any] | None = None) -> bool:
    """Whether no earlier call returned this very tensor."""
    return is_in_place(function, kwargs or {}) or not hasattr(value, MARK)


class Trace(TorchFunctionMode):
    """Runs a network and shows each tensor that it makes to a function.

    Parameters
    ----------
    network : torch.nn.Module
    see : callable
        Called with the name, kind and value of each tensor and what it was made from.
    enter : callable, optional
        Called with the path of each module as it is entered, and what it takes.
    """

    def __init__(
        self,
        network: nn.Module,
        see: Visitor,
        enter: Callable[[str, Tensor | None], None] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.see = see
        self.enter = enter
        self.namer = Namer(network)
        self.stack: list[tuple[str, bool]] = []

    def run(self, batch: Tensor, *, with_functions: bool = True) -> Any:
        """Output of the network.

        Parameters
        ----------
        batch : Tensor of shape (n, 3, h, w)
        with_functions : bool, default=True
            Whether functions are seen too, or only modules.
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
        # What runs inside a leaf is its own business: only what the leaf returns is a layer.
        value = None if self._in_leaf() else first_tensor(result)
        if value is not None and is_new(value, func, kwargs):
            path = self.stack[-1][0] if self.stack else ""
            name, kind = self.namer.function(path, func), function_name(func)
            if self.enter is not None:  # Recorded: where rows are taken, axes are known.
                given = [*args, *kwargs.values()]
                note_axes(result, kind, given, lambda other: func(other, *args[1:], **kwargs))
            self.see(name, kind, value, source, is_new=True)
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
            # Everything below a leaf is inside a leaf, too.
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
                is_made = not is_leaf(module)  # by what is inside
                # A container mostly returns what its last module made: one more name for it.
                fresh = (not is_made and value is not source) or not hasattr(value, MARK)
                if fresh and not (is_made and has_labels(value)):
                    note_axes(output, kind, args, module.forward)
                elif not fresh or is_made:
                    settle_axes(value, source)
                self.see(name, kind, value, source, is_new=fresh)
                if fresh:
                    setattr(value, MARK, name)

        return leave


class _MacCounter(WithoutCompilerMixin, TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the multiply-adds of whatever runs under it."""

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
    """Collects what a walk shows."""

    def __init__(self, network: nn.Module, counter: _MacCounter, n_images: int) -> None:
        self.prefix = _Prefix(network)
        self.counter = counter
        self.n_images = n_images
        self.names: dict[str, list[str]] = {}  # innermost name -> all its names
        self.nodes: dict[str, Node] = {}
        self.entered: dict[str, int] = {}
        self.inputs: dict[str, str] = {}  # path of a module -> innermost name of what it took
        self.n_patches: set[int] = set()

    def enter(self, path: str, source: Tensor | None) -> None:
        self.entered.setdefault(path, len(self.nodes))
        self.inputs.setdefault(path, getattr(source, MARK, ""))

    def __call__(
        self, name: str, kind: str, value: Tensor, source: Tensor | None, *, is_new: bool
    ) -> None:
        # Another name for a tensor that is known; its axes may be known better now.
        if not is_new:
            inner = getattr(value, MARK)
            if inner in self.names:
                self.names[inner].append(name)
                self.nodes[inner] = replace(self.nodes[inner], **self._axes(value))
            return
        # A layer has a row for each image; position tables and index tensors have not.
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
        """Axes of a tensor, and how many of its tokens belong to no patch."""
        axes = axes_of(value)
        n_prefix = 0
        if axes in ("chw", "hwc"):
            # Maps flattened later give as many tokens; those beyond are a prefix.
            self.n_patches = {math.prod(value.shape[axes.index("h") + 1 :][:2])}
        elif axes in ("tc", "ct"):
            n_tokens = value.shape[axes.index("t") + 1]
            n_prefix = self.prefix.count(n_tokens, self.n_patches)
            if not n_prefix and self.prefix.n_declared is not None:
                self.n_patches.add(n_tokens)  # Patches that never were maps, as NaFlex has them.
        has_class_token = n_prefix > 0 and self.prefix.has_class_token
        return {"axes": axes, "n_prefix": n_prefix, "has_class_token": has_class_token}


class _Prefix:
    """Tokens that a network puts before those of its patches: class, distillation, registers.

    Parameters
    ----------
    network : torch.nn.Module
        Where it declares ``num_prefix_tokens``, as timm's do, it is believed.
    """

    def __init__(self, network: nn.Module) -> None:
        declared = (getattr(part, "num_prefix_tokens", None) for part in network.modules())
        self.n_declared = next((n for n in declared if isinstance(n, int)), None)
        names = [name.rpartition(".")[2] for name, _ in network.named_parameters()]
        is_named = any(_CLASS_TOKEN.match(name) for name in names)
        self.has_class_token = is_named or self.n_declared is None

    def count(self, n_tokens: int, n_patches: Set[int]) -> int:
        """Tokens among `n_tokens` that belong to none of as many patches as were seen."""
        if self.n_declared is not None:
            return self.n_declared if n_tokens - self.n_declared in n_patches else 0
        # Without a declaration: a few tokens more than a map had places.
        added = [n_tokens - n for n in n_patches]
        return next((n for n in added if 0 < n <= _MAX_PREFIX), 0)


def record(network: nn.Module, size: tuple[int, int]) -> Recording:
    """Everything one run of a network shows, on a batch of empty images.

    Parameters
    ----------
    network : torch.nn.Module
        In eval mode, on any device; on ``meta`` nothing is computed.
    size : tuple of int
        Height and width of an image.
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
    walk = Trace(network, recorder, recorder.enter)
    with torch.no_grad(), counter:
        output = walk.run(batch)
    return _recording(network, recorder, first_tensor(output))


def _recording(network: nn.Module, recorder: _Recorder, output: Tensor | None) -> Recording:
    if not recorder.nodes:
        raise ModelError(f"{type(network).__name__} makes no tensor that has a row for each image.")
    containers = _containers(network, recorder)
    canonical = {
        inner: _canonical(names, recorder.nodes[inner].kind, {c.name for c in containers})
        for inner, names in recorder.names.items()
    }
    modules = dict(network.named_modules())
    nodes = [
        replace(
            node,
            name=canonical[inner],
            names=tuple(recorder.names[inner]),
            source=canonical.get(node.source, node.source),
            is_pointwise=_is_pointwise(modules.get(recorder.names[inner][0])),
        )
        for inner, node in recorder.nodes.items()
    ]
    logits = canonical.get(getattr(output, MARK, ""), nodes[-1].name)
    classified = _classified(network, recorder)
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


def _classified(network: nn.Module, recorder: _Recorder) -> str | None:
    """What goes into the classifier that a network declares; empty where it says it has none.

    None where it declares nothing. timm's networks have ``get_classifier``.
    """
    try:
        classifier = network.get_classifier()  # type: ignore[operator]
    except Exception:  # There is none, it needs arguments, or it raises as it likes.
        return "" if getattr(network, "num_classes", None) == 0 else None
    if isinstance(classifier, tuple | list):
        classifier = next(iter(classifier), None)
    if classifier is None or isinstance(classifier, nn.Identity):
        return ""
    paths = (path for path, module in network.named_modules() if module is classifier)
    return recorder.inputs.get(next(paths, ""))


def _canonical(names: list[str], kind: str, containers: Set[str]) -> str:
    """The module that made a tensor; of one that a function made, the container it left."""
    if not kind.islower():
        return names[0]
    return next((name for name in names if name in containers), names[0])


def _containers(network: nn.Module, recorder: _Recorder) -> list[Container]:
    return [
        Container(path, type(module).__name__, isinstance(module, _SEQUENCES))
        for path, module in network.named_modules()
        if path in recorder.entered and not is_leaf(module)
    ]
