"""Calibration: cells on the selection split, measures against other libraries and closed forms,
temperatures against a fit on logits, and what the report says of them."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from scipy.stats import bootstrap, spearmanr
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss
from torch.nn import functional
from torchmetrics.functional.classification import multiclass_calibration_error

import adapters_xitt as xitt
from adapters_xitt import tasks
from adapters_xitt.analysis.calibration import measures
from adapters_xitt.analysis.calibration.cells import CalibratedCell, Curves
from adapters_xitt.analysis.calibration.distributions import Distributions, distributions
from adapters_xitt.analysis.calibration.summary import Calibration
from adapters_xitt.analysis.calibration.table import AFTER
from adapters_xitt.analysis.calibration.temperature import LEAST, MOST, fit_temperature
from adapters_xitt.analysis.effects import Stratum, effect
from adapters_xitt.analysis.evidence import Evidence, Prediction, place_of
from adapters_xitt.analysis.measures import MEASURES
from adapters_xitt.api import common
from adapters_xitt.data.features import Features
from adapters_xitt.kinds import decoding
from adapters_xitt.kinds.record import HeadOutputs
from adapters_xitt.languages import LANGUAGES
from adapters_xitt.report.calibration import calibration_csv, calibration_sections, groups_csv
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


# -- distributions, by what each kind decodes ------------------------------------------------------

DRAW = np.random.default_rng(14)


def softmax(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).softmax(-1).numpy()


def decoded(task: tasks.Task, examples, outputs, columns, language: str = "en") -> Prediction:
    """What is stored of these outputs of a head."""
    features = Features({"ids": [[0]] * len(outputs), **columns}, len(examples))
    kept = decoding.decode(HeadOutputs(task, language, examples, features, outputs))
    return Prediction(task, language, kept.items, kept.arrays)


def pairs(count: int = 400, *, sharp: float = 3.0, labels: int = 3) -> tuple[Prediction, ...]:
    """Predictions of XNLI that are right more often than not, and their logits and gold labels."""
    draw = np.random.default_rng(count)
    gold = draw.integers(labels, size=count)
    logits = draw.standard_normal((count, labels)) + 0.8 * np.eye(labels)[gold]
    logits = (sharp * logits).astype(np.float32)
    examples = [{"id": f"pair/{n}", "label": int(label)} for n, label in enumerate(gold)]
    columns = {"example": list(range(count))}
    return decoded(tasks.task("xnli"), examples, list(softmax(logits)), columns), logits, gold


def test_pairs_are_distributions_over_labels() -> None:
    prediction, logits, gold = pairs()
    found = distributions(prediction)
    assert found.probabilities == pytest.approx(softmax(logits), abs=1e-6)
    assert found.ids[7] == "pair/7" and (found.item == np.arange(400)).all()
    assert (found.gold.argmax(1) == gold).all() and (found.gold.sum(1) == 1).all()
    assert found.right.mean() == accuracy_score(gold, logits.argmax(1))
    assert found.confidence == pytest.approx(softmax(logits).max(1), abs=1e-6)
    assert found.likelihood == pytest.approx(softmax(logits)[np.arange(400), gold], abs=1e-6)


def test_choices_are_distributions_over_the_choices_of_each_item() -> None:
    sizes = [2, 4, 3]
    scores = [np.array([value], dtype=np.float32) for value in (0, 1, 0, 3, 0, 0, 2, 1, 0)]
    examples = [{"id": f"copa/{n}", "label": label} for n, label in enumerate((1, 3, 0))]
    columns = {"example": np.repeat(range(3), sizes).tolist()}
    found = distributions(decoded(tasks.task("xcopa"), examples, scores, columns))
    assert found.probabilities.sum(1) == pytest.approx(1.0)
    assert found.probabilities[0] == pytest.approx([0.268941, 0.731059, 0, 0], abs=1e-6)
    assert found.probabilities[2, 3] == 0.0 and found.predicted.tolist() == [1, 1, 0]
    assert found.right.tolist() == [True, False, True]
    cold = found.scaled(0.5)  # what an item lacks stays without probability
    assert cold.probabilities[0] == pytest.approx([0.119203, 0.880797, 0, 0], abs=1e-6)


def test_words_are_distributions_and_sentences_their_items() -> None:
    task = tasks.task("udpos")
    logits = DRAW.standard_normal((5, len(task.labels))).astype(np.float32)
    examples = [{"id": "ud/0", "tags": [0, 3]}, {"id": "ud/1", "tags": [1, -1, 2]}]
    outputs = [softmax(logits[:2]), softmax(logits[2:])]
    found = distributions(decoded(task, examples, outputs, {"example": [0, 1]}))
    assert found.ids == ("ud/0", "ud/1") and found.item.tolist() == [0, 0, 1, 1, 1]
    assert found.gold.sum(1).tolist() == [1, 1, 1, 0, 1], "a tag that training hasn't is no class"
    assert found.likelihood[3] == 0.0 and not found.right[3]
    # an open task knows its labels from its data alone
    open_task = replace(task, labels=())
    prediction = decoded(task, examples, outputs, {"example": [0, 1]})
    apart = distributions(replace(prediction, task=open_task))
    assert apart.confidence == pytest.approx(found.confidence)
    assert apart.right.tolist() == found.right.tolist()


def answered(text: str, candidates: dict[str, float], gold: list[str], task: str = "xquad"):
    """The decision on one question."""
    kept = np.zeros((1, 5), dtype=np.float32)
    kept[0, : len(candidates)] = list(candidates.values())
    item = {"id": "q", "text": text, "gold": gold, "candidates": list(candidates)}
    return distributions(Prediction(tasks.task(task), "es", [item], {"probabilities": kept}))


def test_answers_are_distributions_over_the_kept_texts_and_the_other_spans() -> None:
    found = answered("the house", {"the house": 0.5, "a House!": 0.2, "door": 0.15}, ["House"])
    told = [0.5, 0.2, 0.15, 0, 0, *[0.01] * 15]  # of twenty spans; fifteen share what is left
    assert found.probabilities[0] == pytest.approx(told, abs=1e-6)
    assert found.right.tolist() == [True] and found.confidence == pytest.approx([0.5])
    assert found.likelihood == pytest.approx([0.7]), "both kept texts are the gold one"
    missed = answered("door", {"door": 0.7}, ["window"])
    assert not missed.right[0] and missed.likelihood == pytest.approx([0.02])
    other = answered("door", {"house": 0.85}, ["door"])
    assert other.right[0] and other.confidence == pytest.approx([0.01])
    # the words of MLQA are those of the language: a Spanish article doesn't count
    mlqa = answered("la casa", {"la casa": 0.5}, ["casa"], task="mlqa")
    xquad = answered("la casa", {"la casa": 0.5}, ["casa"])
    assert mlqa.right[0] and not xquad.right[0]


def test_a_temperature_scales_the_twenty_spans_of_an_answer() -> None:
    """Logits of twenty spans, of which five are kept and the others are equal."""
    logits = np.array([4.0, 3.0, 2.5, 2.0, 1.5, *[0.5] * 15])
    kept = dict(zip("abcde", softmax(logits)[:5].tolist(), strict=True))
    cold = answered("a", kept, ["b"]).scaled(2.0)
    assert cold.confidence == pytest.approx([softmax(logits / 2)[0]], abs=1e-6)
    assert cold.likelihood == pytest.approx([softmax(logits / 2)[1]], abs=1e-6)


def test_what_stores_no_probabilities_has_no_distributions() -> None:
    for name in ("tatoeba", "squad2"):
        assert distributions(Prediction(tasks.task(name), "de", [], {})) is None


# -- measures --------------------------------------------------------------------------------------


def test_ece_is_that_of_torchmetrics() -> None:
    for sharp in (0.5, 1.0, 3.0):
        prediction, logits, gold = pairs(sharp=sharp)
        told = multiclass_calibration_error(
            torch.from_numpy(softmax(logits)), torch.from_numpy(gold), num_classes=3, n_bins=10
        )
        found = measures.ece(distributions(prediction)).total
        assert found == pytest.approx(100 * float(told), abs=1e-4)


def test_errors_and_temperature_are_those_of_netcal() -> None:
    """netcal 1.4.0 on these probabilities: ECE(10), the same with equal_intervals=False, the mean
    over labels of ECE(10, detection=True), 1 / the weight of TemperatureScaling."""
    found = distributions(pairs(sharp=2.0)[0])
    assert measures.ece(found).total == pytest.approx(18.03968194127083)
    assert measures.equal_mass_ece(found).total == pytest.approx(18.46242275834084)
    assert measures.classwise_error(found).total == pytest.approx(13.600289780195151)
    assert fit_temperature(found) == pytest.approx(2.45124067, rel=1e-5)


def by_curve(gold: np.ndarray, probability: np.ndarray, edges: np.ndarray, strategy: str) -> float:
    """The gap of frequency and mean probability over the bins of scikit-learn's curve."""
    frequency, mean = calibration_curve(gold, probability, n_bins=10, strategy=strategy)
    counts = np.bincount(np.searchsorted(edges, probability), minlength=10)
    return float(np.abs(frequency - mean) @ counts[counts > 0] / counts.sum())


