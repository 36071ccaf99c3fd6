"""Check and create folders that no other user can change.

The rule is that of sshd and git: every folder and link of the path must belong to the user or root
and must not be writable by others, unless it is sticky like ``/tmp``. Components are checked from
the root down, each through the descriptor of its parent. Others cannot replace a component that
has passed, so the path remains safe after the check.
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

# Descriptors that are only used to open entries; no permission to list the folder is needed.
_SEARCH = getattr(os, "O_PATH", getattr(os, "O_SEARCH", os.O_RDONLY))


def make_safe(
    folder: Path, *, shared: bool = False, file: str | None = None, inner: str | None = None
) -> None:
    """Create a private folder, or check that no other user could have changed its content.

    Parameters
    ----------
    folder : Path
        An absolute path.
    shared : bool, default=False
        Whether the owners of the folders and their groups are trusted.
    file : str, optional
        Name of a file in the folder that must be safe, if it exists.
    inner : str, optional
        Name of a subfolder that must be safe; it is created, too.

    Raises
    ------
    UnsafeFolderError
        If others could change the folder.
    OSError
        If it can be neither opened nor created.
    """
    if not hasattr(os, "getuid"):  # Windows protects a user's folders by access control lists.
        (folder / (inner or "")).mkdir(parents=True, exist_ok=True)
        return
    with _PathChecker(folder.anchor, shared=shared) as checker:
        checker.enter(folder.parts)
        if file is not None:
            checker.check_file(file)
        if inner is not None:
            checker.enter([inner])


class _PathChecker:
    """Opens the components of a path from the root down, and checks each opened one."""

    def __init__(self, root: str, *, shared: bool) -> None:
        self.shared = shared
        self.path = Path(root)
        self.descriptor = os.open(self.path, _SEARCH | os.O_DIRECTORY | os.O_CLOEXEC)
        # The owner of the root folder, who is not root in some containers, could replace Python.
        self._trusted = {os.getuid(), 0, os.fstat(self.descriptor).st_uid}
        self._n_links = 0

    def __enter__(self) -> _PathChecker:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def enter(self, names: Sequence[str]) -> None:
        """Enter nested folders; missing ones are created, the last of them private."""
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
        """Check a file without opening it: closing a descriptor would release SQLite's locks."""
        status = self._status(name)
        if status is None:
            return
        path = self.path / name
        if not stat.S_ISREG(status.st_mode):
            reason = "is a link" if stat.S_ISLNK(status.st_mode) else "is not a file"
            raise UnsafeFolderError(path, reason)
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
        with suppress(FileExistsError):  # Another process has created it meanwhile.
            os.mkdir(name, 0o700 if is_last else 0o755, dir_fd=self.descriptor)
            if is_last and self.shared:  # New files inherit the folder's group.
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
        """Refuse a component that others can write; in a sticky folder they cannot replace ours."""
        if status.st_mode & stat.S_ISVTX and not is_last:
            return
        unsafe_bits = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if self.shared or _is_own_group(status.st_gid):
            unsafe_bits &= ~stat.S_IWGRP
        if not unsafe_bits:
            return
        classes = (("g", stat.S_IWGRP), ("o", stat.S_IWOTH))
        letters = "".join(letter for letter, bit in classes if unsafe_bits & bit)
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
    """Whether a group is the user's private group, as Debian and Fedora create for every user.

    The folders of their users are writable by this group. The group of root never counts, as some
    containers put all users in it.
    """
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.getuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    has_user_name = gid == user.pw_gid and group.gr_name == user.pw_name
    return gid != 0 and has_user_name and set(group.gr_mem) <= {user.pw_name}
