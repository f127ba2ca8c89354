"""UDPOS from treebanks' own files: read as XTREME reads them, beside its TSV in one recipe."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import yaml
from test_run import xitt

from adapters_xitt.data.dataset import Override, Sources
from adapters_xitt.errors import DataError
from adapters_xitt.tasks import TASKS

UDPOS = TASKS["udpos"]


def treebank(path: Path, sentences: list[list[tuple[str, str]]], *, prefix: str = "s") -> Path:
    """A CoNLL-U file of flat sentences, each (form, tag) a word."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = []
    for n, sentence in enumerate(sentences):
        lines = [f"# sent_id = {prefix}{n}"]
        lines += [
            f"{at}\t{form}\t_\t{tag}\t_\t_\t0\troot\t_\t_"
            for at, (form, tag) in enumerate(sentence, 1)
        ]
        blocks.append("\n".join(lines) + "\n")
    text = "\n".join(blocks) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def plain(path: Path, sentences: list[list[tuple[str, str]]]) -> Path:
    """XTREME's TSV of the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "\n".join("".join(f"{form}\t{tag}\n" for form, tag in words) for words in sentences)
    )
    return path


def sentences(count: int, word: str) -> list[list[tuple[str, str]]]:
    return [
        [(f"{word}{n}", "NOUN"), ("sees", "VERB"), (f"{word}{n + 1}", "NOUN"), ("in", "ADP")]
        + [("the", "DET"), ("house", "NOUN")]
        for n in range(count)
    ]


def test_whole_treebanks_are_what_xtreme_made_of_them(data_dir):
    """Its TSV here is what its own scripts wrote; sentences in common have equal tokens and
    tags."""
    files = sorted((data_dir / "study/ud").glob("*.conllu.gz"))
    if not files:
        pytest.skip(f"no whole treebanks in {data_dir}/study/ud")
    compared = 0
    for path in files:
        split, language = path.name.split(".")[0].split("-")
        if not (data_dir / f"xtreme/udpos/{split}-{language}.tsv").exists():
            continue
        pattern = str(path.relative_to(data_dir))
        named = Override(files={f"{split}@{language}": pattern})
        ours = Sources(data_dir, {"udpos": named}).whole(UDPOS, split, language)
        theirs = Sources(data_dir).whole(UDPOS, split, language)
        assert ours.file == path and len({row["id"] for row in ours.rows}) == len(ours.rows)
        tags = {tuple(row["words"]): row["tags"] for row in ours.rows}
        common = [row for row in theirs.rows if tuple(row["words"]) in tags]
        assert all(tags[tuple(row["words"])] == row["tags"] for row in common), path.name
        # Finnish is PUD's first there, the treebank of Turku's here
        assert len(common) == (0 if path.name == "test-fi.conllu.gz" else len(theirs.rows))
        compared += len(common)
    assert compared > 1500


@pytest.mark.parametrize(
    ("language", "tag"), [("it", "ADV"), ("es", "PRON"), ("fr", "PRON"), ("pt", "PRON")]
)
def test_languages_rank_the_parts_of_a_fused_word_as_xtreme_does(tmp_path, language, tag):
    lines = ["1-2\tvici\t" + "_\t" * 7 + "_", "1\tvi\t_\tADV\t_\t_\t3\tx\t_\t_"]
    lines += ["2\tci\t_\tPRON\t_\t_\t3\tx\t_\t_", "3\tsono\t_\tVERB\t_\t_\t0\troot\t_\t_"]
    path = tmp_path / "own.conllu"
    path.write_text("\n".join(lines) + "\n\n")
    rows = Sources(None, {"udpos": Override(files={"test": str(path)})}).test(UDPOS, language).rows
    assert rows[0]["words"] == ["vici", "sono"]
    assert [UDPOS.labels[tag] for tag in rows[0]["tags"]] == [tag, "VERB"]


def test_the_suffix_of_each_file_says_how_it_is_read(tmp_path):
    """Also of two that are one split, whose ids never meet; PAN-X has no such form."""
    both = sentences(3, "cat")
    files = [
        treebank(tmp_path / "a.conllu", both[:2]),
        treebank(tmp_path / "b.conllu.gz", both[1:]),
        plain(tmp_path / "c.tsv", both[:1]),
    ]
    named = Override(files={"test": " + ".join(map(str, files))})
    rows = Sources(None, {"udpos": named}).test(UDPOS, "fi").rows
    assert [row["id"] for row in rows] == [
        f"udpos/fi/{name}" for name in ("s0", "s1", "+1/s0", "+1/s1", "test+2/0")
    ]
    found = [list(zip(row["words"], row["tags"], strict=True)) for row in rows]
    assert found[1] == found[2] and found[0] == found[4]
    with pytest.raises(DataError, match=r"a\.conllu:1: expected token<TAB>tag"):
        Sources(None, {"panx": Override(files={"test": str(files[0])})}).test(TASKS["panx"], "fi")


def test_gold_beside_a_treebank_is_refused(tmp_path):
    path = treebank(tmp_path / "a.conllu", sentences(2, "cat"))
    gold = plain(tmp_path / "gold.tsv", sentences(2, "cat"))
    named = Override(files={"test": str(path)}, gold={"test": str(gold)})
    with pytest.raises(DataError, match=r"a\.conllu has its labels in itself"):
        Sources(None, {"udpos": named}).test(UDPOS, "fi")


def study(root: Path, encoder: Path, udpos: dict) -> dict:
    return {
        "encoder": str(encoder),
        "data": {"root": str(root)},
        "methods": [{"name": "seq_bn", "reduction": 4}],
        "intermediates": [],
        "targets": ["udpos"],
        "modes": ["none"],
        "languages": ["en", "fi"],
        "seeds": [1],
        "lengths": {"max_length": 40},
        "training": {"batch_size": 4, "max_steps": 2, "selection_examples": 4},
        "tasks": {"udpos": udpos},
    }


@pytest.fixture
def world(tmp_path) -> dict[str, str]:
    """Files in which English trains from a treebank and one Finnish test is a treebank too."""
    root = tmp_path / "data"
    treebank(root / "train.conllu.gz", sentences(8, "dog"))
    plain(root / "dev.tsv", sentences(6, "bird"))
    plain(root / "test.tsv", sentences(5, "cow"))
    treebank(root / "test-fi.conllu", sentences(7, "kissa"))
    return {
        "train@en": "train.conllu.gz",
        "dev@en": "dev.tsv",
        "test@en": "test.tsv",
        "test@fi": "test-fi.conllu",
    }


def written(tmp_path: Path, values: dict) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def entries(tmp_path: Path) -> dict[str, dict]:
    grid = json.loads((tmp_path / "store/runs/study/grid.json").read_text())
    return {entry["language"]: entry for entry in grid["entries"]}


def test_both_forms_in_one_recipe_are_planned_and_run(tmp_path, pico_dir, world):
    path = written(tmp_path, study(tmp_path / "data", pico_dir, {"files": world}))
    assert "udpos" in xitt("plan", path, "--store", tmp_path / "store")
    xitt("run", path, "--store", tmp_path / "store", "--device", "cpu")
    assert {name: entry["status"] for name, entry in entries(tmp_path).items()} == {
        "en": "done",
        "fi": "done",
    }


def test_a_treebank_is_found_again_by_its_texts(tmp_path, pico_dir, world):
    """The Finnish test is trained on under XTREME's row numbers."""
    plain(tmp_path / "data/own.tsv", sentences(7, "kissa"))
    files = {**world, "train@en": "own.tsv"}
    path = written(tmp_path, study(tmp_path / "data", pico_dir, {"files": files}))
    xitt("run", path, "--store", tmp_path / "store", "--device", "cpu")
    assert entries(tmp_path)["fi"]["status"] == "blocked"


