"""The rows of the tasks beyond XTREME's nine: real files counted, several files of one split,
joined tasks, labels that only the data knows, XTREME-R's languages."""

from __future__ import annotations

import csv
import json
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from adapters_xitt.data.dataset import Override, Sources
from adapters_xitt.data.readers import (
    UNSEEN,
    ccg_tags,
    conll_columns,
    label_list,
    mnli,
    snli_jsonl,
    squad_json,
)
from adapters_xitt.errors import DataError, XittError
from adapters_xitt.languages import LANGUAGES
from adapters_xitt.study import recipe
from adapters_xitt.tasks import KINDS, TASKS
from adapters_xitt.tasks.beyond import MASAKHANE
from adapters_xitt.tasks.intermediate import CHUNKS, NLI


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def unpacked(data_dir: Path, name: str, folder: Path) -> Path:
    """A dummy archive of the hub's, which has its dataset's layout, unpacked."""
    (path,) = (data_dir / "hf_dummy" / name).rglob("dummy_data.zip")
    with zipfile.ZipFile(path) as file:
        file.extractall(folder)
    return folder / "dummy_data"


# -- real files

LAREQA = {"ar": 83, "de": 97, "en": 83, "th": 70, "zh": 81}  # sentences


@pytest.mark.parametrize(
    ("name", "split", "language", "count"),
    [
        *(
            ("americasnli", split, code, 150)
            for split in ("dev", "test")
            for code in TASKS["americasnli"].languages
        ),
        ("masakhaner", "train", "sw", 700),
        *(
            ("masakhaner", split, code, 150)
            for split in ("dev", "test")
            for code in ("ha", "ig", "rw", "sw", "wo", "xh", "yo", "zu")
        ),
        ("masakhaner-nodate", "test", "sw", 150),
        ("uner", "dev", "en", 200),
        ("uner", "test", "en", 200),
        *(("uner", "test", code, 120) for code in ("ceb", "da", "hr", "pt", "sk", "tl", "zh")),
        *(("uner-pud", "test", code, 120) for code in TASKS["uner-pud"].languages),
        *(("lareqa", "test", code, 135 + sum(LAREQA.values())) for code in LAREQA),
        ("bucc2018", "dev", "zh", 1089 + 1589),
        ("ewt-xpos", "train", "en", 500),
        ("ewt-xpos", "dev", "en", 120),
        ("ewt-xpos", "test", "en", 120),
        ("xquad", "test", "ro", 97),
        ("tatoeba", "test", "az", 1000),
        ("panx", "dev", "qu", 100),
        ("udpos", "test", "lt", 110),
        ("mlqa", "dev", "de", 105),
        ("snli", "dev", "en", None),
    ],
)
def test_real_files_have_the_rows_that_their_manifest_says(data_dir, name, split, language, count):
    rows = Sources(data_dir, {name: Override(test=split)}).test(TASKS[name], language)
    if count is None:
        count = 10 - sum(rows.skipped.values())
    assert len(rows.rows) == count, rows.file
    assert len(rows.data_set().ids) == count


@pytest.mark.parametrize("language", LAREQA)
def test_lareqa_looks_in_every_language_of_its_pool(data_dir, language):
    """A question is answered by a sentence of each language at hand; the languages that are not are
    told."""
    rows = Sources(data_dir).test(TASKS["lareqa"], language)
    sizes = Counter(row["id"].split("/")[1] for row in rows.rows if row["side"] == "candidate")
    assert sizes == LAREQA
    queries = [row for row in rows.rows if row["side"] == "query"]
    assert all({name.split("/")[0] for name in row["gold"]} == set(LAREQA) for row in queries)
    assert dict(rows.skipped) == {"languages of the pool without a file (el es hi ru tr vi)": 6}
    (alone,) = {len(row["gold"]) for row in queries if row["id"] == queries[0]["id"]}
    own = (
        Sources(data_dir, {"lareqa": Override(options={"pool": ()})})
        .test(TASKS["lareqa"], language)
        .rows
    )
    assert len(own) == 135 + LAREQA[language] and alone >= 5


def test_every_tag_of_a_real_treebank_is_a_label(data_dir):
    path = data_dir / "ud/full/en_ewt-ud-dev.conllu.gz"
    sources = Sources(data_dir, {"ewt-xpos": Override(files={"dev": str(path)})})
    assert len(sources.select(TASKS["ewt-xpos"], "en", most=None).rows) == 2002


