"""Where a network runs, and what the hardware there can do."""

from __future__ import annotations

import torch

from featx.errors import ModelError

_HALVES = ("bf16", "fp16")


def find_device(name: str) -> torch.device:
    """Device of a name: ``auto`` is an accelerator where there is one, else the processor.

    Raises
    ------
    ModelError
        If torch knows no such device, or it is not in this machine.
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
        raise ModelError(f"Device {name!r} is not in this machine ({reason}).") from error
    return device


def check_precision(precision: str, name: str) -> None:
    """Refuse a precision that the hardware only emulates.

    Raises
    ------
    ModelError
        With the reason.
    """
    if precision == "fp32":
        return
    if precision not in _HALVES:
        raise ModelError(f"precision is fp32, bf16 or fp16; got {precision!r}.")
    device = find_device(name)
    reason = _lacking(precision, device)
    if reason:
        raise ModelError(f"precision={precision!r} needs {reason}; use precision='fp32'.")


def _lacking(precision: str, device: torch.device) -> str:
    """What the hardware lacks for a precision; empty where it lacks nothing."""
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return "" if precision == "fp16" or has_bf16 else "a GPU with native bfloat16"
    if device.type != "cpu":
        return "" if precision == "fp16" else "a processor or GPU with native bfloat16"
    if precision == "bf16":
        has_bf16 = _has("_is_amx_tile_supported") or _has("_is_avx512_bf16_supported")
        return "" if has_bf16 else "a processor with AMX or AVX512-BF16"
    return "" if _has("_is_amx_fp16_supported") else "a processor with AMX-FP16, or a GPU"


def _has(probe: str) -> bool:
    return bool(getattr(torch.cpu, probe, lambda: False)())
