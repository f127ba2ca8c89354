"""The metrics of XTREME's other tasks against scikit-learn, transformers, seqeval's answers
(tests/golden), definitions written a second time and XTREME's mock scores."""

from __future__ import annotations

import json
import math
import unicodedata
from collections import Counter
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score
from transformers.data.metrics.squad_metrics import squad_evaluate

from adapters_xitt.errors import XittError
from adapters_xitt.metrics import METRICS
from adapters_xitt.metrics.accuracy import Qqp
from adapters_xitt.metrics.answers import normalize_in
from adapters_xitt.metrics.mlqa import Mlqa
from adapters_xitt.metrics.retrieval import Bucc, MeanAveragePrecision, Mrr
from adapters_xitt.metrics.squad2 import Squad2
from adapters_xitt.metrics.tagging import TagAccuracy, TagF1

many = settings(max_examples=1000, deadline=None)


def close(got, want):
    assert got == pytest.approx(want, rel=0, abs=1e-9)


# -- labels and tags


@many
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1), st.booleans())
@example([(0, 0)], False)
@example([(1, 0)], True)
def test_qqp_is_sklearns(pairs, as_text):
    preds, golds = (list(column) for column in zip(*pairs, strict=True))
    accuracy, f1 = 100 * accuracy_score(golds, preds), 100 * f1_score(golds, preds, zero_division=0)
    if as_text:
        preds, golds = [str(p) for p in preds], [str(g) for g in golds]
    close(Qqp().score(preds, golds), {"accuracy": accuracy, "f1": f1, "mean": (accuracy + f1) / 2})


SUPERTAGS = ["N", "N/N", "NP[nb]/N", "(S[dcl]\\NP)/NP", ".", "unk"]
rows_of_pairs = st.lists(
    st.tuples(st.sampled_from(SUPERTAGS), st.sampled_from(SUPERTAGS)), max_size=8
)


@many
@given(st.lists(rows_of_pairs, min_size=1, max_size=4).filter(any))
def test_tag_accuracy_is_sklearns_over_all_tokens(rows):
    preds, golds = ([[pair[side] for pair in row] for row in rows] for side in (0, 1))
    want = 100 * accuracy_score(
        [tag for row in golds for tag in row], [tag for row in preds for tag in row]
    )
    close(TagAccuracy().score(preds, golds), {"accuracy": want})


SEQEVAL = json.loads((Path(__file__).parent / "golden" / "seqeval.json").read_text())


def test_tag_f1_of_entities_is_seqevals():
    names = ("f1", "precision", "recall", "accuracy")
    for case in SEQEVAL["cases"]:
        preds, golds = ([tags.split() for tags in case[side]] for side in ("preds", "golds"))
        scores = TagF1().score(preds, golds)
        close({name: scores[name] for name in names}, {name: 100 * case[name] for name in names})


# -- SQuAD 2.0: transformers has the script's functions

