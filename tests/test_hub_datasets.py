"""Data sets of a hub, imitated on the loopback, become the origins' own files: the same rows from
both sources."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hub_shop import Shop

from adapters_xitt import sizes
from adapters_xitt.data import hub_datasets
from adapters_xitt.data.dataset import Override, Sources
from adapters_xitt.data.hub_datasets.labels import NER, TATOEBA, TREEBANKS, UPOS
from adapters_xitt.errors import DataError, XittError
from adapters_xitt.tasks import TASKS

Row = dict[str, Any]
NLI = ["entailment", "neutral", "contradiction"]  # the hub's order, not jiant's


@pytest.fixture
def shop() -> Iterator[Shop]:
    found = Shop()
    yield found
    found.close()


def parquet(rows: list[Row], **names: list[str]) -> bytes:
    """Rows as `datasets` writes them; `names`: the columns of labels with their names in the hub's
    order."""
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
    return list(
        Sources(root, {task: Override(test=split, **override)}).test(TASKS[task], language).rows
    )


def fetched(shop: Shop, tmp_path: Path, *words: str) -> Path:
    ran = shop.xitt("data", "fetch", *words, "--to", tmp_path / "data", home=tmp_path / "home")
    assert ran.returncode == 0, ran.stderr[-3000:]
    return tmp_path / "data"


def refused(shop: Shop, tmp_path: Path, *words: str) -> str:
    ran = shop.xitt("data", "fetch", *words, "--to", tmp_path / "data", home=tmp_path / "home")
    assert ran.returncode == 2 and "Traceback" not in ran.stderr, ran.stderr[-3000:]
    found = tmp_path / "data"
    if found.exists():
        assert not list(found.rglob(".*"))
    return ran.stderr


def questions(path: Path) -> list[Row]:
    """The hub's rows of a SQuAD file."""
    return [
        {
            "id": qa["id"],
            "title": article.get("title", ""),
            "context": paragraph["context"],
            "question": qa["question"],
            "answers": {
                "text": [one["text"] for one in qa["answers"]],
                "answer_start": [one["answer_start"] for one in qa["answers"]],
            },
        }
        for article in json.loads(path.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    ]


# -- the same rows from both sources, task by task: what the hub serves is made of the real files


def pairs(
    data: Path, task: str, split: str, language: str, a: str, b: str, names: list[str]
) -> bytes:
    order = TASKS[task].labels
    rows = [
        {a: row["a"], b: row["b"], "label": names.index(order[row["label"]])}
        for row in original(data, task, split, language)
    ]
    return parquet(rows, label=names)


def tagged(
    data: Path, task: str, split: str, language: str, column: str, names: list[str]
) -> bytes:
    order = TASKS[task].labels
    return parquet(
        [
            {
                "tokens": row["words"],
                column: [names.index(order[tag]) for tag in row["tags"]],
                "langs": [language] * len(row["words"]),
            }
            for row in original(data, task, split, language)
        ],
        **{column: names},
    )


def serve_xnli(shop: Shop, data: Path) -> list[tuple[str, str]]:
    for language in ("de", "sw", "th"):
        for split, hubs in (("dev", "validation"), ("test", "test")):
            shop.put(
                "facebook/xnli",
                pushed(
                    language,
                    hubs,
                    pairs(data, "xnli", split, language, "premise", "hypothesis", NLI),
                ),
            )
    return [(split, language) for split in ("dev", "test") for language in ("de", "sw", "th")]


def serve_pawsx(shop: Shop, data: Path) -> list[tuple[str, str]]:
    for language, splits in {"de": ("dev", "test"), "zh": ("dev", "test"), "en": ("dev",)}.items():
        for split in splits:
            body = pairs(data, "pawsx", split, language, "sentence1", "sentence2", ["0", "1"])
            shop.put(
                "google-research-datasets/paws-x",
                pushed(language, split.replace("dev", "validation"), body),
            )
            if language == "en":  # there is no English training file here
                shop.put("google-research-datasets/paws-x", pushed(language, "train", body))
    return [(split, language) for split in ("dev", "test") for language in ("de", "zh")]


def serve_udpos(shop: Shop, data: Path) -> list[tuple[str, str]]:
    for language, splits in {
        "en": ("train", "dev", "test"),
        "ta": ("dev", "test"),
        "yo": ("test",),
    }.items():
        for split in splits:
            shop.put(
                "google/xtreme",
                pushed(
                    f"udpos.{TREEBANKS[language]}",
                    split.replace("dev", "validation"),
                    tagged(data, "udpos", split, language, "pos_tags", list(UPOS)),
                ),
            )
    return [
        ("train", "en"),
        ("dev", "en"),
        ("test", "en"),
        ("dev", "ta"),
        ("test", "ta"),
        ("test", "yo"),
    ]


def serve_panx(shop: Shop, data: Path) -> list[tuple[str, str]]:
    for language, splits in {"en": ("train", "dev"), "sw": ("dev",)}.items():
        for split in splits:
            body = tagged(data, "panx", split, language, "ner_tags", list(NER))
            shop.put(
                "google/xtreme",
                pushed(f"PAN-X.{language}", split.replace("dev", "validation"), body),
            )
            if split == "dev":  # there are no test labels here
                shop.put("google/xtreme", pushed(f"PAN-X.{language}", "test", body))
    return [("train", "en"), ("dev", "en"), ("dev", "sw")]


def serve_xquad(shop: Shop, data: Path) -> list[tuple[str, str]]:
    for language in ("de", "zh"):
        rows = questions(data / f"xtreme_labels/xquad/test-{language}.json")
        bare = [{name: row[name] for name in row if name != "title"} for row in rows]
        shop.put("google/xquad", pushed(f"xquad.{language}", "validation", parquet(bare)))
    return [("test", "de"), ("test", "zh")]


def serve_mlqa(shop: Shop, data: Path) -> list[tuple[str, str]]:
    for language in ("de", "hi"):
        body = parquet(
            questions(data / f"mlqa/MLQA_V1/dev/dev-context-{language}-question-{language}.json")
        )
        for split in ("validation", "test"):  # there is no test of one language here
            shop.put("google/xtreme", pushed(f"MLQA.{language}.{language}", split, body))
    return [("dev", "de"), ("dev", "hi")]


def serve_tydiqa(shop: Shop, data: Path) -> list[tuple[str, str]]:
    """All languages in one file, told by the ids' prefix."""
    train, test = [], []
    for code, name in (("ko", "korean"), ("en", "english"), ("sw", "swahili")):
        folder = data / "xtreme/tydiqa/tydiqa-goldp-v1.1-train"
        train += [
            row | {"id": f"{name}-{n}-{row['id']}"}
            for n, row in enumerate(questions(folder / f"tydiqa.goldp.{code}.train.json"))
        ]
        found = questions(data / f"xtreme_labels/tydiqa/test-{code}.json")
        assert all(row["id"].startswith(f"{name}-") for row in found)
        test += found
    shop.put(
        "google/xtreme",
        {
            **pushed("tydiqa", "train", parquet(train)),
            **pushed("tydiqa", "validation", parquet(test)),
        },
    )
    return [("train", "en"), ("test", "en"), ("test", "ko"), ("test", "sw")]


def serve_tatoeba(shop: Shop, data: Path) -> list[tuple[str, str]]:
    """As the hub has it: in LASER's order, each sentence with the end of its line."""
    for language in ("de", "te"):
        rows = original(data, "tatoeba", "test", language, options={"inverse": True})
        english = {row["gold"]: row["query"] for row in rows}
        shop.put(
            "google/xtreme",
            pushed(
                f"tatoeba.{TATOEBA[language]}",
                "validation",
                parquet(
                    [
                        {
                            "source_sentence": row["candidate"] + "\n",
                            "target_sentence": english[n] + "\n",
                            "source_lang": TATOEBA[language],
                            "target_lang": "eng",
                        }
                        for n, row in enumerate(rows)
                    ]
                ),
            ),
        )
    return [("test", "de"), ("test", "te")]


def serve_xcopa(shop: Shop, data: Path) -> list[tuple[str, str]]:
    for language in ("et", "qu"):
        for split, hubs in (("val", "validation"), ("test", "test")):
            lines = (
                (data / f"xcopa/data/{language}/{split}.{language}.jsonl")
                .read_text("utf-8")
                .splitlines()
            )
            shop.put(
                "cambridgeltl/xcopa",
                pushed(language, hubs, parquet([json.loads(line) for line in lines])),
            )
    return [(split, language) for split in ("dev", "test") for language in ("et", "qu")]


def serve_copa(shop: Shop, data: Path) -> list[tuple[str, str]]:
    for split in ("train", "val"):
        lines = (data / f"xtreme/xcopa/{split}-en.jsonl").read_text("utf-8").splitlines()
        kept = [
            {
                name: row[name]
                for name in ("premise", "choice1", "choice2", "question", "idx", "label")
            }
            for row in map(json.loads, lines)
        ]
        shop.put(
            "aps/super_glue",
            pushed(
                "copa",
                split.replace("val", "validation"),
                parquet(kept, label=["choice1", "choice2"]),
            ),
        )
    return [("train", "en"), ("dev", "en")]


def serve_cosmosqa(shop: Shop, data: Path) -> list[tuple[str, str]]:
    """Where main has a script only, the hub's own conversion is read."""
    import csv

    with (data / "cosmosqa/data/valid.csv").open(encoding="utf-8", newline="") as file:
        rows = [row | {"label": int(row["label"])} for row in csv.DictReader(file)]
    shop.put("allenai/cosmos_qa", {"cosmos_qa.py": b"raise SystemExit(7)", "README.md": b"#"})
    for split in ("train", "validation"):
        shop.put(
            "allenai/cosmos_qa",
            {f"default/{split}/0000.parquet": parquet(rows)},
            branch="refs/convert/parquet",
        )
    return [("dev", "en")]


def serve_socialiqa(shop: Shop, data: Path) -> list[tuple[str, str]]:
    rows = [
        {
            **{
                name: row[name] for name in ("context", "question", "answerA", "answerB", "answerC")
            },
            "label": str("ABC".index(row["correct"]) + 1),
        }
        for row in map(json.loads, (data / "socialiqa/dev.jsonl").read_text("utf-8").splitlines())
    ]
    for split in ("train", "validation"):
        shop.put(
            "lighteval/siqa",
            {f"data/{split}-00000-of-00001-90bb85eab85fcfa8.parquet": parquet(rows)},
        )
    return [("dev", "en")]


SERVED = {
    "xnli": serve_xnli,
    "pawsx": serve_pawsx,
    "udpos": serve_udpos,
    "panx": serve_panx,
    "xquad": serve_xquad,
    "mlqa": serve_mlqa,
    "tydiqa": serve_tydiqa,
    "tatoeba": serve_tatoeba,
    "xcopa": serve_xcopa,
    "copa": serve_copa,
    "cosmosqa": serve_cosmosqa,
    "socialiqa": serve_socialiqa,
}


@pytest.mark.parametrize("task", SERVED)
def test_both_sources_give_the_same_rows(shop, data_dir, tmp_path, task):
    cells = SERVED[task](shop, data_dir)
    languages = dict.fromkeys(language for _, language in cells)
    root = fetched(
        shop, tmp_path, task, *(word for code in languages for word in ("--language", code))
    )
    record = json.loads((root / hub_datasets.RECORD).read_text(encoding="utf-8"))
    for split, language in cells:
        # the shared folder's labels are
        inverse = {"options": {"inverse": True}} if task == "tatoeba" else {}
        want, got = (
            original(data_dir, task, split, language, **inverse),
            original(root, task, split, language),
        )
        if task == "xquad":  # the hub has no titles
            want, got = ([{**row, "group": ""} for row in rows] for rows in (want, got))
        assert got == want and len(got) > 20
    for name, found in record["files"].items():
        assert (root / name).is_file() and found["rows"] > 0
        assert {part["revision"] for part in found["parts"]} <= set(record["pins"][task].values())
    assert {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} == {
        *record["files"],
        hub_datasets.RECORD,
    }
    assert not any(path.endswith(".py") for path in shop.downloads()), (
        "nothing but Parquet is downloaded"
    )


def test_multiple_choice_that_lies_elsewhere_in_the_shared_folder(shop, data_dir, tmp_path):
    swag = data_dir / "hellaswag/hellaswag_val_subset.jsonl"
    common = next(iter(sorted(data_dir.glob("commonsenseqa/**/valid.jsonl"))), None)
    if not swag.exists() or common is None:
        pytest.skip("no HellaSwag or CommonsenseQA")
    rows = [
        row | {"label": str(row["label"])}
        for row in map(json.loads, swag.read_text("utf-8").splitlines())
    ]
    flat = [
        {
            "id": row["id"],
            "question": row["question"]["stem"],
            "question_concept": row["question"].get("question_concept", ""),
            "answerKey": row["answerKey"],
            "choices": {
                name: [one[name] for one in row["question"]["choices"]]
                for name in ("label", "text")
            },
        }
        for row in map(json.loads, common.read_text("utf-8").splitlines())
    ]
    for split in ("train", "validation"):
        shop.put("Rowan/hellaswag", pushed("data", split, parquet(rows)))
        shop.put("tau/commonsense_qa", pushed("data", split, parquet(flat)))
    root = fetched(shop, tmp_path, "hellaswag", "commonsenseqa")
    for task, path in (("hellaswag", swag), ("commonsenseqa", common)):
        assert original(root, task, "dev", "en") == original(
            data_dir, task, "dev", "en", files={"dev": str(path)}
        )


PREMISES = [
    {"premise": f"premise {n}", "hypothesis": f'a "quoted" {n}', "label": n % 3} for n in range(12)
]


def test_inference_of_several_repositories_is_joined(shop, tmp_path):
    unsure = [*PREMISES, {"premise": "p", "hypothesis": "h", "label": -1}]
    for split in ("train", "dev", "test"):
        for n in (1, 2, 3):
            rows = [{"uid": f"{split}{n}-{at}", **row} for at, row in enumerate(PREMISES[:n])]
            shop.put(
                "facebook/anli", pushed("plain_text", f"{split}_r{n}", parquet(rows, label=NLI))
            )
    for split in ("train", "validation", "test"):
        shop.put("stanfordnlp/snli", pushed("plain_text", split, parquet(unsure, label=NLI)))
    for split in ("train", "validation_matched", "validation_mismatched"):
        shop.put("nyu-mll/glue", pushed("mnli", split, parquet(PREMISES, label=NLI)))
    shop.put("facebook/xnli", pushed("en", "train", parquet(PREMISES, label=NLI)))
    questions = [
        {"question1": f"a{n}", "question2": 'b "', "label": n % 2, "idx": n} for n in range(9)
    ]
    for split in ("train", "validation"):
        shop.put(
            "nyu-mll/glue",
            pushed("qqp", split, parquet(questions, label=["not_duplicate", "duplicate"])),
        )
    root = fetched(shop, tmp_path, "anli-plus", "mnli", "qqp")
    both = Sources(root).select(TASKS["anli-plus"], "en", most=None)
    assert len(both.rows) == 1 + 2 + 3 + 12 + 12 and both.skipped == {"snli: no agreed label": 1}
    words = [TASKS["mnli"].labels[row["label"]] for row in original(root, "mnli", "dev", "en")]
    assert words == [NLI[row["label"]] for row in PREMISES]
    assert [row["b"] for row in original(root, "mnli", "train", "en")] == [
        row["hypothesis"] for row in PREMISES
    ]
    assert [(row["a"], row["b"], row["label"]) for row in original(root, "qqp", "dev", "en")] == [
        (f"a{n}", 'b "', n % 2) for n in range(9)
    ]


def test_squad_and_its_questions_without_answers(shop, tmp_path):
    context = "Ada wrote the first program in 1843."
    rows = [
        {
            "id": str(n),
            "title": f"t{n // 2}",
            "context": context,
            "question": f"who {n}?",
            "answers": {"text": ["Ada"] if n % 3 else [], "answer_start": [0] if n % 3 else []},
        }
        for n in range(6)
    ]
    for split in ("train", "validation"):
        shop.put(
            "rajpurkar/squad",
            pushed("plain_text", split, parquet([row for row in rows if int(row["id"]) % 3])),
        )
        shop.put("rajpurkar/squad_v2", pushed("squad_v2", split, parquet(rows)))
    root = fetched(shop, tmp_path, "squad", "squad2")
    assert [row["group"] for row in original(root, "squad", "dev", "en")] == [
        "t0",
        "t1",
        "t2",
        "t2",
    ]
    found = json.loads((root / "squad/dev-v2.0.json").read_text())["data"]
    told = {
        qa["id"]: qa["is_impossible"]
        for article in found
        for part in article["paragraphs"]
        for qa in part["qas"]
    }
    assert told == {str(n): n % 3 == 0 for n in range(6)}


# -- revisions


def small(shop: Shop, mark: str = "") -> str:
    """XCOPA in one language; the commit."""
    rows = [
        {
            "premise": f"premise {n} {mark}",
            "choice1": "a",
            "choice2": "b",
            "question": "cause",
            "label": n % 2,
            "idx": n,
            "changed": False,
        }
        for n in range(30)
    ]
    shop.put("cambridgeltl/xcopa", pushed("et", "validation", parquet(rows)))
    return shop.put("cambridgeltl/xcopa", pushed("et", "test", parquet(rows)))


ET = ("xcopa", "--language", "et")


def premise(root: Path) -> str:
    return original(root, "xcopa", "test", "et")[0]["prompt"]


def pins(root: Path) -> dict[str, Any]:
    return json.loads((root / hub_datasets.RECORD).read_text(encoding="utf-8"))["pins"]


def test_a_revision_is_kept_until_another_is_asked_for(shop, tmp_path):
    first = small(shop, "one")
    root = fetched(shop, tmp_path, *ET)
    assert pins(root) == {"xcopa": {"cambridgeltl/xcopa": first}}
    second = small(shop, "two")
    asked = len(shop.downloads())
    fetched(shop, tmp_path, *ET)
    assert "one" in premise(root) and len(shop.downloads()) == asked, (
        "what is there isn't fetched again"
    )
    (root / "xcopa/data/et/test.et.jsonl").unlink()
    fetched(shop, tmp_path, *ET)
    assert "one" in premise(root) and pins(root)["xcopa"] == {"cambridgeltl/xcopa": first}
    fetched(shop, tmp_path, f"xcopa@{second}", "--language", "et")
    assert "two" in premise(root) and pins(root)["xcopa"] == {"cambridgeltl/xcopa": second}
    fetched(shop, tmp_path, *ET, "--revision", f"cambridgeltl/xcopa={first}")
    assert "one" in premise(root)


def test_revisions_that_are_none(shop, tmp_path):
    small(shop)
    assert "all 40 digits" in refused(shop, tmp_path, "xcopa@main")
    assert "all 40 digits" in refused(
        shop, tmp_path, "xcopa", "--revision", "cambridgeltl/xcopa=main"
    )
    assert "unknown repository 'cambridgeltl/xcoba'. Did you mean 'cambridgeltl/xcopa'?" in refused(
        shop, tmp_path, "xcopa", "--revision", f"cambridgeltl/xcoba={'0' * 40}"
    ).replace("\n", " ")
    assert f"cambridgeltl/xcopa: the hub has no revision {'0' * 40}" in refused(
        shop, tmp_path, f"xcopa@{'0' * 40}"
    )
    assert "give --revision REPOSITORY=COMMIT" in refused(shop, tmp_path, f"mnli@{'0' * 40}")
    assert not (tmp_path / "data").exists()


# -- what is refused, before and after a download


def test_more_than_the_limit_is_refused_before_a_download(shop, tmp_path):
    small(shop)
    shop.sizes["et/test-00000-of-00001.parquet"] = 3_000_000_000
    assert "more than --most 2,000,000,000: cambridgeltl/xcopa 3,0" in refused(shop, tmp_path, *ET)
    assert not shop.downloads() and not (tmp_path / "data").exists()


def test_a_path_that_leaves_its_folder_is_refused(shop, tmp_path):
    small(shop)
    shop.put("cambridgeltl/xcopa", {"et/../../../test-00000-of-00001.parquet": b"x"})
    assert "would leave its folder" in refused(shop, tmp_path, *ET)
    assert not shop.downloads()


def test_a_transfer_that_breaks_off_leaves_no_half_file_and_goes_on(shop, tmp_path):
    random = Random(1)
    small(shop)
    shop.put(
        "cambridgeltl/xcopa",
        pushed(
            "et",
            "validation",
            parquet(
                [
                    {
                        "premise": random.randbytes(400_000).hex(),
                        "choice1": "a",
                        "choice2": "b",
                        "question": "cause",
                        "label": n % 2,
                        "idx": n,
                        "changed": False,
                    }
                    for n in range(30)
                ]
            ),
        ),
    )
    shop.cut = 1  # beyond the first 10 MB, which is what the library writes at once
    assert "the same command goes on" in refused(shop, tmp_path, *ET).replace("\n", " ")
    assert {path.name for path in (tmp_path / "data").rglob("*") if path.is_file()} == {
        hub_datasets.RECORD
    }
    small(shop, "moved")  # main moves on; what was begun goes on at the commit it began with
    shop.cut, before = 0, len(shop.asked)
    fetched(shop, tmp_path, *ET)
    ranges = [asked for method, _, asked in shop.asked[before:] if method == "GET" and asked]
    assert ranges and not ranges[0].startswith("bytes=0-"), "the rest is asked for, not the whole"
    for split in ("dev", "test"):
        rows = original(tmp_path / "data", "xcopa", split, "et")
        assert len(rows) == 30 and not any("moved" in row["prompt"] for row in rows)


def test_a_fetch_that_is_killed_leaves_no_half_file_under_a_final_name(shop, tmp_path):
    """Killed while it writes: what has a name is whole, and the next fetch makes the rest."""
    small(shop)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "data"],
        capture_output=True,
        timeout=60,
        env=shop.environment(tmp_path / "home"),
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    left = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    (half,) = (path for path in left if path.name.startswith("."))
    assert {path.name for path in left if path != half} == {hub_datasets.RECORD, "val.et.jsonl"}
    os.utime(half, (0, 0))
    root = fetched(shop, tmp_path, *ET)
    assert not half.exists()
    assert all(len(original(root, "xcopa", split, "et")) == 30 for split in ("dev", "test"))


