"""Mining of sentences that are repeated, against XTREME's own code.

`golden/bucc_worlds.json` holds, for every world of `mining_worlds`, what google-research/xtreme
838c13b makes of it with faiss 1.15.1: `mine_bitext`, `read_candidate2score`, `bucc_optimize` on dev
and `bucc_extract` on test of third_party/utils_retrieve.py, run as they are, and their F1 against
the gold pairs. `threshold` and `kept` are null where `bucc_optimize` stops with an IndexError: its
best prefix is the whole list."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mining_worlds import Split, world

from adapters_xitt import tasks
from adapters_xitt.data.exposure import item_id
from adapters_xitt.kinds.decoding import decode
from adapters_xitt.kinds.mining import mined
from adapters_xitt.kinds.record import HeadOutputs

GOLDEN = json.loads((Path(__file__).parent / "golden" / "bucc_worlds.json").read_text())
BUCC = tasks.task("bucc2018")


def said(split: Split, fit: HeadOutputs | None = None) -> HeadOutputs:
    """A split as rows, and its vectors as what a head said of them."""
    partners: dict[str, list[str]] = {}
    for source, target in split.gold:
        partners.setdefault(source, []).append(target)
    rows, vectors = [], []
    for side, sentences in zip(("query", "candidate"), split.sides, strict=True):
        for name, text, vector in sentences:
            gold = {"gold": partners.get(name, [])} if side == "query" else {}
            rows.append({"id": item_id(BUCC, "de", name), "side": side, "text": text, **gold})
            vectors.append(np.array(vector, dtype=np.float32))
    return HeadOutputs(BUCC, "de", rows, None, vectors, fit)


def numbers(pair) -> list[int]:
    return [int(name.rpartition("-")[2]) for name in pair]


def test_the_pairs_and_scores_are_those_of_the_official_code() -> None:
    compared, repeated = 0, 0
    for golden in GOLDEN:
        splits = world(golden["seed"])
        test = said(splits["test"], said(splits["dev"]))
        repeated += any(
            len({text for _, text, _ in side}) < len(side) for side in splits["test"].sides
        )
        pairs, _, _ = mined(test)
        assert sorted(map(numbers, pairs)) == sorted(golden["mined"]), golden["seed"]
        if golden["threshold"] is None:
            continue
        predictions = decode(test)
        kept = [numbers((item["id"], item["target"])) for item in predictions.items]
        assert sorted(kept) == sorted(golden["kept"]), golden["seed"]
        assert predictions.arrays["threshold"][0] == pytest.approx(golden["threshold"], rel=1e-5)
        assert predictions.scores["f1"] == pytest.approx(golden["f1"], abs=1e-9)
        compared += 1
    assert compared >= 150 and repeated >= 150
