"""Objects behind URLs: found, read and identified by fsspec, patiently, but not for ever."""

from __future__ import annotations

import asyncio
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

from featx.data.archives.archive_files import ArchiveFile, check_length
from featx.data.blobs import Blob, Identity
from featx.data.remote.spool import Spool
from featx.errors import DatasetError, one_line

_TIMEOUT_S = 30.0
"""For one answer, from the request to its last byte."""

_LISTING_S = 3600.0
"""For all answers of which a listing consists."""

_N_TRIES = 4
_FIRST_WAIT_S = 0.5
"""Before the second try; doubled before each further one, with a random part."""

_BLOCK_BYTES = 2**20
"""Read at a time while an archive is listed: a request takes as long as the reading."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_NEAR = frozenset({"memory", "file", "local"})
"""Protocols without a network, where reading ahead gains nothing."""

_WEB = frozenset({"http", "https"})
_SLOW_DOWN = frozenset({408, 425, 429})
_N_PAGES = 16
"""Pages of links that are read at a time."""

_MAX_DEPTH = 32
"""Folders below each other on a web server, whose links may lead in circles."""

Result = TypeVar("Result")


class _RemoteError(OSError, ValueError):
    """An object cannot be read; `strerror` says why in one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.strerror = reason


class RemoteObject(Blob):
    """An object of a store, or what a web server has under a URL.

    Parameters
    ----------
    url : str
    info : dict, optional
        What a listing said of it; asked for when it is needed.
    """

    def __init__(self, url: str, info: dict[str, Any] | None = None) -> None:
        self.url = url
        self._version = None if info is None else _version_of(info)
        self._size = None if info is None else info.get("size")
        self._is_listed = info is not None

    def __repr__(self) -> str:
        return f"RemoteObject({shown_url(self.url)!r})"

    @property
    def is_slow(self) -> bool:  # type: ignore[override]
        """Whether it is behind a network."""
        return _is_slow_url(self.url)

    def read(self, max_bytes: int) -> bytes:
        """Content; see `Blob.read`."""
        if self._size is not None:
            check_length(self._size, max_bytes)
        return _fetch(self.url, None, self._size, self._version, max_bytes)

    def identity(self) -> tuple[bytes, Identity] | None:
        """Entity tag, size and time; None where the store gives no strong tag."""
        if not self._is_listed:
            try:
                info = _find_info(self.url)
            except (OSError, ValueError):  # Reading it says why.
                return None
            self._version = _version_of(info)
        return None if self._version is None else (b"\0" + self.url.encode(), self._version)


@dataclass(frozen=True)
class RemoteFile(ArchiveFile):
    """An archive behind a URL, read by ranges."""

    location: str
    size: int
    version: Identity | None

    block_bytes = _BLOCK_BYTES

    @property
    def is_slow(self) -> bool:  # type: ignore[override]
        """Whether it is behind a network."""
        return _is_slow_url(self.location)

    def read_range(self, start: int, length: int) -> bytes:
        """Bytes from `start` on; see `ArchiveFile`."""
        length = min(length, self.size - start)
        if length <= 0:
            return b""
        return _fetch(self.location, start, length, self.version, length)

    def key(self) -> bytes:
        """The URL, marked as no path."""
        return b"\0" + self.location.encode()


def is_url(source: str) -> bool:
    """Whether a source is a URL.

    Examples
    --------
    >>> is_url("s3://bucket/photos"), is_url("photos/s3"), is_url("torchvision:CIFAR10")
    (True, False, False)
    """
    return _URL.match(source) is not None


def shown_url(url: str) -> str:
    """URL without what may be secret: a user and password, and a query, which may be a signature.

    Examples
    --------
    >>> shown_url("https://me:word@host/a.jpg?X-Amz-Signature=9")
    'https://host/a.jpg'
    """
    head, mark, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    place = place.rpartition("@")[2]
    path = path.partition("?")[0] if head.lower() in _WEB else path
    return head + mark + place + slash + path


def _is_slow_url(url: str) -> bool:
    """Whether a URL is behind a network."""
    return url.partition("://")[0].lower() not in _NEAR


def open_remote(url: str) -> RemoteFile:
    """An archive behind a URL as it is now.

    Raises
    ------
    _RemoteError
        If it is not there, or cannot be read by ranges.
    """
    info = _find_info(url)
    size = info.get("size")
    if size is None:
        raise _RemoteError("the server sends no Content-Length; download it first")
    return RemoteFile(url, int(size), _version_of(info))