def test_classwise_error_and_equal_mass_bins_are_those_of_calibration_curves() -> None:
    prediction, logits, gold = pairs(sharp=2.0)
    found, probabilities = distributions(prediction), softmax(logits).astype(np.float64)
    edges = np.linspace(0, 1, 11)[1:-1]
    each = [by_curve(gold == k, probabilities[:, k], edges, "uniform") for k in range(3)]
    assert measures.classwise_error(found).total == pytest.approx(100 * np.mean(each), abs=1e-4)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == gold
    deciles = np.percentile(confidence, np.arange(10, 100, 10))
    told = by_curve(right, confidence, deciles, "quantile")
    assert measures.equal_mass_ece(found).total == pytest.approx(100 * told, abs=1e-4)


def test_proper_scores_are_those_of_scikit_learn() -> None:
    prediction, logits, gold = pairs()
    found, probabilities = distributions(prediction), softmax(logits)
    told = brier_score_loss(gold, probabilities, labels=[0, 1, 2])
    assert measures.brier(found).total == pytest.approx(told, abs=1e-6)
    assert measures.nll(found).total == pytest.approx(log_loss(gold, probabilities), abs=1e-5)
    right = brier_score_loss(found.right, found.confidence)
    assert measures.answer_brier(found).total == pytest.approx(right, abs=1e-6)
    accuracy = accuracy_score(gold, logits.argmax(1))
    told = 100 * (probabilities.max(1).mean() - accuracy)
    assert measures.overconfidence(found).total == pytest.approx(told, abs=1e-4)


