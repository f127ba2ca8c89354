"""Submission folders: the official mock folder's official scores, and our own grids written, read
back and scored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from test_run import xitt

from adapters_xitt.demo import world
from adapters_xitt.errors import DataError, XittError
from adapters_xitt.report import submission
from adapters_xitt.study.store import Store

# google-research/xtreme 838c13b, evaluate.py on its own mock_test_data.
TASKS = {
    "pawsx": 51.42857142857142,
    "xnli": 30.666666666666664,
    "panx": 57.50793650793652,
    "udpos": 70.21746048354693,
    "bucc2018": 55.0,
    "tatoeba": 53.61111111111111,
    "xquad": (77.27272727272727 + 79.9586776859504) / 2,
    "mlqa": (57.142857142857146 + 81.76870748299321) / 2,
    "tydiqa": (88.888888888888889 + 97.222222222222222) / 2,
}
GROUPS = {
    "classification": 41.04761904761905,
    "tagging": 63.862698495741725,
    "qa": 80.37568011593986,
    "retrieval": 54.30555555555556,
}
WHOLE = 62.17319850507246


@pytest.fixture
def mock(data_dir) -> Path:
    return data_dir / "xtreme_mock"


def test_the_official_mock_folder_has_its_official_scores(mock, tmp_path) -> None:
    printed = xitt(
        "score", mock / "predictions", mock / "labels", "--json", tmp_path / "scores.json"
    )
    found = json.loads((tmp_path / "scores.json").read_text())
    assert {name: one["score"] for name, one in found["tasks"].items()} == pytest.approx(
        TASKS, abs=1e-9
    )
    assert {name: one["score"] for name, one in found["groups"].items()} == pytest.approx(
        GROUPS, abs=1e-9
    )
    assert found["all"]["score"] == pytest.approx(WHOLE, abs=1e-9)
    assert not any(one["missing"] for one in found["tasks"].values())
    assert "62.17" in printed and "*" not in printed


def test_udpos_over_29_languages_is_a_convention_of_its_own(mock) -> None:
    whole, some = (
        submission.score(mock / "predictions", mock / "labels", submission.benchmark(name))
        for name in ("xtreme", "xtreme-29")
    )
    assert len(some.scores["udpos"]) == 29 and set(whole.scores["udpos"]) - set(
        some.scores["udpos"]
    ) == {"kk", "th", "tl", "yo"}
    assert some.tasks["udpos"].value == pytest.approx(
        sum(
            one["f1"] for code, one in whole.scores["udpos"].items() if code in some.scores["udpos"]
        )
        / 29
    )
    assert some.tasks["panx"] == whole.tasks["panx"] and not some.whole.missing


def test_mewslix_of_the_mock_folder(mock) -> None:
    found = submission.score(
        mock / "predictions", mock / "labels", submission.benchmark("xtreme-r"), lenient=True
    )
    assert found.tasks["mewslix"].value == pytest.approx(14.39025156130419, abs=1e-9)
    assert found.whole.missing, "XCOPA, LAReQA and the languages that XTREME-R adds are not there"


def test_what_is_missing_is_marked_and_never_filled(mock, tmp_path) -> None:
    folder = shutil.copytree(mock / "predictions", tmp_path / "p")
    (folder / "xnli" / "test-sw.tsv").unlink()
    shutil.rmtree(folder / "bucc2018")
    found = submission.score(folder, mock / "labels", submission.benchmark("xtreme"), lenient=True)
    assert found.tasks["xnli"].missing == ("sw",) and found.tasks["bucc2018"].value is None
    assert found.groups["classification"].missing == ("xnli",) and found.groups[
        "retrieval"
    ].missing == ("bucc2018",)
    assert found.whole.missing == ("xnli", "bucc2018")
    assert "*" in xitt("score", folder, mock / "labels", "--lenient")
    told = xitt("score", folder, mock / "labels", code=2)
    assert (
        "xnli/test-sw.tsv: no such file; evaluate.py wants every language of a task" in told
        and "--lenient" in told
    )


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("xnli/test-de.tsv", "entailment\n", "1 predictions for the 10 labels"),
        ("udpos/test-de.tsv", "NOUN\n", "predictions for"),
        ("xquad/test-de.json", "{", "expected JSON"),
        ("xquad/test-de.json", "3", "nothing that can be scored"),
        ("mewslix/test-de.json", '["Q1"]', "nothing that can be scored"),
    ],
)
def test_a_broken_file_is_named(mock, tmp_path, name, text, told) -> None:
    folder = shutil.copytree(mock / "predictions", tmp_path / "p")
    (folder / name).write_text(text)
    with pytest.raises(DataError) as error:
        submission.score(
            folder,
            mock / "labels",
            submission.benchmark("xtreme-r" if "mewslix" in name else "xtreme"),
            lenient="mewslix" in name,
        )
    assert name in str(error.value) and told in str(error.value)


def test_no_folder_and_an_empty_one_are_told(mock, tmp_path) -> None:
    with pytest.raises(XittError, match="no such folder"):
        submission.score(tmp_path / "none", mock / "labels", submission.benchmark("xtreme"))
    with pytest.raises(XittError, match=r"none of the files.*xnli/test-ar\.tsv"):
        submission.score(tmp_path, mock / "labels", submission.benchmark("xtreme"))
    with pytest.raises(XittError, match="Did you mean 'xtreme'"):
        submission.benchmark("xtrem")


RECIPE = """# Does a submission say what the grid says?
#   xitt run submission.yaml
encoder: {encoder}
data: {{root: {root}}}
methods: [{{name: seq_bn, reduction: 4}}]
intermediates: []
targets: [xnli, udpos, tydiqa, xquad, xcopa, tatoeba]
modes: [none]
seeds: [1, 2]
lengths: {{max_length: 64, stride: 16, question: 24}}
training: {{batch_size: 8, max_steps: 3, selection_examples: 6}}
tasks:
  xnli: {{train: "dev[:80%]", selection: "dev[80%:]", languages: [de, sw]}}
  udpos: {{train: "dev[:90%]", selection: "dev[90%:]", languages: [de, fr]}}
  tydiqa: {{languages: [en, fi]}}
  xquad: {{trained_on: tydiqa, languages: [el]}}
  xcopa: {{languages: [qu]}}
  tatoeba: {{languages: [fi], options: {{inverse: true}}}}
