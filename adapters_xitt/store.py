"""The store: a directory where a file has its final name only when it is whole.

    modules/KEY/    module.safetensors, manifest.json       progress/KEY.safetensors  half-trained rows
    results/KEY/    result.json, predictions.*              data/DIGEST.json          exposure, once per data set
    runs/NAME/      recipe and grid of a run                names/NAME.json           people's names for modules
    logs/KEY/       losses and scores over the steps        locks/KEY.lock            held by living processes"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters_xitt import formats
from adapters_xitt.digests import digest
from adapters_xitt.errors import XittError, unknown
from adapters_xitt.formats.files import read_json
from adapters_xitt.lineage import DataSet
from adapters_xitt.records import Result

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
KEPT_EMBEDDINGS = 4 * 2**30  # bytes of sentence vectors kept in a store
CLAIMED = 64  # locks that a process holds at once: each is an open file, and a process may have 256
DATA_SET = 2**30  # bytes that the ids and hashes of a data set may take


def check_name(name: str | None) -> None:
    """Refuses what can't be a module's name; no name at all can."""
    if name is not None and (not NAME.fullmatch(name) or name == "none" or formats.KEY.fullmatch(name)):
        raise XittError(f"name {name[:100]!r}: a module's name is made of a-z, 0-9, '.', '_' and '-', at most 100 of "
                        "them, and is neither 'none' nor what a key looks like")


def default_root() -> Path:
    """XITT_STORE, or `store` in the current directory."""
    return Path(os.environ.get("XITT_STORE", "store"))


class Store:
    """One directory. Two processes may work in it: what one makes, the other finds."""

    def __init__(self, root: Path) -> None:
        self.root = root

    # -- whole files ---------------------------------------------------------------------------------------------

    @contextmanager
    def whole_folder(self, final: Path) -> Iterator[Path]:
        """A folder to fill; it takes its final name when the block ends well, and goes away otherwise."""
        final.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{final.name[:16]}-", dir=final.parent))
        try:
            yield work
            for path in work.iterdir():
                _sync(path)
            os.chmod(work, 0o755)
            if final.exists():
                shutil.rmtree(final)
            os.replace(work, final)
            _sync(final.parent)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    @contextmanager
    def whole_file(self, final: Path) -> Iterator[Path]:
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

    def write_json(self, path: Path, value: Any) -> None:
        with self.whole_file(path) as work:
            work.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")

    # -- modules -------------------------------------------------------------------------------------------------

    def module_folder(self, key: str) -> Path:
        return self.root / "modules" / _checked(key, "module")

    def has_module(self, key: str) -> bool:
        return (self.module_folder(key) / formats.MANIFEST).is_file()

    def save_module(self, module: formats.Module) -> None:
        with self.whole_folder(self.module_folder(module.manifest.key)) as work:
            formats.write_module(module, work)

    def load_module(self, key: str) -> formats.Module:
        found = formats.read_module(self.module_folder(key))
        if found.manifest.key != key:
            raise XittError(f"{self.module_folder(key)}: its manifest has the key {found.manifest.key[:12]}; a folder "
                            "under another module's key is not read")
        return found

    def manifests(self) -> list[formats.Manifest]:
        """Every module's manifest, by key."""
        folders = sorted((self.root / "modules").glob("[0-9a-f]*")) if (self.root / "modules").is_dir() else []
        return [formats.read_manifest(folder) for folder in folders]

    def give_name(self, name: str, key: str, *, tell: Callable[[str], None] = lambda line: None) -> None:
        """Calls a module `name`; told where another was called so."""
        check_name(name)
        _checked(key, "module")
        if (other := self.names().get(name)) and other != key:
            tell(f"{name} stood for {other[:12]} until now, which stays in the store under its key")
        self.write_json(self.root / "names" / f"{name}.json", {"key": key})

    def names(self) -> dict[str, str]:
        """Name → key."""
        files = sorted((self.root / "names").glob("*.json")) if (self.root / "names").is_dir() else []
        return {path.stem: _checked(read_json(path).get("key"), f"{path}: module") for path in files}

    def resolve(self, word: str) -> str:
        """The key that a name or the first six digits or more of a key stand for."""
        named = self.names()
        if word in named:
            return named[word]
        folder = self.root / "modules"
        keys = sorted(path.name for path in folder.glob("[0-9a-f]*")) if folder.is_dir() else []
        found = [key for key in keys if len(word) >= 6 and key.startswith(word)]
        if len(found) == 1:
            return found[0]
        if found:
            raise XittError(f"module {word!r} stands for {len(found)} keys; give more digits")
        near = f" A folder is written ./{word}." if Path(word).is_dir() else ""
        raise XittError(f"{unknown('module', word, named or [key[:12] for key in keys])}{near} Store: {self.root}")

    # -- data sets, for exposure ---------------------------------------------------------------------------------

    def save_data_set(self, data: DataSet) -> None:
        if not self.has_data_set(data.digest):
            self.write_json(self._data_set(data.digest), data.record())

    def has_data_set(self, found: str) -> bool:
        return self._data_set(found).is_file()

    def load_data_set(self, found: str) -> DataSet:
        path = self._data_set(found)
        if not path.is_file():
            raise XittError(f"{path}: missing; a module's exposure names it, so what the module has seen is unknown")
        return read_data_set(path)

    def _data_set(self, found: str) -> Path:
        return self.root / "data" / f"{_checked(found, 'data set')}.json"

    # -- half-trained rows ---------------------------------------------------------------------------------------

    def load(self, key: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The tensors and the state that `save` kept; None where there is nothing."""
        from safetensors import safe_open

        path = self.root / "progress" / f"{key}.safetensors"
        if not path.is_file():
            return None
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["state"])

    def save(self, key: str, tensors: dict[str, Any], state: dict[str, Any]) -> None:
        from safetensors.torch import save_file

        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with self.whole_file(self.root / "progress" / f"{key}.safetensors") as work:
            save_file(whole, work, metadata={"state": json.dumps(state)})

    def forget(self, key: str) -> None:
        """Drops the progress of a module that is finished."""
        (self.root / "progress" / f"{key}.safetensors").unlink(missing_ok=True)

    # -- results -------------------------------------------------------------------------------------------------

    def has_result(self, key: str) -> bool:
        return (self.root / "results" / key / "result.json").is_file()

    def save_result(self, result: Result, items: list[dict[str, Any]], arrays: dict[str, NDArray]) -> None:
        """A result with the predictions it was scored from."""
        from safetensors.numpy import save_file

        with self.whole_folder(self.root / "results" / result.cell.key) as work:
            with (work / "predictions.jsonl").open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(item, ensure_ascii=False, allow_nan=False) + "\n" for item in items)
            save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()},
                      work / "predictions.safetensors")
            text = json.dumps(result.record(), indent=1, ensure_ascii=False, allow_nan=False)
            (work / "result.json").write_text(text + "\n", encoding="utf-8")

    def load_result(self, key: str) -> Result:
        path = self.root / "results" / key / "result.json"
        return Result.from_record(json.loads(path.read_text(encoding="utf-8")))

    def discard_result(self, key: str) -> None:
        """Takes a result out, so that its cell is scored again."""
        with tempfile.TemporaryDirectory(prefix=f".{key[:16]}-", dir=self.root / "results") as work:
            with suppress(FileNotFoundError):  # another process took it out
                os.replace(self.root / "results" / key, Path(work) / key)

    def load_predictions(self, key: str) -> list[dict[str, Any]]:
        """What was predicted for each item of a cell."""
        text = (self.root / "results" / key / "predictions.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.split("\n") if line]

    def results(self) -> list[Result]:
        folder = self.root / "results"
        return [self.load_result(path.parent.name) for path in sorted(folder.glob("[0-9a-f]*/result.json"))]

    # -- embeddings ----------------------------------------------------------------------------------------------

    def save_embeddings(self, key: str, vectors: NDArray) -> None:
        """Keeps vectors for whoever reads the same sentences again; the oldest make room beyond `KEPT_EMBEDDINGS`."""
        from safetensors.numpy import save_file

        if vectors.nbytes > KEPT_EMBEDDINGS:
            return
        with self.whole_file(self._embeddings(key)) as work:
            save_file({"vectors": np.ascontiguousarray(vectors)}, work)
        room = KEPT_EMBEDDINGS
        for path in sorted(self._embeddings("").parent.glob("[0-9a-f]*.safetensors"), key=_age):
            with suppress(FileNotFoundError):  # another process may have removed it
                room -= path.stat().st_size
                if room < 0:
                    path.unlink()

    def load_embeddings(self, key: str) -> NDArray | None:
        """Kept vectors [sentences, width], or None."""
        from safetensors.numpy import load_file

        try:
            os.utime(self._embeddings(key))  # used now
            return load_file(self._embeddings(key))["vectors"]
        except FileNotFoundError:
            return None

    def _embeddings(self, key: str) -> Path:
        return self.root / "embeddings" / f"{key}.safetensors"

    # -- locks and leftovers -------------------------------------------------------------------------------------

    @contextmanager
    def claim(self, names: list[str], *, most: int = CLAIMED) -> Iterator[list[str]]:
        """Locks those of `names` that no living process holds, `most` at once, for the block; the kernel drops a dead
        one's locks. A lock's file goes with it."""
        held: dict[str, int] = {}
        try:
            for name in dict.fromkeys(names):
                if len(held) == most:
                    break
                if (handle := _lock(self._lock_file(name))) is not None:
                    held[name] = handle
            yield list(held)
        finally:
            for name, handle in held.items():
                _unlock(self._lock_file(name), handle)

    def _lock_file(self, name: str) -> Path:
        return self.root / "locks" / f"{name}.lock"

    def sweep(self, older: float = 3600.0) -> None:
        """Removes what killed processes left unfinished, `older` seconds and more; a living one takes seconds."""
        for path in self.root.glob("*/.*-*"):
            with suppress(FileNotFoundError):  # its writer gave it its final name just now
                if time.time() - path.stat().st_mtime > older:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in self.root.glob("locks/*.lock"):
            if (handle := _lock(path)) is not None:  # its holder is dead
                _unlock(path, handle)

    def predictions_digest(self, items: list[dict[str, Any]], arrays: dict[str, NDArray]) -> str:
        """One digest for the stored predictions: texts and probabilities."""
        import torch

        from adapters_xitt.digests import tensors_digest

        tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}
        return digest([items, tensors_digest(tensors)])


def read_data_set(path: Path) -> DataSet:
    """A data set's file, named after its digest; refused where it is none."""
    record = read_json(path, most=DATA_SET)
    words = all(isinstance(record.get(name), str) for name in ("task", "language", "split", "digest"))
    lists = all(isinstance(record.get(name), list) and all(isinstance(one, str) for one in record[name])
                for name in set(record) & {"rows"} | {"ids", "texts"})  # older ones have no rows
    if not words or not lists or len(record.keys() - {"rows"}) != 6:
        raise XittError(f"{path}: task, language, split and digest are words, ids, texts and rows lists of words; "
                        "this is no data set")
    if record["digest"] != path.stem:
        raise XittError(f"{path}: it holds the data set {record['digest'][:12]!a}, not the one it is named after")
    return DataSet.from_record(record)


def _checked(key: Any, what: str) -> str:
    """A key or digest that goes into a path; whatever else a file gave in its place could lead anywhere."""
    if not isinstance(key, str) or not formats.KEY.fullmatch(key):
        raise XittError(f"{what} {str(key)[:80]!a}: a key is 64 hex digits")
    return key


def _lock(path: Path) -> int | None:
    """The open file of a lock that is held from now on; None where another holds it."""
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
        os.close(handle)  # its last holder took the file away meanwhile: what was locked is no name any more


def _unlock(path: Path, handle: int) -> None:
    """Lets go of a lock; the file goes first, while nobody else can hold it."""
    path.unlink(missing_ok=True)
    os.close(handle)


def _age(path: Path) -> float:
    """Seconds since a file was used, 0 where it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _sync(path: Path) -> None:
    """Flushes a file or directory to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