def test_what_is_impossible_costs_no_more_than_the_floor() -> None:
    found = replace(distributions(pairs()[0]), probabilities=np.tile([1.0, 0, 0], (400, 1)))
    wrong = 1 - found.gold[:, 0].mean()
    told = log_loss(found.gold.argmax(1), found.probabilities.astype(np.float32))
    assert measures.nll(found).total == pytest.approx(told, rel=1e-6)
    assert told == pytest.approx(wrong * 23 * np.log(2), rel=1e-6)


def sure(right: np.ndarray, confidence: np.ndarray) -> Distributions:
    """Decisions between two classes that are right or wrong, so sure."""
    count = len(right)
    gold = np.column_stack([right, ~right])
    return Distributions(
        tuple(map(str, range(count))),
        np.arange(count),
        np.column_stack([confidence, 1 - confidence]),
        np.zeros(count, dtype=int),
        right,
        gold,
    )


def test_selective_prediction_has_its_closed_forms() -> None:
    confidence = np.linspace(0.5, 1.0, 1000, endpoint=False)
    best = confidence >= 0.75  # the less confident half is wrong
    ranked, backward = sure(best, confidence), sure(~best, confidence)
    # Σ max(0, 1 - ½/c)/100 over c = .01 … 1, and Σ min(1, ½/c)/100 with the order turned
    coverage = np.arange(1, 101) / 100
    told = 100 * np.maximum(0, 1 - 0.5 / coverage).mean()
    assert measures.selective_risk(ranked).total == pytest.approx(told)
    assert measures.selective_risk(backward).total == pytest.approx(100 - told)
    assert measures.accuracy_at(ranked, 50).total == 100.0
    assert measures.accuracy_at(ranked, 80).total == pytest.approx(100 * 5 / 8)
    assert measures.accuracy_at(backward, 50).total == 0.0
    # of a hundred decisions the percentiles are the whole curve
    few = distributions(pairs(100)[0])
    curve = measures.risk_coverage(few.confidence, few.right)
    assert measures.selective_risk(few).total == pytest.approx(100 * curve.mean())
    # without an order there is nothing to select by
    flat = sure(best, np.full(1000, 0.7))
    assert measures.selective_risk(flat).total == pytest.approx(50.0)
    assert measures.accuracy_at(flat, 50).total == pytest.approx(50.0)