def test_the_excerpt_of_ccgbank(data_dir):
    (path,) = data_dir.rglob("tagging/ccgbank.txt")
    one, two = ccg_tags(path, split="dev", labels=None).rows
    assert one["words"][:6] == ["Pierre", "Vinken", ",", "61", "years", "old"]
    assert one["tags"][-3:] == ["((S\\NP)\\(S\\NP))/N[num]", "N[num]", "."] and len(
        two["words"]
    ) == len(two["tags"])
    labels = tuple(sorted({*one["tags"], *two["tags"]}))
    again = ccg_tags(path, split="dev", labels=labels).rows[0]
    assert [labels[tag] for tag in again["tags"]] == one["tags"]


def test_the_excerpts_of_conll(data_dir):
    (chunks,), (names,) = (
        list(data_dir.rglob(f"tagging/conll{year}.txt")) for year in (2000, 2003)
    )
    rows = conll_columns(chunks, split="train", labels=CHUNKS).rows
    assert len(rows) == 2
    assert rows[0]["words"][:3] == ["Confidence", "in", "the"]
    assert [CHUNKS[tag] for tag in rows[0]["tags"][:4]] == ["B-NP", "B-PP", "B-NP", "I-NP"]
    reading = conll_columns(names, split="train", labels=None)
    assert reading.skipped == {"mark of a document": 2}
    assert (reading.rows[0]["words"][0], reading.rows[0]["tags"][0]) == ("U.N.", "I-ORG")


def test_questions_without_an_answer(data_dir):
    (path,) = data_dir.rglob("dev-v2.0-es_small.json")
    plain, whole = squad_json(path, split="dev"), squad_json(path, split="dev", impossible=True)
    assert (len(whole.rows), sum(not row["answers"] for row in whole.rows)) == (
        424 - sum(whole.skipped.values()),
        217,
    )
    assert plain.rows == [row for row in whole.rows if row["answers"]]
    assert plain.skipped["no answer"] == 217


def test_the_originals_of_translated_questions(data_dir):
    """SQuAD-es has a part of two articles of SQuAD's dev set, in its order."""
    translated, original = (
        data_dir / "squad-es/SQuAD-es-v1.1/dev-v1.1-es_small.json",
        data_dir / "squad/full/dev-v1.1.json.gz",
    )
    spanish = squad_json(translated, split="dev").rows
    english = squad_json(original, split="dev", items_of=translated).rows
    assert [row["id"] for row in english] == [row["id"] for row in spanish]
    assert len(english) == 583 and len({row["group"] for row in english}) == 2
    other = data_dir / "tydiqa/language_data/english/english_tydiqa_dev.json"
    with pytest.raises(DataError, match="expected questions with ids of"):
        squad_json(original, split="dev", items_of=other)


def test_a_question_without_an_answer_trains_to_the_first_token(pico_tokenizer):
    from adapters_xitt.data.features import Lengths
    from adapters_xitt.kinds.encoding import encode

    features = encode(
        "qa",
        [{"id": "1", "question": "who ?", "context": "the cat sat", "answers": []}],
        tokenizer=pico_tokenizer,
        lengths=Lengths(40, 8, 8),
    )
    assert [features.columns[name].tolist() for name in ("start", "end")] == [[0], [0]]


def test_layouts_of_the_hubs_archives(data_dir, tmp_path):
    anli = unpacked(data_dir, "anli", tmp_path / "anli") / "anli_v0.1"
    for number in (1, 2, 3):
        for split in ("train", "dev", "test"):
            path = anli / f"R{number}/{split}.jsonl"
            rows = snli_jsonl(path, split=split, labels=NLI, **TASKS["anli"].options).rows
            assert len(rows) == sum(
                1 for line in path.read_text(encoding="utf-8").split("\n") if line
            )
            assert all(row["a"] and row["b"] and len(row["id"]) == 36 for row in rows)
    unpacked(data_dir, "multi_nli", tmp_path / "own")
    (own,) = tmp_path.rglob("multinli_1.0_train.jsonl")
    glue = unpacked(data_dir, "glue/dummy/mnli", tmp_path / "glue") / "MNLI/train.tsv"
    one, two = (mnli(path, split="train", labels=NLI).rows for path in (own, glue))
    assert one[0] == two[0] and one[0]["id"] == "31193n" and NLI[one[0]["label"]] == "neutral"
    copied = snli_jsonl(
        data_dir / "mnli/mnli_mixed.jsonl",
        split="dev",
        labels=NLI,
        own="id",
        columns=("sentence1", "sentence2", "label"),
    )
    assert len(copied.rows) == 93