english = st.lists(
    st.sampled_from("the The a an cat cat's Ätna U.S. «the» 1,000 der 猫 — , a-b".split()),
    max_size=4,
)
answers = st.one_of(
    english.map(" ".join), st.sampled_from(["", " ", "the", "!", "\u00a0"]), st.text(max_size=6)
)
question = st.tuples(answers, st.lists(answers, max_size=3), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
questions = st.lists(question, min_size=1, max_size=8)


def squad2_rows(rows, *, probable):
    golds = [{"id": str(n), "answers": {"text": golds}} for n, (_, golds, _) in enumerate(rows)]
    preds = [
        {"id": str(n), "prediction_text": text}
        | ({"no_answer_probability": silence} if probable else {})
        for n, (text, _, silence) in enumerate(rows)
    ]
    return preds, golds


@settings(max_examples=2000, deadline=None)
@given(questions, st.booleans(), st.randoms(use_true_random=False))
@example([("", [], 0.0)], False, None)
@example([("the", [""], 0.5), ("x", [], 0.5), ("y", ["y"], 0.5)], True, None)
def test_squad2_is_the_scripts(rows, probable, random):
    preds, golds = squad2_rows(rows, probable=probable)
    if random:
        random.shuffle(preds)
    examples = [
        SimpleNamespace(
            qas_id=row["id"], answers=[{"text": text} for text in row["answers"]["text"]]
        )
        for row in golds
    ]
    said = {row["id"]: row["prediction_text"] for row in preds}
    silence = {row["id"]: row["no_answer_probability"] for row in preds} if probable else None
    want = {
        name: value
        for name, value in squad_evaluate(examples, said, silence).items()
        if "total" not in name
    }
    want["mean"] = (want["exact"] + want["f1"]) / 2
    if not probable:
        del want["best_exact_thresh"], want["best_f1_thresh"]
        want |= {"best_exact": want["exact"], "best_f1": want["f1"]}
    want["best_mean"] = (want["best_exact"] + want["best_f1"]) / 2
    close(Squad2().score(preds, golds), want)


@many
@given(questions)
def test_squad2s_best_is_the_best_of_all_thresholds(rows):
    rows = [(text, golds, n / len(rows)) for n, (text, golds, _) in enumerate(rows)]
    preds, golds = squad2_rows(rows, probable=True)
    alone = [Squad2().score([pred], [gold]) for pred, gold in zip(preds, golds, strict=True)]
    got = Squad2().score(preds, golds)
    for name in ("exact", "f1"):

        def at(threshold, name=name):
            kept = [silence <= threshold for _, _, silence in rows]
            return np.mean(
                [
                    (alone[n][name] if keep else 0) if texts else 100 * (not keep or not text)
                    for n, ((text, texts, _), keep) in enumerate(zip(rows, kept, strict=True))
                ]
            )

        none = 100 * np.mean([not texts for _, texts, _ in rows])
        close(got[f"best_{name}"], max(none, *(at(silence) for _, _, silence in rows), -1))
        assert got[f"best_{name}"] == pytest.approx(none) or got[f"best_{name}"] == pytest.approx(
            at(got[f"best_{name}_thresh"])
        )


def test_squad2_through_compute():
    preds, golds = squad2_rows(
        [("cat", ["a cat", "dog"], 0.1), ("", [], 0.9), ("x", [], 0.2)], probable=True
    )
    want = {
        "exact": 200 / 3,
        "f1": 200 / 3,
        "mean": 200 / 3,
        "HasAns_exact": 100,
        "HasAns_f1": 100,
        "NoAns_exact": 50,
        "NoAns_f1": 50,
        "best_exact": 100,
        "best_exact_thresh": 0.1,
        "best_f1": 100,
        "best_f1_thresh": 0.1,
        "best_mean": 100,
    }
    close(Squad2().compute(predictions=preds, references=golds), want)
    for row in preds:
        del row["no_answer_probability"]
    assert "best_f1_thresh" not in Squad2().compute(predictions=preds, references=golds)


# -- MLQA: the protocol's rules, without regular expressions

ARTICLES = {
    "en": "a an the",
    "es": "un una unos unas el la los las",
    "vi": "của là cái chiếc những",
    "hi": "",
    "zh": "",
    "de": "ein eine einen einem eines einer der die das den dem des",
    "ar": "",
}
WORDS = (
    "the The a an cat U.S. der Der Hund's «die» Straße STRASSE ein-eine el Él unos ¿Qué? là cái của"
    " Cái chiếc nhà những_ cái\u0301 البيت ال الكتاب، بال ؟ قال हिंदी का । 猫 中文,词 漢字the北京。"
    " ABC中2 —の 1,000 $5 + ` ^ 〇 龥 龦"
).split()
foreign = st.lists(st.sampled_from(WORDS + ["\u00a0", "\n", "\u3000"]), max_size=6)
texts = st.one_of(foreign.map(" ".join), foreign.map("".join), st.text(max_size=8))


def words_of(text, language):
    kept = [c for c in text.lower() if unicodedata.category(c)[0] != "P" and c not in "$+<=>^`|~"]
    if language == "ar":
        return "".join(kept).replace("ال", " ").split()
    runs = ("".join(run) for _, run in groupby(kept, key=lambda c: c.isalnum() or c == "_"))
    text = "".join(" " if run in ARTICLES[language].split() else run for run in runs)
    if language != "zh":
        return text.split()
    return "".join(f" {c} " if 0x4E00 <= ord(c) <= 0x9FA5 else c for c in text).split()


def overlap(ours, theirs):
    common = sum(min(ours.count(word), theirs.count(word)) for word in dict.fromkeys(ours))
    if not common:
        return 0.0
    precision, recall = common / len(ours), common / len(theirs)
    return 2 * precision * recall / (precision + recall)


@settings(max_examples=3000, deadline=None)
@given(
    st.sampled_from(sorted(ARTICLES)),
    st.lists(
        st.tuples(st.none() | texts, st.lists(texts, min_size=1, max_size=3)),
        min_size=1,
        max_size=4,
    ),
)
@example("ar", [("في البيت", ["بيت"])])
@example("zh", [("北京 ABC", ["北京abc", "京北ABC"])])
@example("de", [("Der", [""])])
def test_mlqa_is_as_defined(language, rows):
    em = f1 = 0.0
    for text, golds in rows:
        if text is not None:
            ours = words_of(text, language)
            assert normalize_in(text, language).split() == ours
            em += 100 * any(ours == words_of(gold, language) for gold in golds) / len(rows)
            f1 += 100 * max(overlap(ours, words_of(gold, language)) for gold in golds) / len(rows)
    preds = [
        {"id": str(n), "prediction_text": text}
        for n, (text, _) in enumerate(rows)
        if text is not None
    ]
    golds = [{"id": str(n), "answers": {"text": golds}} for n, (_, golds) in enumerate(rows)]
    close(
        Mlqa(language=language).score(preds, golds),
        {"exact_match": em, "f1": f1, "mean": (em + f1) / 2},
    )


@pytest.mark.parametrize(
    ("language", "message"), [(None, "name the language"), ("fr", "unknown language 'fr'")]
)
def test_mlqa_needs_one_of_its_languages(language, message):
    with pytest.raises(XittError, match=message):
        Mlqa(language=language)


# -- pairs and rankings

pair_lists = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12)