def test_a_perfect_forecast_has_no_error_and_a_certain_one_all_of_it() -> None:
    right = np.tile([True] * 3 + [False], 100)
    honest, certain = sure(right, np.full(400, 0.75)), sure(right, np.ones(400))
    for measure in (measures.ece, measures.equal_mass_ece, measures.overconfidence):
        assert measure(honest).total == pytest.approx(0.0, abs=1e-9)
        assert measure(certain).total == pytest.approx(25.0)
    assert measures.classwise_error(certain).total == pytest.approx(25.0)
    assert measures.brier(honest).total == pytest.approx(2 * 0.75 * 0.25)


def test_a_measure_is_a_function_of_sums_over_items() -> None:
    """Sentences drawn again are what the same words, stored so, would give."""
    task = tasks.task("udpos")
    sizes = DRAW.integers(1, 9, size=40)
    logits = 2 * DRAW.standard_normal((sizes.sum(), len(task.labels))).astype(np.float32)
    tags = np.split(DRAW.integers(len(task.labels), size=sizes.sum()), sizes.cumsum()[:-1])
    outputs = np.split(softmax(logits), sizes.cumsum()[:-1])
    examples = [{"id": f"ud/{n}", "tags": each.tolist()} for n, each in enumerate(tags)]
    prediction = decoded(task, examples, outputs, {"example": list(range(40))})
    drawn = DRAW.integers(40, size=40)
    again = decoded(
        task,
        [examples[n] for n in drawn],
        [outputs[n] for n in drawn],
        {"example": list(range(40))},
    )
    counts = np.bincount(drawn, minlength=40)[None]
    one, other = distributions(prediction), distributions(again)
    for measure in (
        measures.ece,
        measures.classwise_error,
        measures.overconfidence,
        measures.brier,
        measures.nll,
    ):
        assert measure(one).resampled(counts)[0] == pytest.approx(measure(other).total)


# -- temperature -----------------------------------------------------------------------------------


def by_lbfgs(logits: np.ndarray, gold: np.ndarray) -> float:
    """The temperature that torch fits on logits: cross-entropy over 1/T, in which it is convex."""
    inverse = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.LBFGS([inverse], max_iter=200, line_search_fn="strong_wolfe")

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        scaled = torch.from_numpy(logits).double() * inverse
        loss = functional.cross_entropy(scaled, torch.from_numpy(gold))
        loss.backward()
        return loss

    optimizer.step(step)
    return 1 / float(inverse.detach())


@pytest.mark.parametrize("sharp", [0.3, 1.0, 4.0])
def test_a_temperature_is_that_of_lbfgs_on_the_logits(sharp: float) -> None:
    prediction, logits, gold = pairs(sharp=sharp)
    found = fit_temperature(distributions(prediction))
    assert found == pytest.approx(by_lbfgs(logits, gold), rel=1e-3)


def test_scaling_probabilities_is_scaling_logits() -> None:
    prediction, logits, _ = pairs(sharp=2.0)
    found = distributions(prediction).scaled(1.7)
    assert found.probabilities == pytest.approx(softmax(logits / 1.7), abs=1e-5)
    assert (found.predicted == logits.argmax(1)).all()


def test_a_fitted_temperature_fits_no_better() -> None:
    prediction, _, _ = pairs(sharp=4.0)
    found = distributions(prediction)
    warm = found.scaled(fit_temperature(found))
    assert fit_temperature(warm) == pytest.approx(1.0, abs=1e-3)
    assert measures.nll(warm).total < measures.nll(found).total
    assert measures.ece(warm).total < measures.ece(found).total
    assert measures.selective_risk(warm).total == pytest.approx(
        measures.selective_risk(found).total, abs=1.0
    )


def test_a_split_that_is_all_right_asks_for_no_temperature_of_zero() -> None:
    confidence = np.linspace(0.6, 0.9, 50)
    assert fit_temperature(sure(np.ones(50, dtype=bool), confidence)) == pytest.approx(
        LEAST, rel=0.01
    )
    assert fit_temperature(sure(np.zeros(50, dtype=bool), confidence)) == pytest.approx(
        MOST, rel=0.01
    )


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


# -- measures of a run -----------------------------------------------------------------------------


