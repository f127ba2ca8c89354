"""What a reader must hold against a grid's numbers: what the encoder itself had seen, and which
rows learned nothing."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from scipy import stats
from test_report import empty, make_grid, where
from test_run import xitt

from adapters_xitt import analysis, report
from adapters_xitt.analysis.learned import MARGIN
from adapters_xitt.errors import XittError
from adapters_xitt.model import pretrained
from adapters_xitt.model.seen import read_seen
from adapters_xitt.study import planner, recipe
from adapters_xitt.tasks import SEEN, TASKS

NONE = ("seq_bn", "", "none", "xnli")


def text_of(grid) -> str:
    console = Console(width=110, file=io.StringIO())
    report.terminal(grid, console)
    return console.file.getvalue()


def flat(text: str) -> str:
    return " ".join(text.split())


def scored(*scores: float, language: str = "en", examples: int = 1000):
    """A grid whose row `none` has these scores on XNLI, a seed each."""
    grid = make_grid(modes=("none",), seeds=tuple(range(1, len(scores) + 1)))
    for entry in where(grid, target="xnli", language=language):
        entry |= {"score": scores[entry["seed"] - 1], "examples": examples}
    return grid


# ------------------------------------------------------------------------------ what was learned


@pytest.mark.parametrize(
    ("scores", "status"),
    [
        ((57.0, 56.0, 58.0), "yes"),
        ((57.0, 56.0, 33.5), "no"),  # one seed collapsed
        ((34.1, 33.5, 35.0), "no"),
        ((38.5, 39.0, 38.4), "yes"),
        ((38.1, 39.0, 38.4), "no"),  # 38.1 - 3.01 is below 33.25 + 2
        ((90.0,), "yes"),
    ],
)
def test_a_row_learned_where_every_seed_is_above_the_commonest_label(scores, status):
    learned = analysis.learning(scored(*scores))[NONE]
    lows = [
        score - stats.norm.ppf(0.975) * (score * (100 - score) / 1000) ** 0.5 for score in scores
    ]
    assert learned.low == pytest.approx(min(lows), abs=1e-3)
    assert learned.score == pytest.approx(sum(scores) / len(scores))
    assert (learned.status, learned.baseline, learned.on) == (status, 33.25, "en")
    assert (min(lows) > 33.25 + MARGIN) == (status == "yes")


def test_the_languages_of_training_are_judged():
    grid = scored(80.0, 80.0)
    assert analysis.learning(grid)[NONE].status == "yes"
    grid["trained_in"] = {"xnli": ["sw"]}
    for entry in where(grid, target="xnli", language="sw"):
        entry["score"] = 30.0
    learned = analysis.learning(grid)[NONE]
    assert (learned.status, learned.on, learned.score) == ("no", "sw", 30.0)
    grid["trained_in"] = {"xnli": ["sw", "en"]}
    assert analysis.learning(grid)[NONE].score == 55.0


def test_without_a_test_in_english_the_selection_split_judges():
    grid = scored(80.0, 80.0)
    grid["entries"] = [entry for entry in grid["entries"] if entry["language"] != "en"]
    assert analysis.learning(grid)[NONE].status == "no English test"
    assert "no test in the language of training" in flat(text_of(grid))
    selection = {"score": 51.0, "chance": 50.0, "examples": 500}
    for entry in where(grid, target="xnli", mode="none"):
        entry["selection"] = selection
    learned = analysis.learning(grid)[NONE]
    assert (learned.status, learned.on, learned.baseline) == ("no", "the selection split", 50.0)
    assert "the selection split 51.0" in flat(text_of(grid))
    for entry in where(grid, target="xnli", mode="none"):
        entry["selection"] = {**selection, "score": 75.0}
    assert analysis.learning(grid)[NONE].status == "yes"


def test_what_has_no_commonest_label_is_said_to_have_none():
    grid = make_grid()
    learned = analysis.learning(grid)
    assert learned["seq_bn", "mnli", "stack", "xquad"].status == "no baseline"
    assert "no baseline: no commonest label to be compared with: xquad, tatoeba" in flat(
        text_of(grid)
    )
    for entry in where(grid, target="xnli", intermediate="mnli", mode="stack"):
        empty(entry, "failed", "loss is not a number")
    assert ("seq_bn", "mnli", "stack", "xnli") not in analysis.learning(grid)


def test_rows_that_learned_nothing_are_marked_and_named_in_every_form():
    grid = scored(34.1, 33.5, 35.0)
    sentence = "not learned: xnli, none: English 34.2 (lowest bound 30.6), commonest label 33.2"
    for text in (flat(text_of(grid)), flat(report.markdown(grid))):
        assert sentence in text and "†: not learned; see Learned" in text
        assert "34.2†" in text
    records = list(csv.DictReader(io.StringIO(report.csv_text(grid))))
    found = {(record["target"], record["learned"]) for record in records}
    assert found == {("xnli", "no"), ("xquad", "no baseline"), ("tatoeba", "no baseline")}
    learned = scored(60.0, 60.0, 60.0)
    assert "†" not in text_of(learned) + report.markdown(learned)


# ------------------------------------------------------------------------------ what was seen


def test_every_task_that_is_learned_from_labels_or_pairs_says_what_teaches_it():
    for task in TASKS.values():
        assert set(task.taught_by) <= set(SEEN), task.name
        assert bool(task.taught_by) == (task.kind != "mlm"), task.name
    assert set(SEEN) == {group for task in TASKS.values() for group in task.taught_by}


def test_a_grid_says_where_zero_shot_means_less():
    grid = make_grid()
    assert "‡" not in text_of(grid) + report.markdown(grid)
    grid["encoder"] |= {"seen": ["nli", "parallel"], "seen_from": "the recipe"}
    sentence = (
        "‡ encoder pico has itself been trained on nli and parallel data, says the recipe: on xnli"
        " and tatoeba zero-shot means only that no module saw the language"
    )
    for text in (flat(text_of(grid)), flat(report.markdown(grid))):
        assert text.count(sentence) == 2  # above the numbers, and in the notes
        assert "accuracy‡" in text and "mean‡" not in text
    grid["encoder"]["seen"] = ["ner"]
    assert "trained on ner data, says the recipe; no target here is of that sort" in flat(
        text_of(grid)
    )
    grid["encoder"]["seen"] = []
    assert "‡" not in text_of(grid)


def test_the_table_of_entries_has_what_was_seen():
    grid = make_grid()

    def column() -> dict[str, str]:
        records = csv.DictReader(io.StringIO(report.csv_text(grid)))
        return {record["target"]: record["encoder_seen"] for record in records}

    assert set(column().values()) == {"not stated"}
    grid["encoder"]["seen"] = ["nli", "parallel", "retrieval"]
    assert column() == {"xnli": "nli", "xquad": "", "tatoeba": "parallel retrieval"}


@pytest.fixture
def encoder(tmp_path, pico_dir) -> Path:
    """The pico encoder with a file that says what it has seen."""
    folder = tmp_path / "encoder"
    shutil.copytree(pico_dir, folder)
    (folder / "seen.json").write_text('{"seen": ["nli", "parallel"], "source": "its model card"}')
    return folder


def test_the_file_beside_an_encoder_is_read_and_changes_nothing(encoder, pico_dir):
    files = pretrained.inspect(str(encoder))
    assert files.seen.groups == ("nli", "parallel") and files.seen.source == "its model card"
    assert files.fingerprint == pretrained.inspect(str(pico_dir)).fingerprint
    assert pretrained.inspect(str(pico_dir)).seen is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"seen": ["nly"]}', "unknown kind of data 'nly'. Did you mean 'nli'"),
        ('{"seen": [["nli"]]}', "unknown kind of data"),
        ('{"saw": ["nli"]}', "unknown key 'saw'"),
        ('{"seen": "nli"}', "a list of what was seen: nli, paraphrase"),
        ('{"seen": [], "source": 3}', "source: expected"),
        ('["nli"]', "seen.json"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path, text, said):
    (tmp_path / "seen.json").write_text(text)
    with pytest.raises(XittError, match="(?s)" + said.replace("[", "\\[")):
        read_seen(tmp_path)


def study(encoder: Path, root: Path, **more) -> dict:
    return {
        "encoder": str(encoder),
        "data": {"root": str(root)},
        "methods": [{"name": "seq_bn", "reduction": 4}],
        "intermediates": [],
        "targets": ["demo-nli", "demo-retrieval"],
        "modes": ["none"],
        "languages": ["en", "de"],
        "lengths": {"max_length": 40},
        "training": {"batch_size": 4, "max_steps": 1, "selection_examples": 4},
        **more,
    }


def test_the_recipe_wins_and_no_key_hears_of_it(tmp_path, encoder, pico_dir, pico_world):
    path = tmp_path / "study.yaml"

    def keys(values: dict) -> set[str]:
        path.write_text(yaml.safe_dump(values))
        found = recipe.load(path)
        plan = planner.plan_recipe(found, planner.Inputs(found, pico_world))
        return {*plan.train, *plan.score}

    plain = keys(study(pico_dir, pico_world))
    assert plain == keys(study(encoder, pico_world))
    assert plain == keys(study(encoder, pico_world, seen=["qa"]))
    printed = flat(xitt("run", path, "--store", tmp_path / "store", "--device", "cpu"))
    grid = json.loads((tmp_path / "store/runs/study/grid.json").read_text())
    assert grid["encoder"]["seen"] == ["qa"]
    assert grid["encoder"]["seen_from"] == (
        "the recipe; seen.json beside it (its model card), which says nli, parallel"
    )
    assert grid["trained_in"] == {"demo-nli": ["en"]}
    assert "no target here is of that sort" in printed
    chance = {entry["target"]: entry.get("selection") for entry in grid["entries"]}
    assert chance["demo-nli"]["examples"] == 4 and chance["demo-retrieval"] is None
    path.write_text(yaml.safe_dump(study(encoder, pico_world)))
    printed = flat(xitt("run", path, "--store", tmp_path / "store", "--device", "cpu"))
    assert "on demo-nli and demo-retrieval zero-shot means only" in printed
    module = next((tmp_path / "store/modules").iterdir()).name
    pushed = xitt("push", module, "ana/a", "--dry-run", "--store", tmp_path / "store")
    assert "been trained on `nli`, `parallel` data" in flat(pushed)
    scores = xitt(
        *("evaluate", "none", "demo-retrieval", "--encoder", encoder, "--data", pico_world),
        *("--store", tmp_path / "store", "--device", "cpu", "languages=[de]"),
    )
    assert "on demo-retrieval zero-shot means only" in flat(scores)


def test_an_unknown_kind_of_data_is_told(tmp_path, pico_dir, pico_world):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study(pico_dir, pico_world, seen=["nly"])))
    printed = flat(xitt("plan", path, code=2))
    assert "unknown kind of data 'nly'. Did you mean 'nli'?" in printed
