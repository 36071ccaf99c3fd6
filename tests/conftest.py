"""What many tests stand on: real images where they are, and a store of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from featx.store.feature_store import FeatureStore

SHARED = Path(os.environ.get("FEATX_SHARED", "../shared"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's own store."""
    monkeypatch.setenv("FEATX_STORE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def _no_leaked_modes() -> Iterator[None]:
    """No test leaves PyTorch without gradients to the tests after it."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None:
        assert torch.is_grad_enabled(), "the test left PyTorch without gradients"
        assert not torch.is_inference_mode_enabled(), "the test left PyTorch in inference mode"


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Path of real material; the test is skipped, or fails in CI, where there is none."""

    def find(name: str) -> Path:
        path = (SHARED / name).resolve()
        if not path.exists():
            message = f"{SHARED / name} is not there; set FEATX_SHARED to the folder that has it"
            if os.environ.get("FEATX_REQUIRE_SHARED") == "1":
                pytest.fail(message)
            pytest.skip(message)
        return path

    return find


@pytest.fixture(scope="session")
def photos(shared: Callable[[str], Path]) -> list[str]:
    """Paths of twelve real photographs of different sizes, six of ants and six of bees."""
    folder = shared("data/ants_bees/val")
    return [
        str(path) for name in ("ants", "bees") for path in sorted((folder / name).glob("*.jpg"))[:6]
    ]


@pytest.fixture
def bf16() -> None:
    """The test is skipped where the hardware only emulates bfloat16."""
    from featx.errors import ModelError
    from featx.networks.devices import check_precision

    try:
        check_precision("bf16", "auto")
    except ModelError as error:
        pytest.skip(str(error))


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Empty store."""
    return FeatureStore(tmp_path / "store")


@pytest.fixture
def given_away() -> Callable[[Path], None]:
    """Function that gives a file or folder to another user; the test is skipped if it may not."""
    if os.getuid() != 0:
        pytest.skip("only root can give a folder to another user")
    return lambda path: os.lchown(path, 12345, -1)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """Folder on a disk of 256 KiB; the test is skipped where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "none", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def killed_at_rename() -> Callable[[int], AbstractContextManager[None]]:
    """A block that ends in front of a rename as a killed process does: nothing is cleaned up."""

    class Killed(BaseException):
        """What no handler catches."""

    @contextmanager
    def kill(rename: int) -> Iterator[None]:
        renames, rename_file = iter(range(rename + 1)), os.replace

        def replace(*names: Any) -> None:
            if next(renames) == rename:
                patched.setattr("featx._files._remove", lambda _: None)
                raise Killed
            rename_file(*names)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(os, "replace", replace)
            with pytest.raises(Killed):
                yield

    return kill