KILLED = """
import os, signal, sys
from pathlib import Path
from adapters_xitt import sizes
from adapters_xitt.data import hub_datasets
from adapters_xitt.data.hub_datasets import shapes

def half(records, to):
    if "test" not in to.file.name:
        return jsonl(records, to)
    to.file.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

jsonl, shapes.SHAPES["jsonl"] = shapes.SHAPES["jsonl"], half
hub_datasets.fetch(["xcopa"], Path(sys.argv[1]), languages=["et"])
"""


def test_content_that_is_not_what_the_list_says_is_refused(shop, tmp_path):
    small(shop)
    name = "et/validation-00000-of-00001.parquet"
    body = shop.repos["cambridgeltl/xcopa"]["main"][name]
    shop.swap[name] = bytes(len(body))
    assert "digest" in refused(shop, tmp_path, *ET)
    shop.swap.clear()
    fetched(shop, tmp_path, *ET)


def test_labels_are_never_guessed(shop, tmp_path):
    for hubs in ("validation", "test"):
        shop.put(
            "facebook/xnli",
            pushed("de", hubs, parquet(PREMISES, label=["entails", "neutral", "contradiction"])),
        )
    assert "label: unknown label 'entails'. Did you mean 'entailment'?" in refused(
        shop, tmp_path, "xnli", "--language", "de"
    ).replace("\n", " ")
    for hubs in ("validation", "test"):
        shop.put("facebook/xnli", pushed("de", hubs, parquet(PREMISES)))
    assert "never taken by their place" in refused(
        shop,
        tmp_path,
        "xnli",
        "--language",
        "de",
        "--revision",
        f"facebook/xnli={shop.head('facebook/xnli')}",
    )


