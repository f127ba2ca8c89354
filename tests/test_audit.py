"""What is said of a data folder: counts of the real one, a broken file by its line, everything else
all the same."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from adapters_xitt.cli.main import main
from adapters_xitt.data import audit
from adapters_xitt.data.audit import BROKEN, MISSING, READ, UNLABELLED, UNREAD, Finding
from adapters_xitt.errors import DataError
from adapters_xitt.tasks import TASKS

NLI = "a {n}\tb\tneutral\n"


def found(root: Path, *names: str) -> dict[tuple[str, str, str], Finding]:
    return {
        (one.task, one.split, one.language): one
        for one in audit.findings(root, [TASKS[name] for name in names])
    }


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def little(tmp_path) -> Path:
    """XNLI in two languages: one with labels in the test file, one with labels apart."""
    root = tmp_path / "little"
    for split in ("dev", "test"):
        write(root / f"xnli/{split}-de.tsv", "".join(NLI.format(n=n) for n in range(30)))
    write(root / "xtreme/xnli/test-sw.tsv", "a\tb\nc\td\n")
    write(root / "xtreme_labels/xnli/test-sw.tsv", "neutral\nentailment\n")
    return root


# Records of SOURCES.md: task, split, language -> rows.
REAL = {
    ("xnli", "dev", "en"): 2490,
    ("xnli", "dev", "de"): 600,
    ("xnli", "test", "sw"): 450,
    ("pawsx", "dev", "en"): 2000,
    ("pawsx", "test", "zh"): 450,
    ("panx", "dev", "ar"): 110,
    ("udpos", "test", "en"): 400,
    ("udpos", "dev", "af"): 110,
    ("xquad", "test", "th"): 97,
    ("tydiqa", "test", "fi"): 50,
    ("tydiqa", "train", "en"): 400,
    ("tatoeba", "test", "af"): 1000,
    ("xcopa", "test", "qu"): 200,
    ("copa", "train", "en"): 400,
    ("cosmosqa", "dev", "en"): 1200,
}


def test_the_real_folder_has_what_its_sources_say(data_dir):
    names = dict.fromkeys(name for name, *_ in REAL)
    got = found(data_dir, *names)
    assert {cell: got[cell].rows for cell in REAL} == REAL
    assert all(got[cell].state == READ and got[cell].file for cell in REAL)
    assert Counter(one.state for one in got.values())[BROKEN] == 0
    assert got["pawsx", "test", "en"].state == got["panx", "test", "de"].state == UNLABELLED
    assert got["pawsx", "test", "en"].looked_for == ("xtreme_labels/pawsx/test-en.tsv",)
    missing = got["pawsx", "train", "en"]
    assert (missing.state, missing.needed) == (MISSING, True)
    assert missing.looked_for == ("xtreme/pawsx/train-en.tsv", "pawsx/train-en.tsv")
    assert not got["pawsx", "train", "de"].needed


def test_every_task_can_be_looked_at(data_dir):
    got = list(audit.findings(data_dir, TASKS.values()))
    assert len(got) == len(audit.splits_of(TASKS.values()))
    for one in got:
        assert one.state in (READ, UNLABELLED, BROKEN, MISSING, UNREAD) and (one.file != "") == (
            one.state != MISSING
        )
        assert (one.rows > 0) or one.state != READ
        assert one.state != BROKEN, one.problem


def test_a_broken_file_is_named_with_its_line_and_stops_nothing(little):
    write(little / "xnli/dev-de.tsv", "a\tb\tneutral\nc\td\tcontrary\n")
    write(little / "xnli/dev-fr.tsv", "a\tb\tneutral\n\xff".encode("latin-1").decode("latin-1"))
    (little / "xnli/dev-el.tsv").mkdir()
    got = found(little, "xnli")
    broken = got["xnli", "dev", "de"]
    assert broken.state == BROKEN and broken.problem.startswith(
        f"{little}/xnli/dev-de.tsv:2: unknown label 'contrary'"
    )
    assert got["xnli", "dev", "fr"].state == got["xnli", "dev", "el"].state == BROKEN
    assert (got["xnli", "test", "de"].state, got["xnli", "test", "de"].rows) == (READ, 30)
    assert got["xnli", "test", "sw"].labels == str(little / "xtreme_labels/xnli/test-sw.tsv")
    assert sum(one.state == READ for one in got.values()) == 2


def test_a_real_file_that_is_cut_short_is_named(data_dir, tmp_path):
    source = data_dir / "xtreme/xquad/xquad.de.json"
    if not source.exists():
        pytest.skip("no XQuAD")
    for language in ("de", "en"):
        place = write(tmp_path / f"xquad/xquad.{language}.json", "")
        shutil.copyfile(data_dir / f"xtreme/xquad/xquad.{language}.json", place)
    cut = tmp_path / "xquad/xquad.de.json"
    cut.write_bytes(cut.read_bytes()[:5000])
    got = found(tmp_path, "xquad")
    assert (
        got["xquad", "test", "de"].state == BROKEN
        and f"{cut}:" in got["xquad", "test", "de"].problem
    )
    assert got["xquad", "test", "en"].state == UNLABELLED, "XTREME blanks the answers"


def test_labels_that_lie_nowhere_are_not_a_broken_file(little):
    (little / "xtreme_labels/xnli/test-sw.tsv").unlink()
    one = found(little, "xnli")["xnli", "test", "sw"]
    assert (one.state, one.looked_for) == (UNLABELLED, ("xtreme_labels/xnli/test-sw.tsv",))
    # one line that lacks its label in a file that has them is broken
    write(little / "udpos/test-de.tsv", "der\tDET\nHund\tNOUN\n\nbellt\n")
    write(little / "udpos/test-fr.tsv", "le\nchien\n")
    write(little / "tatoeba/de-en.de", "".join(f"satz {n}\n" for n in range(30)))
    write(little / "tatoeba/de-en.en", "".join(f"sentence {n:02}\n" for n in range(30)))
    got = found(little, "udpos", "tatoeba")
    assert (
        got["udpos", "test", "de"].state == BROKEN
        and "test-de.tsv:4: " in got["udpos", "test", "de"].problem
    )
    assert got["udpos", "test", "fr"].state == got["tatoeba", "test", "de"].state == UNLABELLED
    # labels of other data are broken, whatever they are
    write(little / "xtreme_labels/tatoeba/test-de.tsv", "0\n1\n")
    assert found(little, "tatoeba")["tatoeba", "test", "de"].state == BROKEN


def test_skipped_rows_are_counted_with_their_reason(tmp_path):
    lines = [
        {"sentence1": "a", "sentence2": "b", "gold_label": label} for label in ("neutral", "-", "-")
    ]
    write(
        tmp_path / "snli/snli_1.0_train.jsonl", "".join(json.dumps(line) + "\n" for line in lines)
    )
    one = found(tmp_path, "snli")["snli", "train", "en"]
    assert (one.rows, dict(one.skipped)) == (1, {"no agreed label": 2})


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        list(audit.findings(tmp_path / "nowhere", TASKS.values()))


# -- the command


def run(*words: object) -> tuple[int, str]:
    ran = CliRunner().invoke(main, ["data", "check", *map(str, words)])
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.output
    return ran.exit_code, ran.output


def test_the_command_tells_and_its_status_is_of_what_is_broken(little, tmp_path):
    status, told = run(little, "xnli", "--json", tmp_path / "all.json")
    assert status == 0
    assert "2 of 15" in told and "test 32 in 2" in told and "dev 30" in told
    assert (
        "missing: xnli test in ar bg el en es fr hi ru th tr ur vi zh "
        "(xtreme/xnli/test-ar.tsv | xnli/test-ar.tsv …)" in told
    )
    record = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))
    assert len(record["findings"]) == 30 and {one["state"] for one in record["findings"]} == {
        READ,
        MISSING,
    }
    write(little / "xnli/dev-de.tsv", "a\tb\tneutral\nc\td\tcontrary\n")
    status, told = run(little)
    assert status == 1
    assert f"broken: xnli dev de: {little}/xnli/dev-de.tsv:2: unknown label 'contrary'" in told
    assert "Nothing of: " in told and "hellaswag" in told
    assert run(little, "mnli")[0] == 0
    status, told = run(little, "xnly")
    assert status == 2 and "Did you mean 'xnli'?" in told
    assert run(tmp_path / "nowhere")[0] == 2


def test_a_test_without_its_labels_is_a_problem_and_the_status_says_so(tmp_path):
    write(tmp_path / "xtreme/pawsx/test-de.tsv", "a\tb\nc\td\n")
    status, told = run(tmp_path, "pawsx")
    assert status == 1 and "without labels: pawsx test in de" in told
