"""Locks between processes that share a folder: the kernel drops a dead one's, and a lock's file
goes with its use."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from adapters_xitt.atomic import writing

CLAIMED = 64  # locks that a process holds at once: each is an open file, and a process may have 256


@contextmanager
def claim(folder: Path, names: Sequence[str], *, most: int = CLAIMED) -> Iterator[list[str]]:
    """Locks those of `names` that no living process holds, `most` at once, for the block."""
    held: dict[str, int] = {}
    try:
        for name in dict.fromkeys(names):
            if len(held) == most:
                break
            if (handle := _lock(_file(folder, name))) is not None:
                held[name] = handle
        yield list(held)
    finally:
        for name, handle in held.items():
            _unlock(_file(folder, name), handle)


def sweep(folder: Path) -> None:
    """Takes away the files of locks whose holders are dead."""
    for path in folder.glob("*.lock"):
        if (handle := _lock(path)) is not None:
            _unlock(path, handle)


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.lock"


def _lock(path: Path) -> int | None:
    """The open file of a lock that is held from now on; None where another holds it."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(handle).st_ino == path.stat().st_ino:
                    return handle
            except BlockingIOError:
                os.close(handle)
                return None
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(handle)
                raise
            # Its last holder took the file away meanwhile: what was locked is no name any more.
            os.close(handle)


def _unlock(path: Path, handle: int) -> None:
    """Lets go of a lock; the file goes first, while nobody else can hold it."""
    path.unlink(missing_ok=True)
    os.close(handle)
