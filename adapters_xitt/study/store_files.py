"""The JSON files of a store, each checked as it is read: its digest, its name, its shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters_xitt import integrity
from adapters_xitt.data.exposure import DataSet
from adapters_xitt.hashing import digest, tensors_digest
from adapters_xitt.integrity import Damaged
from adapters_xitt.modules.manifest import KEY
from adapters_xitt.study.results import Result

# The keys of files from before they carried digests.
OLDER_SET = ("task", "language", "split", "digest", "ids", "texts")
OLDER_RESULT = (
    "cell",
    "status",
    "scores",
    "headline",
    "examples",
    "skipped",
    "tag",
    "overlap",
    "reason",
    "predictions",
    "parts",
    "weights",
    "provenance",
)
OLDER_GRID = (
    "recipe",
    "name",
    "protocol_notes",
    "encoder",
    "precision",
    "versions",
    "entries",
    "headlines",
    "majority",
    "weak",
)
ITEMS, ARRAYS = "predictions.jsonl", "predictions.safetensors"
DATA_SET = 2**30  # bytes that the ids and hashes of a data set may take


def read_name(path: Path, name: str) -> str:
    """The key of the module that is called `name`."""
    value = integrity.read_object(path, older=["key"])
    if value.get("name", name) != name or not KEY.fullmatch(str(value.get("key"))):
        raise Damaged(f"{path}: it is not what {name!a} stands for: {str(value)[:100]!a}")
    return value["key"]


def read_result(path: Path, key: str) -> Result:
    """The result of the cell `key`."""
    record = integrity.read_object(path, older=OLDER_RESULT)
    if (stated := record.pop("key", key)) != key:
        raise Damaged(f"{path}: it holds the result of another cell ({str(stated)[:12]!a})")
    try:
        return Result.from_record(record)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise Damaged(f"{path}: no result of this version ({error})") from None


def write_predictions(
    folder: Path, key: str, items: list[dict[str, Any]], arrays: Mapping[str, NDArray]
) -> None:
    """Writes the predictions that the result of the cell `key` was scored from."""
    with (folder / ITEMS).open("w", encoding="utf-8") as file:
        file.writelines(
            json.dumps(item, ensure_ascii=False, allow_nan=False) + "\n" for item in items
        )
    integrity.write_sealed(folder / ARRAYS, tensors_of(arrays), key)


class StoredPredictions(NamedTuple):
    """What was predicted for the items of a cell."""

    items: list[dict[str, Any]]  # by example, plain JSON
    arrays: dict[str, NDArray]  # the probabilities beside them


def read_predictions(folder: Path, result: Result, key: str) -> StoredPredictions:
    """The predictions in a result's folder; `Damaged` where they are not those of the result."""
    path = folder / ITEMS
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        items = [json.loads(line) for line in lines if line]
    except (OSError, ValueError, RecursionError) as error:
        raise Damaged(f"{path}: damaged ({error})") from None
    if not integrity.carries_digest(folder / "result.json"):
        return StoredPredictions(items, {})  # of an older format, whose arrays carry no digest
    arrays, stored = integrity.read_sealed_arrays(folder / ARRAYS, key)
    if digest([items, stored]) != result.predictions:
        raise Damaged(f"{path}: changed or damaged: the result was scored from others")
    return StoredPredictions(items, arrays)


def predictions_digest(items: list[dict[str, Any]], arrays: Mapping[str, NDArray]) -> str:
    """One digest for stored predictions: texts and probabilities."""
    return digest([items, tensors_digest(tensors_of(arrays))])


def tensors_of(arrays: Mapping[str, NDArray]) -> dict[str, Any]:
    """NumPy's arrays as torch's tensors, each in a piece."""
    import torch

    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}


def read_data_set(path: Path) -> DataSet:
    """A data set's file, named after its digest; refused where it is none, or not what was
    written."""
    record = integrity.read_object(path, most=DATA_SET, older=OLDER_SET)
    words = all(
        isinstance(record.get(name), str) for name in ("task", "language", "split", "digest")
    )
    lists = all(
        isinstance(record.get(name), list) and all(isinstance(word, str) for word in record[name])
        for name in set(record) & {"rows"} | {"ids", "texts"}
    )  # older ones have no rows
    if not words or not lists or len(record.keys() - {"rows"}) != 6:
        raise Damaged(
            f"{path}: task, language, split and digest are words, ids, texts and rows lists of"
            " words; this is no data set"
        )
    if record["digest"] != path.stem:
        raise Damaged(
            f"{path}: it holds the data set {record['digest'][:12]!a}, not the one it is named"
            " after"
        )
    return DataSet.from_record(record)


def read_grid(path: Path, name: str | None) -> dict[str, Any]:
    """The grid of a run, of the run called `name` where one is given; `Damaged` where it is not
    what was written."""
    grid = integrity.read_object(path, most=DATA_SET, older=OLDER_GRID)
    if not isinstance(grid.get("entries"), list) or name not in (None, grid.get("name")):
        raise Damaged(
            f"{path}: it is not the grid of {name or 'a run'}, but of"
            f" {str(grid.get('name'))[:80]!a}"
        )
    return grid
