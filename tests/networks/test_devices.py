from __future__ import annotations

import pytest
import torch

from featx.errors import ModelError
from featx.networks.devices import check_precision, find_device


def test_precision_that_the_hardware_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featx.networks.devices._has", lambda probe: False)
    with pytest.raises(ModelError, match="needs a CPU with AMX or AVX512-BF16"):
        check_precision("bf16", "cpu")


def test_device_that_is_not_there() -> None:
    with pytest.raises(ModelError, match="This machine has no device 'cuda:77'"):
        find_device("cuda:77")


def test_device_that_torch_does_not_know() -> None:
    with pytest.raises(ModelError, match="This machine has no device 'abacus'"):
        find_device("abacus")


@pytest.mark.parametrize(
    ("has_cuda", "has_mps", "kind"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_prefers_an_accelerator(
    has_cuda: bool, has_mps: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_mps)
    assert find_device("auto").type == kind


@pytest.mark.parametrize(
    ("probe", "precision"),
    [
        ("_is_amx_tile_supported", "bf16"),
        ("_is_avx512_bf16_supported", "bf16"),
        ("_is_amx_fp16_supported", "fp16"),
    ],
)
def test_each_half_precision_has_its_own_instructions(
    probe: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.networks.devices._has", lambda name: name == probe)
    check_precision(precision, "cpu")
    other = "fp16" if precision == "bf16" else "bf16"
    with pytest.raises(ModelError, match=f"precision='{other}' needs .*; use precision='fp32'"):
        check_precision(other, "cpu")


def test_full_precision_does_not_look_at_the_device() -> None:
    check_precision("fp32", "abacus")


def test_precision_that_nobody_knows_is_refused_with_the_choices() -> None:
    with pytest.raises(ModelError, match="fp32, bf16, fp16; got 'fp64'"):
        check_precision("fp64", "cpu")
