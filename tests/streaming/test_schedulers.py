from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
from joblib.parallel import get_active_backend

from featx.errors import SchedulerError, SpecError
from featx.streaming import schedulers
from featx.streaming.schedulers import Cluster, current_cluster, joblib_config, use_scheduler


@pytest.mark.parametrize(
    "address",
    ["slurm", "dask:", "dask://", "dask://host", "ray://host:x", "tcp://a:1", "dask://a b:1"],
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with (
        pytest.raises(SpecError, match="expected dask, ray, dask://HOST:PORT"),
        use_scheduler(address),
    ):
        pass


def test_a_dask_scheduler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedulers, "_CONNECT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    expected = rf"No Dask scheduler answers at 127.0.0.1:{port}; start one with"
    with pytest.raises(SchedulerError, match=expected), use_scheduler(f"dask://127.0.0.1:{port}"):
        pass


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SpecError, match=r"pip install 'featx\[dask\]'"), use_scheduler("dask"):
        pass


def test_without_an_address_nothing_changes() -> None:
    with use_scheduler(None), joblib_config(current_cluster()):
        assert current_cluster() is None
        assert get_active_backend()[1] is None


def test_a_cluster_gives_joblib_its_back_end() -> None:
    cluster = Cluster("test", lambda: {"backend": "threading", "n_jobs": 7}, ())
    with joblib_config(cluster):
        assert get_active_backend()[1] == 7


@pytest.mark.parametrize("has_token", [True, False])
def test_the_token_of_ray_is_used_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_token: bool
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    if has_token:
        (tmp_path / "token").write_text("0" * 64)
    schedulers._use_ray_token()
    assert os.environ.get("RAY_AUTH_MODE") == ("token" if has_token else None)
    monkeypatch.setenv("RAY_AUTH_MODE", "")