# -- rows of the table


def test_rows_name_what_there_is():
    for row in TASKS.values():
        assert (
            row.kind in KINDS
            and set(row.known) <= set(LANGUAGES)
            and len(set(row.known)) == len(row.known)
        )
        assert set(row.joins) <= set(TASKS) and set(row.codes) <= set(row.known)
        assert row.open == (row.kind in ("pair", "tagging") and not row.labels)
    assert len(MASAKHANE) == len(set(MASAKHANE.values())) == 20


def test_languages_that_xtreme_r_adds_are_asked_for_by_name(tmp_path):
    def tested(text: str, name: str) -> set[str]:
        head = f"encoder: demo\nmethods: [seq_bn]\nintermediates: []\ntargets: [{name}]\n"
        return set(recipe.load(put(tmp_path / "r.yaml", head + text)).test_languages(TASKS[name]))

    row = TASKS["xquad"]
    assert tested("", "xquad") == tested("languages: all", "xquad") == set(row.languages)
    assert tested("languages: xtreme-r", "xquad") == {*row.languages, "ro"}
    assert tested("languages: [de, ro]", "xquad") == {"de", "ro"}
    assert tested("tasks: {xquad: {languages: [ro]}}", "xquad") == {"ro"}
    with pytest.raises(XittError, match="task xquad: unknown language 'lt'"):
        tested("tasks: {xquad: {languages: [lt]}}", "xquad")
    with pytest.raises(XittError, match="languages"):
        tested("languages: xtreme", "xquad")
    assert [len(TASKS[name].known) for name in ("udpos", "panx", "xquad")] == [38, 48, 12]
    assert set(TASKS["tatoeba"].more) == {"az", "lt", "pl", "uk", "ro"}


# -- several files, joined tasks


def world(folder: Path, *, skip: str = "") -> Path:
    """ANLI, MNLI and SNLI, a few rows each."""
    for number in (1, 2, 3):
        for split in ("train", "dev"):
            if f"R{number}/{split}" != skip:
                put(
                    folder / f"anli/anli_v1.0/R{number}/{split}.jsonl",
                    "".join(
                        json.dumps(
                            {
                                "uid": f"{split}{number}{n}",
                                "context": "a",
                                "hypothesis": f"b{n}",
                                "label": "cen"[n],
                            }
                        )
                        + "\n"
                        for n in range(number)
                    ),
                )
    for split in ("train", "dev"):
        if skip != "mnli":
            path = folder / ("xnli/train-en.tsv" if split == "train" else "mnli/dev-en.tsv")
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", newline="") as file:
                csv.writer(file, delimiter="\t").writerows(
                    [("x", f"{split}{n}", "contradictory") for n in range(4)]
                )
        put(
            folder / f"snli/snli_1.0/snli_1.0_{split}.jsonl",
            "".join(
                json.dumps(
                    {
                        "pairID": f"{split}{n}",
                        "sentence1": "s",
                        "sentence2": f"t{n}",
                        "gold_label": label,
                    }
                )
                + "\n"
                for n, label in enumerate(("neutral", "-", "entailment"))
            ),
        )
    return folder


def test_a_split_in_several_files_is_read_whole_and_in_order(tmp_path):
    rows = Sources(world(tmp_path)).train(TASKS["anli"], "en").rows
    assert [row["id"] for row in rows] == [
        f"anli/en/train{name}" for name in ("10", "20", "21", "30", "31", "32")
    ]
    assert [NLI[row["label"]] for row in rows[-3:]] == ["contradiction", "entailment", "neutral"]
    assert len({row["group"] for row in rows}) == 3, "one premise in each file"
    with pytest.raises(
        DataError, match=r"R2/train\.jsonl: no such file; anli train in 'en' is read from .* \+ "
    ):
        Sources(world(tmp_path / "part", skip="R2/train")).train(TASKS["anli"], "en")


