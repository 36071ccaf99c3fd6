"""Digest of a module object's code and attributes: of what it computes, apart from its weights.

The digest is taken of the code in memory, not of source files: if a file is edited after it was
imported, rows of the old code must not be stored under the digest of the new code. Libraries are
represented by name and version, torch by its name alone, as for networks that featx loads by name.
"""

from __future__ import annotations

import dis
import enum
import functools
import hashlib
import importlib
import sys
import uuid
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from featx._fingerprints import DIGEST_BYTES, fingerprint

_MAX_OBJECTS = 50_000
"""Maximum number of objects reachable from a module; with more, it refers to foreign state."""

_CODE_FLAGS = 0x3FF
"""All code flags except those of `__future__` imports."""

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), range, slice)
_BY_NAME = (
    *(ModuleType, BuiltinFunctionType, GetSetDescriptorType, MemberDescriptorType),
    *(MethodDescriptorType, MethodWrapperType, WrapperDescriptorType),
)
_INTERNAL = frozenset(vars(nn.Module())) | {"_compiled_call_impl", "_is_replica"}
_NO_CODE = frozenset(
    {"__doc__", "__module__", "__dict__", "__weakref__", "__annotations__", "__abstractmethods__"}
    | {"__firstlineno__", "__static_attributes__", "__parameters__", "__orig_bases__", "_abc_impl"}
    | {"__annotate__", "__annotate_func__", "__annotations_cache__", "__qualname__"}
    | {"__dataclass_fields__", "__dataclass_params__", "__match_args__", "__slotnames__"}
    | {
        "__init__",
        "__new__",
        "__repr__",
        "extra_repr",
    }  # They only set attributes, or have no effect.
)
_UNVERSIONED = frozenset({"torch", "featx"}) | sys.stdlib_module_names
_TOKENS: weakref.WeakKeyDictionary[nn.Module, str] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class ModuleIdentity:
    """Identity of a module, for cache keys.

    Parameters
    ----------
    digest : str
        Digest of its code, attributes and structure; if parts of these cannot be read, a random
        token of the object.
    unseen : tuple of str
        Parts that cannot be read, each as an attribute path and a type.
    """

    digest: str
    unseen: tuple[str, ...] = ()


def identify(module: nn.Module) -> ModuleIdentity:
    """Return the identity of a module; it is the same in all processes of one Python version.

    Examples
    --------
    >>> one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    >>> identify(one) == identify(other)
    True
    >>> other.scale = 3.0
    >>> identify(one) == identify(other)
    False
    """
    reader = _Reader()
    try:
        digest = reader.digest(module, type(module).__name__)
    except RecursionError:
        reader.unseen.append(f"{type(module).__name__} (nested too deeply)")
    if not reader.unseen:
        return ModuleIdentity(digest)
    token = _TOKENS.setdefault(module, uuid.uuid4().hex)
    return ModuleIdentity(f"object:{token}", tuple(reader.unseen))