def _find_info(url: str) -> dict[str, Any]:
    """What a store says of an object: size, tag, time."""
    found: dict[str, Any] = _patiently(url, lambda fs, path: _call(fs, "info", path))
    return found


class Listed(NamedTuple):
    """What is under a URL.

    Attributes
    ----------
    objects : list of (str, RemoteObject)
        With their names relative to the URL, sorted; an object that is the URL itself has none.
    failures : list of (str, str)
        Folders that could not be listed, and why.
    """

    objects: list[tuple[str, RemoteObject]]
    failures: list[tuple[str, str]]


def list_remote(url: str) -> Listed:
    """Objects under a URL.

    Raises
    ------
    _RemoteError
        If there is nothing, or it may not be listed.
    """
    if _is_web(url):
        return _list_web(url)

    def find(fs: Any, path: str) -> Any:
        found = _call(fs, "find", path, detail=True, limit_s=_LISTING_S)
        return fs, path.rstrip("/"), found

    fs, path, found = _patiently(url, find)
    objects = []
    for full, info in sorted(found.items()):
        if info.get("type") != "directory" and full.startswith(path):
            blob = RemoteObject(fs.unstrip_protocol(full), _known(info))
            objects.append((full[len(path) :].lstrip("/"), blob))
    if not objects:  # A store has no folders: where nothing is under a name, there is none.
        raise _RemoteError("no such object")
    return Listed(objects, [])


def glob_remote(pattern: str) -> list[str]:
    """URLs that a pattern stands for, sorted; of web addresses in links alone."""
    if not _is_web(pattern):

        def find(fs: Any, path: str) -> list[str]:
            return [fs.unstrip_protocol(name) for name in sorted(_call(fs, "glob", path))]

        return _patiently(pattern, find)
    head, parts = pattern, list[str]()
    while has_stars(head):
        head, _, part = head.rpartition("/")
        parts.insert(0, part)
    return [
        blob.url
        for name, blob in _list_web(head + "/").objects
        if len(names := name.split("/")) == len(parts) and all(map(fnmatchcase, names, parts))
    ]


def has_stars(url: str) -> bool:
    """Whether a URL is a pattern; a question mark in a web address is none.

    Examples
    --------
    >>> has_stars("https://host/a.jpg?size=9"), has_stars("s3://bucket/*.tar")
    (False, True)
    """
    return re.search(r"[*\[]", url.partition("://")[2].partition("/")[2]) is not None


def _is_web(url: str) -> bool:
    """Whether a URL is one of a web server, which has pages of links where stores have listings."""
    return urlsplit(url).scheme.lower() in _WEB


def _list_web(url: str) -> Listed:
    """What pages of links lead to, below a URL: fsspec would pass over pages that fail."""
    root = url.rstrip("/") + "/"
    objects: dict[str, RemoteObject] = {}
    failures: list[tuple[str, str]] = []
    pages, seen = [root], {root}
    with ThreadPoolExecutor(_N_PAGES, "featx-list") as pool:
        for _ in range(_MAX_DEPTH):
            found = list(pool.map(_links_of, pages))
            if isinstance(found[0], _RemoteError) and pages == [root]:
                raise found[0]
            failures += [
                (unquote(page[len(root) :]), str(it))
                for page, it in zip(pages, found)
                if isinstance(it, _RemoteError)
            ]
            links = sorted({link for it in found if isinstance(it, list) for link in it} - seen)
            links = [it for it in links if it.startswith(root) and "?" not in it]
            seen.update(links)
            objects |= {
                unquote(it[len(root) :]): RemoteObject(it) for it in links if not it.endswith("/")
            }
            if not (pages := [it for it in links if it.endswith("/")]):
                break
    if not objects and not url.endswith("/"):
        objects[""] = RemoteObject(url)
    return Listed(sorted(objects.items()), failures)


def _links_of(page: str) -> list[str] | _RemoteError:
    """URLs that a page links to, or why it cannot be read."""
    try:
        return _patiently(page, lambda fs, path: list(_call(fs, "ls", path, detail=False)))
    except _RemoteError as error:
        return error


