"""More processes of the same command, which share out the work of a run through its store."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from adapters_xitt import stopping
from adapters_xitt.atomic import writing
from adapters_xitt.progress import notify


@contextmanager
def others(words: Sequence[Any], count: int, logs: Path) -> Iterator[None]:
    """`count` more processes of the same command; the store shares out the work. They end with the
    block, or with this process; what they say stands in `logs`, and the end of it is told of one
    that fails."""
    command = [sys.executable, "-m", "adapters_xitt.cli", *map(str, words)]
    environment = {**os.environ, stopping.PARENT: str(os.getpid())}
    paths = [logs / f"worker-{number}.log" for number in range(2, count + 2)]
    with ExitStack() as stack:
        files = []
        if paths:
            with writing(logs):
                logs.mkdir(parents=True, exist_ok=True)
                files = [stack.enter_context(path.open("wb")) for path in paths]
        processes = [
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment
            )
            for file in files
        ]
        try:
            yield
        finally:
            failed = [process.poll() not in (None, 0) for process in processes]
            _end(processes)
            for path, process, is_failed in zip(paths, processes, failed, strict=True):
                if is_failed and not stopping.signal_received():
                    _tell_failure(path, process)


def _tell_failure(path: Path, process: subprocess.Popen[bytes]) -> None:
    text = path.read_text(encoding="utf-8", errors="replace")
    title = (
        f"{path.stem} ended with exit status {process.returncode}; the others did its work. The end"
        f" of {path}:"
    )
    notify("\n  ".join([title, *text.strip().splitlines()[-5:]]))


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(stopping.GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
