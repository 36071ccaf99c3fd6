"""Clusters that compute features: Dask and Ray, through the back ends that joblib has for them.

A cluster is asked for by an address: ``dask://HOST:PORT``, ``ray://HOST:PORT``, or ``dask`` or
``ray`` alone for a cluster of this machine that lasts as long as the run.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import joblib

from featx.errors import SchedulerError, SpecError

_CONNECT_S = 15.0
"""How long a scheduler may take to answer, and to have a worker."""

_ADDRESS = re.compile(r"(dask|ray)(://[\w.-]+:\d{1,5}|://\[[0-9a-fA-F:]+\]:\d{1,5})?", re.ASCII)


@dataclass(frozen=True)
class Cluster:
    """A cluster that is connected.

    Attributes
    ----------
    name : str
    configure : callable
        Gives the arguments of `joblib.parallel_config` for the workers that there are now.
    lost : tuple of type
        Errors of a task whose worker is gone.
    """

    name: str
    configure: Callable[[], dict[str, Any]]
    lost: tuple[type[Exception], ...]


_current: ContextVar[Cluster | None] = ContextVar("featx_cluster", default=None)


def current_cluster() -> Cluster | None:
    """The cluster of the `use_scheduler` block that is open, if there is one."""
    return _current.get()


@contextmanager
def joblib_config(cluster: Cluster | None) -> Iterator[None]:
    """Let joblib run its tasks on a cluster; without one everything stays as it is."""
    if cluster is None:
        yield
        return
    with joblib.parallel_config(**cluster.configure()):
        yield


@contextmanager
def use_scheduler(address: str | None) -> Iterator[None]:
    """Compute the features of a ``with`` block on a cluster.

    Only features are computed there; what is learned from them stays in this process. Workers
    open the images by the same paths as this process does. They write rows into the store where
    they can reach its folder, and return them where they cannot.

    Parameters
    ----------
    address : str or None
        ``dask://HOST:PORT`` or ``ray://HOST:PORT``; ``dask`` or ``ray`` starts a cluster on
        this machine. None changes nothing.

    Raises
    ------
    SpecError
        If the address is none of these, or the package is not installed.
    SchedulerError
        If no scheduler answers there, or it has no workers.

    Examples
    --------
    >>> with use_scheduler(None):
    ...     pass
    """
    if address is None:
        yield
        return
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise SpecError(
            f"scheduler={address!r}: expected dask, ray, dask://HOST:PORT or ray://HOST:PORT."
        )
    connect = {"dask": _dask, "ray": _ray}[match[1]]
    with connect((match[2] or "").removeprefix("://")) as cluster:
        token = _current.set(cluster)
        try:
            yield
        finally:
            _current.reset(token)


@contextmanager
def _dask(address: str) -> Iterator[Cluster]:
    """A Dask cluster, of this machine where there is no address."""
    try:
        import distributed
    except ImportError as error:
        raise _not_installed("dask") from error
    for name in ("distributed", "distributed.client"):  # It logs tracebacks of what is reported.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        stack.enter_context(_others_warnings())
        scheduler: Any = f"tcp://{address}"
        if not address:
            scheduler = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=joblib.cpu_count(),
                    threads_per_worker=1,
                    dashboard_address=None,
                    silence_logs=logging.CRITICAL,
                )
            )
        try:
            client = stack.enter_context(
                distributed.Client(scheduler, timeout=_CONNECT_S, set_as_default=False)
            )
            client.wait_for_workers(1, timeout=_CONNECT_S)
        except (OSError, TimeoutError) as error:
            raise _unreachable("Dask", address, "dask scheduler` and `dask worker") from error
        yield Cluster("Dask", partial(_configure_dask, client), _dask_errors())


def _configure_dask(client: Any) -> dict[str, Any]:
    """A back end with all threads of all workers, once there are some."""
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs: int | None) -> int:
            # joblib computes in this process where there is one job.
            return max(2, int(super().effective_n_jobs(n_jobs)))

    try:
        client.wait_for_workers(1, timeout=_CONNECT_S)
    except (OSError, RuntimeError) as error:  # Of the connection, or that it is closed.
        raise _gone("Dask") from error
    return {"backend": Backend(client=client), "n_jobs": -1}


def _dask_errors() -> tuple[type[Exception], ...]:
    from distributed import CancelledError, KilledWorker
    from distributed.comm.core import CommClosedError

    return KilledWorker, CancelledError, CommClosedError


@contextmanager
def _ray(address: str) -> Iterator[Cluster]:
    """A Ray cluster, of this machine where there is no address."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # It would report to its makers.
    _use_ray_token()
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise _not_installed("ray") from error
    with _others_warnings():
        register_ray()
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        options |= {"address": f"ray://{address}"} if address else {"include_dashboard": False}
        try:
            if not ray.is_initialized():
                ray.init(**options)
        except (ConnectionError, TimeoutError, RuntimeError) as error:
            raise _unreachable("Ray", address, "ray start --head") from error
        except ImportError as error:  # The client is an extra of Ray's own.
            raise _not_installed("ray") from error
        try:
            yield Cluster("Ray", _configure_ray, (ray.exceptions.RayError, ConnectionError))
        finally:
            ray.shutdown()


def _configure_ray() -> dict[str, Any]:
    """A back end with a process for each processor that is left: more would wait for ever."""
    import ray

    try:
        n_jobs = int(ray.cluster_resources().get("CPU", 0))
    except (ConnectionError, ray.exceptions.RayError) as error:
        raise _gone("Ray") from error
    if not n_jobs:
        raise _gone("Ray")
    # joblib computes in this process where there is one job.
    share = {"ray_remote_args": {"num_cpus": 0.5}} if n_jobs == 1 else {}
    return {"backend": "ray", "n_jobs": max(2, n_jobs), **share}


def _use_ray_token() -> None:
    """Send the token that `ray start` has made, where there is one; a client does not by itself."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray/auth_token")
    if os.environ.get("RAY_AUTH_TOKEN") or path.is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


@contextmanager
def _others_warnings() -> Iterator[None]:
    """Leave out the warnings of both packages about their own dependencies and busy ports."""
    with warnings.catch_warnings():
        for module in ("distributed", "dask", "ray", "tornado"):
            warnings.filterwarnings("ignore", module=rf"{module}(\.|$)")
        yield


def _not_installed(name: str) -> SpecError:
    return SpecError(
        f"A cluster of {name} needs the extra featx[{name}]: pip install 'featx[{name}]'."
    )


def _gone(name: str) -> SchedulerError:
    return SchedulerError(
        f"The {name} cluster no longer answers, or has no worker left. What is stored stays good: "
        "start it, and run again."
    )


def _unreachable(name: str, address: str, command: str) -> SchedulerError:
    where = f"at {address}" if address else "on this machine"
    return SchedulerError(
        f"No {name} scheduler with a worker answers {where} within {_CONNECT_S:.0f} s; "
        f"start one with `{command}`."
    )
