"""The store's private folder, and error messages about it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from featx.errors import StoreError, UnsafeFolderError
from featx.trust.safe_folders import make_safe

_FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def make_private(
    folder: Path, *, shared: bool = False, file: str | None = None, inner: str | None = None
) -> None:
    """Create a store's folder, or check that nobody else could have changed its content.

    Parameters
    ----------
    folder, shared, file, inner
        As in `featx.trust.safe_folders.make_safe`.

    Raises
    ------
    StoreError
        If others could change it.
    """
    try:
        make_safe(folder, shared=shared, file=file, inner=inner)
    except UnsafeFolderError as error:
        cures = ["name another folder by --store or FEATX_STORE"]
        if error.cure:
            cures.insert(0, f"close it with `{error.cure}`")
        if not shared:
            cures.append(
                "share the store with them on purpose by --shared-store (in Python "
                "FeatureStore(folder, shared=True))"
            )
        cure = ", or ".join(cures)
        raise StoreError(
            f"The store in {folder} could be changed by others: {error}. "
            f"{cure[0].upper()}{cure[1:]}."
        ) from error


@contextmanager
def store_errors(folder: Path) -> Iterator[None]:
    """Turn errors of the operating system into a `StoreError` with a message of one line."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        if error.errno in _FULL_DISK:
            raise full_disk(folder) from error
        reason = (error.strerror or str(error)).lower()
        raise StoreError(
            f"The store in {folder} cannot be used: {reason}. "
            "Name another folder by --store or FEATX_STORE."
        ) from error


def full_disk(folder: Path) -> StoreError:
    """Error about a full disk."""
    return StoreError(
        f"No space left on the disk of the store in {folder}; the stored rows remain valid. "
        "Free some space (`featx cache prune`) or name another folder by --store or FEATX_STORE."
    )
