"""Decoding of mined pairs, rankings and questions without an answer, from planted vectors and
logits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adapters_xitt import tasks
from adapters_xitt.data.features import Features
from adapters_xitt.kinds import decoding
from adapters_xitt.kinds.record import HeadOutputs

BUCC = tasks.task("bucc2018")


def planted(count: int, noise: float, *, seed: int, width: int = 128, task=BUCC) -> HeadOutputs:
    """Sentences of two sides; the first half of each are translations: the same vector but for
    noise."""
    draw = np.random.default_rng(seed)
    ours, theirs = draw.standard_normal((count, width)), draw.standard_normal((count, width))
    half = count // 2
    theirs[:half] = ours[:half] + noise * draw.standard_normal((half, width))
    rows = [
        {
            "id": f"{task.origin}/de/de-{n}",
            "group": "",
            "side": "query",
            "text": f"Satz {n}",
            "gold": [f"en-{n}"] if n < half else [],
        }
        for n in range(count)
    ]
    rows += [
        {
            "id": f"{task.origin}/de/en-{n}",
            "group": "",
            "side": "candidate",
            "text": f"sentence {n}",
            "gold": [],
        }
        for n in range(count)
    ]
    vectors = np.concatenate([ours, theirs]).astype(np.float32)
    order = draw.permutation(len(rows))  # sides may stand in any order
    return HeadOutputs(
        task,
        "de",
        [rows[at] for at in order],
        Features({"ids": []}, len(rows)),
        list(vectors[order]),
    )


def test_planted_translations_are_mined_with_the_threshold_of_the_other_split() -> None:
    test, dev = planted(60, 0.1, seed=1), planted(40, 0.1, seed=2)
    found = decoding.decode(replace(test, fit=dev))
    assert found.scores["f1"] == 100.0
    assert {(item["id"], item["target"]) for item in found.items} == {
        (f"bucc2018/de/de-{n}", f"en-{n}") for n in range(30)
    }
    assert found.arrays["margins"].min() >= found.arrays["threshold"][0] > 0
    noisy = decoding.decode(replace(planted(60, 2.5, seed=3), fit=planted(40, 2.5, seed=4)))
    assert 0 < noisy.scores["f1"] < 100


def test_a_repeated_sentence_is_in_no_pair() -> None:
    test = planted(20, 0.05, seed=5)
    first = next(row for row in test.examples if row["side"] == "query" and row["gold"])
    index = test.examples.index(first)
    repeated = HeadOutputs(
        BUCC,
        "de",
        [*test.examples, {**first, "id": "bucc2018/de/de-again", "gold": []}],
        test.features,
        [*test.outputs, test.outputs[index]],
    )
    plain, mined = (
        {item["id"] for item in decoding.decode(replace(one, fit=test)).items}
        for one in (test, repeated)
    )
    assert first["id"] in plain and mined == plain - {first["id"]}


def test_rankings_are_the_nearest_first() -> None:
    task = replace(BUCC, kind="ranking", metric="mrr", main_score="mrr@20", fitted="")
    test = planted(50, 0.1, seed=7, task=task)
    test = replace(
        test, examples=[{**row, "gold": row["gold"] or ["en-0"]} for row in test.examples]
    )
    found = decoding.decode(test)
    by_id = {item["id"]: item for item in found.items}
    assert len(by_id) == 50 and all(len(item["ids"]) == 20 for item in found.items)
    assert all(by_id[f"bucc2018/de/de-{n}"]["ids"][0] == f"en-{n}" for n in range(25))
    assert found.scores["mrr@20"] >= 50.0


@pytest.mark.parametrize(("null", "text"), [(9.0, "green"), (11.0, "")])
def test_no_answer_is_said_where_its_least_score_is_above_the_best_span(null, text) -> None:
    """Two windows: the least null score counts, against the best span of both (10 here)."""
    row = {"id": "q", "context": "a green door", "question": "what?", "answers": []}
    offsets = [(-1, -1), (0, 1), (2, 7), (8, 12)]
    features = Features(
        {
            "ids": [[0] * 4] * 2,
            "example": [0, 0],
            "offsets": [offsets] * 2,
            "open": [[0, 1, 1, 1]] * 2,
        },
        1,
    )
    first, second = np.zeros((2, 4), dtype=np.float32), np.zeros((2, 4), dtype=np.float32)
    first[:, 2] = 5.0
    first[0, 0], second[0, 0] = null, 30.0
    found = decoding.decode(
        HeadOutputs(tasks.task("squad2"), "en", [row], features, [first, second])
    )
    assert found.items[0]["text"] == text
    assert found.items[0]["no_answer"] == pytest.approx(1 / (1 + np.exp(10 - null)), rel=1e-5)
    assert found.scores["exact"] == (100.0 if text == "" else 0.0)
