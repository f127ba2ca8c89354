"""Questions from the recipe to the report: grammar, choice of languages, verdicts, controls, marks,
the command, and what each item adds to every metric."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from statsmodels.stats.multitest import multipletests

import adapters_xitt as xitt
from adapters_xitt import metrics
from adapters_xitt.analysis import scores
from adapters_xitt.analysis.contrasts import Contrast, parse_contrast
from adapters_xitt.analysis.controls import NO_TEACHER, OWN_TASK, SAME_ROW
from adapters_xitt.analysis.evidence import Prediction
from adapters_xitt.analysis.questions import CONTRARY, HOLDS, SMALL, UNKNOWN
from adapters_xitt.cli.main import main
from adapters_xitt.errors import XittError
from adapters_xitt.tasks import TASKS

RECIPE: dict[str, Any] = {
    "encoder": "demo",
    "data": "demo",
    "methods": [{"name": "seq_bn", "reduction": 2, "learning_rate": 1.0e-3}],
    "intermediates": ["demo-nli", "demo-pairs", "demo-nli:permuted"],
    "targets": ["demo-pairs", "demo-retrieval"],
    "languages": ["de", "en", "fi"],
    "seeds": [1, 2],
    "matters": 30.0,
    "training": {"batch_size": 16, "max_steps": 6, "selection_examples": 16},
    "questions": [
        {"inference helps paraphrases": {"contrast": "demo-nli - none", "on": "demo-pairs"}},
        {
            "more than paraphrases do": {
                "contrast": "demo-nli - none",
                "against": "demo-pairs [sequential] - none",
                "on": ["demo-pairs", "demo-retrieval"],
                "languages": {"family": "Uralic"},
                "matters": 0.001,
            }
        },
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe and the store of its run."""
    folder = tmp_path_factory.mktemp("asked")
    (folder / "asked.yaml").write_text(yaml.safe_dump(RECIPE, sort_keys=False))
    xitt.run(folder / "asked.yaml", store=folder / "store", device="cpu")
    return folder


@pytest.fixture(scope="module")
def grid(folder: Path) -> xitt.Grid:
    return xitt.load_run("asked", store=folder / "store")


# -- the grammar -----------------------------------------------------------------------------------