def test_another_order_of_names_gives_the_same_words(shop, tmp_path):
    order = ["neutral", "contradiction", "entailment"]
    for hubs in ("validation", "test"):
        shop.put("facebook/xnli", pushed("de", hubs, parquet(PREMISES, label=order)))
    root = fetched(shop, tmp_path, "xnli", "--language", "de")
    for split in ("dev", "test"):
        assert [
            TASKS["xnli"].labels[row["label"]] for row in original(root, "xnli", split, "de")
        ] == [order[row["label"]] for row in PREMISES]


def test_what_the_hub_has_not_is_said(shop, tmp_path):
    assert "cambridgeltl/xcopa: the hub has no such data set" in refused(shop, tmp_path, *ET)
    small(shop)
    assert "unknown configuration 'qu'. Choices: et" in refused(
        shop, tmp_path, "xcopa", "--language", "qu"
    )
    shop.put("facebook/xnli", pushed("de", "test", parquet([{"a": "x", "label": 0}], label=NLI)))
    found = refused(shop, tmp_path, "xnli", "--language", "de").replace("\n", " ")
    assert "no column 'premise'; it has a, label" in found
    shop.put("google/xquad", {"xquad.py": b"raise SystemExit(7)"})
    assert "no Parquet file on main" in refused(shop, tmp_path, "xquad")
    assert "licensed" in refused(shop, tmp_path, "ccg")
    assert "unknown language 'xx'" in refused(shop, tmp_path, "xcopa", "--language", "xx").replace(
        "\n", " "
    )
    assert "unknown task 'xcoppa'. Did you mean 'xcopa'?" in refused(shop, tmp_path, "xcoppa")