class _Reader:
    """Computes digests of objects, each once, and collects what it cannot read."""

    def __init__(self) -> None:
        self.unseen: list[str] = []
        self._digests: dict[int, str] = {}
        self._objects: list[Any] = []  # Keeps them alive, so that their ids are not reused.

    def digest(self, value: Any, path: str) -> str:
        """Digest of a value; `path` identifies it in `unseen` if it cannot be read."""
        if isinstance(value, _PLAIN) and type(value).__module__ == "builtins":
            return f"{type(value).__name__}:{value!r}"
        if id(value) in self._digests:
            return self._digests[id(value)]
        self._digests[id(value)] = "cycle"
        self._objects.append(value)
        hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
        if len(self._objects) > _MAX_OBJECTS:
            self._mark_unseen(value, path)
        else:
            for part in self._parts(value, path):
                hasher.update(f"{len(part)}:{part}\n".encode("utf-8", "backslashreplace"))
        self._digests[id(value)] = hasher.hexdigest()
        return self._digests[id(value)]

    def _parts(self, value: Any, path: str) -> Iterator[str]:
        """Strings that determine an object: its type, and the digests of its parts."""
        yield type(value).__name__
        if isinstance(value, torch.Tensor) and value.layout == torch.strided:
            yield from _tensor_parts(value)
        elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
            yield fingerprint(value)
        elif isinstance(value, nn.Module):
            yield from self._module_parts(value, path)
        elif isinstance(value, type):
            yield from self._class_parts(value, path)
        elif isinstance(value, FunctionType):
            yield from self._function_parts(value, path)
        elif isinstance(value, MethodType):
            yield from self._each([value.__func__, value.__self__], path)
        elif isinstance(value, list | tuple):
            yield from self._each(value, path)
        elif isinstance(value, set | frozenset):
            yield from sorted(self._each(value, path))
        elif isinstance(value, dict):
            yield from self._each(value.keys(), path)
            for key, item in value.items():
                yield self.digest(item, f"{path}[{key!r}]")
        else:
            yield from self._other_parts(value, path)

    def _other_parts(self, value: Any, path: str) -> Iterator[str]:
        if isinstance(value, _BY_NAME) or type(value).__module__ == "torch._ops":
            yield from self._name_parts(value, path)
        elif isinstance(value, torch.dtype | torch.layout | torch.memory_format):
            yield str(value)
        elif isinstance(value, torch.device):
            yield ""  # Rows do not depend on the device.
        elif isinstance(value, enum.Enum):
            yield from (type(value).__qualname__, value.name)
        elif isinstance(value, staticmethod | classmethod):
            yield self.digest(value.__func__, path)
        elif isinstance(value, property):
            yield from self._each([value.fget], path)
        elif isinstance(value, functools.cached_property):
            yield self.digest(value.func, path)
        elif isinstance(value, MappingProxyType):
            yield self.digest(dict(value), path)
        elif isinstance(value, functools._lru_cache_wrapper):
            yield self.digest(value.__wrapped__, path)
        else:
            yield from self._state_parts(value, path)

    def _module_parts(self, module: nn.Module, path: str) -> Iterator[str]:
        is_root = module is self._objects[0]
        if isinstance(module, torch.jit.ScriptModule):
            self._mark_unseen(module, path)
        if isinstance(module, fx.GraphModule):
            yield module.code
        yield self.digest(type(module), path)
        is_torch = type(module).__module__.startswith("torch.")
        for name, value in sorted(vars(module).items()):
            is_own = name not in _INTERNAL and not (is_torch and name.startswith("_"))
            # Cache keys contain the resulting preprocessing itself.
            if is_own and not (is_root and name == "preprocessing"):
                yield from (name, self.digest(value, f"{path}.{name}"))
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            yield from (name, "" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}")
        # Not in the state dict, whose digest covers all other values.
        for name in sorted(module._non_persistent_buffers_set):
            yield from (name, self.digest(module._buffers[name], f"{path}.{name}"))
        for name, child in module._modules.items():
            yield from (name, self.digest(child, f"{path}.{name}"))

    def _class_parts(self, kind: type, path: str) -> Iterator[str]:
        yield kind.__qualname__
        library = _library(kind.__module__)
        if library is not None:
            yield library
            return
        yield from self._each(kind.__bases__, path)
        for name, value in sorted(vars(kind).items()):
            if name not in _NO_CODE:
                yield from (name, self.digest(value, f"{kind.__name__}.{name}"))

    def _function_parts(self, function: FunctionType, path: str) -> Iterator[str]:
        yield function.__qualname__
        library = _library(function.__module__)
        if library is not None:
            yield library
            return
        yield from _code_parts(function.__code__)
        yield from self._each([function.__defaults__, function.__kwdefaults__], path)
        for cell in function.__closure__ or ():
            with suppress(ValueError):  # A cell is empty until the enclosing function assigns it.
                yield self.digest(cell.cell_contents, f"{path} closure")
        for chain in _globals_used(function.__code__):
            yield from self._global_parts(function, chain)
        for name in _imports_inside(function.__code__):
            if name.startswith(".") or _imported_library(name) is None:
                self.unseen.append(f"{function.__qualname__} (imports {name} when called)")

    def _global_parts(self, function: FunctionType, chain: tuple[str, ...]) -> Iterator[str]:
        """A global that a function uses; of a module that is no library, the attribute it uses."""
        missing = object()
        value = function.__globals__.get(chain[0], missing)
        if value is missing:  # A built-in, or undefined.
            return
        for name in chain[1:]:
            if not isinstance(value, ModuleType) or _library(value.__name__) is not None:
                break
            value = getattr(value, name, None)
        yield from (".".join(chain), self.digest(value, f"{function.__module__}.{chain[0]}"))

    def _name_parts(self, value: Any, path: str) -> Iterator[str]:
        """An object that is represented by its qualified name."""
        name = getattr(value, "__qualname__", None) or getattr(value, "__name__", "") or str(value)
        owner = getattr(value, "__module__", None) or type(value).__module__
        owner = name if isinstance(value, ModuleType) else owner
        library = _library(str(owner))
        if library is None:
            self._mark_unseen(value, path)
        yield from (str(owner), name, library or "")

    def _state_parts(self, value: Any, path: str) -> Iterator[str]:
        """Any other object: its class and its state, as for pickling."""
        try:
            reduced = value.__reduce_ex__(4)
        except Exception:  # A user's class may raise anything.
            self._mark_unseen(value, path)
            return
        if isinstance(reduced, str):
            yield reduced
            return
        for part in reduced:  # Constructor, its arguments, state, list items, dict items.
            yield self.digest(list(part) if isinstance(part, Iterator) else part, path)

    def _each(self, values: Iterable[Any], path: str) -> list[str]:
        return [self.digest(value, path) for value in values]

    def _mark_unseen(self, value: Any, path: str) -> None:
        self.unseen.append(f"{path} ({type(value).__module__}.{type(value).__qualname__})")


