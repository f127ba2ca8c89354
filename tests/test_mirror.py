"""Data sets of a hub, imitated on the loopback, become the origins' own files: the same rows from both sources."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_shop import Shop

from adapters_xitt import mirror
from adapters_xitt.errors import DataError, XittError
from adapters_xitt.mirror.table import NER, TATOEBA, TREEBANKS, UPOS
from adapters_xitt.sources import Override, Sources
from adapters_xitt.tasks import TASKS

Row = dict[str, Any]
NLI = ["entailment", "neutral", "contradiction"]  # the hub's order, not jiant's


@pytest.fixture
def shop() -> Iterator[Shop]:
    found = Shop()
    yield found
    found.close()


def parquet(rows: list[Row], **names: list[str]) -> bytes:
    """Rows as `datasets` writes them; `names`: the columns of labels with their names in the hub's order."""
    import datasets

    guessed = datasets.Dataset.from_list(rows)
    features = guessed.features.copy()
    for column, found in names.items():
        one = datasets.ClassLabel(names=found)
        features[column] = datasets.Sequence(one) if isinstance(rows[0][column], list) else one
    file = io.BytesIO()
    datasets.Dataset.from_list(rows, features=features).to_parquet(file)
    return file.getvalue()


def pushed(config: str, split: str, body: bytes) -> dict[str, bytes]:
    return {f"{config}/{split}-00000-of-00001.parquet": body}


def original(root: Path, task: str, split: str, language: str, **override: Any) -> list[Row]:
    """The rows of an origin's file."""
    return list(Sources(root, {task: Override(test=split, **override)}).test(TASKS[task], language).rows)


def fetched(shop: Shop, tmp_path: Path, *words: str) -> Path:
    ran = shop.xitt("data", "fetch", *words, "--to", tmp_path / "data", home=tmp_path / "home")
    assert ran.returncode == 0, ran.stderr[-3000:]
    return tmp_path / "data"


def refused(shop: Shop, tmp_path: Path, *words: str) -> str:
    ran = shop.xitt("data", "fetch", *words, "--to", tmp_path / "data", home=tmp_path / "home")
    assert ran.returncode == 2 and "Traceback" not in ran.stderr, ran.stderr[-3000:]
    found = tmp_path / "data"
    if found.exists():
        assert not list(found.rglob("*.part"))
    return ran.stderr


def questions(path: Path) -> list[Row]:
    """The hub's rows of a SQuAD file."""
    return [{"id": qa["id"], "title": article.get("title", ""), "context": paragraph["context"],
             "question": qa["question"],
             "answers": {"text": [one["text"] for one in qa["answers"]],
                         "answer_start": [one["answer_start"] for one in qa["answers"]]}}
            for article in json.loads(path.read_text(encoding="utf-8"))["data"]
            for paragraph in article["paragraphs"] for qa in paragraph["qas"]]


# -- the same rows from both sources, task by task: what the hub serves is made of the real files


def pairs(data: Path, task: str, split: str, language: str, a: str, b: str, names: list[str]) -> bytes:
    order = TASKS[task].labels
    rows = [{a: row["a"], b: row["b"], "label": names.index(order[row["label"]])}
            for row in original(data, task, split, language)]
    return parquet(rows, label=names)


def tagged(data: Path, task: str, split: str, language: str, column: str, names: list[str]) -> bytes:
    order = TASKS[task].labels
    return parquet([{"tokens": row["words"], column: [names.index(order[tag]) for tag in row["tags"]],
                     "langs": [language] * len(row["words"])} for row in original(data, task, split, language)],
                   **{column: names})


def serve_xnli(shop: Shop, data: Path) -> list[tuple[str, str]]:
    for language in ("de", "sw", "th"):
        for split, hubs in (("dev", "validation"), ("test", "test")):
            shop.put("facebook/xnli", pushed(language, hubs, pairs(data, "xnli", split, language, "premise",
                                                                   "hypothesis", NLI)))
    return [(split, language) for split in ("dev", "test") for language in ("de", "sw", "th")]


