"""Every task with a real file: reader, encoding, a training step or an encoding pass, predictions,
scores."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pico
import pytest
import torch

from adapters_xitt.data.dataset import Override, Sources
from adapters_xitt.data.features import Lengths
from adapters_xitt.evaluation import conventions
from adapters_xitt.evaluation.predict import Scored
from adapters_xitt.kinds import decoding, heads
from adapters_xitt.kinds.encoding import encode
from adapters_xitt.kinds.record import HeadOutputs
from adapters_xitt.tasks import TASKS, Task
from adapters_xitt.training.module import ModuleInTraining
from adapters_xitt.training.sampler import Data
from adapters_xitt.training.settings import Settings

ROWS = 12  # of each file


@dataclass(frozen=True)
class Place:
    """Where a task's real rows are at hand, if not where its row looks first."""

    files: dict[str, str] = field(default_factory=dict)
    split: str = "test"
    language: str = "en"
    options: dict[str, Any] = field(default_factory=dict)
    archive: str = ""  # a zip of the origin's layout that the files lie in


PLACES: dict[str, Place] = {
    "squad": Place({"dev": "squad/full/dev-v1.1.json.gz"}, "dev"),
    "hellaswag": Place({"dev": "hellaswag/hellaswag_val_subset.jsonl"}, "dev"),
    "commonsenseqa": Place({"dev": "commonsenseqa/fairseq_layout/valid.jsonl"}, "dev"),
    "cosmosqa": Place(split="dev"),
    "socialiqa": Place(split="dev"),
    "copa": Place(split="dev"),
    "sick": Place(),
    "xnli": Place(language="sw"),
    "pawsx": Place(language="zh"),
    "udpos": Place(language="fi"),
    "panx": Place(split="dev", language="he"),
    "xquad": Place(language="th"),
    "mlqa": Place(split="dev", language="hi"),
    "tydiqa": Place(language="bn"),
    "xcopa": Place(language="qu"),
    "tatoeba": Place(language="ka", options={"inverse": True}),
    "conll2000": Place({"test": "allennlp_fixtures/tagging/conll2000.txt"}),
    "ewt-xpos": Place(split="dev"),
    "masakhaner": Place(split="dev", language="sw"),
    "masakhaner-nodate": Place(language="yo"),
    "uner": Place(language="pt"),
    "uner-pud": Place(language="ru"),
    "pud": Place(language="fi"),
    "kornli": Place(split="dev", language="ko"),
    "c-xnli": Place(split="dev", language="hr"),
    "myxnli": Place(split="dev", language="my"),
    "squad-es": Place(split="dev", language="es"),
    "americasnli": Place(language="qu"),
    "lareqa": Place(language="ar"),
    "snli": Place({"test": "allennlp_fixtures/pair_classification/snli.jsonl"}),
    "squad2": Place({"dev": "allennlp_fixtures/rc/squad2.json"}, "dev"),
    "bucc2018": Place(split="dev", language="zh"),
    "anli": Place(
        {"dev": " + ".join(f"dummy_data/anli_v0.1/R{n}/dev.jsonl" for n in (1, 2, 3))},
        "dev",
        archive="hf_dummy/anli/dummy/plain_text/0.1.0/dummy_data.zip",
    ),
    "mnli": Place(
        {"dev": "dummy_data/MNLI/dev_matched.tsv"},
        "dev",
        archive="hf_dummy/glue/dummy/mnli/1.0.0/dummy_data.zip",
    ),
    "qqp": Place(
        {"dev": "dummy_data/QQP/dev.tsv"},
        "dev",
        archive="hf_dummy/glue/dummy/qqp/1.0.0/dummy_data.zip",
    ),
    "ccg": Place({split: "allennlp_fixtures/tagging/ccgbank.txt" for split in ("train", "test")}),
}


def _some(task: Task, rows: Sequence[dict]) -> list[dict]:
    """The first rows; of a search the first queries that have an answer, and their answers among
    the candidates."""
    if task.kind not in ("mining", "ranking"):
        return list(rows[:ROWS])
    queries = [row for row in rows if row["side"] == "query" and row["gold"]][:ROWS]
    gold = {name for row in queries for name in row["gold"]}
    return [
        *queries,
        *(
            row
            for row in rows
            if row["side"] == "candidate"
            and row["id"].rpartition("/")[2] in {name.rpartition("/")[2] for name in gold}
        ),
    ]


@pytest.mark.parametrize("name", PLACES)
def test_a_real_file_goes_all_the_way(name, data_dir, pico_files, pico_tokenizer, tmp_path) -> None:
    place, root = PLACES[name], data_dir
    if place.archive:
        with zipfile.ZipFile(data_dir / place.archive) as found:
            found.extractall(root := tmp_path)
    sources = Sources(
        root, {name: Override(files=place.files, test=place.split, options=place.options)}
    )
    task = sources.with_labels(TASKS[name])
    rows = _some(task, sources.test(task, place.language).rows)
    if task.kind == "retrieval":  # golds count among the rows that are read
        rows = [{**row, "gold": at} for at, row in enumerate(rows)]
    assert rows
    features = encode(
        task.kind,
        rows,
        tokenizer=pico_tokenizer,
        lengths=Lengths(pico_files.positions, 16, 12),
    )
    assert max(features.lengths) <= pico_files.positions
    adapted = pico.adapted(pico_files)
    adapted.add("module", pico.CHOICES["seq_bn"], seed=1)
    head = heads.build(task.kind, adapted.encoder, len(task.labels), seed=1)
    setup = pico.setup(adapted, "module")
    if task.trains:
        callback = pico.Callback()
        before = {key: value.clone() for key, value in head.state_dict().items()}
        data = Data(name, task, features, features, rows, batch_size=4, language=place.language)
        row = ModuleInTraining(
            name, name, setup, adapted.trainable("module"), {data.space: head}, 1e-2
        )
        (trained,) = pico.train(
            [row],
            [data],
            Settings(evaluate_every=1, warmup=0.0),
            adapted=adapted,
            fabric=pico.fabric(),
            seed=1,
            total=1,
            checkpointer=pico.Checkpointer(),
            callback=callback,
        )
        assert trained.failed is None and any(
            not torch.equal(value, before[key]) for key, value in head.state_dict().items()
        )
    said = pico.said(adapted, [Scored(setup, head)], features, task.kind)[0]
    test = HeadOutputs(task, place.language, rows, features, said)
    found = decoding.decode(replace(test, fit=test) if task.fitted else test)
    assert (
        found.items
        if task.fitted
        else len(found.items) == sum(row.get("side") != "candidate" for row in rows)
    )
    assert all(0 <= score <= 100 for score in found.scores.values())
    assert task.main_score in found.scores
    assert conventions.convention(task, pico_files.layers)


def test_every_task_has_its_place_here_or_none_anywhere() -> None:
    """What no real file is at hand for is named: Mewsli-X's mentions, and rows that are other
    rows."""
    without = {"mewslix", "text", "anli-plus"}
    assert {name for name in TASKS if not name.startswith("demo-")} == {*PLACES, *without}
