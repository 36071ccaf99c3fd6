"""Compute features on a Dask or Ray cluster, through joblib's back ends.

A cluster is selected by an address: ``dask://HOST:PORT`` or ``ray://HOST:PORT``. ``dask`` or
``ray`` alone starts a cluster on this machine for the duration of the run.
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

_CONNECT_S, _WORKERS_S = 15.0, 60.0
"""Timeouts in seconds for a scheduler to answer, and for its first worker."""

_N_ATTEMPTS = 2
"""Attempts to connect to Ray, whose own timeout is 30 s."""

_ADDRESS = re.compile(r"(dask|ray)(://[\w.-]+:\d{1,5}|://\[[0-9a-fA-F:]+\]:\d{1,5})?", re.ASCII)


@dataclass(frozen=True)
class Cluster:
    """A connected cluster.

    Attributes
    ----------
    name : str
    configure : callable
        Returns the arguments of `joblib.parallel_config` for the current workers.
    lost : tuple of type
        Exceptions raised by a task whose worker was lost.
    """

    name: str
    configure: Callable[[], dict[str, Any]]
    lost: tuple[type[Exception], ...]


_current: ContextVar[Cluster | None] = ContextVar("featx_cluster", default=None)


def current_cluster() -> Cluster | None:
    """The cluster of the active `use_scheduler` context, if any."""
    return _current.get()


@contextmanager
def joblib_config(cluster: Cluster | None) -> Iterator[None]:
    """Context in which joblib runs its tasks on a cluster; None changes nothing."""
    if cluster is None:
        yield
        return
    with joblib.parallel_config(**cluster.configure()):
        yield


@contextmanager
def use_scheduler(address: str | None) -> Iterator[None]:
    """Context in which features are computed on a cluster.

    Only features are computed there; fitting remains in this process. Workers open images by the
    same paths as this process. They write rows to the store if they can reach its folder, and
    return them otherwise.

    Parameters
    ----------
    address : str or None
        ``dask://HOST:PORT`` or ``ray://HOST:PORT``; ``dask`` or ``ray`` starts a cluster on
        this machine. None changes nothing.

    Raises
    ------
    SpecError
        If the address is invalid, or the package is not installed.
    SchedulerError
        If no scheduler answers, or it has no workers.

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
    """Connect to a Dask cluster, or start one on this machine if the address is empty."""
    try:
        import distributed
    except ImportError as error:
        raise _not_installed("dask") from error
    for name in ("distributed", "distributed.client"):  # They log tracebacks of handled errors.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        stack.enter_context(_ignored_warnings())
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
        except (OSError, TimeoutError) as error:
            raise _unreachable("Dask", address, "dask scheduler") from error
        yield Cluster("Dask", partial(_configure_dask, client), _dask_errors())


def _configure_dask(client: Any) -> dict[str, Any]:
    """Wait for workers, and return a back end that uses all of their threads."""
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs: int | None) -> int:
            # With one job joblib would compute in this process.
            return max(2, int(super().effective_n_jobs(n_jobs)))

    try:
        client.wait_for_workers(1, timeout=_WORKERS_S)
    except (OSError, RuntimeError) as error:  # The connection failed, or is closed.
        raise _gone("Dask") from error
    return {"backend": Backend(client=client), "n_jobs": -1}


def _dask_errors() -> tuple[type[Exception], ...]:
    from distributed import CancelledError, KilledWorker
    from distributed.comm.core import CommClosedError

    return KilledWorker, CancelledError, CommClosedError


@contextmanager
def _ray(address: str) -> Iterator[Cluster]:
    """Connect to a Ray cluster, or start one on this machine if the address is empty."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Disables telemetry.
    _use_ray_token()
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise _not_installed("ray") from error
    with _ignored_warnings():
        register_ray()
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        options |= {"address": f"ray://{address}"} if address else {"include_dashboard": False}
        try:
            if not ray.is_initialized():
                _connect_ray(options)
        except (ConnectionError, TimeoutError, RuntimeError) as error:
            raise _unreachable("Ray", address, "ray start --head") from error
        except ImportError as error:  # The client is an optional part of Ray.
            raise _not_installed("ray") from error
        try:
            yield Cluster("Ray", _configure_ray, (ray.exceptions.RayError, ConnectionError))
        finally:
            ray.shutdown()


def _connect_ray(options: dict[str, Any]) -> None:
    """Connect to Ray; a busy head node may need longer to start a server than Ray waits."""
    import ray

    for attempt in range(_N_ATTEMPTS):
        try:
            ray.init(**options)
            return
        except ConnectionError:
            if attempt == _N_ATTEMPTS - 1:
                raise


def _configure_ray() -> dict[str, Any]:
    """Back end with one process per available CPU: further ones would wait for ever."""
    import ray

    try:
        n_jobs = int(ray.cluster_resources().get("CPU", 0))
    except (ConnectionError, ray.exceptions.RayError) as error:
        raise _gone("Ray") from error
    if not n_jobs:
        raise _gone("Ray")
    # With one job joblib would compute in this process, so two jobs share a single CPU.
    options = {"ray_remote_args": {"num_cpus": 0.5}} if n_jobs == 1 else {}
    return {"backend": "ray", "n_jobs": max(2, n_jobs), **options}


def _use_ray_token() -> None:
    """Authenticate by the token of `ray start`, if there is one; a client does not by default."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray/auth_token")
    if os.environ.get("RAY_AUTH_TOKEN") or path.is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


@contextmanager
def _ignored_warnings() -> Iterator[None]:
    """Ignore warnings of both packages about their own dependencies and busy ports."""
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
        f"The {name} cluster does not answer, or has no workers. Stored rows remain valid: start "
        "the scheduler and its workers, and run again."
    )


def _unreachable(name: str, address: str, command: str) -> SchedulerError:
    where = f"at {address}" if address else "on this machine"
    return SchedulerError(
        f"No {name} scheduler answers {where}; start one with `{command}`, or check the address."
    )