def test_a_damaged_treebank_is_told_with_its_line(tmp_path, pico_dir, world):
    broken = tmp_path / "data/test-fi.conllu"
    broken.write_text(broken.read_text().replace("\tNOUN\t", "\tNUON\t", 1))
    path = written(tmp_path, study(tmp_path / "data", pico_dir, {"files": world}))
    printed = xitt("plan", path, "--store", tmp_path / "store", code=2)
    assert "test-fi.conllu:2" in printed.replace("\n", "") and "'NOUN'" in printed, printed


def test_options_are_those_of_the_files_that_are_named(tmp_path, pico_dir, world):
    whole = {"files": world, "options": {"multiword": "words"}}
    xitt("plan", written(tmp_path, study(tmp_path / "data", pico_dir, whole)))
    only = {"files": {"test@fi": "test.tsv"}, "options": {"multiword": "words"}}
    path = written(tmp_path, study(tmp_path / "data", pico_dir, only))
    assert "unknown reader option 'multiword'" in xitt("plan", path, code=2)


def test_the_task_says_which_other_files_it_reads():
    assert "*.conllu, *.conllu.gz" in xitt("tasks", "udpos")
    assert ".conllu" not in xitt("tasks", "panx")
    assert {form.reader for form in UDPOS.formats.values()} == {"conllu"}
