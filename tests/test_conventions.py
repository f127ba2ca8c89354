"""How tagging, question answering and LAReQA are read and scored by default, against the official
code.

`golden/readings.json` holds what google-research/xtreme 838c13b makes of real files with the
tokenizer of `lab-xlmr`:

- `windows`: of `TASK SPLIT LANGUAGE` at max_seq_length 128 and 48, the number of windows, of tagged
  words, and a digest of every window's ids and of the places of its words' first pieces:
  `udpos_tokenize_preprocess` and `panx_tokenize_preprocess` of utils_preprocess.py, then
  `convert_examples_to_features` of third_party/utils_tag.py as run_tag.py calls it for XLM-R. The
  fast tokenizer stood in for the slow one, whose model file isn't at hand;
- `lareqa`: by language the questions and candidates that third_party/evaluate_retrieval.py encodes,
  and what `mean_avg_prec_at_k` gives for vectors drawn from each sequence of ids.

Question answering is compared with `compute_predictions_logits` of the installed transformers
itself."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_golden import keys_of, open_recipe
from test_run import xitt
from transformers.data.metrics.squad_metrics import compute_predictions_logits

from adapters_xitt import tasks
from adapters_xitt.api import common
from adapters_xitt.data.dataset import Sources
from adapters_xitt.data.features import Features, Lengths
from adapters_xitt.data.readers.tagging import tags_tsv
from adapters_xitt.kinds import decoding, qa
from adapters_xitt.kinds.encoding import encode
from adapters_xitt.kinds.qa import _most_context
from adapters_xitt.kinds.record import HeadOutputs
from adapters_xitt.model import pretrained
from adapters_xitt.study.store import Store
from adapters_xitt.tasks.conventions import (
    BEST_OF_ALL,
    BEST_OF_CONTEXT,
    FULL_WINDOWS,
    XTREME_WINDOWS,
)

GOLDEN = json.loads((Path(__file__).parent / "golden" / "readings.json").read_text())


@pytest.fixture(scope="module")
def lab(encoders_dir):
    return pretrained.load_tokenizer(pretrained.inspect(str(encoders_dir / "lab-xlmr")))


def short(values) -> str:
    """A digest of JSON values, one after another."""
    sha = hashlib.sha256()
    for value in values:
        sha.update(json.dumps(value, separators=(",", ":")).encode())
    return sha.hexdigest()[:16]


# -- tagging


def test_tagging_windows_are_xtremes_on_real_files(lab, data_dir) -> None:
    for name, golden in GOLDEN["windows"].items():
        task, split, language = name.split()
        rows = tags_tsv(
            data_dir / "xtreme" / task / f"{split}-{language}.tsv", split=split, labels=None
        ).rows
        for most, (count, words, digest) in golden.items():
            features = encode("tagging", rows, tokenizer=lab, lengths=Lengths(int(most)))
            windows = [
                [ids, [place for place, word in enumerate(column) if word >= 0]]
                for ids, column in zip(
                    features.columns["ids"].tolist(), features.columns["word"].tolist(), strict=True
                )
            ]
            assert (len(features), sum(len(firsts) for _, firsts in windows)) == (
                count,
                words,
            ), name
            assert short(windows) == digest, name


def test_the_windows_of_tagging_have_names(lab) -> None:
    """125 pieces and two `</s>` of 128, or 126 and one; a word that fits no window is `<unk>`, or
    its first pieces."""
    assert tasks.task("udpos").readings == (XTREME_WINDOWS, FULL_WINDOWS)
    row = {"id": "0", "words": [*["a"] * 126, "b" * 400], "tags": None}
    for reading, room, ending in ((XTREME_WINDOWS, 125, [2, 2]), (FULL_WINDOWS, 126, [2])):
        features = encode("tagging", [row], tokenizer=lab, lengths=Lengths(128), reading=reading)
        first, last = features.columns["ids"].tolist()[0], features.columns["ids"].tolist()[-1]
        assert len(first) == room + 1 + len(ending) == 128 and first[-len(ending) :] == ending
        assert (last[-len(ending) - 1] == lab.unk_token_id) == (reading is XTREME_WINDOWS)
        assert sum(features.columns["weight"].tolist()) == 127


# -- LAReQA


def vector(ids: list[int]) -> np.ndarray:
    draw = random.Random(hashlib.sha256(json.dumps(ids).encode()).hexdigest())
    found = np.array([draw.random() - 0.5 for _ in range(16)])
    return found / np.linalg.norm(found)


def test_lareqa_reads_and_scores_as_xtreme_r_does(lab, data_dir) -> None:
    row, scores = tasks.task("lareqa"), []
    lengths = Lengths(**{**Lengths().record(), **row.lengths})
    for language, golden in GOLDEN["lareqa"]["languages"].items():
        rows = Sources(data_dir).test(row, language).rows
        features = encode("ranking", rows, tokenizer=lab, lengths=lengths, reading=row.reading())
        ids = features.columns["ids"].tolist()
        count, sentences = golden["questions"], golden["candidates"]
        for name, part in (
            ("questions", ids[:count]),
            ("candidates", ids[count : count + sentences]),
        ):
            sha = hashlib.sha256("".join(json.dumps(one) for one in part).encode())
            assert sha.hexdigest()[:16] == golden[f"{name}_sha"], (language, name)
        said = HeadOutputs(row, language, rows, features, [vector(one) for one in ids])
        scores.append(decoding.decode(said).scores["map@20"])
    assert sum(scores) / len(scores) == pytest.approx(100 * GOLDEN["lareqa"]["map"], abs=1e-9)


def test_lareqas_sentence_alone_has_a_name(lab) -> None:
    rows = [
        {"id": "q", "side": "query", "text": "where ?"},
        {"id": "c", "side": "candidate", "text": "In Rome.", "context": "He lives.\nIn Rome."},
    ]
    both, alone = (
        encode("ranking", rows, tokenizer=lab, lengths=Lengths(), reading=reading)
        for reading in tasks.task("lareqa").readings
    )
    assert both.columns["ids"].tolist()[1] == lab("In Rome.He lives.In Rome.")["input_ids"]
    assert (
        alone.columns["ids"].tolist()[1] == lab("In Rome.")["input_ids"]
        and alone.columns["ids"].tolist()[0] == both.columns["ids"].tolist()[0]
    )


# -- question answering


def question(
    draw: np.random.Generator, number: int
) -> tuple[dict, list[SimpleNamespace], list[dict]]:
    """A question whose context is words of one token each, in windows: its row, transformers'
    their_features, our columns.

    The `<s>` and the question often have the greatest logits, where the two conventions part."""
    words = [f"w{n}" for n in range(int(draw.integers(3, 70)))]
    asked, room, stride = (
        int(draw.integers(1, 30)),
        int(draw.integers(12, 40)),
        int(draw.integers(4, 12)),
    )
    row = {"id": f"q{number}", "question": "?", "context": " ".join(words), "answers": []}
    starts = np.cumsum([0, *(len(word) + 1 for word in words)])
    their_features, columns, first = [], [], 0
    while True:
        inside = range(first, min(first + room, len(words)))
        before = asked + 3
        spans = (
            [(-1, -1)] * before
            + [(int(starts[n]), int(starts[n]) + len(words[n])) for n in inside]
            + [(-1, -1)]
        )
        logits = draw.normal(size=(2, len(spans))).astype(np.float32)
        logits[:, :before] += float(draw.choice([-3.0, 0.0, 4.0]))
        columns.append({"offsets": spans, "logits": logits})
        their_features.append(
            SimpleNamespace(
                example_index=number,
                unique_id=f"{number}.{len(their_features)}",
                tokens=["x"] * before + [words[n] for n in inside] + ["x"],
                token_to_orig_map={before + place: n for place, n in enumerate(inside)},
            )
        )
        if inside.stop == len(words):
            return row, their_features, columns
        first += stride


def test_answers_are_those_of_transformers() -> None:
    """500 questions under SQuAD v1.1 and v2.0."""
    draw = np.random.default_rng(5)
    rows, their_features, columns, examples = [], [], [], []
    for number in range(500):
        row, own, parts = question(draw, number)
        rows.append(row)
        examples += [number] * len(parts)
        their_features += own
        columns += parts
    opened = _most_context([one["offsets"] for one in columns], examples)
    for feature, marks in zip(their_features, opened, strict=True):
        feature.token_is_max_context = {place: bool(mark) for place, mark in enumerate(marks)}
    said = [one["logits"] for one in columns]
    results = [
        SimpleNamespace(
            unique_id=feature.unique_id,
            start_logits=logits[0].tolist(),
            end_logits=logits[1].tolist(),
        )
        for feature, logits in zip(their_features, said, strict=True)
    ]
    known = [SimpleNamespace(qas_id=row["id"], doc_tokens=row["context"].split()) for row in rows]
    spelled = SimpleNamespace(convert_tokens_to_string=" ".join)
    differ = 0
    for name in ("squad", "squad2"):
        unanswerable = tasks.task(name).unanswerable
        official = compute_predictions_logits(
            known,
            their_features,
            results,
            20,
            30,
            False,
            None,
            None,
            None,
            False,
            unanswerable,
            0.0,
            spelled,
        )
        texts = {}
        for reading in (BEST_OF_ALL, BEST_OF_CONTEXT):
            features = Features(
                {
                    "ids": [[0] * len(marks) for marks in opened],
                    "example": examples,
                    "open": opened,
                    "offsets": [one["offsets"] for one in columns],
                },
                len(rows),
                None,
                reading,
            )
            items, *_ = qa.decode(HeadOutputs(tasks.task(name), "en", rows, features, said))
            texts[reading.name] = {item["id"]: item["text"] for item in items}
        assert texts["best-of-all"] == official
        differ += sum(texts["best-of-context"][key] != text for key, text in official.items())
        assert ("" if unanswerable else qa.NO_SPAN) in official.values()
    assert differ > 50


# -- asked for


def test_a_convention_enters_the_keys_of_what_it_reads_where_it_is_no_default(tmp_path) -> None:
    plain = open_recipe("numbers", tmp_path)
    recipe = [
        Path(__file__).parent / "golden" / "numbers.yaml",
        [
            f"encoder={tmp_path / 'encoder'}",
            f"data.root={Path(__file__).parent / 'golden' / 'data'}",
        ],
    ]
    plans = [
        common.open_recipe(
            recipe[0], [*recipe[1], f"tasks.demo-pos.convention={name}"], tmp_path / "store"
        )
        for name in ("xtreme-windows", "full-windows")
    ]
    before, same, other = (keys_of(work) for work in (plain, *plans))
    assert same == before
    kept = set(before) & set(other)
    assert kept and all(
        "demo-pos" not in before[key] and "mixed" not in before[key] for key in kept
    )
    changed = [title for key, title in before.items() if key not in other]
    assert any(title.startswith("demo-pos,") for title in changed) and any(
        "demo-pos | de" in one for one in changed
    )


def test_all_conventions_are_scored_and_named(pico_dir, tmp_path) -> None:
    own = (
        "--encoder",
        pico_dir,
        "--data",
        Path(__file__).parent / "golden" / "data",
        "--store",
        tmp_path / "store",
        "--device",
        "cpu",
    )
    caps = (
        "training.max_steps=2",
        "training.batch_size=4",
        "lengths.max_length=24",
        "lengths.stride=6",
        "lengths.question=8",
    )
    for task, names in (
        ("demo-pos", ("xtreme-windows", "full-windows")),
        ("demo-qa", ("best-of-all", "best-of-context")),
    ):
        xitt("train", task, "--method", "lora", "--name", task[5:], *own, *caps)
        printed = xitt(
            "evaluate", task[5:], task, "--language", "de", "--conventions", "all", *own, *caps[2:]
        )
        found = {
            one.cell.convention
            for one in Store(tmp_path / "store").results()
            if one.cell.task == task
        }
        assert len(found) == 2 and all(any(name in text for text in found) for name in names)
        assert all(name.split("-")[0] in printed for name in names)
