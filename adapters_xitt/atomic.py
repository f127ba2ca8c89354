"""Files and folders that have their final name only when they are whole, and what is said where a
disk refuses."""

from __future__ import annotations

import errno
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from adapters_xitt.errors import XittError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SHUT = (errno.EROFS, errno.EACCES, errno.EPERM)
GOES_ON = "what was finished is kept, and the same command goes on from there"


class DiskRefuses(XittError):
    """Nothing can be written any more: no job's failure, but the end of the run."""


def disk_refuses(error: OSError) -> bool:
    """Whether an error is the disk's: full, over a quota, read-only, failing."""
    return error.errno in (*FULL, *SHUT, errno.EIO, errno.EMFILE, errno.ENFILE)


def explain(error: OSError, place: Path | str) -> str:
    """A sentence for whoever can do something about it: the place, what it says, the remedy."""
    sentence = f"{place}: {error.strerror or error}"
    if error.errno in FULL:
        with suppress(OSError):
            existing = next(
                folder
                for folder in (Path(place), *Path(place).absolute().parents)
                if folder.is_dir()
            )
            sentence += (
                f" ({shutil.disk_usage(existing).free / 2**20:,.1f} MiB are left to whoever may use"
                " them)"
            )
        return (
            f"{sentence}. Make room, or name another place (--store or XITT_STORE for the store);"
            f" {GOES_ON}"
        )
    if error.errno in SHUT:
        return (
            f"{sentence}: nothing can be written there. Name a place that can be written (--store"
            f" or XITT_STORE for the store), or allow it; {GOES_ON}"
        )
    if error.errno == errno.EIO:
        return (
            f"{sentence}: the disk fails. Copy what matters elsewhere and check the disk; {GOES_ON}"
        )
    return f"{sentence}. Close what else is open, or raise the limit (ulimit -n); {GOES_ON}"


def full_place() -> str:
    """Where there is no room, of an error that doesn't say: the first of the usual places that is
    full."""
    for place in (Path.cwd(), Path(os.environ.get("TMPDIR", "/tmp")), Path.home()):
        with suppress(OSError):
            if shutil.disk_usage(place).free < 2**20:
                return f"a file below {place}"
    return "a file that was being written"


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """What the disk refuses in the block is told with the `place` that is being written."""
    try:
        yield
    except OSError as error:
        in_this_place = error.filename is None or str(error.filename).startswith(str(place.parent))
        if error.errno in (*FULL, errno.EROFS) or (in_this_place and disk_refuses(error)):
            raise DiskRefuses(explain(error, place)) from None
        raise


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """A folder to fill; it takes its final name when the block ends well, and goes away
    otherwise."""
    with writing(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{final.name[:16]}-", dir=final.parent))
        try:
            yield work
            for path in work.iterdir():
                _sync(path)
            os.chmod(work, 0o755)
            _replace(work, final)
            _sync(final.parent)
        finally:
            shutil.rmtree(work, ignore_errors=True)


@contextmanager
def whole_file(final: Path) -> Iterator[Path]:
    """A file to write; it takes its final name when the block ends well, and goes away
    otherwise."""
    with writing(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{final.name[:16]}-", dir=final.parent)
        os.close(handle)
        work = Path(name)
        try:
            yield work
            _sync(work)
            os.chmod(work, 0o644)
            os.replace(work, final)
            _sync(final.parent)
        finally:
            work.unlink(missing_ok=True)


def write_text(final: Path, text: str) -> None:
    """Writes a text, UTF-8 and its line ends as they are, under its final name when it is whole; a
    link is followed, and into a device or a pipe it goes at once."""
    final = final.resolve()
    if final.exists() and not final.is_file():
        final.write_text(text, encoding="utf-8", newline="")
        return
    with whole_file(final) as work:
        work.write_text(text, encoding="utf-8", newline="")


def drop_leftovers(finals: Iterable[Path], *, older: float = 3600.0) -> None:
    """Removes what killed processes left of these files unfinished, `older` seconds and more; a
    living one takes seconds."""
    for final in finals:
        for path in final.parent.glob(f".{glob.escape(final.name[:16])}-????????"):
            if _age(path) > older:
                path.unlink(missing_ok=True)


def drop_oldest(files: Iterable[Path], room: int) -> None:
    """Removes the files that were unused longest, until the others take no more than `room`
    bytes."""
    for path in sorted(files, key=_age):
        with suppress(FileNotFoundError):  # another process may have removed it
            room -= path.stat().st_size
            if room < 0:
                path.unlink()


def _age(path: Path) -> float:
    """Seconds since a file was used, 0 where it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _replace(work: Path, final: Path) -> None:
    """Gives a folder its final name; what had it goes, also where another process gives it just
    now."""
    while True:
        if final.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{final.name[:16]}-", dir=final.parent))
            with suppress(FileNotFoundError):
                os.replace(final, old / "old")
            shutil.rmtree(old, ignore_errors=True)
        try:
            os.replace(work, final)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def _sync(path: Path) -> None:
    """Flushes a file or directory to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