def test_measures_of_a_run_are_read_before_and_after_temperature(grid) -> None:
    evidence = Evidence(grid.record, Store(grid.store))
    place = ("lora", "demo-nli", "sequential", "demo-pos", "fi", 2)
    entry = next(each for each in grid.entries if place_of(each) == place)
    items, arrays = Store(grid.store).load_predictions(entry["calibration_key"])
    selection = distributions(Prediction(tasks.task("demo-pos"), "en", items, arrays))
    temperature = fit_temperature(selection)
    prediction = evidence.prediction(place)
    assert prediction.temperature == temperature
    tested = distributions(prediction)
    for name, told in (("ece", measures.ece), ("nll", measures.nll)):
        before = MEASURES[name].statistics(prediction, None)
        after = MEASURES[name + AFTER].statistics(prediction, None)
        assert before.total == told(tested).total
        assert after.total == told(tested.scaled(temperature)).total != before.total


def test_no_measure_is_read_where_nothing_tells_it(grid, recipe) -> None:
    evidence = Evidence(grid.record, Store(grid.store))
    retrieval = evidence.prediction(("lora", "", "none", "demo-retrieval", "fi", 1))
    answers = evidence.prediction(("lora", "", "none", "demo-qa", "fi", 1))
    assert MEASURES["ece"].statistics(retrieval, None) is None
    assert MEASURES["classwise error"].statistics(answers, None) is None
    assert MEASURES["brier"].statistics(answers, None).total <= 1
    bare = {**grid.record, "entries": [{**each} for each in grid.entries]}
    for each in bare["entries"]:
        each.pop("calibration_key", None)
    plain = Evidence(bare, Store(grid.store)).prediction(("lora", "", "none", "demo-qa", "fi", 1))
    assert plain.temperature is None
    assert MEASURES["ece" + AFTER].statistics(plain, None) is None
    assert MEASURES["ece"].statistics(plain, None).total == (
        MEASURES["ece"].statistics(answers, None).total
    )


# -- the calibration of a grid ---------------------------------------------------------------------

NO_CURVES = Curves(np.ones(10), np.ones(10) / 2, np.ones(10) / 2, np.linspace(0, 0.5, 100))


def cell(language: str, seed: int, ece: float, parts: np.ndarray, target: str = "xnli"):
    """A cell with its ECE, and what each item contributes to that."""
    return CalibratedCell(
        method="lora",
        intermediate="",
        mode="none",
        target=target,
        language=language,
        seed=seed,
        tag="task+language-seen" if language == "en" else "zero-shot",
        temperature=1.0 + seed,
        values={"ece": ece},
        ids=tuple(f"{target}/{n}" for n in range(len(parts))),
        contributions={"ece": parts},
        before=NO_CURVES,
        after=None,
    )


NONE = ("lora", "", "none")


@pytest.mark.parametrize("target", ["xnli", "udpos"])
def test_a_level_is_the_mean_over_languages_with_the_error_of_seeds_and_items(target) -> None:
    draw = np.random.default_rng(3)
    parts, ece = draw.standard_normal((3, 2, 50)) / 50, draw.uniform(5, 15, size=(3, 2))
    cells = [
        cell(code, seed, ece[seed, n], parts[seed, n], target)
        for n, code in enumerate(("de", "fi"))
        for seed in range(3)
    ]
    level = Calibration(cells).level(NONE, target, ("de", "fi"), "ece")
    assert level.by_seed == pytest.approx(ece.mean(axis=1))
    # XNLI's languages share their items, UDPOS's don't
    shared = [Stratum(parts.mean(axis=1))]
    apart = [Stratum(parts[:, n] / 2) for n in range(2)]
    told = effect(ece.mean(axis=1), shared if target == "xnli" else apart)
    assert level.interval() == pytest.approx(told.interval())
    assert Calibration(cells).level(NONE, target, ("de", "fi"), "nll") is None
    assert Calibration(cells).level(NONE, target, ("de", "sw"), "ece") is None


def test_languages_that_a_row_has_seen_are_in_no_mean_and_small_groups_are_named() -> None:
    codes = ("en", "de", "nl", "fr", "es", "fi", "wo", "mos")
    found = Calibration([cell(code, 1, 5.0, np.zeros(3)) for code in codes])
    assert found.unseen("xnli") == codes[1:]
    family = found.groups("xnli", "family")
    assert family.averaged == {
        "IE: Germanic": ("de", "nl"),
        "IE: Romance": ("fr", "es"),
        "Niger-Congo": ("wo", "mos"),
    }
    assert family.named == {"Uralic": ("fi",)}
    distance = found.groups("xnli", "distance")
    assert list(distance.averaged) == ["near, below 0.2", "far, above 0.35"]
    assert distance.named == {"0.2 to 0.35": ("fi",)}
    assert found.groups("xnli", "joshi").named["not known"] == ("mos",)