ROWS = [
    ("", "none"),
    ("xnli@de+ru", "sequential"),
    ("xnli@de+ru", "stack"),
    ("mnli", "sequential"),
    ("target - 0.5*mnli", "composed"),
]


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("mnli - none", 3, 0),
        ("xnli@ru+de [stack] - xnli@de+ru [sequential]", 2, 1),
        ("target - 0.5*mnli - mnli", 4, 3),
        ("  mnli [sequential]  -  target - 0.5*mnli ", 3, 4),
    ],
)
def test_a_contrast_is_two_rows(text: str, first: int, second: int) -> None:
    assert parse_contrast(text, ROWS) == Contrast(ROWS[first], ROWS[second])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mnli-none", "expected ROW - ROW, blanks around the minus, as in 'xnli@de+ru [sequential"),
        ("mnl - none", "unknown row 'mnl'. Did you mean 'mnli'?"),
        ("xnli@de+ru - none", "write 'xnli@de+ru [sequential]' or 'xnli@de+ru [stack]'"),
        ("mnli [stak] - none", "unknown mode 'stak'"),
    ],
)
def test_what_is_no_contrast_is_told_with_what_there_is(text: str, words: str) -> None:
    with pytest.raises(XittError, match="contrast") as raised:
        parse_contrast(text, ROWS)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"contrast": "demo-nl - none", "on": "demo-pairs"}, "unknown row 'demo-nl'"),
        ({"contrast": "demo-nli - none", "on": "demo-pos"}, "unknown target 'demo-pos'"),
        (
            {"contrast": "demo-nli - none", "on": "demo-pairs", "languages": ["sw"]},
            "unknown tested language 'sw'",
        ),
        (
            {"contrast": "demo-nli - none", "on": "demo-pairs", "languages": {"jshi": 2}},
            "'jshi'",
        ),
        (
            {"contrast": "demo-nli - none", "on": "demo-pairs", "measure": "skore"},
            "unknown measure 'skore'",
        ),
        (
            {"contrast": "demo-nli - none", "on": "demo-pairs", "langages": ["de"]},
            "Did you mean 'languages'?",
        ),
        ({"contrast": "demo-nli - none"}, "on: this key is missing"),
    ],
)
def test_a_question_that_cant_be_asked_stops_before_anything_runs(
    tmp_path: Path, part: dict[str, Any], words: str
) -> None:
    recipe = {**RECIPE, "questions": [{"a question": part}]}
    (tmp_path / "asked.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.raises(XittError) as raised:
        xitt.run(tmp_path / "asked.yaml", store=tmp_path / "store", device="cpu")
    assert words in str(raised.value) and "a question" in str(raised.value)
    assert not (tmp_path / "store" / "modules").exists()


# -- what each item adds ---------------------------------------------------------------------------

WORDS = "the cat sat on a mat".split()
TAGS = ("NOUN", "VERB", "SCONJ", "ADP")


def _items(metric: str, random: np.random.Generator) -> list[dict[str, Any]]:
    """Random predictions of 30 items, as the kind of such a metric stores them."""

    def text() -> str:
        return " ".join(random.choice(WORDS, 3))

    def tags(count: int) -> list[str]:
        return [str(tag) for tag in random.choice(TAGS, count)]

    items: list[dict[str, Any]] = []
    for index in range(30):
        length = int(random.integers(1, 9))
        ranking = [str(place) for place in random.permutation(30)[:20]]
        fields: dict[str, dict[str, Any]] = {
            "accuracy": {"label": int(random.integers(3)), "gold": int(random.integers(3))},
            "qqp": {"label": str(random.integers(2)), "gold": str(random.integers(2))},
            "tag_f1": {"tags": tags(length), "gold": tags(length)},
            "tag_accuracy": {"tags": tags(length), "gold": tags(length)},
            "squad": {"text": text(), "gold": [text(), text()]},
            "mlqa": {"text": text(), "gold": [text(), text()]},
            "retrieval_accuracy": {"index": int(random.integers(3)), "gold": index % 3},
            "mrr": {"ids": ranking, "gold": [str(index)]},
            "map": {"ids": ranking, "gold": [str(index), str(29 - index)]},
        }
        items.append({"id": str(index), **fields[metric]})
    return items


def _sides(metric: str, items: list[dict[str, Any]]) -> tuple[list[Any], list[Any]]:
    """Predictions and references, as the metric itself takes them."""
    if metric in ("squad", "mlqa"):
        answers = [
            {"id": item["id"], "answers": {"text": item["gold"], "answer_start": [0, 0]}}
            for item in items
        ]
        return [{"id": item["id"], "prediction_text": item["text"]} for item in items], answers
    key = next(key for key in ("label", "tags", "index", "ids") if key in items[0])
    return [item[key] for item in items], [item["gold"] for item in items]


@pytest.mark.parametrize("metric", sorted(set(scores._SUMS) - {"masked_tokens"}))
def test_items_add_up_to_the_metric(metric: str) -> None:
    task = next(task for task in TASKS.values() if task.metric == metric)
    items = _items(metric, np.random.default_rng(5))
    statistics = scores.main_score(Prediction(task, "en", items, {}))
    assert statistics is not None
    scored = metrics.score(metric, *_sides(metric, items), language="en")
    assert statistics.total == pytest.approx(scored[task.main_score], abs=1e-9)


def test_every_metric_of_a_target_is_known_by_items_or_said_not_to_be() -> None:
    targets = {task.metric for task in TASKS.values()}
    assert targets - set(scores._SUMS) == {"bucc", "squad2"}


# -- answers ---------------------------------------------------------------------------------------


def test_the_effect_is_the_difference_of_the_grid(grid: xitt.Grid) -> None:
    frame = grid.frame
    done = frame[(frame.target == "demo-pairs") & (frame.language != "en")]
    by_row = done.groupby(["intermediate", "seed"]).score.mean().groupby("intermediate").mean()
    first, second = (grid.answers.frame.iloc[index] for index in (0, 1))
    assert first.effect == pytest.approx(by_row["demo-nli"] - by_row[""])
    assert (first.languages, first.seeds, first["items"]) == ("de fi", 2, 600)
    fi = frame[frame.language == "fi"].groupby(["target", "intermediate"]).score.mean()
    both = [fi[name, "demo-nli"] - fi[name, "demo-pairs"] for name in RECIPE["targets"]]
    assert second.effect == pytest.approx(np.mean(both))
    assert second.languages == "fi" and second.matters == 0.001


def test_the_correction_is_statsmodels_holm(grid: xitt.Grid) -> None:
    frame = grid.answers.frame
    assert frame.p_corrected.tolist() == pytest.approx(multipletests(frame.p, method="holm")[1])


def test_a_bound_that_is_surely_not_reached_makes_it_small_and_others_cant_be_told(
    grid: xitt.Grid,
) -> None:
    for contrast, bound, verdict in (
        ("demo-nli - none", 1e5, SMALL),
        ("none - none", 0.1, SMALL),
        ("demo-nli - none", 1e-6, UNKNOWN),
    ):
        asked = grid.ask(contrast, on="demo-pairs", matters=bound)
        assert asked.frame.verdict.tolist() == [verdict]
    assert {HOLDS, CONTRARY, SMALL, UNKNOWN} >= set(grid.answers.frame.verdict)


def test_a_sure_difference_holds_and_the_other_way_round_the_contrary(
    grid: xitt.Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the predictions of one row made right in every item."""
    read = type(grid._findings.evidence).prediction

    def flawless(self: Any, place: tuple) -> Prediction:
        prediction = read(self, place)
        if place[1] != "demo-nli":
            return prediction
        items = [{**item, "label": item["gold"]} for item in prediction.items]
        return Prediction(prediction.task, prediction.language, items, prediction.arrays)

    monkeypatch.setattr(type(grid._findings.evidence), "prediction", flawless)
    fresh = xitt.Grid(grid.record, grid.folder, grid.store)
    asked = [fresh.ask(text, on="demo-pairs") for text in ("demo-nli - none", "none - demo-nli")]
    assert [each.frame.verdict[0] for each in asked] == [HOLDS, CONTRARY]
    assert ("seq_bn(reduction=2)", "demo-nli", "sequential", "demo-pairs", "all") in (
        fresh._findings.significant
    )


def test_controls_are_found_and_a_failed_one_stands_first(folder: Path, grid: xitt.Grid) -> None:
    kinds = [(each.kind, each.answer.sentence) for each in grid._findings.controls]
    assert kinds == [
        (OWN_TASK, "demo-pairs on demo-pairs"),
        (SAME_ROW, "none on demo-pairs"),
        (SAME_ROW, "none on demo-retrieval"),
        (NO_TEACHER, "demo-nli:permuted on demo-pairs"),
        (NO_TEACHER, "demo-nli:permuted on demo-retrieval"),
    ]
    same = [each for each in grid._findings.controls if each.kind == SAME_ROW]
    assert [
        (each.answer.effect.difference, each.failed) for each in same if each.answer.effect
    ] == [(0.0, False)] * 2
    lines = grid.report(folder / "out").markdown.splitlines()
    failed = [each for each in grid._findings.controls if each.failed]
    assert failed and lines[2].startswith("**control failed: ")


def test_the_first_page_has_question_effect_interval_verdict_and_what_could_be_found(
    folder: Path, grid: xitt.Grid
) -> None:
    report = grid.report(folder / "out")
    names = {path.name for path in report.files}
    assert {"report.md", "answers.csv", "answers.png"} <= names
    page = report.markdown.split("## Zero-shot")[0]
    for _, answered in grid.answers.frame.iterrows():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| {answered.question}")]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        low, high = f"{answered.low:+.1f}", f"{answered.high:+.1f}"
        assert cells[1:3] == [f"{answered.effect:+.1f}", f"{low} to {high}"]
        assert cells[4] == answered.verdict and float(cells[5]) >= 0
    assert "## Controls" in page
    for form in (report.text, report.markdown):
        assert "inference helps paraphrases" in form and "corrected over its table" in form


def test_a_store_without_predictions_reports_without_tests_and_answers_nothing(
    grid: xitt.Grid, tmp_path: Path
) -> None:
    alone = xitt.Grid(grid.record, tmp_path, tmp_path / "empty")
    report = alone.report(tmp_path / "out")
    assert "answers.csv" not in {path.name for path in report.files}
    assert "corrected over" not in report.markdown
    with pytest.raises(XittError, match="lacks predictions"):
        alone.ask("demo-nli - none", on="demo-pairs")
    older = {**grid.record, "recipe": {**grid.record["recipe"], "no_key_of_today": 1}}
    assert xitt.Grid(older, tmp_path, grid.store).report(tmp_path / "out").markdown


def test_the_command_asks_without_a_second_pass(folder: Path) -> None:
    modules = sorted((folder / "store").rglob("*.safetensors"))
    words = ["ask", "asked", "demo-nli - none", "--on", "demo-pairs", "--languages", "joshi>=4"]
    ran = subprocess.run(
        [sys.executable, "-m", "adapters_xitt.cli", *words, "--store", str(folder / "store")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert "95 % interval" in ran.stdout and "2 languages (de fi)" in ran.stdout
    assert sorted((folder / "store").rglob("*.safetensors")) == modules


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["demo-nli", "--on", "demo-pairs"], "blanks around the minus"),
        (["demo-nli - none", "--on", "demo-pair"], "Did you mean 'demo-pairs'?"),
        (["demo-nli - none", "--on", "demo-pairs", "--languages", "joshi<=2,de"], "no condition"),
        (["demo-nli - none", "--on", "demo-pairs", "--matters", "-1"], "matters"),
    ],
)
def test_what_the_command_cant_ask_is_told(folder: Path, words: list[str], told: str) -> None:
    ran = CliRunner().invoke(main, ["ask", "asked", *words, "--store", str(folder / "store")])
    assert ran.exit_code == 2 and told in ran.output
