"""Calibration: cells on the selection split, measures against other libraries and closed forms,
temperatures against a fit on logits, and what the report says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

import adapters_xitt as xitt
from adapters_xitt.api import common
from adapters_xitt.study.plan import Plan
from adapters_xitt.study.results import DONE
from adapters_xitt.study.store import Store

TRAINED = ("demo-pairs", "demo-pos", "demo-qa")
RECIPE = """encoder: {encoder}
data: {{root: {root}}}
methods: [{{name: lora, learning_rate: 1.0e-2}}]
intermediates: [demo-nli]
targets: [demo-pairs, demo-pos, demo-qa, demo-retrieval]
modes: [none, sequential]
languages: [en, de, fi]
seeds: [1, 2]
lengths: {{max_length: 40, stride: 8, question: 8}}
training: {{batch_size: 8, max_steps: 12, evaluate_every: 4, selection_examples: 12, tokens: 160}}
calibration: true
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, pico_dir, pico_world) -> Path:
    path = tmp_path_factory.mktemp("calibration") / "calibrated.yaml"
    path.write_text(RECIPE.format(encoder=pico_dir, root=pico_world), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def grid(recipe) -> xitt.Grid:
    """A grid that was run with calibration."""
    return xitt.run(recipe, store=recipe.parent / "store", device="cpu", log="none")


# -- cells on the selection split ------------------------------------------------------------------


def planned(recipe: Path, *overrides: str) -> Plan:
    return common.open_recipe(recipe, overrides, recipe.parent / "store").plan


def test_calibration_adds_a_cell_to_each_trained_row_and_changes_no_key(recipe) -> None:
    asked, plain = planned(recipe), planned(recipe, "calibration=false")
    assert [entry.key for entry in asked.entries] == [entry.key for entry in plain.entries]
    assert {entry.calibration_key for entry in plain.entries} == {""}
    added = set(asked.score) - set(plain.score)
    assert set(plain.score) < set(asked.score) and set(asked.train) == set(plain.train)
    rows: dict[tuple, set[str]] = {}
    for entry in asked.entries:
        place = (entry.intermediate, entry.mode, entry.target, entry.seed)
        rows.setdefault(place, set()).add(entry.calibration_key)
    # one for a row, target and seed, whatever the language; none where nothing is trained
    assert all(len(keys) == 1 for keys in rows.values())
    trained = {place: next(iter(keys)) for place, keys in rows.items() if place[2] in TRAINED}
    assert set(trained.values()) == added and len(added) == len(trained) == 2 * 3 * 2
    assert all(keys == {""} for place, keys in rows.items() if place[2] not in TRAINED)
    for key in added:
        job = asked.score[key]
        assert (job.cell.split, job.cell.language) == ("dev", "en")
        assert job.tag == "task+language-seen" and job.overlap == 0.0


def test_the_grid_names_the_cells_and_an_entry_without_one_has_no_such_field(grid) -> None:
    store = Store(grid.store)
    assert grid.ok and len(grid.entries) == 2 * 2 * (3 * 3 + 2)  # retrieval has no English
    for entry in grid.entries:
        assert entry["status"] == DONE
        assert ("calibration_key" in entry) == (entry["target"] in TRAINED)
        if entry["target"] in TRAINED:
            result = store.load_result(entry["calibration_key"])
            assert result.cell.split == "dev" and 0 < result.examples <= 12
    digests = {entry["key"] for entry in grid.entries}
    assert not digests & {entry.get("calibration_key") for entry in grid.entries}


def test_a_language_of_training_other_than_english_calibrates(recipe) -> None:
    files = [
        "tasks.demo-pairs.files={train@de: demo-pairs/train-en.tsv, dev@de: demo-pairs/dev-en.tsv}",
        "tasks.demo-pairs.trained_in=[de]",
        "targets=[demo-pairs]",
    ]
    plan = planned(recipe, *files)
    found = {plan.score[entry.calibration_key].cell.language for entry in plan.entries}
    assert found == {"de"}
