"""Whatever is read of a store is checked: flipped bytes, swapped folders, edited scores, older
formats."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_store as values
import torch
from click.testing import CliRunner

from adapters_xitt import integrity
from adapters_xitt.cli.main import main
from adapters_xitt.data.exposure import DataSet
from adapters_xitt.errors import XittError
from adapters_xitt.hashing import digest, tensors_digest
from adapters_xitt.integrity import Damaged
from adapters_xitt.modules import serialization
from adapters_xitt.study import store_check, store_files
from adapters_xitt.study.results import Result
from adapters_xitt.study.store import Store
from adapters_xitt.study.store_files import read_grid
from adapters_xitt.tensor_files import write_tensors

KEY, OTHER, CELL = values.KEY, values.OTHER, values.CELL
DATA = DataSet("xnli", "en", "train", digest("rows"), frozenset("ab"), frozenset("cd"))
SECOND = replace(CELL, language="de")
GRID = {
    "name": "grid",
    "entries": [{"target": "xnli", "score": 71.25, "seed": 3}],
    "versions": {"torch": "2"},
}


def fill(root: Path) -> Store:
    """A store with a value of every kind, and a second one of those that could be swapped."""
    store = Store(root, tell=lambda line: None)
    for number, (key, cell) in enumerate(((KEY, CELL), (OTHER, SECOND))):
        store.save_module(values.module(key))
        store.give_name(f"name-{number}", key)
        result = replace(
            values.RESULT,
            cell=cell,
            scores={"accuracy": 50.0 + number},
            predictions=store.predictions_digest(values.ITEMS, values.ARRAYS),
        )
        store.save_result(result, values.ITEMS, values.ARRAYS)
        store.save(key, {"now": torch.arange(4.0) + number}, {"step": number})
        store.save_embeddings(key, np.arange(6, dtype=np.float32).reshape(2, 3) + number)
        store.save_data_set(replace(DATA, digest=DATA.digest if number == 0 else OTHER))
        store.write_json(
            root / "runs" / f"grid{number}" / "grid.json", {**GRID, "name": f"grid{number}"}
        )
        store.cached_folder(
            root / "tokens" / key,
            lambda work, number=number: (work / "data.arrow").write_bytes(b"tokens" * (3 + number)),
        )
    return store


def same(one: Any, other: Any) -> bool:
    """Whether two values that were read are the same, tensors bit by bit."""
    if isinstance(one, torch.Tensor):
        return values.bits(one) == values.bits(other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return one.tobytes() == other.tobytes()
    return one == other


def loaded(store: Store, key: str) -> Any:
    found = store.load_module(key)
    return found.manifest, found.tensors


def tokens(store: Store, key: str) -> bytes:
    """What the folder holds once it was asked for."""
    path = store.cached_folder(
        store.root / "tokens" / key, lambda work: (work / "data.arrow").write_bytes(b"tokens" * 3)
    )
    return (path / "data.arrow").read_bytes()


# kind → its files, and how whoever uses a value reads it; None is what a cache says that has to be
# made again
READS: dict[str, tuple[str, Callable[[Store], Any]]] = {
    "module": (f"modules/{KEY}/*", lambda store: loaded(store, KEY)),
    "manifest": (f"modules/{KEY}/*", lambda store: store.manifest(KEY)),
    "result": (
        f"results/{CELL.key}/result.json",
        lambda store: store.load_result(CELL.key) if store.has_result(CELL.key) else None,
    ),
    "predictions": (f"results/{CELL.key}/*", lambda store: store.load_predictions(CELL.key)),
    "half-trained row": (f"progress/{KEY}.safetensors", lambda store: store.load(KEY)),
    "sentence vectors": (f"embeddings/{KEY}.safetensors", lambda store: store.load_embeddings(KEY)),
    "data set": (f"data/{DATA.digest}.json", lambda store: store.load_data_set(DATA.digest)),
    "name": ("names/name-0.json", lambda store: store.names().get("name-0")),
    "grid": (
        "runs/grid0/grid.json",
        lambda store: read_grid(store.root / "runs/grid0/grid.json", "grid0"),
    ),
    "tokens": (f"tokens/{KEY}/*", lambda store: tokens(store, KEY)),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("whole") / "store"
    fill(root)
    return root


@pytest.mark.parametrize("kind", READS)
def test_no_flipped_byte_is_read_as_something_else(kind: str, whole: Path, tmp_path: Path) -> None:
    pattern, read = READS[kind]
    shutil.copytree(whole, tmp_path / "store")
    before, draw, refused = read(Store(whole)), random.Random(kind), 0
    for path in sorted((tmp_path / "store").glob(pattern)):
        content = path.read_bytes()
        places = sorted(draw.sample(range(len(content)), min(len(content), 60)))
        for place in places:
            flipped = bytearray(content)
            flipped[place] ^= 1 << draw.randrange(8)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(flipped)
            store = Store(tmp_path / "store", tell=lambda line: None)
            try:
                value = read(store)
            except XittError as error:
                assert str(path) in str(error) or str(path.parent) in str(error)
                value = None
            refused += value is None
            assert value is None or same(value, before), (path.name, place, flipped[place])
            if not path.exists():  # set aside, or dropped
                folder = path.parent.relative_to(tmp_path / "store")
                shutil.copytree(whole / folder, tmp_path / "store" / folder, dirs_exist_ok=True)
            path.write_bytes(content)
    assert refused or kind == "tokens"


SWAPS = {
    "modules": "modules",
    "results": "results",
    "rows": "progress",
    "vectors": "embeddings",
    "sets": "data",
    "names": "names",
    "grids": "runs",
    "tokens": "tokens",
}


@pytest.mark.parametrize("folder", SWAPS.values(), ids=SWAPS)
def test_what_lies_under_anothers_name_is_found_out(
    folder: str, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path / "store")
    store = Store(tmp_path / "store", tell=lambda line: None)
    one, other = sorted((store.root / folder).iterdir())
    spare = one.with_name("spare")
    for source, target in ((one, spare), (other, one), (spare, other)):
        os.replace(source, target)
    damaged = [
        finding for finding in store_check.check(store) if finding.state == store_check.DAMAGED
    ]
    assert {finding.path.relative_to(store.root).parts[0] for finding in damaged} >= {
        folder
    } and len(damaged) >= 2
    for _, (pattern, read) in READS.items():
        if pattern.startswith(f"{folder}/"):
            try:
                value = read(store)
            except XittError:
                value = None
            assert value is None or same(value, read(Store(whole)))


def test_an_edited_score_is_set_aside_and_scored_again(tmp_path: Path) -> None:
    told: list[str] = []
    fill(tmp_path)
    path = tmp_path / "results" / CELL.key / "result.json"
    path.write_text(path.read_text().replace("50.0", "95.0"))
    store = Store(tmp_path, tell=told.append)
    assert not store.has_result(CELL.key) and not path.exists()
    assert (tmp_path / "damaged" / "results" / f"{CELL.key}-1" / "result.json").is_file()
    assert len(told) == 1 and "set aside" in told[0] and "\n" not in told[0]
    store.save_result(replace(values.RESULT, scores={"accuracy": 50.0}), [], {})
    assert store.has_result(CELL.key) and store.load_result(CELL.key).scores == {"accuracy": 50.0}


def test_check_store_counts_what_is_damaged_and_says_what_to_do(tmp_path: Path) -> None:
    fill(tmp_path)
    words = ["check-store", "--store", str(tmp_path)]
    found = CliRunner().invoke(main, words)
    assert found.exit_code == 0 and "Everything is as it was written" in found.output, found.output
    for path in (
        tmp_path / "modules" / KEY / serialization.MANIFEST,
        tmp_path / "progress" / f"{OTHER}.safetensors",
        tmp_path / "runs" / "grid0" / "grid.json",
    ):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    before = values.left(tmp_path)
    found = CliRunner().invoke(main, words)
    assert found.exit_code == 1 and "3 damaged" in found.output
    assert found.output.count("\ndamaged: ") == 3 and "run its recipe again" in found.output
    assert values.left(tmp_path) == before, "it changes nothing"


def strip(path: Path) -> None:
    """A JSON file as it was before it carried its digest and its name."""
    value = json.loads(path.read_text())
    del value[integrity.SEAL]
    if path.parent.name == "names":
        del value["name"]
    if path.name == "result.json":
        value = {name: value[name] for name in store_files.OLDER_RESULT}
    if path.parent.name == "data":
        value = {name: value[name] for name in store_files.OLDER_SET}
    path.write_text(json.dumps(value))


def test_a_store_from_before_the_digests_is_read_and_named(tmp_path: Path) -> None:
    store, module = fill(tmp_path), values.module(KEY)
    module = replace(
        module, manifest=replace(module.manifest, digest=tensors_digest(module.tensors))
    )
    store.save_module(module)
    from safetensors.torch import save_file

    save_file(
        {name: value.contiguous() for name, value in module.tensors.items()},
        tmp_path / "modules" / KEY / serialization.TENSORS,
        metadata={"digest": module.manifest.digest, "format": "2"},
    )
    save_file({"vectors": torch.ones(2, 3)}, tmp_path / "embeddings" / f"{KEY}.safetensors")
    save_file(
        {"now": torch.ones(3)},
        tmp_path / "progress" / f"{KEY}.safetensors",
        metadata={"state": "{}"},
    )
    for pattern in ("names/*.json", "results/*/result.json", "data/*.json"):
        for path in tmp_path.glob(pattern):
            strip(path)
    assert store.resolve("name-0") == KEY and store.load_module(KEY).manifest == module.manifest
    assert store.load_data_set(DATA.digest).ids == DATA.ids and len(store.results()) == 2
    states = {(finding.kind, finding.state) for finding in store_check.check(store)}
    assert {
        ("names", store_check.OLDER),
        ("results", store_check.OLDER),
        ("data sets", store_check.OLDER),
    } <= states
    assert not any(state == store_check.DAMAGED for _, state in states), list(
        store_check.check(store)
    )
    assert store.load_embeddings(KEY) is None and store.load(KEY) is None, (
        "what can be made again is"
    )


def test_the_same_tensors_are_the_same_bytes(tmp_path: Path) -> None:
    """The library orders metadata by chance; the order in which tensors were put together counts
    for nothing."""
    tensors = {
        "b": torch.arange(3, dtype=torch.bfloat16),
        "a": torch.randn(2, 5).T,
        "c": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "flag": torch.tensor([True]),
        "half": torch.ones(3).half(),
    }
    words = {f"word{n}": str(n) for n in range(8)}
    write_tensors(tmp_path / "one", tensors, words)
    write_tensors(tmp_path / "two", dict(reversed(tensors.items())), dict(reversed(words.items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    back = load_file(tmp_path / "one")
    assert back.keys() == tensors.keys() and all(
        same(back[name], value) and back[name].shape == value.shape
        for name, value in tensors.items()
    )
    with safe_open(tmp_path / "one", "pt") as file:
        assert file.metadata() == words
    save_file({name: value.contiguous() for name, value in tensors.items()}, tmp_path / "theirs")
    write_tensors(tmp_path / "ours", tensors)
    assert load_file(tmp_path / "theirs").keys() == load_file(tmp_path / "ours").keys()
    assert (tmp_path / "theirs").read_bytes()[-60:] == (tmp_path / "ours").read_bytes()[-60:], (
        "the same layout"
    )


def test_a_damaged_module_is_refused_and_the_others_are_listed(tmp_path: Path) -> None:
    told: list[str] = []
    fill(tmp_path)
    path = tmp_path / "modules" / KEY / serialization.MANIFEST
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 2'))
    store = Store(tmp_path, tell=told.append)
    assert [manifest.key for manifest in store.manifests()] == [OTHER]
    assert len(told) == 1 and str(path) in told[0] and "run again" in told[0]
    with pytest.raises(XittError, match="changed or damaged"):
        store.load_module(KEY)


def test_a_damaged_name_hides_no_other(tmp_path: Path) -> None:
    store = fill(tmp_path)
    path = tmp_path / "names" / "name-0.json"
    path.write_text(path.read_text().replace(KEY, OTHER))
    assert store.names() == {"name-1": OTHER} and store.resolve("name-1") == OTHER
    with pytest.raises(XittError, match=r"name-0.json: damaged.*xitt show.*--name"):
        store.resolve("name-0")


def test_a_grid_is_read_back_and_refused_where_it_was_changed(tmp_path: Path) -> None:
    fill(tmp_path)
    path = tmp_path / "runs" / "grid0" / "grid.json"
    assert read_grid(path, "grid0") == {**GRID, "name": "grid0"}
    path.write_text(path.read_text().replace("71.25", "91.25"))
    with pytest.raises(Damaged, match="changed or damaged"):
        read_grid(path, "grid0")
    found = CliRunner().invoke(main, ["report", "grid0", "--store", str(tmp_path)])
    assert (
        found.exit_code == 2
        and "run its recipe again" in found.output
        and "Traceback" not in found.output
    )


def test_results_of_one_cell_are_never_anothers(tmp_path: Path) -> None:
    store = fill(tmp_path)
    assert isinstance(store.load_result(SECOND.key), Result)
    shutil.rmtree(tmp_path / "results" / CELL.key)
    shutil.copytree(tmp_path / "results" / SECOND.key, tmp_path / "results" / CELL.key)
    assert not store.has_result(CELL.key) and store.has_result(SECOND.key)