"""


@pytest.fixture(scope="module")
def ours(tmp_path_factory, pico_dir, data_dir) -> Path:
    """A store with a run on real files."""
    folder = tmp_path_factory.mktemp("submission")
    (folder / "submission.yaml").write_text(RECIPE.format(encoder=pico_dir, root=data_dir))
    xitt("run", folder / "submission.yaml", "--store", folder / "store", "--device", "cpu")
    return folder / "store"


def test_a_submission_scores_what_the_grid_says(ours, data_dir, tmp_path) -> None:
    """Real files end to end: predictions stored, written as files, scored against the labels kept
    apart."""
    entries = json.loads((ours / "runs" / "submission" / "grid.json").read_text())["entries"]
    labels = shutil.copytree(data_dir / "xtreme_labels", tmp_path / "labels")
    # XCOPA's are not among them, and those of Tatoeba give the query of each candidate, not the
    # candidate of a query.
    (labels / "xcopa").mkdir()
    shutil.copy(
        data_dir / "xcopa" / "data" / "qu" / "test.qu.jsonl", labels / "xcopa" / "test-qu.jsonl"
    )
    inverse = [int(line) for line in (labels / "tatoeba" / "test-fi.tsv").read_text().split()]
    (labels / "tatoeba" / "test-fi.tsv").write_text(
        "".join(f"{at}\n" for at in sorted(range(len(inverse)), key=inverse.__getitem__))
    )
    for version, more in (("xtreme", ()), ("xtreme-r", ("xcopa",))):
        folder = tmp_path / version
        printed = xitt(
            "submit",
            "submission",
            folder,
            "--seed",
            "2",
            "--store",
            ours,
            "--benchmark",
            version,
            code=1,
        )
        assert "missing: panx in af ar" in printed and "missing: xnli in ar bg el" in printed
        assert "missing: tatoeba: its options are the recipe's own" in printed
        found = submission.score(folder, labels, submission.benchmark(version), lenient=True).scores
        compared = 0
        for entry in entries:
            if entry["seed"] == 2 and entry["language"] in found.get(entry["target"], {}):
                assert found[entry["target"]][entry["language"]] == pytest.approx(
                    entry["scores"], abs=1e-9
                )
                compared += 1
        assert compared >= 7 + len(more)


def test_a_submission_is_of_one_row_and_overwrites_nothing(ours, tmp_path) -> None:
    printed = xitt("submit", "submission", tmp_path / "s", "--store", ours, code=2)
    assert "which of them?" in printed and "--seed 1" in printed and "--seed 2" in printed
    assert "no such row" in xitt(
        "submit", "submission", tmp_path / "s", "--row", "mnli stack", "--store", ours, code=2
    )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    assert "something in it" in xitt(
        "submit", "submission", tmp_path / "full", "--seed", "1", "--store", ours, code=2
    )


def test_translations_are_mined_from_files_end_to_end(tmp_path) -> None:
    """BUCC's layout, made of translations that the demo's encoder knows and of sentences without a
    partner."""
    (tmp_path / "demo").mkdir()
    world.write_retrieval(tmp_path / "demo", 150, seed=3)
    lines = {
        code: (tmp_path / "demo" / f"de-eng.{code}").read_text().splitlines()[:120]
        for code in ("de", "eng")
    }
    folder = tmp_path / "data" / "bucc2018"
    folder.mkdir(parents=True)
    for split, start in (("dev", 0), ("test", 60)):
        sides = {"de": lines["de"][start : start + 50], "en": lines["eng"][start + 10 : start + 60]}
        for code, texts in sides.items():
            numbered = (f"{code}-{n}\t{text}\n" for n, text in enumerate(texts))
            (folder / f"de-en.{split}.{code}").write_text("".join(numbered))
        (folder / f"de-en.{split}.gold").write_text(
            "".join(f"de-{n + 10}\ten-{n}\n" for n in range(40))
        )
    words = (
        "evaluate",
        "none",
        "bucc2018",
        "--encoder",
        "demo",
        "--data",
        tmp_path / "data",
        "--language",
        "de",
        "--store",
        tmp_path / "store",
        "--device",
        "cpu",
    )
    xitt(*words)
    (result,) = Store(tmp_path / "store").results()
    assert result.scores["f1"] > 90 and result.examples == 100
    assert "threshold of dev" in result.cell.convention
    items = Store(tmp_path / "store").load_predictions(result.cell.key).items
    assert {(item["id"], item["target"]) for item in items} >= {
        (f"bucc2018/de/de-{n + 10}", f"en-{n}") for n in range(5)
    }
    # Another dev set is another threshold: another cell.
    (folder / "de-en.dev.gold").write_text("".join(f"de-{n + 10}\ten-{n}\n" for n in range(20)))
    xitt(*words)
    assert len(Store(tmp_path / "store").results()) == 2
    # The word table that bf16 cuts by default has the rows of the dev set too.
    xitt(*words, "--precision", "bf16")
    # Compositions whose vectors do not fit together are scored in turn.
    (folder / "de-en.test.gold").unlink()
    told = xitt(*words, code=2)
    assert "has no labels to be scored by" in told and "bucc2018 test in de" in told


def test_blanks_at_the_edges_of_lines_are_no_part_of_a_label(mock, tmp_path) -> None:
    folder = shutil.copytree(mock / "predictions", tmp_path / "p")
    for name in (
        "xnli/test-de.tsv",
        "udpos/test-de.tsv",
        "bucc2018/test-de.tsv",
        "tatoeba/test-de.tsv",
    ):
        lines = (folder / name).read_text().splitlines()
        (folder / name).write_text("".join(f"{line} \n" for line in lines))
    (folder / "bucc2018" / "test-fr.tsv").write_text("")  # nothing mined
    plain, found = (
        submission.score(one, mock / "labels", submission.benchmark("xtreme")).scores
        for one in (mock / "predictions", folder)
    )
    assert found["bucc2018"].pop("fr") == {"f1": 0.0, "precision": 0.0, "recall": 0.0} and plain[
        "bucc2018"
    ].pop("fr")
    assert found == plain
