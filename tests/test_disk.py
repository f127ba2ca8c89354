"""A disk that is full, read-only or failing: a sentence with the place and the remedy, and a store
that stays whole."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import test_integrity
import test_store as values
from click.testing import CliRunner

from adapters_xitt.atomic import DiskRefuses
from adapters_xitt.cli.main import main
from adapters_xitt.progress import Silent
from adapters_xitt.study import store_check
from adapters_xitt.study.queue import Queue
from adapters_xitt.study.store import Store

SIZES = (16, 64, 160, 400)  # KiB


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, of 16 KiB; `resize` changes it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if resize(folder, 16, "tmpfs"):
        pytest.skip("no tmpfs can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=False)


def resize(folder: Path, size: int, *how: str) -> int:
    """Mounts a disk of `size` KiB, or gives the one that is mounted that size; the exit status."""
    words = (
        ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs"]
        if how
        else ["mount", "-o", f"remount,rw,size={size}k"]
    )
    try:
        return subprocess.run([*words, str(folder)], capture_output=True, check=False).returncode
    except FileNotFoundError:
        return 1


@pytest.mark.parametrize("size", SIZES)
def test_a_full_disk_is_told_with_the_place_and_the_store_stays_whole(
    disk: Path, size: int
) -> None:
    resize(disk, size)
    with pytest.raises(DiskRefuses) as told:
        for _ in range(100):
            test_integrity.fill(disk / "store")
            with suppress(OSError):
                (disk / f"more-{os.urandom(4).hex()}").write_bytes(bytes(2000))
    assert (
        str(disk) in str(told.value)
        and "No space left" in str(told.value)
        and "Make room" in str(told.value)
    )
    findings = list(store_check.check(Store(disk / "store")))
    assert not [
        finding
        for finding in findings
        if finding.state == store_check.DAMAGED
        # a module is saved before its data here, and only here
        and "exposure" not in finding.problem
    ]
    resize(disk, 8000)
    for path in disk.glob("more-*"):
        path.unlink()
    test_integrity.fill(disk / "store")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("name", values.SAVES)
def test_what_a_disk_refuses_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, code: int
) -> None:
    save, final = values.SAVES[name]

    def refuse(*words: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(DiskRefuses) as told:
        save(Store(tmp_path))
    monkeypatch.undo()
    text = str(told.value)
    assert (
        str(tmp_path / final) in text and os.strerror(code) in text and "goes on from there" in text
    )
    assert values.left(tmp_path) == {final.split("/")[0]}
    save(Store(tmp_path))


@pytest.mark.parametrize(
    "code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EMFILE]
)
def test_wherever_it_comes_from_no_traceback_is_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int
) -> None:
    def refuse(*words: object, **more: object) -> None:
        raise OSError(
            code, os.strerror(code), *([str(tmp_path / "x")] if code != errno.ENOSPC else [])
        )

    monkeypatch.setattr(Store, "manifests", refuse)
    found = CliRunner().invoke(main, ["show", "--store", str(tmp_path)])
    assert (
        found.exit_code == 2
        and os.strerror(code) in found.output
        and "Traceback" not in found.output
    )
    assert isinstance(found.exception, SystemExit)


def test_a_job_is_not_to_blame_for_a_full_disk(tmp_path: Path) -> None:
    """The run ends; no row is marked as failed."""
    queue = Queue(SimpleNamespace(), Store(tmp_path), Silent(), lambda error: None)

    def work(cohort: object, keys: set[str]) -> None:
        raise DiskRefuses("full")

    with pytest.raises(DiskRefuses):
        queue.work_off(["cohort"], lambda cohort: [values.KEY], lambda key: False, work)
    assert not queue.failed and values.left(tmp_path) == {"locks"}