def test_rows_of_several_files_that_have_no_ids_are_told_apart(tmp_path):
    for name in "ab":
        put(tmp_path / f"{name}.tsv", "p\tq\tneutral\n")
    sources = Sources(tmp_path, {"xnli": Override(files={"test": "a.tsv + b.tsv"})})
    assert [row["id"] for row in sources.test(TASKS["xnli"], "de").rows] == [
        "xnli/test/0",
        "xnli/test+1/0",
    ]
    put(tmp_path / "gold.txt", "neutral\n")
    sources = Sources(
        tmp_path, {"xnli": Override(files={"test": "a.tsv + b.tsv"}, gold={"test": "gold.txt"})}
    )
    with pytest.raises(XittError, match="a file of labels for each of its 2 files, found 1"):
        sources.test(TASKS["xnli"], "de")


def test_joined_tasks_keep_the_origin_of_their_items(tmp_path):
    sources = Sources(world(tmp_path))
    joined, parts = TASKS["anli-plus"], [TASKS[name] for name in TASKS["anli-plus"].joins]
    rows = sources.train(joined, "en")
    assert [row["id"] for row in rows.rows] == [
        row["id"] for part in parts for row in sources.train(part, "en").rows
    ]
    assert [
        name.split("/")[0] for name in (rows.rows[0]["id"], rows.rows[6]["id"], rows.rows[-1]["id"])
    ] == ["anli", "mnli", "snli"]
    assert rows.skipped == {"snli: no agreed label": 1}
    assert {part.labels for part in parts} == {joined.labels}
    assert len(rows.rows) == 6 + 4 + 2 and rows.task is joined
    assert not rows.data_set().ids & sources.select(joined, "en", most=None).data_set().ids
    assert len(sources.select(joined, "en", most=5).rows) == 5
    sliced = Sources(tmp_path, {"anli-plus": Override(train="train[:7]")}).train(joined, "en").rows
    assert [row["id"] for row in sliced[:6]] == [row["id"] for row in rows.rows[:6]]
    row = {"sentence1": "a", "sentence2": "b", "gold_label": "neutral"}
    mine = put(tmp_path / "mine.jsonl", json.dumps(row) + "\n")
    own = Sources(tmp_path, {"anli-plus": Override(files={"train": str(mine)})}).train(joined, "en")
    assert [row["id"] for row in own.rows] == ["anli-plus/en/train/0"]


def test_every_missing_part_of_joined_tasks_is_told(tmp_path):
    with pytest.raises(XittError) as caught:
        Sources(world(tmp_path, skip="mnli")).train(TASKS["anli-plus"], "en")
    text = str(caught.value)
    assert text.startswith("anli-plus train is anli, mnli, snli together: 1 problem")
    assert "train-en.tsv: no such file; mnli train in 'en'" in text
    with pytest.raises(XittError, match="3 problems"):
        Sources(tmp_path / "empty").train(TASKS["anli-plus"], "en")


def test_masakhaner_says_that_it_has_no_english(tmp_path):
    with pytest.raises(
        DataError, match=r"masakhaner\.trained_in: \[sw\]; or take masakhaner-nodate"
    ):
        Sources(tmp_path).train(TASKS["masakhaner"], "en")


def test_dates_are_no_entities_where_the_head_has_none(data_dir):
    dated, plain = (
        Sources(data_dir).test(TASKS[name], "sw").rows
        for name in ("masakhaner", "masakhaner-nodate")
    )
    for one, two in zip(dated, plain, strict=True):
        names = [
            "O" if tag.endswith("DATE") else tag for tag in TASKS["masakhaner"].names(one["tags"])
        ]
        assert TASKS["masakhaner-nodate"].names(two["tags"]) == names and one["id"] == two["id"]


# -- labels that only the data knows


def ccg(folder: Path) -> Path:
    put(folder / "ccg/train.tsv", "the\tNP/N\ncat\tN\n\nit\tNP\n")
    put(folder / "ccg/dev.tsv", "the\tNP/N\ndog\tN\n\nran\tS\\NP\n")
    return folder


def test_labels_of_the_training_split(tmp_path):
    sources = Sources(ccg(tmp_path))
    task = sources.with_labels(TASKS["ccg"])
    assert task.labels == ("N", "NP", "NP/N") and sources.with_labels(task) is task
    assert [row["tags"] for row in sources.train(TASKS["ccg"], "en").rows] == [[2, 0], [1]]
    dev = sources.select(TASKS["ccg"], "en", most=None)
    assert dev.task == task and [row["tags"] for row in dev.rows] == [[2, 0], [UNSEEN]]
    assert dev.skipped == {"tags that training has not, counted as wrong": 1}
    assert task.names(dev.rows[1]["tags"]) == ["(unseen)"]