def _fetch(
    url: str, start: int | None, length: int | None, version: Identity | None, max_bytes: int
) -> bytes:
    """Bytes of an object, from the spool where a run has read them already.

    Parameters
    ----------
    url : str
    start : int, optional
        First byte of a part; by default the whole object is meant.
    length : int, optional
        Of the part, or of the object where that is known.
    version : Identity, optional
        Of the object; what has none is taken from the spool once, for it may have changed.
    max_bytes : int
        Larger ones are refused.

    Raises
    ------
    _RemoteError
        If they cannot be read.
    """
    key = (url, start, length, version)
    if (content := _spool.get(key)) is not None:
        if version is None:
            _spool.drop(key)
        return content
    content = _patiently(url, lambda fs, path: _read_once(fs, path, start, length, max_bytes))
    if _is_slow_url(url):
        _spool.put(key, content)
    return content


def _version_of(info: dict[str, Any]) -> Identity | None:
    """Identity of an object by its entity tag and size; None without a strong tag.

    Examples
    --------
    >>> _version_of({"size": 9, "ETag": 'W/"weak"'}) is None
    True
    >>> _version_of({"size": 9, "ETag": '"5d41"'})[0]
    9
    """
    tag, size = info.get("ETag") or info.get("etag") or info.get("md5Hash"), info.get("size")
    if not tag or size is None or str(tag).startswith("W/"):
        return None
    digest = blake2b(str(tag).encode(), digest_size=8).digest()
    return int(size), _time_ns(info), 0, int.from_bytes(digest, "big") & (2**63 - 1)


class _Hosts:
    """Hosts that did not answer when they were last asked: they get one try."""

    def __init__(self) -> None:
        self._down: set[str] = set()

    def n_tries(self, host: str) -> int:
        return 1 if host in self._down else _N_TRIES

    def note(self, host: str, *, is_up: bool) -> None:
        (self._down.discard if is_up else self._down.add)(host)


_hosts = _Hosts()
_spool = Spool()
_opening = threading.Lock()
_opened: dict[Any, Any] = {}


def _patiently(url: str, call: Callable[[Any, str], Result]) -> Result:
    """Result of a call, tried again where waiting may help.

    Raises
    ------
    _RemoteError
        Of the last try, in one line.
    """
    fs, path = _filesystem_of(url)
    host = "//".join(urlsplit(url)[:2])
    n_tries = _hosts.n_tries(host)
    for attempt in range(1, n_tries + 1):
        try:
            result = call(fs, path)
        except Exception as error:
            is_lasting = _is_lasting(error)
            if not is_lasting and attempt < n_tries:
                time.sleep(_FIRST_WAIT_S * 2 ** (attempt - 1) * (0.5 + random.random()))
                continue
            _hosts.note(host, is_up=is_lasting or not _is_unreachable(error))
            raise _RemoteError(_reason(error, url, attempt)) from error
        _hosts.note(host, is_up=True)
        return result
    raise AssertionError("unreachable")


