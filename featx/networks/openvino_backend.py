"""A cut network compiled by OpenVINO, with one stream per core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import fx

from featx._imports import load_openvino
from featx.errors import ModelError
from featx.networks.pooling import Tap
from featx.networks.preprocessing import Preprocessing
from featx.process.phases import phase

Array = npt.NDArray[Any]

_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
"""Precision hints; without one, OpenVINO uses bfloat16 on CPUs that support it."""

_TOLERANCES = {"fp32": 1e-4, "bf16": 5e-2, "fp16": 5e-2}
"""Maximum norm of a row's difference from torch's fp32 row, relative to that row's norm."""


class CompiledNetwork:
    """A network up to the deepest of its taps, from pixels to rows, in OpenVINO.

    Parameters
    ----------
    module : torch.fx.GraphModule
        Result of `featx.networks.tapping.Traced.cut`, in fp32 on the CPU.
    preprocessing : Preprocessing
    precision : {"fp32", "bf16", "fp16"}
    n_streams : int
        Number of batches computed in parallel, each by one core.
    is_deep : bool, default=False
        Whether pixels are float32 rather than uint8.

    Raises
    ------
    Exception
        Any exception of torch or OpenVINO, if the network cannot be converted.
    """

    def __init__(
        self,
        module: fx.GraphModule,
        preprocessing: Preprocessing,
        *,
        precision: str,
        n_streams: int,
        is_deep: bool = False,
    ) -> None:
        self._ov = load_openvino()
        options = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "NUM_STREAMS": n_streams,
            "INFERENCE_NUM_THREADS": n_streams,
            "ENABLE_CPU_PINNING": False,  # Threads that decode images need the cores, too.
        }
        model = self._convert(module, preprocessing)
        model = self._add_normalization(model, preprocessing, is_deep=is_deep)
        self._compiled = self._ov.Core().compile_model(model, "CPU", options)
        self._idle: list[Any] = []  # Inference requests, of which each thread takes one.

    def fill(self, pixels: Array, out: Sequence[Array]) -> None:
        """Compute the rows of a batch; may be called by several threads at once.

        Parameters
        ----------
        pixels : ndarray of shape (n, h, w, 3), uint8 or float32
        out : sequence of ndarray of shape (n, d), float32, C-contiguous
            Output arrays, one per tap.
        """
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        for index, rows in enumerate(out):
            request.set_output_tensor(index, self._ov.Tensor(rows, shared_memory=True))
        request.infer([pixels], share_inputs=True, share_outputs=True)
        self._idle.append(request)

    def release(self) -> None:
        """Free the inference requests, each of which holds its last images and rows."""
        self._idle.clear()

    def _convert(self, module: fx.GraphModule, preprocessing: Preprocessing) -> Any:
        batch = torch.zeros(2, len(preprocessing.mean), *preprocessing.crop)
        with torch.no_grad():
            exported = torch.export.export(
                module, (batch,), dynamic_shapes=({0: torch.export.Dim("n")},)
            )
        return self._ov.convert_model(exported)

    def _add_normalization(self, model: Any, preprocessing: Preprocessing, *, is_deep: bool) -> Any:
        """The model with pixels ``(n, h, w, c)`` as its input, transposed and normalized inside."""
        ov = self._ov
        steps = ov.preprocess.PrePostProcessor(model)
        tensor = steps.input(0).tensor()
        tensor.set_element_type(ov.Type.f32 if is_deep else ov.Type.u8)
        tensor.set_layout(ov.Layout("NHWC"))
        tensor.set_shape([-1, *preprocessing.crop, len(preprocessing.mean)])
        steps.input(0).preprocess().convert_element_type(ov.Type.f32).mean(
            [255 * value for value in preprocessing.mean]
        ).scale([255 * value for value in preprocessing.std])
        steps.input(0).model().set_layout(ov.Layout("NCHW"))
        return steps.build()


@phase("compile network")
def compile_network(network: Any, taps: Sequence[Tap], precision: str, pixels: Array) -> Any:
    """Compile a network for OpenVINO, and check its rows of `pixels` against torch's.

    Parameters
    ----------
    network : Network
        In fp32 on the CPU.
    taps : sequence of Tap
    precision : {"fp32", "bf16", "fp16"}
    pixels : ndarray of shape (n, h, w, 3), uint8 or float32

    Returns
    -------
    CompiledNetwork

    Raises
    ------
    ModelError
        If the network cannot be converted, or a row differs from torch's by more than 1e-4 (fp32)
        or 5e-2 (half precision) of its norm.
    """
    import joblib

    module = network.runner(taps)
    if not isinstance(module, fx.GraphModule):
        raise ModelError("it cannot be traced to a graph")
    try:
        compiled = CompiledNetwork(
            module,
            network.config.preprocessing,
            precision=precision,
            n_streams=joblib.cpu_count(),
            is_deep=pixels.dtype != np.uint8,
        )
        # With noise: the first images of a data set may be blank, and blank ones hide errors.
        pixels = np.concatenate([_noise(pixels.shape[1:]).astype(pixels.dtype), pixels])
        rows = [np.empty((len(pixels), tap.width), np.float32) for tap in taps]
        compiled.fill(pixels, rows)
    except Exception as error:  # torch.export and OpenVINO may raise anything.
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ModelError(reason) from error
    expected = network.rows(torch.from_numpy(pixels).permute(0, 3, 1, 2), taps)
    deviation = max(
        deviations(values, torchs.numpy()).max() for values, torchs in zip(rows, expected)
    )
    if not deviation <= _TOLERANCES[precision]:
        raise ModelError(f"its rows deviate by {deviation:.1e}")
    return compiled


def _noise(shape: Sequence[int]) -> Array:
    """Two images of random pixels ``(2, h, w, c)``."""
    return np.random.default_rng(0).integers(0, 256, (2, *shape), np.uint8)


def deviations(rows: Array, expected: Array) -> Array:
    """Return the norm of each row's difference from the expected row, relative to its norm.

    Examples
    --------
    >>> deviations(np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[2.0, 0.0], [0.0, 0.0]]))
    array([0.5, 0. ])
    """
    norms = np.linalg.norm(expected, axis=1)  # (n,)
    return np.asarray(np.linalg.norm(rows - expected, axis=1) / np.where(norms > 0, norms, 1))