def test_labels_in_a_file_of_their_own(tmp_path):
    put(ccg(tmp_path) / "ccg/tags_to_id.json", json.dumps({"NP/N": 1, "N": 0, "NP": 2, "S\\NP": 3}))
    sources = Sources(tmp_path)
    assert sources.with_labels(TASKS["ccg"]).labels == ("N", "NP/N", "NP", "S\\NP")
    assert [row["tags"] for row in sources.select(TASKS["ccg"], "en", most=None).rows] == [
        [1, 0],
        [3],
    ]
    put(tmp_path / "ccg/tags_to_id.json", json.dumps({"N": 0}))
    with pytest.raises(DataError, match=r"train\.tsv:1: unknown label 'NP/N'"):
        sources.train(TASKS["ccg"], "en")
    assert label_list(put(tmp_path / "l.txt", "b\na\n")) == ("b", "a")
    for text in ('{"a": 0, "b": 0}', "[]", "{}", '{"a": 1}', '{"a": true}'):
        with pytest.raises(DataError, match="numbers the labels from 0"):
            label_list(put(tmp_path / "l.json", text))
    with pytest.raises(DataError, match=r"l\.txt:2: expected a label that is new, found 'a'"):
        label_list(put(tmp_path / "l.txt", "a\na\n"))


def test_a_missing_ccgbank_names_its_licence_and_what_to_take_instead(tmp_path):
    with pytest.raises(DataError) as caught:
        Sources(tmp_path).train(TASKS["ccg"], "en")
    assert all(
        part in str(caught.value)
        for part in ("ccg/train.tsv: no such file", "LDC2005T13", "ewt-xpos", "conll2000")
    )


def test_a_module_trained_on_open_labels_has_them_in_its_manifest(
    tmp_path, pico_dir, pico_world, monkeypatch
):
    import pico_world as small

    from adapters_xitt.api import common
    from adapters_xitt.api.grids import Grid
    from adapters_xitt.study.store import Store

    # the test's sentences are others, or its cells would be blocked
    for split in ("train", "dev", "test"):
        source = (pico_world / f"demo-pos/{split}-en.conllu").read_text().split("\n")
        cells = [line.split("\t") for line in source if not line.startswith("#")]
        put(
            tmp_path / f"ccg/{split}.tsv",
            "\n".join("\t".join(one[1:4:2]) for one in cells).rstrip() + "\n",
        )
    put(tmp_path / "ccg/test.tsv", (tmp_path / "ccg/test.tsv").read_text() + "\nnever\tSEEN\n")
    path = small.recipe(tmp_path / "r.yaml", pico_dir, pico_world)
    files = ", ".join(f"{split}: {tmp_path}/ccg/{split}.tsv" for split in ("train", "dev", "test"))
    work = common.open_recipe(
        path,
        [
            "intermediates=[ccg]",
            "targets=[ccg, demo-pos]",
            "modes=[none, sequential]",
            "seeds=[1]",
            "languages=[en, de]",
            f"tasks={{ccg: {{files: {{{files}}}}}}}",
        ],
        tmp_path / "store",
    )
    assert any("1 tags that training has not" in note for note in work.plan.notes)
    labels = list(work.plan.inputs.task("ccg").labels)
    assert 2 < len(labels) and "SEEN" not in labels
    grid = common.run_work(work, device="cpu", threads=1, log="none", keep_every=0.0)
    assert Grid(grid, common.run_folder(work), tmp_path / "store").ok
    modules = [
        Store(tmp_path / "store").load_module(job.key)
        for job in work.plan.train.values()
        if job.mixture.portions[0].task == "ccg"
    ]
    assert modules
    for module in modules:
        assert [head["labels"] for head in module.manifest.heads.values()] == [labels]
        assert module.manifest.mixture["portions"][0]["labels"] == labels
    items = [
        json.loads(line)
        for path in (tmp_path / "store/results").rglob("predictions.jsonl")
        for line in path.read_text().splitlines()
    ]
    strange = [item for item in items if item.get("gold") == ["(unseen)"]]
    assert strange and all(item["tags"][0] in labels for item in strange)