def serve_pawsx(shop: Shop, data: Path) -> list[tuple[str, str]]:
    for language, splits in {"de": ("dev", "test"), "zh": ("dev", "test"), "en": ("dev",)}.items():
        for split in splits:
            body = pairs(data, "pawsx", split, language, "sentence1", "sentence2", ["0", "1"])
            shop.put("google-research-datasets/paws-x", pushed(language, split.replace("dev", "validation"), body))
            if language == "en":  # there is no English training file here
                shop.put("google-research-datasets/paws-x", pushed(language, "train", body))
    return [(split, language) for split in ("dev", "test") for language in ("de", "zh")]


def serve_udpos(shop: Shop, data: Path) -> list[tuple[str, str]]:
    for language, splits in {"en": ("train", "dev", "test"), "ta": ("dev", "test"), "yo": ("test",)}.items():
        for split in splits:
            shop.put("google/xtreme", pushed(f"udpos.{TREEBANKS[language]}", split.replace("dev", "validation"),
                                             tagged(data, "udpos", split, language, "pos_tags", list(UPOS))))
    return [("train", "en"), ("dev", "en"), ("test", "en"), ("dev", "ta"), ("test", "ta"), ("test", "yo")]


def serve_panx(shop: Shop, data: Path) -> list[tuple[str, str]]:
    for language, splits in {"en": ("train", "dev"), "sw": ("dev",)}.items():
        for split in splits:
            body = tagged(data, "panx", split, language, "ner_tags", list(NER))
            shop.put("google/xtreme", pushed(f"PAN-X.{language}", split.replace("dev", "validation"), body))
            if split == "dev":  # there are no test labels here
                shop.put("google/xtreme", pushed(f"PAN-X.{language}", "test", body))
    return [("train", "en"), ("dev", "en"), ("dev", "sw")]


def serve_xquad(shop: Shop, data: Path) -> list[tuple[str, str]]:
    for language in ("de", "zh"):
        rows = questions(data / f"xtreme_labels/xquad/test-{language}.json")
        shop.put("google/xquad", pushed(f"xquad.{language}", "validation",
                                        parquet([{name: row[name] for name in row if name != "title"} for row in rows])))
    return [("test", "de"), ("test", "zh")]


def serve_mlqa(shop: Shop, data: Path) -> list[tuple[str, str]]:
    for language in ("de", "hi"):
        body = parquet(questions(data / f"mlqa/MLQA_V1/dev/dev-context-{language}-question-{language}.json"))
        for split in ("validation", "test"):  # there is no test of one language here
            shop.put("google/xtreme", pushed(f"MLQA.{language}.{language}", split, body))
    return [("dev", "de"), ("dev", "hi")]


def serve_tydiqa(shop: Shop, data: Path) -> list[tuple[str, str]]:
    """All languages in one file, told by the ids' prefix."""
    train, test = [], []
    for code, name in (("ko", "korean"), ("en", "english"), ("sw", "swahili")):
        folder = data / "xtreme/tydiqa/tydiqa-goldp-v1.1-train"
        train += [row | {"id": f"{name}-{n}-{row['id']}"}
                  for n, row in enumerate(questions(folder / f"tydiqa.goldp.{code}.train.json"))]
        found = questions(data / f"xtreme_labels/tydiqa/test-{code}.json")
        assert all(row["id"].startswith(f"{name}-") for row in found)
        test += found
    shop.put("google/xtreme", {**pushed("tydiqa", "train", parquet(train)),
                               **pushed("tydiqa", "validation", parquet(test))})
    return [("train", "en"), ("test", "en"), ("test", "ko"), ("test", "sw")]


def serve_tatoeba(shop: Shop, data: Path) -> list[tuple[str, str]]:
    """As the hub has it: in LASER's order, each sentence with the end of its line."""
    for language in ("de", "te"):
        rows = original(data, "tatoeba", "test", language, options={"inverse": True})
        english = {row["gold"]: row["query"] for row in rows}
        shop.put("google/xtreme", pushed(f"tatoeba.{TATOEBA[language]}", "validation", parquet([
            {"source_sentence": row["candidate"] + "\n", "target_sentence": english[n] + "\n",
             "source_lang": TATOEBA[language], "target_lang": "eng"} for n, row in enumerate(rows)])))
    return [("test", "de"), ("test", "te")]