def test_a_correlation_is_spearmans_with_an_interval_over_languages() -> None:
    codes = ("de", "fr", "es", "ru", "el", "fi", "tr", "sw", "th", "hi")
    draw = np.random.default_rng(5)
    distances = {code: LANGUAGES[code].distance for code in codes}

    def of(values: dict[str, float]):
        cells = [
            cell(code, seed, value, np.zeros(3))
            for code, value in values.items()
            for seed in (1, 2)
        ]
        return Calibration(cells).correlation(NONE, "xnli", "ece")

    rising = of(distances)
    assert (rising.rho, rising.low, rising.high, rising.languages) == (1.0, 1.0, 1.0, 10)
    noisy = {code: float(value) for code, value in zip(codes, draw.normal(size=10), strict=True)}
    found = of(noisy)
    assert found.rho == pytest.approx(spearmanr(list(distances.values()), list(noisy.values()))[0])
    # scipy's own percentile bootstrap of pairs; both draw 2000 times
    told = bootstrap(
        (list(distances.values()), list(noisy.values())),
        lambda x, y: spearmanr(x, y).statistic,
        paired=True,
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx(tuple(told), abs=0.08)
    assert of({code: 1.0 for code in codes[:4]}) is None


def test_the_frame_has_every_cell_with_probabilities_before_and_after(grid) -> None:
    frame = grid.calibration
    assert len(frame) == 2 * 2 * 3 * 3 and set(frame["target"]) == set(TRAINED)
    assert frame["temperature"].between(LEAST, MOST).all()
    answers = frame[frame["target"] == "demo-qa"]
    assert answers["classwise error"].isna().all() and answers["ece" + AFTER].notna().all()
    # one temperature for a row, target and seed, whatever the language
    rows = frame.groupby(["intermediate", "target", "seed"])["temperature"]
    assert (rows.nunique() == 1).all()


def test_calibration_is_told_by_target_and_by_group_of_languages(grid) -> None:
    calibration = Calibration.of(Evidence(grid.record, Store(grid.store)))
    sections = {section.heading: section for section in calibration_sections(calibration)}
    whole = sections["Calibration: demo-pos"]
    assert [each[0] for each in whole.rows] == ["none", "demo-nli sequential"]
    assert all(" ".join(each).count("→") == 4 for each in whole.rows)
    # no family has two languages; by script both are one group, whose numbers are those of all
    assert "Calibration by family: demo-pos" not in sections
    assert sections["Languages by family: demo-pos"].rows == (
        ("IE: Germanic", "de", "no"),
        ("Uralic", "fi", "no"),
    )
    script = sections["Calibration by script: demo-pos"]
    assert script.heads == ("row", "Latn") and script.rows[0][1] == whole.rows[0][2]
    assert sections["Languages by script: demo-pos"].rows == (("Latn", "de fi", "yes"),)
    read = pd.read_csv(io.StringIO(calibration_csv(calibration)))
    assert read["nll" + AFTER].tolist() == grid.calibration["nll" + AFTER].tolist()
    groups = pd.read_csv(io.StringIO(groups_csv(calibration)))
    rows = groups[(groups["target"] == "demo-pos") & (groups["group"] == "all")]
    ece = rows[(rows["measure"] == "ece") & (rows["mode"] == "none")].iloc[0]
    cells = grid.calibration.query("target == 'demo-pos' and mode == 'none' and language != 'en'")
    assert ece["mean"] == pytest.approx(cells["ece"].mean()) and ece["low"] < ece["mean"]


def test_the_report_has_a_section_and_files_where_calibration_was_asked_for(grid, tmp_path) -> None:
    written = grid.report(tmp_path)
    names = [path.name for path in written.files if path.name.startswith("calibration")]
    assert sorted(names) == [
        "calibration-groups.csv",
        "calibration.csv",
        "calibration.md",
        "calibration.png",
    ]
    assert "Guo et al. 2017" in written.markdown
    page = (tmp_path / "calibration.md").read_text(encoding="utf-8")
    for target in TRAINED:
        heading = f"\n## Calibration: {target}\n"
        assert heading in written.markdown and heading in page
        assert f"\n## Languages by word order: {target}\n" in page
    picture = plt.imread(tmp_path / "calibration.png")
    assert picture.shape[0] > picture.shape[1] > 700 and picture.std() > 0.01