@many
@given(pair_lists, pair_lists.filter(bool), st.booleans())
def test_bucc_counts_different_pairs(mined, gold, as_text):
    if as_text:
        mined, gold = ([[f"de-{a}", f"en-{b}"] for a, b in side] for side in (mined, gold))
    ours = [pair for n, pair in enumerate(mined) if pair not in mined[:n]]
    theirs = [pair for n, pair in enumerate(gold) if pair not in gold[:n]]
    right = sum(pair in theirs for pair in ours)
    precision, recall = right / len(ours) if ours else 0, right / len(theirs)
    f1 = 2 * precision * recall / (precision + recall) if right else 0
    want = {"f1": 100 * f1, "precision": 100 * precision, "recall": 100 * recall}
    for through in ("score", "compute"):
        if through == "score" or (as_text and len(mined) < 3):  # evaluate's table is slow to make
            close(getattr(Bucc(), through)(predictions=mined, references=gold), want)


ranking = st.lists(st.integers(0, 60), max_size=45)
rankings = st.lists(
    st.tuples(ranking, st.lists(st.integers(0, 60), min_size=1, max_size=30)),
    min_size=1,
    max_size=5,
)


@many
@given(rankings, st.booleans())
def test_rankings_are_scored_as_defined(rows, as_text):
    mrr, means = [], []
    for found, wanted in rows:
        places = [found.index(name) + 1 for name in wanted if name in found]
        mrr.append(max([1 / place for place in places if place <= 20], default=0))
        firsts = [
            place
            for place in range(1, 21)
            if found[place - 1 : place]
            and found.index(found[place - 1]) == place - 1
            and found[place - 1] in wanted
        ]
        precision = [
            len(Counter(found[:place]) & Counter(dict.fromkeys(wanted, 1))) / place
            for place in firsts
        ]
        means.append(math.fsum(precision) / min(len(Counter(wanted)), 20))
    if as_text:
        rows = [
            ([f"Q{name}" for name in found], [f"Q{name}" for name in wanted])
            for found, wanted in rows
        ]
    preds, golds = ([row[side] for row in rows] for side in (0, 1))
    close(Mrr().score(preds, golds), {"mrr@20": 100 * np.mean(mrr)})
    close(MeanAveragePrecision().score(preds, golds), {"map@20": 100 * np.mean(means)})


def test_rankings_examples():
    metric = MeanAveragePrecision()
    assert metric.compute(predictions=[["x", "a", "a", "b"]], references=[["a", "b"]]) == {
        "map@20": 50.0
    }
    assert metric.score([list(range(20))], [list(range(100))]) == {"map@20": 100.0}
    assert Mrr().compute(predictions=[["x", "a"], []], references=[["b", "a"], ["a"]]) == {
        "mrr@20": 25.0
    }
    assert Mrr().score([[*range(20), 20]], [[20]]) == {"mrr@20": 0.0}


