"""Folders that nobody else can change.

The rule is that of sshd and git: every folder and link on the way belongs to the user or root and
cannot be written by others, unless it is sticky as ``/tmp`` is. It is checked from the root down,
each component through the descriptor of the one above. What has passed cannot be exchanged by
others, so that the path stays good after the check.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from featx.errors import UnsafeFolderError

_MAX_LINKS = 40

# A descriptor that only leads further needs no permission to list the folder.
_SEARCH = getattr(os, "O_PATH", getattr(os, "O_SEARCH", os.O_RDONLY))


def make_safe(
    folder: Path, *, shared: bool = False, file: str | None = None, inner: str | None = None
) -> None:
    """Make a folder, or check that nobody else could have put anything in it.

    Parameters
    ----------
    folder : Path
        An absolute path.
    shared : bool, default=False
        Whether the owners of the folders and their groups are trusted.
    file : str, optional
        Name of a file in it that must be safe, if it is there.
    inner : str, optional
        Name of a folder in it that must be safe, and is made too.

    Raises
    ------
    UnsafeFolderError
        If others could change it.
    OSError
        If it can be neither entered nor made.
    """
    if not hasattr(os, "getuid"):  # Windows keeps a user's folders by lists of its own.
        (folder / (inner or "")).mkdir(parents=True, exist_ok=True)
        return
    with _Walk(folder.anchor, shared=shared) as walk:
        walk.follow(folder.parts)
        if file is not None:
            walk.check_file(file)
        if inner is not None:
            walk.follow([inner])


class _Walk:
    """A way from the root to a folder, every component checked after it was opened."""

    def __init__(self, root: str, *, shared: bool) -> None:
        self.shared = shared
        self.path = Path(root)
        self.descriptor = os.open(self.path, _SEARCH | os.O_DIRECTORY | os.O_CLOEXEC)
        # Whoever owns the root folder, as in some containers, could exchange Python itself.
        self._trusted = {os.getuid(), 0, os.fstat(self.descriptor).st_uid}
        self._n_links = 0

    def __enter__(self) -> _Walk:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def follow(self, names: Sequence[str]) -> None:
        """Go into one folder after the other; the last is made private if it is not there."""
        pending = list(reversed(names))
        while pending:
            name = pending.pop()
            status = self._status(name) or self._make(name, is_last=not pending)
            if stat.S_ISLNK(status.st_mode):
                self._check_owner(self.path / name, status)
                pending += reversed(self._target(name).parts)
            else:
                self._enter(name, is_last=not pending)

    def check_file(self, name: str) -> None:
        """Check a file of the folder, unopened: SQLite's locks would end with our descriptor."""
        status = self._status(name)
        if status is None:
            return
        path = self.path / name
        if not stat.S_ISREG(status.st_mode):
            kind = "is a link" if stat.S_ISLNK(status.st_mode) else "is no file"
            raise UnsafeFolderError(path, kind)
        self._check_owner(path, status)
        self._check_mode(path, status, is_last=True)

    def _enter(self, name: str, *, is_last: bool) -> None:
        flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | _SEARCH
        descriptor = os.open(name, flags, dir_fd=self.descriptor)
        os.close(self.descriptor)
        self.descriptor = descriptor
        self.path = self.path.parent if name == os.pardir else self.path / name
        status = os.fstat(descriptor)
        self._check_owner(self.path, status)
        self._check_mode(self.path, status, is_last=is_last)

    def _status(self, name: str) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _make(self, name: str, *, is_last: bool) -> os.stat_result:
        with suppress(FileExistsError):  # Another process was faster.
            os.mkdir(name, 0o700 if is_last else 0o755, dir_fd=self.descriptor)
            if is_last and self.shared:  # What is made in it goes to the folder's group.
                os.chmod(name, 0o2770, dir_fd=self.descriptor)
        return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)

    def _target(self, name: str) -> Path:
        self._n_links += 1
        if self._n_links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(self.path / name))
        return Path(os.readlink(name, dir_fd=self.descriptor))

    def _check_owner(self, path: Path, status: os.stat_result) -> None:
        if self.shared or status.st_uid in self._trusted:
            return
        reason = f"belongs to {_user(status.st_uid)} (mode {stat.filemode(status.st_mode)})"
        raise UnsafeFolderError(path, reason)

    def _check_mode(self, path: Path, status: os.stat_result, *, is_last: bool) -> None:
        """Refuse what others can write; in a sticky folder they cannot exchange what is ours."""
        if status.st_mode & stat.S_ISVTX and not is_last:
            return
        others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if self.shared or _is_own_group(status.st_gid):
            others &= ~stat.S_IWGRP
        if not others:
            return
        letters = "".join(
            letter for letter, bit in (("g", stat.S_IWGRP), ("o", stat.S_IWOTH)) if others & bit
        )
        mode = stat.filemode(status.st_mode)
        reason = f"can be written by others (owner {_user(status.st_uid)}, mode {mode})"
        raise UnsafeFolderError(path, reason, f"chmod {letters}-w {shlex.quote(str(path))}")


def _user(uid: int) -> str:
    """Name and number of a user."""
    import pwd

    try:
        return f"user {pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return f"user {uid}"


@lru_cache
def _is_own_group(gid: int) -> bool:
    """Whether a group is the user's private one, as Debian and Fedora give to each.

    Their users' folders are writable by that group, and by nobody else. Never the group of root,
    in which some containers put all their users.
    """
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.getuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    is_named_alike = gid == user.pw_gid and group.gr_name == user.pw_name
    return gid != 0 and is_named_alike and set(group.gr_mem) <= {user.pw_name}
