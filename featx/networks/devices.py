"""Devices that run a network, and the precisions that they support."""

from __future__ import annotations

import torch

from featx.errors import ModelError

_HALVES = ("bf16", "fp16")


def find_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` is an accelerator if there is one, else the CPU.

    Raises
    ------
    ModelError
        If torch does not know the device or the machine does not have it.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0]
        raise ModelError(f"This machine has no device {name!r} ({reason}).") from error
    return device


def check_precision(precision: str, name: str) -> None:
    """Raise if the device called `name` does not support a precision natively.

    Raises
    ------
    ModelError
        If the precision is unknown, or the hardware only emulates it.
    """
    if precision == "fp32":
        return
    if precision not in _HALVES:
        raise ModelError(f"precision must be one of fp32, bf16, fp16; got {precision!r}.")
    requirement = _missing_hardware(precision, find_device(name))
    if requirement:
        raise ModelError(f"precision={precision!r} needs {requirement}; use precision='fp32'.")


def _missing_hardware(precision: str, device: torch.device) -> str:
    """Hardware that a precision needs and the machine lacks; empty if it lacks nothing."""
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return "" if precision == "fp16" or has_bf16 else "a GPU with native bfloat16"
    if device.type != "cpu":
        return "" if precision == "fp16" else "a CPU or GPU with native bfloat16"
    if precision == "bf16":
        has_bf16 = _has("_is_amx_tile_supported") or _has("_is_avx512_bf16_supported")
        return "" if has_bf16 else "a CPU with AMX or AVX512-BF16"
    return "" if _has("_is_amx_fp16_supported") else "a CPU with AMX-FP16, or a GPU"


def _has(probe: str) -> bool:
    return bool(getattr(torch.cpu, probe, lambda: False)())
