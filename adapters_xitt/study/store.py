"""The store: a directory where a file has its final name only when it is whole.

    modules/KEY/    module.safetensors, manifest.json       progress/KEY.safetensors  half-trained
    rows results/KEY/    result.json, predictions.*              data/DIGEST.json          exposure,
    once per data set runs/NAME/      recipe and grid of a run                names/NAME.json
    people's names for modules logs/KEY/       losses and scores over the steps
    locks/KEY.lock            held by living processes tokens, embeddings, worlds, hub/NAME
    caches and what was pulled; damaged/ is what was set aside

Whatever is read is checked against the digest it carries: a cache is made again, a half-trained row
begins again, a result is set aside and scored again, a module is refused, each told in a line."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from adapters_xitt import integrity, locks
from adapters_xitt.atomic import drop_oldest, whole_file, whole_folder, writing
from adapters_xitt.data.exposure import DataSet
from adapters_xitt.errors import XittError, unknown
from adapters_xitt.integrity import Damaged
from adapters_xitt.modules import serialization
from adapters_xitt.modules.manifest import KEY
from adapters_xitt.progress import notify
from adapters_xitt.study.results import Result
from adapters_xitt.study.store_files import (
    StoredPredictions,
    predictions_digest,
    read_data_set,
    read_name,
    read_predictions,
    read_result,
    tensors_of,
    write_predictions,
)

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
KEPT_EMBEDDINGS = 4 * 2**30  # bytes of sentence vectors kept in a store


def check_name(name: str | None) -> None:
    """Refuses what can't be a module's name; no name at all can."""
    if name is not None and (not NAME.fullmatch(name) or name == "none" or KEY.fullmatch(name)):
        raise XittError(
            f"name {name[:100]!r}: a module's name is made of a-z, 0-9, '.', '_' and '-', at most"
            " 100 of them, and is neither 'none' nor what a key looks like"
        )


def default_root() -> Path:
    """XITT_STORE, or `store` in the current directory."""
    return Path(os.environ.get("XITT_STORE", "store"))


class Store:
    """One directory. Two processes may work in it: what one makes, the other finds."""

    def __init__(self, root: Path, *, tell: Callable[[str], None] = notify) -> None:
        self.root, self.tell = root, tell
        self._read: set[str] = set()  # keys of results that were checked

    # -- whole files -------------------------------------------------------------------------------

    whole_folder = staticmethod(whole_folder)
    whole_file = staticmethod(whole_file)
    predictions_digest = staticmethod(predictions_digest)

    def write_json(self, path: Path, value: dict[str, Any]) -> None:
        """Writes an object with its digest."""
        with self.whole_file(path) as work:
            work.write_text(integrity.json_text(value), encoding="utf-8")

    # -- modules -----------------------------------------------------------------------------------

    def module_folder(self, key: str) -> Path:
        return self.root / "modules" / _check_key(key, "module")

    def has_module(self, key: str) -> bool:
        return (self.module_folder(key) / serialization.MANIFEST).is_file()

    def save_module(self, module: serialization.Module) -> None:
        with self.whole_folder(self.module_folder(module.manifest.key)) as work:
            serialization.write_module(module, work)

    def manifest(self, key: str) -> serialization.Manifest:
        """The manifest of a module, checked."""
        return self._of_key(serialization.read_manifest(self.module_folder(key)), key)

    def load_module(self, key: str) -> serialization.Module:
        """A module, checked whole."""
        module = serialization.read_module(self.module_folder(key))
        self._of_key(module.manifest, key)
        return module

    def _of_key(self, manifest: serialization.Manifest, key: str) -> serialization.Manifest:
        if manifest.key != key:
            raise XittError(
                f"{self.module_folder(key)}: its manifest has the key {manifest.key[:12]}; a folder"
                " under another module's key is not read. Rename the folder to the whole key in"
                " its manifest"
            )
        return manifest

    def module_keys(self) -> list[str]:
        """The keys of all modules."""
        folders = (
            (self.root / "modules").glob("[0-9a-f]*") if (self.root / "modules").is_dir() else []
        )
        return sorted(folder.name for folder in folders)

    def manifests(self) -> list[serialization.Manifest]:
        """Every module's manifest, by key; what can't be read is told."""
        manifests = []
        for key in self.module_keys():
            try:
                manifests.append(self.manifest(key))
            except XittError as error:
                self.tell(str(error))
        return manifests

    def give_name(
        self, name: str, key: str, *, tell: Callable[[str], None] = lambda line: None
    ) -> None:
        """Calls a module `name`; told where another was called so."""
        check_name(name)
        _check_key(key, "module")
        if (other := self.names().get(name)) and other != key:
            tell(f"{name} stood for {other[:12]} until now, which stays in the store under its key")
        self.write_json(self._name(name), {"name": name, "key": key})

    def names(self) -> dict[str, str]:
        """Name → key; a file that can't be read is told, and names nothing."""
        names = {}
        for path in sorted((self.root / "names").glob("[!.]*.json")):
            try:
                names[path.stem] = self.read_name(path.stem)
            except Damaged as error:
                self.tell(str(error))
        return names

    def read_name(self, name: str) -> str:
        """The key that a name stands for; `Damaged` where its file is not what was written."""
        return read_name(self._name(name), name)

    def _name(self, name: str) -> Path:
        return self.root / "names" / f"{name}.json"

    def resolve(self, word: str) -> str:
        """The key that a name or the first six digits or more of a key stand for."""
        named = self.names()
        if word in named:
            return named[word]
        if NAME.fullmatch(word) and self._name(word).is_file():
            raise XittError(
                f"{self._name(word)}: damaged, so it is not known what {word!r} stands for. `xitt"
                " show` lists modules by key, which stands wherever a name does; delete the file,"
                " or give the name again (--name)"
            )
        keys = self.module_keys()
        matching = [key for key in keys if len(word) >= 6 and key.startswith(word)]
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise XittError(f"module {word!r} stands for {len(matching)} keys; give more digits")
        near = f" A folder is written ./{word}." if Path(word).is_dir() else ""
        raise XittError(
            f"{unknown('module', word, named or [key[:12] for key in keys])}{near} Store:"
            f" {self.root}"
        )

    # -- data sets, for exposure -------------------------------------------------------------------

    def save_data_set(self, data: DataSet) -> None:
        if not self.has_data_set(data.digest):
            self.write_json(self._data_set(data.digest), data.record())

    def has_data_set(self, data_digest: str) -> bool:
        return self._data_set(data_digest).is_file()

    def load_data_set(self, data_digest: str) -> DataSet:
        path = self._data_set(data_digest)
        if not path.is_file():
            raise XittError(
                f"{path}: missing; a module's exposure names it, so what the module has seen is"
                " unknown"
            )
        return read_data_set(path)

    def _data_set(self, data_digest: str) -> Path:
        return self.root / "data" / f"{_check_key(data_digest, 'data set')}.json"

    # -- half-trained rows -------------------------------------------------------------------------

    def load(self, key: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The tensors and the state that `save` kept; None where there is nothing, or nothing
        whole."""
        path = self._progress(key)
        if not path.is_file():
            return None
        try:
            return self.read_progress(key)
        except Damaged as error:
            self.tell(f"{error}; that module is trained from its start again")
            self.forget(key)
            return None

    def read_progress(self, key: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """What `save` kept; `Damaged` where it is not that."""
        tensors, stated = integrity.read_sealed(self._progress(key), key)
        return tensors, json.loads(stated["state"])

    def save(self, key: str, tensors: dict[str, Any], state: dict[str, Any]) -> None:
        """Keeps a half-trained row."""
        with self.whole_file(self._progress(key)) as work:
            integrity.write_sealed(work, tensors, key, state=json.dumps(state))

    def forget(self, key: str) -> None:
        """Drops the progress of a module that is finished."""
        self._progress(key).unlink(missing_ok=True)

    def _progress(self, key: str) -> Path:
        return self.root / "progress" / f"{key}.safetensors"

    # -- results -----------------------------------------------------------------------------------

    def has_result(self, key: str) -> bool:
        """Whether a result is there and is what was written; one that isn't is set aside, so that
        it is scored again."""
        if not (self._result(key) / "result.json").is_file():
            return False
        if key not in self._read:
            try:
                self.read_result(key)
                self._read.add(key)
            except Damaged as error:
                self._set_aside(self._result(key), error)
                return False
        return True

    def save_result(
        self, result: Result, items: list[dict[str, Any]], arrays: dict[str, NDArray]
    ) -> None:
        """A result with the predictions it was scored from."""
        key = result.cell.key
        with self.whole_folder(self._result(key)) as work:
            write_predictions(work, key, items, arrays)
            text = integrity.json_text({**result.record(), "key": key})
            (work / "result.json").write_text(text, encoding="utf-8")
        self._read.discard(key)

    def read_result(self, key: str) -> Result:
        """A result as it lies; `Damaged` where it is not what was written, or another cell's."""
        return read_result(self._result(key) / "result.json", key)

    def load_result(self, key: str) -> Result:
        """A result; one that is not what was written is set aside."""
        return self._or_aside(self.read_result, key)

    def discard_result(self, key: str) -> None:
        """Takes a result out, so that its cell is scored again."""
        with tempfile.TemporaryDirectory(prefix=f".{key[:16]}-", dir=self.root / "results") as work:
            with suppress(FileNotFoundError):  # another process took it out
                os.replace(self._result(key), Path(work) / key)

    def load_predictions(self, key: str) -> StoredPredictions:
        """What was predicted for each item of a cell; set aside with its result where it is not
        what was written."""
        return self._or_aside(self.read_predictions, key)

    def _or_aside(self, read: Callable[[str], Any], key: str) -> Any:
        try:
            return read(key)
        except Damaged as error:
            self._set_aside(self._result(key), error)
            raise Damaged(f"{error}; run its recipe again, and it is scored again") from None

    def read_predictions(self, key: str) -> StoredPredictions:
        """The predictions of a cell; `Damaged` where they are not those of its result."""
        return read_predictions(self._result(key), self.read_result(key), key)

    def results(self) -> list[Result]:
        """Every result, by key; what can't be read is told."""
        results = []
        for key in self.result_keys():
            try:
                results.append(self.read_result(key))
            except Damaged as error:
                self.tell(f"{error}; run its recipe again, and it is scored again")
        return results

    def result_keys(self) -> list[str]:
        """The keys of all results."""
        return sorted(
            path.parent.name for path in (self.root / "results").glob("[0-9a-f]*/result.json")
        )

    def _result(self, key: str) -> Path:
        return self.root / "results" / key

    def _set_aside(self, path: Path, problem: Damaged) -> None:
        """Moves what is damaged out of the way, and tells it."""
        folder = self.root / "damaged" / path.parent.name
        target = folder / f"{path.name}-{sum(1 for _ in folder.glob(f'{path.name}*')) + 1}"
        with writing(target), suppress(FileNotFoundError):  # another process has done so
            folder.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
            self._read.discard(path.name)
            self.tell(f"{problem}; set aside as {target}, to be scored again")

    # -- embeddings --------------------------------------------------------------------------------

    def save_embeddings(self, key: str, vectors: NDArray) -> None:
        """Keeps vectors for whoever reads the same sentences again; the oldest make room beyond
        `KEPT_EMBEDDINGS`."""
        if vectors.nbytes > KEPT_EMBEDDINGS:
            return
        with self.whole_file(self._embeddings(key)) as work:
            integrity.write_sealed(work, tensors_of({"vectors": vectors}), key)
        drop_oldest(self._embeddings("").parent.glob("[0-9a-f]*.safetensors"), KEPT_EMBEDDINGS)

    def load_embeddings(self, key: str) -> NDArray | None:
        """Kept vectors [sentences, width], or None where there are none, or no whole ones."""
        path = self._embeddings(key)
        try:
            os.utime(path)  # used now
            return self.read_embeddings(key)
        except FileNotFoundError:
            return None
        except Damaged as error:
            self.tell(f"{error}; these sentence vectors are made again")
            path.unlink(missing_ok=True)
            return None

    def read_embeddings(self, key: str) -> NDArray:
        """Kept vectors; `Damaged` where they are not what was written."""
        return integrity.read_sealed(self._embeddings(key), key)[0]["vectors"].numpy()

    # -- folders that can be made again ------------------------------------------------------------

    def cached_folder(self, folder: Path, make: Callable[[Path], object]) -> Path:
        """A folder that `make` fills where the store lacks it, or has another than was made."""
        if folder.is_dir():
            try:
                integrity.check_folder(folder, folder.name)
                return folder
            except Damaged as error:
                self.tell(f"{error}; it is made again")
        with self.whole_folder(folder) as work:
            make(work)
            integrity.seal_folder(work, folder.name)
        return folder

    def _embeddings(self, key: str) -> Path:
        return self.root / "embeddings" / f"{key}.safetensors"

    # -- locks and leftovers -----------------------------------------------------------------------

    def claim(
        self, names: list[str], *, most: int = locks.CLAIMED
    ) -> AbstractContextManager[list[str]]:
        """Locks those of `names` that no living process holds, `most` at once, for the block."""
        return locks.claim(self.root / "locks", names, most=most)

    def sweep(self, older: float = 3600.0) -> None:
        """Removes what killed processes left unfinished, `older` seconds and more; a living one
        takes seconds."""
        for path in self.root.glob("*/.*-*"):
            with suppress(FileNotFoundError):  # its writer gave it its final name just now
                if time.time() - path.stat().st_mtime > older:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        locks.sweep(self.root / "locks")


def _check_key(key: Any, what: str) -> str:
    """A key or digest that goes into a path; whatever else a file gave in its place could lead
    anywhere."""
    if not isinstance(key, str) or not KEY.fullmatch(key):
        raise XittError(f"{what} {str(key)[:80]!a}: a key is 64 hex digits")
    return key