def _filesystem_of(url: str) -> tuple[Any, str]:
    """File system of a URL, one for all threads of the process, and the path in it."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise DatasetError("URLs need the package fsspec: pip install 'featx[remote]'.") from error
    parts = urlsplit(url)
    variables = [it for it in os.environ.items() if it[0].startswith(("AWS_", "FSSPEC_"))]
    key = (os.getpid(), parts.scheme, parts.netloc, tuple(sorted(variables)))
    with _opening:
        if key not in _opened:
            try:
                fs, _ = url_to_fs(url, skip_instance_cache=True, **_options(parts.scheme.lower()))
            except (ImportError, ValueError) as error:
                raise DatasetError(
                    f"{parts.scheme}:// cannot be opened ({one_line(error)}); "
                    "pip install 'featx[remote]' brings http and s3."
                ) from error
            _opened[key] = fs
        return _opened[key], _opened[key]._strip_protocol(url)


def _options(protocol: str) -> dict[str, Any]:
    """Limits of waiting that a file system has itself; retries are made here alone."""
    if protocol in _WEB:
        import aiohttp

        return {"client_kwargs": {"timeout": aiohttp.ClientTimeout(total=_TIMEOUT_S)}}
    if protocol in ("s3", "s3a"):
        waits: dict[str, Any] = {"connect_timeout": _TIMEOUT_S, "read_timeout": _TIMEOUT_S}
        waits |= {"retries": {"max_attempts": 1}, "max_pool_connections": 64}
        return {"config_kwargs": waits}
    return {}


def _call(fs: Any, name: str, *arguments: Any, limit_s: float | None = None, **named: Any) -> Any:
    """One call of a file system, ended when it takes too long."""
    if not getattr(fs, "async_impl", False):
        return getattr(fs, name)(*arguments, **named)
    from fsspec.asyn import sync

    return sync(
        fs.loop, getattr(fs, f"_{name}"), *arguments, timeout=limit_s or _TIMEOUT_S, **named
    )


def _read_once(fs: Any, path: str, start: int | None, length: int | None, max_bytes: int) -> bytes:
    if _is_web(path):
        from fsspec.asyn import sync

        return bytes(
            sync(fs.loop, _read_web, fs, path, start, length, max_bytes, timeout=_TIMEOUT_S)
        )
    if length is None:
        length = int(_call(fs, "info", path)["size"])
        check_length(length, max_bytes)
    if not length:
        return b""
    first = start or 0
    content = bytes(_call(fs, "cat_file", path, start=first, end=first + length))
    if len(content) != length:
        raise ConnectionError(f"expected {length:,} bytes, got {len(content):,}")
    return content


async def _read_web(
    fs: Any, url: str, start: int | None, length: int | None, max_bytes: int
) -> bytearray:
    """Bytes of a URL; no more are taken than allowed, whatever the server says or sends."""
    headers = dict(fs.kwargs.get("headers", {}))
    if start is not None and length is not None:
        headers["Range"] = f"bytes={start}-{start + length - 1}"
    session = await fs.set_session()
    options = {k: v for k, v in fs.kwargs.items() if k != "headers"}
    async with session.get(fs.encode_url(url), headers=headers, **options) as answer:
        fs._raise_not_found_for_status(answer, url)
        if start is not None and answer.status != 206:
            raise ValueError(
                "the server does not support HTTP range requests; download the archive first"
            )
        content = bytearray()
        async for block in answer.content.iter_chunked(2**16):
            content += block
            if len(content) > max_bytes:
                raise ValueError(f"has more than {max_bytes:,} bytes")
    if start is not None and len(content) != length:
        raise ConnectionError(f"expected {length:,} bytes, got {len(content):,}")
    return content


def _is_lasting(error: BaseException) -> bool:
    """Whether another try would end in the same way."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return 400 <= status < 500 and status not in _SLOW_DOWN
    lasting = (FileNotFoundError, PermissionError, IsADirectoryError, ValueError, TypeError)
    return isinstance(error, (*lasting, ImportError)) or _is_without_credentials(error)


def _is_without_credentials(error: BaseException) -> bool:
    return "Credentials" in type(error).__name__ or "TokenRetrieval" in type(error).__name__


def _is_unreachable(error: BaseException) -> bool:
    """Whether no connection came about."""
    names = {cause.__class__.__name__ for cause in _causes(error)}
    return bool(names & {"ConnectionRefusedError", "gaierror", "EndpointConnectionError"}) or any(
        "Connector" in name or "ConnectTimeout" in name for name in names
    )


def _reason(error: BaseException, url: str, n_tries: int) -> str:
    """One line of why, without secrets."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    times = f" ({n_tries} tries)" if n_tries > 1 else ""
    if isinstance(error, FileNotFoundError):
        return "no such object"
    if _is_without_credentials(error):
        return "needs credentials, and none were found; set them as the store's own tools want them"
    if isinstance(error, PermissionError) or getattr(error, "status", None) in (401, 403):
        return f"access is refused; see the credentials ({one_line(error)[:120]})"
    if _is_unreachable(error):
        return f"no connection to {host}{times}: {one_line(_last(error))[:120]}"
    if isinstance(error, TimeoutError | asyncio.TimeoutError) or "Timeout" in type(error).__name__:
        return f"no answer within {_TIMEOUT_S:g} s{times}"
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return f"the server answers {status} {getattr(error, 'message', '')}".rstrip() + times
    return one_line(error)[:200] + times


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen = 0
    while error is not None and seen < 10:
        yield error
        error, seen = error.__cause__ or error.__context__, seen + 1


def _last(error: BaseException) -> BaseException:
    """The first of all causes."""
    *_, last = _causes(error)
    return last


def _known(info: dict[str, Any]) -> dict[str, Any] | None:
    """What a listing says of an object, None where it says too little (web servers)."""
    return info if info.get("size") is not None else None


def _time_ns(info: dict[str, Any]) -> int:
    """Time of an object's last change; 0 where the store does not say."""
    value = info.get("LastModified") or info.get("Last-Modified") or info.get("mtime")
    try:
        when = parsedate_to_datetime(value) if isinstance(value, str) else value
    except ValueError:
        return 0
    return int(when.timestamp() * 1e9) if isinstance(when, datetime) else 0
