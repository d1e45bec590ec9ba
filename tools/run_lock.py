"""One process at a time for each run: a lock file beside the database, which the system releases when a process dies.

Where the system has no ``flock`` (Windows), nothing is locked and every run counts as alive.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from crito.errors import BadInput

_LOCKS = find_spec("fcntl") is not None


@contextmanager
def run_lock(database: Path, run: str) -> Iterator[None]:
    """Hold the lock of a run; its file is removed at the end.

    Raises:
        BadInput: Another start of this run holds it.
    """
    if not _LOCKS:
        yield
        return
    path = _path(database, run)
    file = _locked(path)
    if file is None:
        raise BadInput(f"run {run} is running in another process; wait for it to end, or stop it first")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while the lock is held, so that nobody's new file is removed
        os.close(file)


def is_alive(database: Path, run: str) -> bool:
    """Whether a process is at work on the run now."""
    if not _LOCKS:
        return True
    try:
        file = os.open(_path(database, run), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _take(file)
    finally:
        os.close(file)


def _path(database: Path, run: str) -> Path:
    return database.with_name(f"{database.name}.{run}.lock")


def _locked(path: Path) -> int | None:
    """The open, locked file; None where another holds it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if not _take(file):
            os.close(file)
            return None
        if _names(path, file):
            return file
        os.close(file)  # its last holder removed it between our two steps


def _names(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _take(file: int) -> bool:
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
