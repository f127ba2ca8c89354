"""Ctrl-C and SIGTERM, heard for certain: a signal that some library's clean-up swallows is raised
again at the next safe point. And processes that end with their parent."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

PARENT = "XITT_PARENT"  # names the process whose end is a worker's end
PR_SET_PDEATHSIG = 1  # of Linux's prctl
STOPS = (signal.SIGINT, signal.SIGTERM)
GRACE = 20.0  # seconds a worker has to stop by itself

_signal = 0  # the signal that came


class Stopped(KeyboardInterrupt):
    """A signal came. Not KeyboardInterrupt itself: where that passes through `exec` of a string (a
    dataclass being made), `python -m` kills itself with SIGINT at its end, whatever the exit status
    (CPython's run_eval_code_obj compares the class exactly)."""


@contextmanager
def listening() -> Iterator[None]:
    """Within the block either signal raises `Stopped`, here and at every `check` from then on."""
    global _signal
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = {number: signal.getsignal(number) for number in STOPS}
    print_ignored, _signal = sys.unraisablehook, 0

    def print_other(ignored: Any) -> None:
        """Prints what a library's clean-up ignores, but for the stop: the next safe point raises it
        again."""
        if not (_signal and issubclass(ignored.exc_type, KeyboardInterrupt)):
            print_ignored(ignored)

    try:
        sys.unraisablehook = print_other
        for number in STOPS:
            if before[number] != signal.SIG_IGN:  # whoever started it in the background wants it so
                signal.signal(number, _hear)
        yield
    finally:
        sys.unraisablehook = print_ignored
        for number in STOPS:
            signal.signal(number, before[number])


def _hear(number: int, frame: Any) -> None:
    global _signal
    _signal = number
    raise Stopped


def signal_received() -> int:
    """The signal that came, 0 where none did."""
    return _signal


def check() -> None:
    """A safe point: raises where a signal came and nobody let it through."""
    if _signal:
        raise Stopped


def give_up() -> None:
    """From here on a signal ends the process at once; there is nothing left that could be lost."""
    for number in STOPS:
        if signal.getsignal(number) is _hear:
            signal.signal(number, signal.SIG_DFL)


@atexit.register
def _leave() -> None:
    """Ctrl-C while Python takes itself down prints no traceback."""
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def follow_parent() -> bool:
    """Whether this is a worker; it stops when the process that started it is gone, however that
    ended."""
    parent = int(os.environ.pop(PARENT, 0))
    if not parent:
        return False
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    return True


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(128 + signal.SIGTERM)