# -- XTREME's mock submission; scores of its own evaluate.py


def tsv(path):
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


def mlqa_rows(path):
    rows = json.loads(path.read_text(encoding="utf-8"))
    if "data" not in rows:
        return [{"id": qid, "prediction_text": text} for qid, text in rows.items()]
    found = [
        q
        for article in rows["data"]
        for paragraph in article["paragraphs"]
        for q in paragraph["qas"]
    ]
    return [{"id": q["id"], "answers": {"text": [a["text"] for a in q["answers"]]}} for q in found]


MOCK = [
    ("bucc2018", "bucc", tsv, {"f1": 55.0}),
    ("mlqa", "mlqa", mlqa_rows, {"exact_match": 57.142857142857146, "f1": 81.76870748299321}),
    (
        "mewslix",
        "mrr",
        lambda path: json.loads(path.read_text(encoding="utf-8")),
        {"mrr@20": 14.39025156130419},
    ),
]


@pytest.mark.parametrize("through", ["score", "compute"])
@pytest.mark.parametrize(("task", "metric", "read", "want"), MOCK, ids=[row[0] for row in MOCK])
def test_mock_submission(data_dir, task, metric, read, want, through):
    mock, scores = data_dir / "xtreme_mock", []
    for path in sorted((mock / "labels" / task).iterdir()):
        preds, golds = read(mock / "predictions" / task / path.name), read(path)
        if task == "mewslix":
            preds, golds = [preds.get(query, []) for query in golds], list(golds.values())
        made = METRICS[metric](language=path.stem.split("-")[1])
        scores.append(getattr(made, through)(predictions=preds, references=golds))
    close({key: np.mean([row[key] for row in scores]) for key in want}, want)
    assert METRICS[metric].main_score in scores[0]


# -- what can't be scored


def asked(qid, *golds):
    return {"id": qid, "answers": {"text": list(golds)}}


def said(qid, **more):
    return {"id": qid, "prediction_text": "x", **more}


@pytest.mark.parametrize(
    ("metric", "preds", "golds", "message"),
    [
        *((metric, [], [], "nothing to score") for metric in METRICS),
        ("qqp", [2], [1], "a label is 0 or 1, found '2'"),
        ("qqp", ["1"], [1], "int and str"),
        ("qqp", [1], [1, 0], "1 predictions for 2 references"),
        ("tag_accuracy", [["N"]], [["N", "N"]], "row 0 has 1 predicted tags for 2"),
        ("tag_accuracy", [[]], [[]], "nothing to score"),
        ("squad2", [said("1"), said("1")], [asked("1")], "'1' occurs more than once"),
        ("squad2", [said("1")], [asked("1"), asked("1")], "'1' occurs more than once"),
        ("squad2", [said("2")], [asked("1")], "unknown ids, the first '2'"),
        ("squad2", [said("1")], [asked("1"), asked("2")], "without a prediction, the first '2'"),
        (
            "squad2",
            [said("1", no_answer_probability=1.5)],
            [asked("1")],
            "between 0 and 1, found 1.5",
        ),
        (
            "squad2",
            [said("1", no_answer_probability=math.nan)],
            [asked("1")],
            "between 0 and 1, found nan",
        ),
        (
            "squad2",
            [said("1", no_answer_probability=0.5), said("2")],
            [asked("1"), asked("2")],
            "1 of 2 .* first '2'",
        ),
        ("mlqa", [said("1")], [asked("1")], "without a gold answer, the first '1'"),
        ("mlqa", [said("2")], [asked("1", "x")], "unknown ids, the first '2'"),
        ("bucc", [("a", "b", "c")], [("a", "b")], "a source id and a target id"),
        ("bucc", [(1, 2)], [("a", "b")], "int and str"),
        ("bucc", [(1.5, 2)], [(1, 2)], "found 1.5"),
        ("mrr", [["a"]], [["a"], ["b"]], "1 predictions for 2 references"),
        ("mrr", [["a"]], [[]], "references without an id, the first in row 0"),
        ("mrr", [[1]], [["a"]], "int and str"),
        ("map", [["a"]], [[]], "references without an id, the first in row 0"),
    ],
)
def test_refused(metric, preds, golds, message):
    for through in ("score", "compute"):
        if through == "score" or len(preds) != len(golds):
            with pytest.raises(XittError, match=message):
                getattr(METRICS[metric](language="en"), through)(
                    predictions=preds, references=golds
                )
