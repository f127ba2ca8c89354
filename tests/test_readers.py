"""The readers on the origins' own files, counted, and on broken ones, where the message must say
what is wrong."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters_xitt.data.readers import (
    commonsenseqa_jsonl,
    conllu,
    copa_jsonl,
    cosmosqa_csv,
    hellaswag_jsonl,
    pairs_tsv,
    parallel_lines,
    sick_txt,
    snli_jsonl,
    socialiqa_jsonl,
    squad_json,
    tags_tsv,
    text_lines,
)
from adapters_xitt.errors import DataError, XittError
from adapters_xitt.languages import LANGUAGES, language
from adapters_xitt.tasks import TASKS

NLI = ("entailment", "neutral", "contradiction")
UPOS = tuple(
    "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split()
)
PANX = tuple("O B-PER I-PER B-ORG I-ORG B-LOC I-LOC".split())


def distinct(rows):
    return len({row["id"] for row in rows}) == len(rows)


# -- the origins' files


def test_xnli(data_dir):
    dev = pairs_tsv(data_dir / "xtreme/xnli/dev-en.tsv", split="dev", labels=NLI)
    assert (len(dev.rows), dev.skipped) == (2490, {})
    assert [sum(row["label"] == n for row in dev.rows) for n in range(3)] == [830] * 3
    assert dev.rows[0] == {
        "id": "dev/0",
        "group": "dev/0",
        "a": "And he said, Mama, I'm home.",
        "b": "He called his mom as soon as the school bus dropped him off.",
        "label": 1,
    }
    assert [row["group"] for row in dev.rows[:4]] == ["dev/0"] * 3 + ["dev/1"]
    assert len({row["group"] for row in dev.rows}) == 830
    test = data_dir / "xtreme/xnli/test-de.tsv"
    rows = pairs_tsv(
        test, split="test", labels=NLI, gold=data_dir / "xtreme_labels/xnli/test-de.tsv"
    ).rows
    assert len(rows) == 450
    assert [row["label"] for row in rows[:4]] == [2, 0, 1, 1]
    bare = pairs_tsv(test, split="test", labels=None).rows
    assert bare == [{**row, "label": None} for row in rows]


@pytest.mark.parametrize(
    ("name", "count"), [("dev-en", 2000), ("dev-de", 450), ("dev-ko", 450), ("dev-ja", 450)]
)
def test_pawsx(data_dir, name, count):
    rows = pairs_tsv(data_dir / f"xtreme/pawsx/{name}.tsv", split="dev", labels=("0", "1")).rows
    assert len(rows) == count
    assert distinct(rows)
    assert not any(row["a"].startswith('"') and row["a"].endswith('""') for row in rows)


def test_every_xtreme_pair_file(data_dir):
    for task, labels in (("xnli", NLI), ("pawsx", ("0", "1"))):
        for path in sorted((data_dir / "xtreme" / task).iterdir()):
            split = path.name.split("-")[0]
            rows = pairs_tsv(path, split=split, labels=labels if split == "dev" else None).rows
            assert len(rows) == path.read_bytes().count(b"\n")


def test_sick(data_dir):
    want = {"SICK_train.txt": 4500, "SICK_trial.txt": 500, "SICK_test_annotated.txt": 1500}
    for name, count in want.items():
        rows = sick_txt(data_dir / "sick" / name, split="x", labels=NLI).rows
        assert len(rows) == count
        assert distinct(rows)
        assert not any("\r" in row["b"] for row in rows)
    assert (rows[0]["id"], rows[0]["label"]) == ("6", 1)


def test_snli(data_dir):
    for split in ("dev", "test", "train"):
        path = data_dir / f"snli/snli_1.0/snli_1.0_{split}.jsonl"
        reading = snli_jsonl(path, split=split, labels=NLI)
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line]
        assert len(lines) == 10
        assert len(reading.rows) + sum(reading.skipped.values()) == 10
        assert distinct(reading.rows)


def test_snli_skips_rows_without_agreement(tmp_path):
    row = {"sentence1": "a", "sentence2": "b", "gold_label": "-"}
    text = "\n".join(
        json.dumps({**row, "gold_label": label}) for label in ("neutral", "-", "entailment")
    )
    path = write(tmp_path, text, "x.jsonl")
    reading = snli_jsonl(path, split="dev", labels=NLI)
    assert reading.skipped == {"no agreed label": 1}
    assert [(row["id"], row["label"]) for row in reading.rows] == [("dev/0", 1), ("dev/2", 0)]


def test_udpos_and_panx(data_dir):
    for path in sorted((data_dir / "xtreme/udpos").iterdir()):
        split, code = path.stem.split("-")
        gold = data_dir / f"xtreme_labels/udpos/{path.name}" if split == "test" else None
        rows = tags_tsv(path, split=split, labels=UPOS, gold=gold).rows
        assert len(rows) == len(path.read_text(encoding="utf-8").strip("\n").split("\n\n"))
        assert all(len(row["words"]) == len(row["tags"]) for row in rows)
        assert language(code)
        if path.stem in ("dev-af", "dev-de", "dev-en"):
            assert len(rows) == (400 if code == "en" else 110)
    for path in sorted((data_dir / "xtreme/panx").iterdir()):
        split, code = path.stem.split("-")
        rows = tags_tsv(path, split=split, labels=None if split == "test" else PANX).rows
        assert all((row["tags"] is None) == (split == "test") for row in rows)
        if (split, code) in (("dev", "de"), ("dev", "jv"), ("test", "ar")):
            assert len(rows) == (100 if code == "jv" else 110)


def test_a_quote_is_a_token(data_dir):
    rows = tags_tsv(data_dir / "xtreme/panx/dev-en.tsv", split="dev", labels=PANX).rows
    assert any('"' in row["words"] or "''" in row["words"] for row in rows)


def test_every_treebank(data_dir):
    for path in sorted((data_dir / "ud").glob("UD_*/*.conllu")):
        blocks = [
            block for block in path.read_text(encoding="utf-8").split("\n\n") if block.strip("\n")
        ]
        reading = conllu(path, split="x", labels=UPOS)
        assert (len(reading.rows), reading.skipped) == (len(blocks), {})
        assert distinct(reading.rows)
        assert not any(row["id"].startswith("x/") for row in reading.rows)
    full = conllu(data_dir / "ud/full/en_ewt-ud-dev.conllu.gz", split="dev", labels=UPOS).rows
    assert len(full) == 2002
    assert sum(len(row["words"]) for row in full) == 25148  # two empty nodes less than lines


def test_fused_words_are_xtremes(data_dir):
    """Its UDPOS files are the treebanks of a language one after another: the first one's sentences
    come first."""
    seen = []
    for path in sorted((data_dir / "ud").glob("UD_*/*.conllu"), key=lambda p: p.name):
        split, code = path.stem.rpartition("-")[2], path.name.partition("_")[0]
        theirs = data_dir / f"xtreme/udpos/{split}-{code}.tsv"
        if "HEAD" in str(path) or (split, code) in seen or not theirs.exists():
            continue
        seen.append((split, code))
        ours = conllu(
            path,
            split=split,
            labels=UPOS,
            multiword="fused",
            **TASKS["udpos"].formats[".conllu"].in_language.get(code, {}),
        )
        gold = data_dir / f"xtreme_labels/udpos/test-{code}.tsv" if split == "test" else None
        rows = tags_tsv(theirs, split=split, labels=UPOS, gold=gold).rows[: len(ours.rows)]
        pairs = [[(row["words"], row["tags"]) for row in side] for side in (ours.rows, rows)]
        assert pairs[0] == pairs[1], path.name
    assert len(seen) > 50


def test_squad(data_dir):
    for name, count, articles in (("dev", 4961, 24), ("test", 5609, 24)):
        reading = squad_json(data_dir / f"squad/full/{name}-v1.1.json.gz", split=name)
        assert (len(reading.rows), reading.skipped) == (count, {})
        assert len({row["group"] for row in reading.rows}) == articles
        assert distinct(reading.rows)
    assert len(squad_json(data_dir / "squad/data/dev-v1.1.json", split="dev").rows) == 2501


def test_xquad_and_tydiqa_take_their_answers_from_gold(data_dir):
    ids = []
    for path in sorted((data_dir / "xtreme/xquad").iterdir()):
        gold = data_dir / f"xtreme_labels/xquad/test-{path.name.split('.')[1]}.json"
        reading = squad_json(path, split="test", gold=gold)
        assert (len(reading.rows), reading.skipped) == (97, {})
        assert all(row["answers"] for row in reading.rows)
        ids.append([(row["id"], row["group"]) for row in reading.rows])
        bare = squad_json(path, split="test").rows
        assert [row["answers"] for row in bare] == [[]] * 97
        assert len({row["group"] for row in bare}) == 10
    assert all(row == ids[0] for row in ids)
    for path in sorted((data_dir / "xtreme/tydiqa/tydiqa-goldp-v1.1-dev").iterdir()):
        gold = data_dir / f"xtreme_labels/tydiqa/test-{path.name.split('.')[2]}.json"
        reading = squad_json(path, split="test", gold=gold)
        assert (len(reading.rows), reading.skipped) == (50, {})


def test_repeated_ids_are_numbered(data_dir):
    rows = squad_json(
        data_dir / "xtreme/tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train.json", split="train"
    ).rows
    assert [row["id"] for row in rows] == [f"train/{n}" for n in range(400)]


def test_questions_without_an_answer_are_counted(data_dir):
    reading = squad_json(data_dir / "squad-es/SQuAD-es-v2.0/dev-v2.0-es_small.json", split="dev")
    assert len(reading.rows) + sum(reading.skipped.values()) == 424
    assert reading.skipped == {"no answer": 217}


LASER = [
    ("deu", "de"),
    ("spa", "es"),
    ("fin", "fi"),
    ("swh", "sw"),
    ("tel", "te"),
    ("cmn", "zh"),
    ("ara", "ar"),
]


@pytest.mark.parametrize(("long", "short"), LASER)
def test_laser_and_xtreme_layouts_agree(data_dir, long, short):
    folder = data_dir / "tatoeba/LASER/data/tatoeba/v1"
    stem = f"tatoeba.{long}-eng"
    laser = parallel_lines(folder / f"{stem}.{long}", split="test", other=folder / f"{stem}.eng")
    folder = data_dir / "xtreme/tatoeba"
    xtreme = parallel_lines(
        folder / f"{short}-en.{short}",
        split="test",
        other=folder / f"{short}-en.en",
        gold=data_dir / f"xtreme_labels/tatoeba/test-{short}.tsv",
        # these label files were made the wrong way round; XTREME's own are not, as the mock shows
        inverse=True,
    )
    assert [row["candidate"] for row in laser.rows] == [row["candidate"] for row in xtreme.rows]
    pairs = [
        {row["id"]: (row["query"].strip(), rows[row["gold"]]["candidate"]) for row in rows}
        for rows in (laser.rows, xtreme.rows)
    ]
    assert pairs[0] == pairs[1]
    assert len(pairs[0]) == {"sw": 390, "te": 234}.get(short, 1000)
    mock = (data_dir / f"xtreme_mock/labels/tatoeba/test-{short}.tsv").read_text().split()
    assert [row["gold"] for row in xtreme.rows][: len(mock)] == [int(index) for index in mock]


def test_gold_of_the_queries_and_its_inverse(tmp_path):
    candidates, queries = write(tmp_path, "x\ny\nz\n", "x"), write(tmp_path, "Y\nZ\nX\n", "en")
    for text, inverse in (("1\n2\n0\n", False), ("2\n0\n1\n", True)):
        gold = write(tmp_path, text, "gold")
        rows = parallel_lines(candidates, split="x", other=queries, gold=gold, inverse=inverse).rows
        assert [rows[row["gold"]]["candidate"].upper() for row in rows] == [
            row["query"] for row in rows
        ]
        assert [row["id"] for row in rows] == ["x/1", "x/2", "x/0"]


def test_sorted_queries_need_gold(data_dir):
    folder = data_dir / "xtreme/tatoeba"
    with pytest.raises(DataError, match=r"de-en\.en:1: .*sorted lines.*give its gold file"):
        parallel_lines(folder / "de-en.de", split="test", other=folder / "de-en.en")


def labels_of(reading):
    return [row["label"] for row in reading.rows]


def test_hellaswag(data_dir):
    path = data_dir / "hellaswag/hellaswag_val_subset.jsonl"
    reading = hellaswag_jsonl(path, split="dev")
    originals = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert (len(reading.rows), reading.skipped) == (1000, {})
    assert labels_of(reading) == [row["label"] for row in originals]
    assert len({row["group"] for row in reading.rows}) == 704
    assert distinct(reading.rows)
    for row, original in zip(reading.rows, originals, strict=True):
        # `ctx` is the authors' own join of both parts; WikiHow's rows (87 here) have one part only.
        joined = f"{original['ctx']} {original['endings'][2]}"
        assert f"{row['prompt']} {row['choices'][2]}" == joined.replace("  ", " ")
    assert sum(not original["ctx_b"] for original in originals) == 87
    assert reading.rows[0] == {
        "id": "dev/20022",
        "group": "activitynet~v_xftFhOCEqFs",
        "prompt": "Pole vault is a sport where you run with a pole and stop and swing your body.",
        "choices": [
            "a few women go down a rock and stop.",
            "a few women watch from around a pole vault.",
            "a few women are in the wading pool.",
            "a few women are in the gym practicing to do this pole vault, trying to do their best.",
        ],
        "label": 3,
    }


def test_cosmosqa(data_dir):
    path = data_dir / "cosmosqa/data/valid.csv"
    assert path.read_bytes().count(b"\r\n") == 1201
    reading = cosmosqa_csv(path, split="dev")
    with path.open(encoding="utf-8", newline="") as file:
        originals = list(csv.DictReader(file))
    assert (len(reading.rows), reading.skipped) == (1200, {})
    assert (
        len({row["group"] for row in reading.rows})
        == len({row["context"] for row in originals})
        == 989
    )
    for row, original in zip(reading.rows, originals, strict=True):
        assert row["id"] == original["id"]
        assert row["prompt"] == f"{original['context']} {original['question']}"
        assert row["choices"] == [original[f"answer{n}"] for n in range(4)]
        assert str(row["label"]) == original["label"]


def test_commonsenseqa_in_both_schemas(data_dir):
    folder = data_dir / "commonsenseqa"
    whole = commonsenseqa_jsonl(folder / "fairseq_layout/valid.jsonl", split="dev")
    flat = commonsenseqa_jsonl(folder / "flattened/dev_rand_split.jsonl", split="dev")
    assert (len(whole.rows), len(flat.rows)) == (1221, 300)
    assert flat.rows == whole.rows[:300]
    assert [labels_of(whole).count(n) for n in range(5)] == [239, 255, 241, 251, 235]
    assert flat.rows[0]["choices"] == ["bank", "library", "department store", "mall", "new york"]
    assert flat.rows[0]["label"] == 0
    test = commonsenseqa_jsonl(folder / "fairseq_layout/test.jsonl", split="test")
    assert (labels_of(test), test.skipped) == ([None] * 300, {})


def test_socialiqa(data_dir, tmp_path):
    path = data_dir / "socialiqa/dev.jsonl"
    dev = socialiqa_jsonl(path, split="dev")
    assert (len(dev.rows), dev.skipped) == (1954, {})
    assert [labels_of(dev).count(n) for n in range(3)] == [643, 654, 657]
    assert len({row["group"] for row in dev.rows}) == 1930
    assert (
        dev.rows[0]["prompt"]
        == "Tracy didn't go home that evening and resisted Riley's attacks. What does Tracy need to"
        " do before this?"
    )
    # The archive of its authors has no `correct`, but a file of numbers from 1.
    bare = "\n".join(
        json.dumps({key: value for key, value in json.loads(line).items() if key != "correct"})
        for line in path.read_text(encoding="utf-8").splitlines()
    )
    gold = write(tmp_path, "".join(f"{label + 1}\n" for label in labels_of(dev)), "dev-labels.lst")
    assert (
        socialiqa_jsonl(write(tmp_path, bare, "dev.jsonl"), split="dev", gold=gold).rows == dev.rows
    )
    assert labels_of(socialiqa_jsonl(tmp_path / "dev.jsonl", split="dev")) == [None] * 1954


def test_copa_and_its_translations(data_dir, tmp_path):
    folder = data_dir / "xtreme/xcopa"
    train, dev = (
        copa_jsonl(folder / f"{name}-en.jsonl", split=split)
        for name, split in (("train", "train"), ("val", "dev"))
    )
    assert (len(train.rows), len(dev.rows)) == (400, 100)
    assert train.rows[0]["prompt"] == "My body cast a shadow over the grass. What was the cause?"
    assert train.rows[0]["choices"] == ["The sun was rising.", "The grass was cut."]
    test = copa_jsonl(data_dir / "copa/test.jsonl", split="test")
    assert [labels_of(test).count(n) for n in range(2)] == [250, 250]
    for code in ("et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh"):
        original = copa_jsonl(data_dir / f"xcopa/data/{code}/test.{code}.jsonl", split="test")
        assert len(original.rows) == 200
        assert [row["id"] for row in original.rows] == [row["id"] for row in test.rows[:200]]
        assert labels_of(original) == labels_of(test)[:200], "a translation keeps its item's answer"
        assert labels_of(copa_jsonl(folder / f"val-{code}.jsonl", split="dev")) == labels_of(dev)
        blank = folder / f"test-{code}.jsonl"
        with pytest.raises(
            DataError,
            match=rf"test-{code}\.jsonl:1: .*only 0, as XTREME leaves .*give its gold file",
        ):
            copa_jsonl(blank, split="test")
        gold = write(
            tmp_path, "".join(f'{{"label": {label}}}\n' for label in labels_of(test)[:150]), "gold"
        )
        # The two copies spell some items differently; ids and labels are the same.
        keys = [
            [(row["id"], row["label"]) for row in rows]
            for rows in (copa_jsonl(blank, split="test", gold=gold).rows, original.rows[:150])
        ]
        assert keys[0] == keys[1]


def test_plain_text(data_dir, tmp_path):
    for code in ("en", "de", "zh", "th"):
        path = data_dir / f"parallel/pud_text/{code}.tsv.gz"
        reading = text_lines(path, split="train", column=1)
        assert (len(reading.rows), reading.skipped) == (1000, {})
        assert not any("\t" in row["text"] for row in reading.rows)
    assert reading.rows[7]["id"] == "train/7"
    path = write(tmp_path, "  one \n\n \ntwo\tb\r\n", "x.txt")
    reading = text_lines(path, split="x")
    assert [(row["id"], row["group"], row["text"]) for row in reading.rows] == [
        ("x/0", "x/0", "one"),
        ("x/3", "x/3", "two\tb"),
    ]
    assert reading.skipped == {"blank line": 2}


def test_rows_without_a_label_or_a_choice_are_counted(tmp_path):
    lines = [copa(idx=5), copa(label=None), copa(choice2=" "), copa(label=1)]
    reading = copa_jsonl(write(tmp_path, "\n".join(lines), "x"), split="x")
    assert [(row["id"], row["label"]) for row in reading.rows] == [("x/5", 0), ("x/3", 1)]
    assert reading.skipped == {"no label": 1, "empty choice": 1}


def test_every_code_of_the_data_has_a_language(data_dir):
    codes = {path.stem.split("-")[1] for path in (data_dir / "xtreme/panx").iterdir()}
    codes |= {path.name.split("_")[0] for path in (data_dir / "ud").glob("UD_*/*.conllu")}
    assert sorted(codes - set(LANGUAGES)) == []


# -- layout details


def write(folder: Path, text: str | bytes, name: str = "f.tsv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


field_text = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(field_text, field_text, st.sampled_from(NLI)), min_size=1))
def test_what_csv_writer_wrote_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "csv.tsv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows(rows)
    if path.read_text(encoding="utf-8").startswith("\ufeff"):
        return  # a first character that is a byte order mark is dropped, as it should be
    got = pairs_tsv(path, split="x", labels=NLI).rows
    assert [(row["a"], row["b"], NLI[row["label"]]) for row in got] == rows


def test_line_ends_marks_and_odd_characters(tmp_path):
    odd = "a\u2028b\x85c\x0bd\x00e\x1cf"
    text = f"\ufeff{odd}\tb\tneutral\r\nx\ty\tentailment\r\n\r\n\n"
    for name, data in (("f.tsv", text.encode()), ("f.tsv.gz", gzip.compress(text.encode()))):
        for quoting in (True, False):
            rows = pairs_tsv(
                write(tmp_path, data, name), split="x", labels=NLI, quoting=quoting
            ).rows
            assert [(row["a"], row["label"]) for row in rows] == [(odd, 1), ("x", 0)]


def test_a_line_of_ten_megabytes(tmp_path):
    limit = csv.field_size_limit()
    path = write(tmp_path, "a" * 10_000_000 + "\tb\tneutral\n")
    assert len(pairs_tsv(path, split="x", labels=NLI).rows[0]["a"]) == 10_000_000
    assert csv.field_size_limit() == limit


def test_columns_header_quotes_and_aliases(tmp_path):
    path = write(tmp_path, 'id\ts1\ts2\tlabel\n7\t"a\tb"\tcontradictory\n8\tc\td\tneutral\n')
    kind = {"split": "x", "labels": NLI, "columns": (1, 2, 3), "header": True}
    rows = pairs_tsv(path, **kind, quoting=False, aliases={"contradictory": "contradiction"}).rows
    assert [(row["id"], row["a"], row["label"]) for row in rows] == [
        ("x/0", '"a', 2),
        ("x/1", "c", 1),
    ]
    with pytest.raises(XittError, match=r"'contradicton'. Did you mean 'contradiction'"):
        pairs_tsv(path, **kind, quoting=False, aliases={"c": "contradicton"})


WORD = "{}\tf{}\t_\tNOUN\t_\t_\t{}\tx\t_\t_\n"
RANGE = "1-2\tf\u200c 1 2\t_\t_\t_\t_\t_\t_\t_\t_\n"


def test_multiword_tokens_and_empty_nodes(tmp_path):
    third = "3\tf3\t_\tVERB\t_\t_\t0\tx\t_\t_\n"
    text = RANGE + WORD.format(1, 1, 2) + WORD.format(2, 2, 3).replace("NOUN", "ADP") + third
    text += "3.1" + WORD.format("", "", "_") + "\n# sent_id = two\n" + WORD.format(1, 1, 0)
    path = write(tmp_path, text, "x.conllu")
    split = {"split": "x", "labels": UPOS}
    words = conllu(path, **split).rows
    assert [(row["id"], row["words"]) for row in words] == [
        ("x/0", ["f1", "f2", "f3"]),
        ("two", ["f1"]),
    ]
    fused = conllu(path, **split, multiword="fused").rows
    assert fused[0]["words"] == ["f12", "f3"]
    assert [UPOS[tag] for tag in fused[0]["tags"]] == ["ADP", "VERB"]
    equals = write(
        tmp_path,
        RANGE + WORD.format(1, 1, 0).replace("NOUN", "ADP") + WORD.format(2, 2, 0),
        "y.conllu",
    )
    assert UPOS[conllu(equals, **split, multiword="fused").rows[0]["tags"][0]] == "NOUN"
    with pytest.raises(XittError, match=r"unknown multiword 'fuse'. Did you mean 'fused'"):
        conllu(path, **split, multiword="fuse")


def test_an_answer_off_its_place_is_counted(tmp_path):
    spots = [("cat", 4), ("cat", 0), ("", -1)]
    path = write(
        tmp_path, squad(*[[{"text": text, "answer_start": at}] for text, at in spots]), "x.json"
    )
    reading = squad_json(path, split="x")
    assert [row["id"] for row in reading.rows] == ["q0"]
    assert reading.skipped == {"answer not at its offset": 1, "no answer": 1}


# -- broken files


def squad(*answers, **changed):
    qas = [{"id": f"q{n}", "question": "?", "answers": given} for n, given in enumerate(answers)]
    return json.dumps({"data": [{"paragraphs": [{"context": "the cat", "qas": qas} | changed]}]})


def pairs(path, **options):
    return pairs_tsv(path, **{"split": "x", "labels": NLI} | options)


def tags(path, **options):
    return tags_tsv(path, **{"split": "x", "labels": UPOS} | options)


def sick(path):
    return sick_txt(path, split="x", labels=NLI)


def snli(path):
    return snli_jsonl(path, split="x", labels=NLI)


def words(path):
    return conllu(path, split="x", labels=UPOS)


def fused(path):
    return conllu(path, split="x", labels=UPOS, multiword="fused")


def questions(path, **options):
    return squad_json(path, split="x", **options)


def jsonl(read):
    def reading(path, **options):
        return read(path, split="x", **options)

    return reading


hellaswag, cosmos, commonsense = (
    jsonl(hellaswag_jsonl),
    jsonl(cosmosqa_csv),
    jsonl(commonsenseqa_jsonl),
)
social, causes, plain = jsonl(socialiqa_jsonl), jsonl(copa_jsonl), jsonl(text_lines)


def row_of(base, changed):
    return json.dumps({key: value for key, value in {**base, **changed}.items() if value != "-"})


def swag(**changed):
    base = {
        "ind": 4,
        "ctx_a": "a",
        "ctx_b": "b",
        "endings": ["x", "y"],
        "label": 1,
        "source_id": "s",
    }
    return row_of(base, changed)


def copa(**changed):
    return row_of(
        {"premise": "p", "choice1": "x", "choice2": "y", "question": "cause", "label": 0}, changed
    )


def siqa(**changed):
    base = {
        "context": "c",
        "question": "q",
        "answerA": "x",
        "answerB": "y",
        "answerC": "z",
        "correct": "A",
    }
    return row_of(base, changed)


def csqa(answer, *choices, **changed):
    nodes = [
        {"label": letter, "text": text} for letter, text in zip("ABCDE", choices, strict=False)
    ]
    return json.dumps(
        {"id": "1", "answerKey": answer, "question": {"stem": "q", "choices": nodes}} | changed
    )


def flat(labels, texts):
    return json.dumps(
        {"id": "1", "answerKey": "A", "question": "q", "choices": {"label": labels, "text": texts}}
    )


COSMOS = "id,context,question,answer0,answer1,answer2,answer3,label\r\n"
SICK = "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\n"
BROKEN = [
    (pairs, "", ["f:1: ", "empty file"]),
    (pairs, "\n\r\n\n", ["f:1: ", "empty file"]),
    (pairs, "a\tb\tneutral\na\tb\n", ["f:2: ", "expected 3 columns", "found 2", "stray tab"]),
    (pairs, "a\tb\tneutral\n\na\tb\tneutral\n", ["f:2: ", "found 0"]),
    (pairs, "a\tb\n", ["f:1: ", "expected 3 tab-separated columns, found 2", "gold file"]),
    (
        pairs,
        "a\tb\tneutral\na\tb\tnetural\n",
        ["f:2: ", "unknown label 'netural'", "'neutral'", "entailment, neutral"],
    ),
    (pairs, b"a\tb\tneutral\na\t\xff\tneutral\n", ["f:2: ", "UTF-8", "0xff"]),
    (pairs, b"\xef\xbb\xbfa\tb\tneutral\n\n\xe4\n", ["f:3: ", "UTF-8", "0xe4"]),
    (
        pairs,
        'a\tb\tneutral\na\t"b\tneutral\na\tb\tneutral\n',
        ["f:2: ", "unexpected end of data", "quoting=False"],
    ),
    (pairs, 'a\t"b"c\tneutral\n', ["f:1: ", "quoting=False"]),
    (sick, "pair_ID\tA\tB\n", ["f:1: ", "sentence_A", "found pair_ID, A, B"]),
    (sick, SICK, ["f: ", "expected rows below the header"]),
    (sick, SICK + "1\ta\tb\t3\n", ["f:2: ", "expected 5 columns", "found 4"]),
    (sick, SICK + "1\ta\tb\t3\tNETURAL\n", ["f:2: ", "unknown label 'NETURAL'"]),
    (snli, '{"sentence1": "a"}\n', ["f:1: ", "sentence2: expected a string, found only sentence1"]),
    (
        snli,
        '{"sentence1": "a", "sentence2": 3}\n',
        ["f:1: ", "sentence2: expected a string, found 3"],
    ),
    (snli, "[]\n", ["f:1: ", "expected an object, found a list"]),
    (
        snli,
        '{"sentence1": "a", "sentence2": "b", "gold_label": "?"}\n',
        ["f:1: ", "unknown label '?'"],
    ),
    (
        snli,
        '{"sentence1": "a", "sentence2": "b", "gold_label": "-"}\n{"sen',
        ["f:2: ", "column 2", "cut short"],
    ),
    (snli, "[" * 200_000, ["f:1: ", "expected JSON"]),
    (tags, "a\tNOUN\nb\n", ["f:2: ", "expected token<TAB>tag, found 1 columns", "gold file"]),
    (tags, "a\tNOUN\nb\tNUON\n", ["f:2: ", "unknown label 'NUON'", "'NOUN'"]),
    (tags, "a NOUN\n", ["f:1: ", "found 1 columns"]),
    (tags, "", ["f:1: ", "empty file"]),
    (words, "1\tf\tNOUN\n", ["f:1: ", "10 columns, found 3"]),
    (words, WORD.format(1, 1, 0) + WORD.format(3, 3, 1), ["f:2: ", "expected word 2, found '3'"]),
    (
        words,
        WORD.format(1, 1, 0) + WORD.format(1, 1, 0),
        ["f:2: ", "expected word 2", "blank line"],
    ),
    (words, RANGE + WORD.format(1, 1, 0), ["f:1: ", "words 1 to 2", "found 1 words"]),
    (words, WORD.format(1, 1, 0).replace("NOUN", "NUON"), ["f:1: ", "unknown label 'NUON'"]),
    (words, "# only a comment\n", ["f: ", "found none"]),
    (fused, RANGE + WORD.format(1, 1, 2) + WORD.format(2, 2, 1), ["f:3: ", "leads to the root"]),
    (fused, RANGE + WORD.format(1, 1, "_") + WORD.format(2, 2, 1), ["f:2: ", "found '_'"]),
    (questions, '{"data": [\n{"par', ["f:2: ", "column 2", "cut short"]),
    (questions, "[]", ["f: data: expected a list", "a list where an object should be"]),
    (questions, '{"data": []}', ["f: ", "expected questions, found none"]),
    (
        questions,
        '{"data": [{}]}',
        ["f: data[0].paragraphs: expected a list, found only an empty object"],
    ),
    (
        questions,
        squad(None),
        ["f: data[0].paragraphs[0].qas[0].answers: expected a list, found None"],
    ),
    (
        questions,
        squad([{"text": "cat"}]),
        ["f: data[0].paragraphs[0].qas[0].answers[0].answer_start: ", "only text"],
    ),
    (
        questions,
        squad([{"text": "cat", "answer_start": 7}]),
        ["answers[0].answer_start: expected 0 to 6", "found 7"],
    ),
    (
        questions,
        squad([{"text": "cat", "answer_start": -1}]),
        ["answers[0].answer_start: ", "found -1"],
    ),
    (questions, squad([], context=None), ["f: data[0].paragraphs[0].context: expected a string"]),
    (questions, "", ["f:1: ", "expected JSON"]),
    (hellaswag, "", ["f:1: ", "empty file"]),
    (hellaswag, swag() + "\n[]\n", ["f:2: ", "expected an object, found a list"]),
    (hellaswag, swag(ctx_b="-"), ["f:1: ctx_b: expected a string, found only ind, ctx_a, endings"]),
    (hellaswag, swag(endings=["x", 3]), ["f:1: endings[1]: expected a string, found '3'"]),
    (hellaswag, swag(endings=["x"], label=0), ["f:1: ", "two choices or more, found 1"]),
    (hellaswag, swag(label=2), ["f:1: label: expected 0 to 1, found '2'"]),
    (hellaswag, swag(label="-1"), ["f:1: label: expected 0 to 1, found '-1'"]),
    (
        hellaswag,
        swag() + "\n" + swag(),
        ["f:2: expected distinct ids, found 'x/4' of ", "f:1 again"],
    ),
    (hellaswag, swag() + '\n{"ind', ["f:2: ", "cut short"]),
    (
        cosmos,
        "id,context,question,answer0,answer1,answer2,label\r\n",
        ["f:1: ", "answer3", "found id, context"],
    ),
    (cosmos, COSMOS, ["f: ", "expected rows below the header"]),
    (
        cosmos,
        COSMOS + "1,c,q,a,b,c,d\r\n",
        ["f:2: ", "expected 8 columns", "found 7", "stray comma"],
    ),
    (cosmos, COSMOS + "1,c,q,a,b,c,d,4\r\n", ["f:2: label: expected 0 to 3, found '4'"]),
    (
        cosmos,
        COSMOS + '1,"c\r\nc",q,a,b,c,d,3\r\n2,c,q,a,b,c,d,x\r\n',
        ["f:4: label: expected 0 to 3, found 'x'"],
    ),
    (cosmos, COSMOS + '1,"c,q,a,b,c,d,3\r\n', ["f:2: ", "unexpected end of data"]),
    (commonsense, csqa("F", "x", "y"), ["f:1: answerKey: unknown label 'F'", "Choices: A, B"]),
    (commonsense, csqa("A", "x", "y", id=3), ["f:1: id: expected a string, found 3"]),
    (
        commonsense,
        csqa("A", "x", "y", question={"stem": "q"}),
        ["f:1: question.choices: expected a list"],
    ),
    (
        commonsense,
        csqa("A", "x", None),
        ["f:1: question.choices[1].text: expected a string, found None"],
    ),
    (
        commonsense,
        flat(["A"], ["x", "y"]),
        ["f:1: choices: expected as many labels as texts, found 1 and 2"],
    ),
    (
        commonsense,
        json.dumps({"id": "1", "question": "q", "choices": []}),
        ["f:1: choices: expected an object"],
    ),
    (social, siqa(answerC="-"), ["f:1: answerC: expected a string"]),
    (social, siqa() + "\n" + siqa(correct="D"), ["f:2: correct: expected 1 to 3, found 'D'"]),
    (causes, copa(question="why"), ["f:1: question: unknown label 'why'", "cause, effect"]),
    (causes, copa(label=2), ["f:1: label: expected 0 to 1, found '2'"]),
    (causes, copa(choice2="-"), ["f:1: choice2: expected a string"]),
    (causes, copa(idx="a"), ["f:1: idx: expected an integer, found 'a'"]),
    (plain, "", ["f:1: ", "empty file"]),
    (plain, " \n\t\n", ["f: ", "found only blanks"]),
    (plain, b"a\n\xff\n", ["f:2: ", "UTF-8", "0xff"]),
    (
        lambda path: plain(path, column=1),
        "a\tb\nc\n",
        ["f:2: ", "a column 1, counted from 0, found 1"],
    ),
]


@pytest.mark.parametrize(("read", "text", "parts"), BROKEN)
def test_broken_file(tmp_path, read, text, parts):
    path = write(tmp_path, text, "f")
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:")
    for part in parts:
        assert part in message


BROKEN_GOLD = [
    (pairs, "a\tb\nc\td\n", "neutral\n", ["g:2: ", "expected 2 rows", "found 1"]),
    (pairs, "a\tb\n", "neutral\nneutral\n", ["g:2: ", "expected 1 rows", "found 2"]),
    (pairs, "a\tb\n", "nuetral\n", ["g:1: ", "unknown label 'nuetral'"]),
    (pairs, "a\tb\n", "", ["g:1: ", "empty file"]),
    (tags, "a\nb\n\nc\n", "NOUN\nNOUN\n", ["g:2: ", "expected 2 sentences", "found 1"]),
    (tags, "a\n", "NOUN\n\nVERB\n", ["g:3: ", "expected 1 sentences", "found 2"]),
    (tags, "a\nb\n\nc\n", "NOUN\n\nNOUN\n", ["g:1: ", "expected 2 tags", "found 1"]),
    (tags, "a\nb\n", "a\tNOUN\nc\tNOUN\n", ["g:2: ", "expected token 'b'", "found 'c'"]),
    (tags, "a\n", "NUON\n", ["g:1: ", "unknown label 'NUON'"]),
    (tags, "a\n", "a\tb\tNOUN\n", ["g:1: ", "found 3 columns"]),
    (social, siqa(), "1\n2\n", ["g:2: ", "expected 1 rows", "found 2"]),
    (social, siqa() + "\n" + siqa(), "1\n", ["g:2: ", "expected 2 rows", "found 1"]),
    (social, siqa(), "0\n", ["g:1: expected 1 to 3, found '0'"]),
    (causes, copa(), '{"label": 0}\n{"label": 1}\n', ["g:2: ", "expected 1 rows", "found 2"]),
    (causes, copa(), '{"label": 2}\n', ["g:1: label: expected 0 to 1, found '2'"]),
    (questions, squad([], []), squad([]), ["g: ", "1 are missing, first 'q1'"]),
]


@pytest.mark.parametrize(("read", "text", "gold", "parts"), BROKEN_GOLD)
def test_broken_gold(tmp_path, read, text, gold, parts):
    path, gold = write(tmp_path, text, "f"), write(tmp_path, gold, "g")
    with pytest.raises(DataError) as caught:
        read(path, gold=gold)
    assert str(caught.value).startswith(f"{gold}:")
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("other", "gold", "named", "parts"),
    [
        ("a\n", None, "other:2: ", ["expected 2 lines", "found 1"]),
        ("a\nb\nc\n", None, "other:3: ", ["expected 2 lines", "found 3"]),
        ("a\nb\n", "0\n", "gold:2: ", ["expected 2 lines", "found 1"]),
        ("a\nb\n", "0\n2\n", "gold:2: ", ["from 0 to 1", "'2'"]),
        ("a\nb\n", "0\n[1]\n", "gold:2: ", ["'[1]'"]),
        ("a\nb\n", "1\n1\n", "gold:2: ", ["each number once", "1 of line 1"]),
    ],
)
def test_broken_parallel_lines(tmp_path, other, gold, named, parts):
    paths = [write(tmp_path, "x\ny\n", "path"), write(tmp_path, other, "other")]
    third = None if gold is None else write(tmp_path, gold, "gold")
    with pytest.raises(DataError) as caught:
        parallel_lines(paths[0], split="x", other=paths[1], gold=third)
    assert str(caught.value).startswith(f"{tmp_path}/{named}")
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "read",
    [
        pairs,
        sick,
        snli,
        tags,
        words,
        questions,
        hellaswag,
        cosmos,
        commonsense,
        social,
        causes,
        plain,
    ],
)
def test_files_that_are_not_there(tmp_path, read):
    write(tmp_path, "x", "dev-en.tsv")
    with pytest.raises(DataError, match=r"dev-em\.tsv: no such file; did you mean .*dev-en\.tsv\?"):
        read(tmp_path / "dev-em.tsv")
    with pytest.raises(DataError, match=r"f\.tsv: no such file, and no folder .*nowhere"):
        read(tmp_path / "nowhere" / "f.tsv")
    with pytest.raises(
        DataError, match=r"expected a file, found a folder; name a file in it \(dev-en\.tsv\)"
    ):
        read(tmp_path)


@pytest.mark.parametrize("cut", [lambda whole: whole[:-9], lambda whole: b"x" + whole])
def test_broken_gzip(tmp_path, cut):
    path = write(tmp_path, cut(gzip.compress(squad([]).encode())), "f.json.gz")
    with pytest.raises(DataError, match=r"f\.json\.gz: can't be read .*fetch the file again"):
        questions(path)
