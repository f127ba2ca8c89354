"""The one door for pickles: weights only, in a process of its own, on the user's word."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from adapters_xitt.errors import XittError
from adapters_xitt.safe_files import (
    MOST_WEIGHTS,
    PICKLED,
    PICKLES,
    checked_size,
    entries,
    inside,
    pickle_error,
    read_header,
)

SCRIPT = Path(__file__).with_name("unpickle.py")
SECONDS = 900  # after which a conversion is given up
# What a process needs to start and find torch; no proxy, no token, no path of Python's.
KEPT = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP")


def target(path: Path) -> Path:
    """The file that a pickle becomes: of the name that its library reads, beside it."""
    return (
        path.with_name(PICKLED[path.name])
        if path.name in PICKLED
        else path.with_suffix(".safetensors")
    )


def convert_folder(folder: Path, *, trusted: bool) -> list[Path]:
    """Converts the pickles of a module's folder, those that its library wrote under their names and
    nobody has converted yet; the files written. Nothing is left behind where one of them can't be
    read."""
    names = entries(folder)
    pickled = [name for name in names if name in PICKLED and PICKLED[name] not in names]
    if not pickled:
        raise XittError(
            f"{folder}: no pickle to convert; a module's are called {', '.join(PICKLED)}"
            + (", and beside each lies what it became" if set(names) & set(PICKLED) else "")
        )
    written: list[Path] = []
    try:
        for name in pickled:
            written.append(convert(inside(folder, name), trusted=trusted))
    except BaseException:
        for path in written:
            path.unlink()
        raise
    return written


def convert(path: Path, out: Path | None = None, *, trusted: bool) -> Path:
    """Writes the tensors of a pickle as safetensors, to `out` or beside it; the file is there
    whole, or not at all, and never in the place of another."""
    if path.suffix not in PICKLES:
        raise XittError(
            f"{path}: not the name of a pickle ({', '.join(PICKLES)}); a pickle under another "
            "name is given its own first"
        )
    if not trusted:
        raise pickle_error(path)
    if not checked_size(path, MOST_WEIGHTS):
        raise XittError(f"{path}: an empty file; fetch the file again")
    out = out or target(path)
    if out.suffix != ".safetensors":
        raise XittError(f"{out}: a file of tensors is named .safetensors")
    if os.path.lexists(out):
        raise XittError(
            f"{out}: there already; it is never overwritten: move it away, or name another with"
            " --out"
        )
    if not out.parent.is_dir():
        raise XittError(f"{out}: no folder {out.parent}")
    with tempfile.TemporaryDirectory(prefix=".xitt-", dir=out.parent) as room:
        work = Path(room) / "whole.safetensors"
        _apart(path.resolve(), work.resolve())
        read_header(work)
        _publish(work, out)
    return out


def _apart(path: Path, work: Path) -> None:
    """Runs the script that reads the pickle: isolated from the user's Python path, with next to no
    environment."""
    env = {name: os.environ[name] for name in KEPT if name in os.environ} | {
        "HOME": str(work.parent)
    }
    command = [sys.executable, "-I", str(SCRIPT.resolve()), str(path), str(work)]
    try:
        done = subprocess.run(
            command,
            cwd=work.parent,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise XittError(f"{path}: not read within {SECONDS} seconds; given up") from None
    if done.returncode == 3:
        raise XittError(f"{path}: {done.stderr.strip()}")
    if done.returncode or not work.is_file():
        last_line = (done.stderr.strip().splitlines() or ["no word"])[-1][:300]
        raise XittError(
            f"{path}: reading it ended with exit status {done.returncode} ({last_line}); it may"
            " need more than the memory or time a file of its size is given"
        )


def _publish(work: Path, out: Path) -> None:
    """Gives a whole file its name, never that of a file that is there."""
    with work.open("rb") as file:
        os.fsync(file.fileno())
    os.chmod(work, 0o644)
    taken = XittError(f"{out}: there already; it is never overwritten")
    try:
        os.link(work, out)
    except FileExistsError:
        raise taken from None
    except OSError:  # a file system without links
        if os.path.lexists(out):
            raise taken from None
        os.rename(work, out)