def _tensor_parts(tensor: torch.Tensor) -> Iterator[str]:
    yield f"{tensor.dtype} {tuple(tensor.shape)}"
    if not tensor.is_meta:
        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        yield hashlib.blake2b(flat.numpy().data, digest_size=DIGEST_BYTES).hexdigest()


@functools.lru_cache(maxsize=4096)
def _code_parts(code: CodeType) -> tuple[str, ...]:
    """Instructions, names and constants, but no line numbers, file or local variable names."""
    flags = code.co_flags & _CODE_FLAGS
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, flags)
    parts = [code.co_code.hex(), code.co_exceptiontable.hex(), repr(counts), repr(code.co_names)]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            parts += _code_parts(constant)
        elif isinstance(constant, frozenset):
            parts.append(repr(sorted(map(repr, constant))))
        else:
            parts.append(repr(constant))
    return tuple(parts)


@functools.lru_cache(maxsize=4096)
def _globals_used(code: CodeType) -> tuple[tuple[str, ...], ...]:
    """Globals that a function and its inner functions use, each with its chain of attributes."""
    chains: list[tuple[str, ...]] = []
    is_in_chain = False
    for instruction in dis.get_instructions(code):
        is_attribute = is_in_chain and instruction.opname in ("LOAD_ATTR", "LOAD_METHOD")
        is_in_chain = is_attribute or instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
        if is_attribute:
            chains[-1] += (instruction.argval,)
        elif is_in_chain:
            chains.append((instruction.argval,))
    for inner in _inner_code(code):
        chains += _globals_used(inner)
    return tuple(dict.fromkeys(chains))


@functools.lru_cache(maxsize=4096)
def _imports_inside(code: CodeType) -> tuple[str, ...]:
    """Modules that a function imports when it is called; relative names start with dots."""
    names: list[str] = []
    level = 0
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            names.append("." * level + instruction.argval)
        elif isinstance(instruction.argval, int):  # The level is loaded just before the name.
            level = instruction.argval
    for inner in _inner_code(code):
        names += _imports_inside(inner)
    return tuple(names)


def _inner_code(code: CodeType) -> list[CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, CodeType)]


@functools.lru_cache(maxsize=4096)
def _library(name: str) -> str | None:
    """Name and version of the installed library that a module belongs to; None for user code."""
    top = str(name).partition(".")[0]
    if top in _UNVERSIONED:
        return top
    package = sys.modules.get(top)
    file = getattr(package, "__file__", None)
    version = getattr(package, "__version__", None)
    if not file or not isinstance(version, str):
        return None
    is_installed = not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)
    return f"{top} {version.partition('+')[0]}" if is_installed else None


def _imported_library(name: str) -> str | None:
    """The same for a module that may not have been imported yet."""
    with suppress(Exception):  # The function's own import would fail, too.
        importlib.import_module(name)
    return _library(name)