def test_a_hub_that_is_not_there_is_said(shop, tmp_path):
    small(shop)
    shop.close()
    assert "can't be reached" in refused(shop, tmp_path, *ET)


def test_files_of_the_users_own_are_not_written_over(shop, tmp_path):
    small(shop)
    own = tmp_path / "data/xcopa/data/et/test.et.jsonl"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    assert "is not what this command wrote" in refused(shop, tmp_path, *ET)
    assert own.read_text() == "mine" and not shop.downloads()


# -- the table


@pytest.mark.parametrize("name", hub_datasets.HUB_DATASETS)
def test_every_row_fits_its_task(name):
    row, task = hub_datasets.HUB_DATASETS[name], TASKS[name]
    assert set(row.splits) <= set(task.files) and set(row.apart) <= set(row.splits) & set(task.gold)
    for part in (part for parts in row.splits.values() for part in parts):
        assert part.repo.count("/") == 1 and set(part.labels) <= set(part.columns)
        for words in part.labels.values():
            if task.labels:
                assert set(words.values()) == set(task.labels), (
                    "every label of the task, and no other"
                )


def test_a_reference_and_a_size_are_read():
    assert hub_datasets.task_reference("xnli") == ("xnli", None)
    assert hub_datasets.task_reference(f"xnli@{'a' * 40}") == ("xnli", "a" * 40)
    assert [sizes.parse_file_size(text) for text in ("2GB", "500 MB", "1.5k", "12")] == [
        2_000_000_000,
        500_000_000,
        1500,
        12,
    ]
    for text in ("", "2XB", "-1"):
        with pytest.raises(XittError, match="write 2GB"):
            sizes.parse_file_size(text)


