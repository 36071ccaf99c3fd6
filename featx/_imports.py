"""Imports that need special care: slow, conflicting, or with side effects such as telemetry.

Nothing slow is imported before one of these functions is called.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

from featx.errors import FeatxWarning

_COMPILER = "torch._dynamo.utils"
_OPENCV_WHEELS = (
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
"""Distributions that all install the same package ``cv2``."""


def import_torchvision() -> Any:
    """Module ``torchvision``, imported without PyTorch's compiler.

    `torchvision.ops` imports a single function of the compiler, which takes longer to import than
    all of torchvision. A stand-in in `sys.modules` defers that import to the first use.
    """
    return import_deferring("torchvision", [_COMPILER])


def import_deferring(name: str, unused: Sequence[str]) -> Any:
    """Import a module, and defer some of the modules that it imports to their first use.

    Parameters
    ----------
    name : str
    unused : sequence of str
        Modules that get a stand-in, unless they are imported already or not installed.

    Examples
    --------
    >>> import_deferring("colorsys", ["pandas"]).rgb_to_yiq(0, 0, 0)
    (0.0, 0.0, 0.0)
    """
    stand_ins = []
    if name not in sys.modules:
        stand_ins = [_StandIn(module) for module in unused if _is_missing(module)]
    sys.modules.update((stand_in.__name__, stand_in) for stand_in in stand_ins)
    try:
        return importlib.import_module(name)
    finally:
        for stand_in in stand_ins:
            stand_in.remove()


@lru_cache(maxsize=1)
def load_opencv() -> Any:
    """Module ``cv2``; cached, so that it may be called for each image.

    Warns
    -----
    FeatxWarning
        If several of OpenCV's wheels are installed in different versions: the one installed
        last has overwritten files of the other.

    Examples
    --------
    >>> hasattr(load_opencv(), "SIFT_create")
    True
    """
    versions = {name: number for name in _OPENCV_WHEELS if (number := _version(name)) is not None}
    if len(set(versions.values())) > 1:
        names = " and ".join(f"{name} {number}" for name, number in versions.items())
        warnings.warn(
            f"{names} are both installed and overwrite each other's files; uninstall all but "
            "one, then reinstall that one.",
            FeatxWarning,
            stacklevel=2,
        )
    import cv2

    return cv2


@contextmanager
def single_threaded_opencv() -> Iterator[None]:
    """Context in which OpenCV's functions run in the calling thread only.

    OpenCV has one number of threads for the whole process: the first thread that enters sets it
    to one, and the last that leaves restores it.

    Examples
    --------
    >>> with single_threaded_opencv():
    ...     load_opencv().getNumThreads()
    1
    """
    global _n_single_threaded, _n_opencv_threads
    cv2 = load_opencv()
    with _opencv_lock:
        if not _n_single_threaded:
            _n_opencv_threads = cv2.getNumThreads()
            cv2.setNumThreads(1)
        _n_single_threaded += 1
    try:
        yield
    finally:
        with _opencv_lock:
            _n_single_threaded -= 1
            if not _n_single_threaded:
                cv2.setNumThreads(_n_opencv_threads)


_opencv_lock = threading.Lock()
_n_single_threaded = _n_opencv_threads = 0


def has_openvino() -> bool:
    """Whether OpenVINO is installed; it is not imported to find out."""
    return importlib.util.find_spec("openvino") is not None


def load_openvino() -> Any:
    """Module ``openvino`` with its telemetry disabled.

    Its package ``openvino_telemetry`` opens connections at import unless a file in the user's
    home folder forbids it. OpenVINO works without that package, so its import is blocked. Nothing
    changes for a program that imported OpenVINO before.
    """
    if "openvino" not in sys.modules:
        # None in `sys.modules` makes `import openvino_telemetry` raise ImportError.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorator that compiles a function with numba when it is first called.

    The compiled function releases the GIL. Its machine code is stored for later processes, see
    `featx.trust.machine_code`.

    Parameters
    ----------
    **options
        Further options of `numba.njit`.

    Examples
    --------
    >>> @compiled()
    ... def double(x):
    ...     return 2 * x
    >>> double(4)
    8
    """
    import numba

    from featx.trust.machine_code import cache_machine_code

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(nogil=True, **options)(function)
        cache_machine_code(dispatcher)
        return dispatcher

    return decorate


def skip_initialization() -> AbstractContextManager[Any]:
    """Context in which layers are built without initialization, for weights loaded afterwards.

    Random functions of `torch.nn.init` leave their tensor unchanged. So do tensor methods that
    fill parameters with random numbers, which some modules call directly; for tensors on ``meta``
    PyTorch would import its compiler to run them.
    """
    from torch import Tensor, nn
    from torch.overrides import TorchFunctionMode

    random_fills = (Tensor.normal_, Tensor.uniform_)

    class SkipInitialization(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            is_random_fill = func in random_fills and (
                args[0].is_meta or isinstance(args[0], nn.Parameter)
            )
            if is_random_fill or getattr(func, "__module__", None) == "torch.nn.init":
                return kwargs["tensor"] if "tensor" in kwargs else args[0]
            return func(*args, **kwargs)

    return SkipInitialization()


class WithoutCompilerMixin:
    """Mixin before `TorchDispatchMode` that keeps PyTorch from importing its compiler.

    By default each mode is wrapped to exclude it from compiled code, and the wrapper imports the
    compiler when it is first called, which takes a second.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class _StandIn(ModuleType):
    """Placeholder for a module, which is imported when one of its attributes is used."""

    def remove(self) -> None:
        """Remove the placeholder from `sys.modules`."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]

    def is_compile_supported(self, *arguments: Any) -> Any:
        """Call the compiler's function of the same name, which torchvision imports."""
        return self.__getattr__("is_compile_supported")(*arguments)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # The import system probes for these.
            raise AttributeError(name)
        self.remove()
        return getattr(importlib.import_module(self.__name__), name)


def _is_missing(name: str) -> bool:
    """Whether a module is installed but has not been imported."""
    package = name.partition(".")[0]  # The search for a submodule would import its package.
    return name not in sys.modules and importlib.util.find_spec(package) is not None


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
