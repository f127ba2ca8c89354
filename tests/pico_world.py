"""Small files of four tasks in the origins' formats, in the pico encoder's words, and a recipe over
them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pico

LANGUAGES = ("en", "de", "fi")
RECIPE = """# Does a small grid finish?
encoder: {encoder}
data: {{root: {root}}}
methods:
  - {{name: seq_bn, reduction: 4, learning_rate: 1.0e-2}}
  - {{name: lora, learning_rate: 1.0e-2}}
intermediates: [demo-nli]
targets: [demo-pairs, demo-pos, demo-retrieval]
modes: [none, sequential, stack, sum]
languages: [en, de, fi]
seeds: [1, 2]
lengths: {{max_length: 40, stride: 8, question: 8}}
training: {{batch_size: 8, max_steps: 12, evaluate_every: 4, selection_examples: 12, tokens: 160}}
"""


def write(folder: Path) -> Path:
    """The data folder."""
    for name, labels in (
        ("demo-nli", ("contradiction", "neutral", "entailment")),
        ("demo-pairs", ("0", "1", "1")),
    ):
        for split, count in (("train", 40), ("dev", 12)):
            _pairs(folder / name / f"{split}-en.tsv", count, labels, seed=len(name) + count)
        for at, language in enumerate(LANGUAGES):
            _pairs(folder / name / f"test-{language}.tsv", 15, labels, seed=100 + at)
    for split, count in (("train", 40), ("dev", 12)):
        _conllu(folder / "demo-pos" / f"{split}-en.conllu", split, count, seed=count)
    for at, language in enumerate(LANGUAGES):
        _conllu(folder / "demo-pos" / f"test-{language}.conllu", "test", 15, seed=200 + at)
        found = pico.rows("retrieval", 12, seed=300 + at)
        both = folder / "demo-retrieval" / f"{language}-eng"
        _lines(
            both.with_suffix(f".{language}"),
            [f"{n} {row['candidate']}" for n, row in enumerate(found)],
        )
        _lines(
            both.with_suffix(".eng"), [f"{12 - n} {row['query']}" for n, row in enumerate(found)]
        )
    for split, count in (("train", 16), ("dev", 6)):
        _questions(folder / "demo-qa" / f"{split}-en.json", split, count)
    for language in LANGUAGES:
        _questions(folder / "demo-qa" / f"test-{language}.json", "test", 8)
    return folder


def recipe(path: Path, encoder: Path, root: Path, *, extra: str = "") -> Path:
    """The recipe's file."""
    path.write_text(RECIPE.format(encoder=encoder, root=root) + extra, encoding="utf-8")
    return path


def _pairs(path: Path, count: int, labels: tuple[str, ...], *, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = pico.rows("pair", count, seed=seed)
        csv.writer(file, delimiter="\t").writerows(
            [row["a"], row["b"], labels[row["label"]]] for row in rows
        )


def _conllu(path: Path, split: str, count: int, *, seed: int) -> None:
    labels = pico.TASKS["tagging"].labels
    found = []
    for n, row in enumerate(pico.rows("tagging", count, seed=seed)):
        found += [f"# sent_id = {split}-{n}", f"# text = {' '.join(row['words'])}"]
        found += [
            f"{at}\t{word}\t_\t{labels[tag]}" + "\t_" * 6
            for at, (word, tag) in enumerate(zip(row["words"], row["tags"], strict=True), 1)
        ]
        found.append("")
    _lines(path, found)


def _questions(path: Path, split: str, count: int) -> None:
    paragraphs = [
        {
            "context": row["context"],
            "qas": [
                {
                    "id": f"{split}-{n}",
                    "question": row["question"],
                    "answers": [
                        {"text": answer["text"], "answer_start": answer["start"]}
                        for answer in row["answers"]
                    ],
                }
            ],
        }
        for n, row in enumerate(pico.rows("qa", count, seed=len(split)))
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"version": "1.1", "data": [{"title": split, "paragraphs": paragraphs}]})
    )


def _lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