def test_names_of_labels_are_found_however_old_the_file_is():
    from adapters_xitt.data.hub_datasets.parquet import _names

    label = {"names": NLI, "_type": "ClassLabel"}
    for feature in (
        label,
        {"feature": label, "_type": "Sequence"},
        {"feature": label, "_type": "List"},
        [label],
    ):
        told = {b"huggingface": json.dumps({"info": {"features": {"label": feature}}}).encode()}
        assert _names(told, "label") == NLI and _names(told, "other") is None
    for told in (
        None,
        {},
        {b"huggingface": b"{"},
        {b"huggingface": b'{"info": {"features": {"label": []}}}'},
        {
            b"huggingface": (
                b'{"info": {"features": {"label": {"dtype": "int64", "_type": "Value"}}}}'
            )
        },
    ):
        assert _names(told, "label") is None


def test_answers_are_read_as_a_list_of_records_and_as_a_record_of_lists():
    make = hub_datasets.HUB_DATASETS["squad"].splits["dev"][0].make
    row = {"id": "1", "context": "a b", "question": "q"}
    assert make(row | {"answers": {"text": ["b"], "answer_start": [2]}}) == make(
        row | {"answers": [{"text": "b", "answer_start": 2}]}
    )


def test_what_a_format_can_not_say_is_refused(tmp_path):
    from adapters_xitt.data.hub_datasets.shapes import SHAPES, SplitFiles

    for shape, record in (
        ("tags", {"words": ["a\tb"], "tags": ["O"]}),
        ("tags", {"words": [""], "tags": ["O"]}),
        ("qqp", {"a": "a\tb", "b": "c", "label": "1"}),
        ("pairs", {"a": "", "b": "", "label": None}),
        ("parallel", {"other": "a\nb", "english": "c"}),
    ):
        with pytest.raises(DataError, match="row 1"):
            SHAPES[shape]([record], SplitFiles(tmp_path / "a", other=tmp_path / "b"))
