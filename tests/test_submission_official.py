"""Damaged submissions against XTREME's own `evaluate.py`.

A line of `golden/submissions.jsonl` is a file of predictions, a file of labels, how they were
damaged, and what `evaluate_one_task` of google-research/xtreme 838c13b makes of them with seqeval
0.0.12, the release whose numbers its own test expects; null where it stops. They are a choice from
12,000 drawn at random, none of which differed. Bytes that are no UTF-8 are written as Python's
`surrogateescape` writes them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from test_run import xitt

from adapters_xitt.errors import DataError
from adapters_xitt.report import submission
from adapters_xitt.report.submission_files import FORMS, compare

GOLDEN = [
    json.loads(line)
    for line in (
        (Path(__file__).parent / "golden" / "submissions.jsonl")
        .read_text(encoding="utf-8")
        .split("\n")
    )
    if line
]


def scores(case: dict, folder: Path, *, lenient: bool = False) -> dict[str, float] | None:
    """What we make of a case, under the script's names; None where it is refused."""
    files = [folder / name for name in ("predictions", "labels")]
    for path in files:
        path.write_bytes(case[path.name].encode("utf-8", "surrogateescape"))
    try:
        found = compare(FORMS[case["task"]], *files, case["language"], lenient=lenient, remarks=[])
    except DataError:
        return None
    return {"map@20" if name == "mrr@20" else name: value for name, value in found.items()}


def test_damaged_files_score_what_the_official_script_gives_or_are_refused_as_there(
    tmp_path,
) -> None:
    assert (
        len(GOLDEN) > 300
        and 100 < sum(case["official"] is None for case in GOLDEN) < len(GOLDEN) - 100
    )
    for case in GOLDEN:
        found = scores(case, tmp_path)
        assert (found is None) == (case["official"] is None), case
        if found is not None:
            assert {name: found[name] for name in case["official"]} == pytest.approx(
                case["official"], abs=1e-9
            ), case


def test_a_lenient_reading_never_stops_where_the_script_does_not(tmp_path) -> None:
    assert all(
        scores(case, tmp_path, lenient=True) is not None
        for case in GOLDEN
        if case["official"] is not None
    )
    assert (
        sum(
            case["official"] is None and scores(case, tmp_path, lenient=True) is not None
            for case in GOLDEN
        )
        > 15
    )


@pytest.mark.parametrize(
    ("task", "predictions", "labels", "official", "lenient"),
    [
        ("udpos", "la\tDET\nvie\tNOUN\n", "DET\nNOUN\n", {"f1": 0.0}, {"f1": 100.0}),
        ("bucc2018", "de-1\ten-1\n\n", "de-1\ten-1\n", {"f1": 200 / 3}, {"f1": 100.0}),
        ("pawsx", "\ufeff0\n1\n", "0\n1\n", {"accuracy": 50.0}, {"accuracy": 100.0}),
        ("tatoeba", "01\n2\n", "1\n2\n", {"accuracy": 50.0}, {"accuracy": 100.0}),
        ("tatoeba", "[1]\n2\n", "1\n2\n", {"accuracy": 50.0}, {"accuracy": 100.0}),
        ("xnli", "neutral\n\n", "neutral\n", None, {"accuracy": 100.0}),
        ("xcopa", '{"label": "1"}\n\n', '{"label": 1}\n', None, {"accuracy": 100.0}),
        (
            "xquad",
            '\ufeff{"q": "a"}',
            '{"data": [{"paragraphs": [{"qas": [{"id": "q", "answers": [{"text": "b"}]}]}]}]}',
            None,
            {"exact_match": 0.0},
        ),
        (
            "xquad",
            '{"q": "b", "other": 3}',
            '{"data": [{"paragraphs": [{"qas": [{"id": "q", "answers": [{"text": "b"}]}]}]}]}',
            {"exact_match": 100.0},
            {"exact_match": 100.0},
        ),
    ],
)
def test_what_a_lenient_reading_forgives(
    tmp_path, task, predictions, labels, official, lenient
) -> None:
    case = {"task": task, "language": "de", "predictions": predictions, "labels": labels}
    for expected, found in (
        (official, scores(case, tmp_path)),
        (lenient, scores(case, tmp_path, lenient=True)),
    ):
        assert (found is None) == (expected is None)
        assert expected is None or {name: found[name] for name in expected} == pytest.approx(
            expected
        )


def test_every_line_that_is_forgiven_is_told(data_dir, tmp_path) -> None:
    mock = data_dir / "xtreme_mock"
    folder = shutil.copytree(mock / "predictions", tmp_path / "p")
    tags = folder / "udpos" / "test-de.tsv"
    count = sum(bool(line) for line in tags.read_text().splitlines())
    tags.write_text(
        "".join(f"word\t{line}\n" if line else "\n" for line in tags.read_text().splitlines())
    )
    numbers = folder / "tatoeba" / "test-de.tsv"
    numbers.write_text("".join(f"0{line}\n" for line in numbers.read_text().splitlines()))
    plain = submission.score(mock / "predictions", mock / "labels", submission.benchmark("xtreme"))
    literal = submission.score(folder, mock / "labels", submission.benchmark("xtreme"))
    assert literal.scores["udpos"]["de"]["f1"] == 0 == literal.scores["tatoeba"]["de"]["accuracy"]
    printed = xitt("score", folder, mock / "labels", "--json", tmp_path / "literal.json")
    assert "are taken literally" in printed and "--lenient" in printed
    printed = xitt(
        "score", folder, mock / "labels", "--lenient", "--json", tmp_path / "lenient.json"
    )
    found = json.loads((tmp_path / "lenient.json").read_text())
    assert found["scores"] == plain.scores and found["lenient"]
    told = [(Path(one["file"]).parent.name, one["what"]) for one in found["remarks"]]
    assert told.count(("udpos", "a tag behind a tab")) == count
    assert f"forgiven: {tags}:1-" in printed and f"forgiven: {numbers}:1: '0" in printed


def test_all_that_stops_the_script_is_told_at_once(data_dir, tmp_path) -> None:
    mock = data_dir / "xtreme_mock"
    folder = shutil.copytree(mock / "predictions", tmp_path / "p")
    (folder / "xnli" / "test-sw.tsv").unlink()
    (folder / "xquad" / "test-el.json").write_text("{")
    (folder / "panx" / "test-ar.tsv").write_bytes(b"O\n\xff\n")
    with pytest.raises(DataError) as error:
        submission.score(folder, mock / "labels", submission.benchmark("xtreme"))
    for name in (
        "xnli/test-sw.tsv: no such file",
        "xquad/test-el.json:1: expected JSON",
        "panx/test-ar.tsv:2: expected UTF-8, found byte 0xff",
    ):
        assert str(folder / name.split(":")[0]) in str(error.value) and name in str(error.value)
    shutil.rmtree(folder / "xnli")  # a task that is not there stops nothing
    shutil.rmtree(folder / "xquad")
    shutil.rmtree(folder / "panx")
    found = submission.score(folder, mock / "labels", submission.benchmark("xtreme"))
    assert found.whole.missing == ("xnli", "panx", "xquad")
