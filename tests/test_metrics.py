"""The metrics against scikit-learn, against definitions written a second time, and against XTREME's
mock scores."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import evaluate
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from adapters_xitt import metrics, tasks
from adapters_xitt.errors import XittError
from adapters_xitt.metrics import CLASSES, METRICS
from adapters_xitt.metrics.accuracy import Accuracy, RetrievalAccuracy
from adapters_xitt.metrics.answers import exact, normalize, token_f1
from adapters_xitt.metrics.base import Metric
from adapters_xitt.metrics.masked import MaskedTokens
from adapters_xitt.metrics.qa import SquadF1
from adapters_xitt.metrics.spans import spans
from adapters_xitt.metrics.tagging import TagF1

UPOS = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split()
IOB2 = ["O"] + [f"{prefix}-{kind}" for prefix in "BI" for kind in ("PER", "ORG", "LOC")]
ODD = [
    "O",
    "B-O",
    "I-O",
    "S-X",
    "E-X",
    "I-X",
    "B-X-Y",
    "I-Y",
    ".",
    ".-X",
    "X-",
    "-",
    "S",
    "E",
    "B",
    "I",
    "E-Y",
    "O-X",
]
many = settings(max_examples=1000, deadline=None)


# -- accuracy


@many
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1), st.booleans())
def test_accuracy_is_sklearns(pairs, as_text):
    preds, golds = (list(column) for column in zip(*pairs, strict=True))
    if as_text:
        preds, golds = [str(p) for p in preds], [str(g) for g in golds]
    want = 100 * accuracy_score(golds, preds)
    assert Accuracy().score(preds, golds)["accuracy"] == pytest.approx(want, abs=1e-9)
    if not as_text:
        assert RetrievalAccuracy().score(np.array(preds), np.array(golds))[
            "accuracy"
        ] == pytest.approx(want, abs=1e-9)


# -- masked tokens

guesses = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.floats(-30, 0)), min_size=1, max_size=20
)


@many
@given(guesses)
def test_masked_tokens_are_sklearns_and_the_definition(rows):
    tokens, golds, logs = (list(column) for column in zip(*rows, strict=True))
    scores = MaskedTokens().score(
        [{"token": token, "log_probability": log} for token, log in zip(tokens, logs, strict=True)],
        golds,
    )
    want = {"accuracy": 100 * accuracy_score(golds, tokens), "perplexity": np.exp(-np.mean(logs))}
    assert scores == pytest.approx(want, rel=1e-9)


def test_a_model_that_knows_nothing_is_as_perplexed_as_its_vocabulary_is_large():
    rows = [{"token": 0, "log_probability": -np.log(250_002)}] * 7
    assert MaskedTokens().compute(predictions=rows, references=[0] * 7) == pytest.approx(
        {"accuracy": 100, "perplexity": 250_002}
    )


# -- tags: seqeval's rule said declaratively


def ends(tag, kind, after, kind_after):
    if tag in ("E", "S"):
        return True
    if tag in ("B", "I") and after in ("B", "S", "O"):
        return True
    return tag not in ("O", ".") and kind != kind_after


def starts(before, kind_before, tag, kind):
    if tag in ("B", "S"):
        return True
    if before in ("E", "S", "O") and tag in ("E", "I"):
        return True
    return tag not in ("O", ".") and kind_before != kind


def brute(tags):
    """Every (first, last) in turn: `last` is an end, and `first` the nearest start at or before
    it."""
    split = [(tag[0], tag.rpartition("-")[2]) for tag in tags]
    edge = ("O", "")
    opens = [starts(*(split[i - 1] if i else edge), *split[i]) for i in range(len(split))]
    shuts = [
        ends(*split[i], *(split[i + 1] if i + 1 < len(split) else ("O", "O")))
        for i in range(len(split))
    ]
    found = []
    for last in range(len(split)):
        for first in range(last + 1):
            nearest = not any(opens[first + 1 : last + 1]) and (opens[first] or first == 0)
            if shuts[last] and nearest and (opens[first] or not any(opens[: last + 1])):
                found.append((split[last][1], first, last))
    return found


@many
@given(st.lists(st.sampled_from(IOB2 + UPOS + ODD), max_size=14))
@example(["X-", "O"])
@example(["O", "X-O", "I-Y"])
def test_spans_are_the_chunkers(tags):
    assert spans(tags) == brute(tags)


@many
@given(st.lists(st.sampled_from(UPOS), max_size=20))
def test_spans_of_bare_tags_are_runs(tags):
    runs, at = [], 0
    for tag, run in groupby(tags):
        size = len(list(run))
        if tag.startswith("S"):
            runs += [(tag, at + i, at + i) for i in range(size)]
        else:
            runs.append((tag, at, at + size - 1))
        at += size
    assert spans(tags) == runs


@many
@given(st.lists(st.tuples(st.sampled_from(["PER", "ORG", None]), st.integers(1, 3)), max_size=8))
def test_spans_of_clean_iob2_are_the_entities(entities):
    tags, want = [], []
    for kind, size in entities:
        if kind is None:
            tags += ["O"] * size
        else:
            want.append((kind, len(tags), len(tags) + size - 1))
            tags += [f"B-{kind}"] + [f"I-{kind}"] * (size - 1)
    assert spans(tags) == want


tagged = st.lists(st.tuples(st.sampled_from(IOB2 + UPOS), st.sampled_from(IOB2 + UPOS)), max_size=8)


@many
@given(st.lists(tagged, min_size=1, max_size=4).filter(any))
def test_tag_f1_counts_spans_per_sentence(rows):
    preds = [[p for p, _ in row] for row in rows]
    golds = [[g for _, g in row] for row in rows]
    found = {(n, *span) for n, row in enumerate(preds) for span in brute(row)}
    wanted = {(n, *span) for n, row in enumerate(golds) for span in brute(row)}
    precision = len(found & wanted) / len(found) if found else 0.0
    recall = len(found & wanted) / len(wanted) if wanted else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    pairs = [pair for row in rows for pair in row]
    scores = TagF1().score(preds, golds)
    want = {
        "f1": f1,
        "precision": precision,
        "recall": recall,
        "accuracy": np.mean([p == g for p, g in pairs]),
    }
    assert scores == pytest.approx({key: 100 * value for key, value in want.items()}, abs=1e-9)


def test_bare_tags_example():
    scores = TagF1().score(
        [["NOUN", "PROPN", "VERB", "PUNCT"]], [["NOUN", "NOUN", "VERB", "PUNCT"]]
    )
    assert scores["f1"] == pytest.approx(400 / 7)
    assert scores["accuracy"] == 75


# -- answers


def bag(text):
    """SQuAD's normalised tokens, without a regular expression."""
    kept = [c for c in text.lower() if c not in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"]
    words = "".join(
        " " if is_word and run in ("a", "an", "the") else run
        for is_word, run in (
            (k, "".join(g)) for k, g in groupby(kept, key=lambda c: c.isalnum() or c == "_")
        )
    )
    return words.split()


def overlap(pred, gold):
    ours, theirs = bag(pred), bag(gold)
    left, common = list(theirs), 0
    for token in ours:
        if token in left:
            left.remove(token)
            common += 1
    if not common:
        return 0.0
    precision, recall = common / len(ours), common / len(theirs)
    return 2 * precision * recall / (precision + recall)


words = st.lists(
    st.sampled_from(
        "the The a an cat cat's Ätna U.S. «the» 1,000 der 猫 — , a-b".split() + ["\u00a0", "the\n"]
    ),
    max_size=5,
).map(" ".join)
texts = st.one_of(words, st.text(max_size=12))


@many
@given(texts, texts)
@example("the", "")
@example("«the» cat", "cat «»")
def test_answers_are_scored_as_defined(pred, gold):
    assert normalize(pred) == " ".join(bag(pred))
    assert exact(pred, gold) == float(bag(pred) == bag(gold))
    assert token_f1(pred, gold) == pytest.approx(overlap(pred, gold), abs=1e-9)


@many
@given(
    st.lists(
        st.tuples(st.none() | words, st.lists(words, min_size=1, max_size=3)),
        min_size=1,
        max_size=5,
    )
)
def test_squad_takes_the_best_gold_and_missing_is_zero(rows):
    preds = [
        {"id": str(n), "prediction_text": text}
        for n, (text, _) in enumerate(rows)
        if text is not None
    ]
    golds = [answer(str(n), *gold) for n, (_, gold) in enumerate(rows)]
    em = 100 * np.mean(
        [text is not None and any(bag(text) == bag(g) for g in gold) for text, gold in rows]
    )
    f1 = 100 * np.mean(
        [0 if text is None else max(overlap(text, g) for g in gold) for text, gold in rows]
    )
    want = {"exact_match": em, "f1": f1, "mean": (em + f1) / 2}
    assert SquadF1().score(preds, golds) == pytest.approx(want, abs=1e-9)


# -- XTREME's mock submission; scores of its own evaluate.py

MOCK = [
    ("xnli", "accuracy", {"accuracy": 30.666666666666668}),
    ("pawsx", "accuracy", {"accuracy": 51.42857142857143}),
    ("panx", "tag_f1", {"f1": 57.50793650793652}),
    ("udpos", "tag_f1", {"f1": 70.21746048354693}),
    ("tatoeba", "retrieval_accuracy", {"accuracy": 53.611111111111114}),
    ("xquad", "squad", {"exact_match": 77.27272727272727, "f1": 79.9586776859504}),
    ("tydiqa", "squad", {"exact_match": 88.88888888888889, "f1": 97.22222222222223}),
]


def mock_rows(path: Path, metric: str):
    text = path.read_text(encoding="utf-8")
    if metric == "tag_f1":
        return [block.split("\n") for block in text.strip("\n").split("\n\n")]
    if metric == "squad" and "predictions" in path.parts:
        return [{"id": qid, "prediction_text": text} for qid, text in json.loads(text).items()]
    if metric == "squad":
        questions = [q for a in json.loads(text)["data"] for p in a["paragraphs"] for q in p["qas"]]
        return [answer(q["id"], *(a["text"] for a in q["answers"])) for q in questions]
    return [int(line) if metric == "retrieval_accuracy" else line for line in text.split()]


@pytest.mark.parametrize("through", ["score", "compute"])
@pytest.mark.parametrize(("task", "metric", "want"), MOCK, ids=[row[0] for row in MOCK])
def test_mock_submission(data_dir, task, metric, want, through):
    folder = data_dir / "xtreme_mock" / "labels" / task
    scores = []
    for gold in sorted(folder.iterdir()):
        pred = data_dir / "xtreme_mock" / "predictions" / task / gold.name
        pair = {"predictions": mock_rows(pred, metric), "references": mock_rows(gold, metric)}
        scores.append(getattr(METRICS[metric](), through)(**pair))
    got = {key: np.mean([row[key] for row in scores]) for key in want}
    assert got == pytest.approx(want, abs=1e-9)
    assert METRICS[metric].main_score in scores[0]


def test_udpos_token_accuracy_of_the_mock(data_dir):
    labels, preds = (
        data_dir / "xtreme_mock" / side / "udpos" for side in ("labels", "predictions")
    )
    pairs = [
        (mock_rows(preds / gold.name, "tag_f1"), mock_rows(gold, "tag_f1"))
        for gold in sorted(labels.iterdir())
    ]
    scores = [TagF1().score(pred, gold) for pred, gold in pairs]
    assert np.mean([row["accuracy"] for row in scores]) == pytest.approx(74.19, abs=5e-3)


# -- what can't be scored


def answer(qid, *texts):
    return {"id": qid, "answers": {"text": list(texts), "answer_start": [0] * len(texts)}}


def said(qid):
    return {"id": qid, "prediction_text": "x"}


@pytest.mark.parametrize(
    ("metric", "preds", "golds", "message"),
    [
        ("accuracy", [], [], "nothing to score"),
        ("tag_f1", [], [], "nothing to score"),
        ("tag_f1", [[]], [[]], "nothing to score"),
        ("squad", [], [], "nothing to score"),
        ("retrieval_accuracy", [], [], "nothing to score"),
        ("accuracy", [1], [1, 0], "1 predictions for 2 references"),
        ("accuracy", [1, 1], ["1", "0"], "int and str"),
        ("accuracy", [None], [1], "found None"),
        ("accuracy", [0.5], [1], "found 0.5"),
        ("retrieval_accuracy", ["1"], ["1"], "an index is an integer"),
        ("masked_tokens", [], [], "nothing to score"),
        ("masked_tokens", [{"token": 1, "log_probability": 0.5}], [1], "at most 0, found 0.5"),
        (
            "masked_tokens",
            [{"token": 1, "log_probability": -0.5}],
            [1, 2],
            "1 predictions for 2 references",
        ),
        ("tag_f1", [["O"]], [["O", "O"]], "row 0 has 1 predicted tags for 2"),
        ("tag_f1", [[""]], [["O"]], "is empty"),
        ("squad", [said("1"), said("1")], [answer("1", "x")], "'1' occurs more than once"),
        ("squad", [], [answer("1", "x"), answer("1", "x")], "'1' occurs more than once"),
        ("squad", [said("2")], [answer("1", "x")], "unknown ids, the first '2'"),
        ("squad", [said("1")], [answer("1")], "without a gold answer, the first '1'"),
    ],
)
def test_refused(metric, preds, golds, message):
    with pytest.raises(XittError, match=message):
        METRICS[metric]().score(preds, golds)


@pytest.mark.parametrize("metric", list(METRICS))
def test_construction_writes_nothing_and_compute_refuses_nothing(metric, tmp_path, monkeypatch):
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", str(tmp_path / "cache"))
    made = METRICS[metric](language="en")
    assert not (tmp_path / "cache").exists()
    for rows in ({}, {"predictions": [], "references": []}):
        with pytest.raises(XittError, match="nothing to score"):
            made.compute(**rows)


def test_a_metric_is_a_class_and_its_line():
    """`evaluate` is imported when a class is asked for, so that names can't register themselves."""
    folder = Path(metrics.__file__).parent
    written = {
        (path.stem, node.name)
        for path in folder.glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and any("score" in ast.dump(part) for part in node.body)
        if path.stem not in ("base", "__init__")
    } | {("mlqa", "Mlqa")}
    for file, name in sorted(written ^ set(CLASSES.values())):
        assert (file, name) in written, f"metrics/{file}.py has no class {name}: CLASSES names it"
        assert (file, name) in CLASSES.values(), (
            f"metrics/{file}.py: {name} has no line in CLASSES of metrics/__init__.py"
        )
    for name, (file, _) in CLASSES.items():
        metric = METRICS[name]
        assert issubclass(metric, Metric) and issubclass(metric, evaluate.Metric)
        assert metric.main_score and metric.about, f"metrics/{file}.py: main_score or about"
        used = [task.name for task in tasks.TASKS.values() if task.metric == name]
        assert used, f"no task in tasks/ is scored by {name}"


def test_the_main_score_of_a_task_is_its_metrics():
    for task in tasks.TASKS.values():
        wanted = METRICS[task.metric].main_score
        assert task.main_score == wanted, (
            f"tasks/: {task.name} has main_score {task.main_score!r}, its metric gives {wanted!r}"
        )


def test_names_of_metrics_import_nothing_heavy():
    code = (
        "import sys, adapters_xitt.metrics as m; assert 'mlqa' in m.METRICS and len(m.METRICS) > 9;"
        "print([name for name in ('evaluate', 'datasets', 'torch') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_program_feeds_the_table():
    """Through `add_batch` and `compute`, sides of unequal length too: as the arithmetic alone."""
    pairs = [("a", "1"), ("b", "2")]
    for mined in (pairs, pairs[:1], [*pairs, ("c", "3")], []):
        scores = metrics.score("bucc", mined, pairs, language="de")
        assert scores == METRICS["bucc"]().score(mined, pairs)
    golds = [answer("1", "x"), answer("2", "y")]
    for told in ([], [said("1")], [said("1"), said("2")]):
        scores = metrics.score("squad", told, golds, language="en")
        assert scores == SquadF1().score(told, golds)
    odd = [{"token": 3, "log_probability": -0.1 / 3}, {"token": 4, "log_probability": -1e-300}]
    assert metrics.score("masked_tokens", odd, [3, 5], language="en") == MaskedTokens().score(
        odd, [3, 5]
    )
    with pytest.raises(XittError, match="nothing to score"):
        metrics.score("bucc", pairs, [], language="de")
    with pytest.raises(ValueError, match="nothing more"):
        metric = METRICS["bucc"]()
        metric.add_batch(predictions=pairs[:1], references=pairs)
        metric.add_batch(predictions=pairs[:1], references=pairs)


def test_compute_takes_added_batches():
    metric = Accuracy()
    metric.add_batch(predictions=["a", "b"], references=["a", "a"])
    metric.add(prediction="a", reference="a")
    assert metric.compute()["accuracy"] == pytest.approx(200 / 3)
    assert metric.compute(predictions=[1], references=[1]) == {"accuracy": 100.0}