def serve_xcopa(shop: Shop, data: Path) -> list[tuple[str, str]]:
    for language in ("et", "qu"):
        for split, hubs in (("val", "validation"), ("test", "test")):
            lines = (data / f"xcopa/data/{language}/{split}.{language}.jsonl").read_text("utf-8").splitlines()
            shop.put("cambridgeltl/xcopa", pushed(language, hubs, parquet([json.loads(line) for line in lines])))
    return [(split, language) for split in ("dev", "test") for language in ("et", "qu")]


def serve_copa(shop: Shop, data: Path) -> list[tuple[str, str]]:
    for split in ("train", "val"):
        lines = (data / f"xtreme/xcopa/{split}-en.jsonl").read_text("utf-8").splitlines()
        kept = [{name: row[name] for name in ("premise", "choice1", "choice2", "question", "idx", "label")}
                for row in map(json.loads, lines)]
        shop.put("aps/super_glue", pushed("copa", split.replace("val", "validation"),
                                          parquet(kept, label=["choice1", "choice2"])))
    return [("train", "en"), ("dev", "en")]


def serve_cosmosqa(shop: Shop, data: Path) -> list[tuple[str, str]]:
    """Where main has a script only, the hub's own conversion is read."""
    import csv

    with (data / "cosmosqa/data/valid.csv").open(encoding="utf-8", newline="") as file:
        rows = [row | {"label": int(row["label"])} for row in csv.DictReader(file)]
    shop.put("allenai/cosmos_qa", {"cosmos_qa.py": b"raise SystemExit(7)", "README.md": b"#"})
    for split in ("train", "validation"):
        shop.put("allenai/cosmos_qa", {f"default/{split}/0000.parquet": parquet(rows)}, branch="refs/convert/parquet")
    return [("dev", "en")]


def serve_socialiqa(shop: Shop, data: Path) -> list[tuple[str, str]]:
    texts = (data / "socialiqa/dev.jsonl").read_text("utf-8").splitlines()
    golds = (data / "socialiqa/dev-labels.lst").read_text("utf-8").split()
    rows = [{**{name: row[name] for name in ("context", "question", "answerA", "answerB", "answerC")}, "label": gold}
            for row, gold in zip(map(json.loads, texts), golds, strict=True)]
    for split in ("train", "validation"):
        shop.put("lighteval/siqa", {f"data/{split}-00000-of-00001-90bb85eab85fcfa8.parquet": parquet(rows)})
    return [("dev", "en")]


SERVED = {"xnli": serve_xnli, "pawsx": serve_pawsx, "udpos": serve_udpos, "panx": serve_panx, "xquad": serve_xquad,
          "mlqa": serve_mlqa, "tydiqa": serve_tydiqa, "tatoeba": serve_tatoeba, "xcopa": serve_xcopa,
          "copa": serve_copa, "cosmosqa": serve_cosmosqa, "socialiqa": serve_socialiqa}


@pytest.mark.parametrize("task", SERVED)
def test_both_sources_give_the_same_rows(shop, data_dir, tmp_path, task):
    cells = SERVED[task](shop, data_dir)
    languages = dict.fromkeys(language for _, language in cells)
    root = fetched(shop, tmp_path, task, *(word for code in languages for word in ("--language", code)))
    record = json.loads((root / mirror.RECORD).read_text(encoding="utf-8"))
    for split, language in cells:
        inverse = {"options": {"inverse": True}} if task == "tatoeba" else {}  # the shared folder's labels are
        want, got = original(data_dir, task, split, language, **inverse), original(root, task, split, language)
        if task == "xquad":  # the hub has no titles
            want, got = ([{**row, "group": ""} for row in rows] for rows in (want, got))
        assert got == want and len(got) > 20
    for name, found in record["files"].items():
        assert (root / name).is_file() and found["rows"] > 0
        assert {part["revision"] for part in found["parts"]} <= set(record["pins"][task].values())
    assert {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} == {
        *record["files"], mirror.RECORD}
    assert not any(path.endswith(".py") for path in shop.downloads()), "nothing but Parquet is downloaded"
