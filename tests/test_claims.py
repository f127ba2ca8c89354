"""The paper's claims against runs made to show each of them, its contrary, or nothing."""

from __future__ import annotations

import numpy as np
import pytest

from adapters_xitt.analysis.claims import COLUMNS, MISSING, claims, combined, table
from adapters_xitt.analysis.effects import Effect, Stratum, effect
from adapters_xitt.analysis.evidence import Evidence, Prediction
from adapters_xitt.analysis.paper import CLAIMS, ROWS
from adapters_xitt.analysis.questions import CONTRARY, HOLDS, UNKNOWN
from adapters_xitt.analysis.variance import sources
from adapters_xitt.report.claims import claims_section
from adapters_xitt.study.results import DONE
from adapters_xitt.tasks import TASKS, task

ITEMS = 300


class Run(Evidence):
    """A finished run whose rows are right with given probabilities, and what `Evidence` gives of
    it: `right` is (intermediate or "", target) → a probability."""

    def __init__(self, intermediates, right, *, seeds=(1, 2, 3), languages=("de", "es")) -> None:
        targets = list(dict.fromkeys(target for _, target in right))
        grid = {
            "recipe": {"intermediates": list(intermediates)},
            "headlines": dict.fromkeys(targets, "score"),
            "entries": [
                {
                    "method": "lora",
                    "intermediate": name,
                    "mode": "sequential" if name else "none",
                    "target": target,
                    "language": code,
                    "seed": seed,
                    "status": DONE,
                    "tag": "zero-shot",
                }
                for name, target in right
                for code in languages
                for seed in seeds
            ],
        }
        super().__init__(grid, None)
        self.right = right

    def prediction(self, place) -> Prediction:
        _, name, _, target, code, seed = place
        random = np.random.default_rng([seed, len(target), sum(map(ord, name + code))])
        hits = random.random(ITEMS) < self.right[name, target]
        kind = task(target).kind
        gold = {"text": "a b", "gold": ["a b"]} if kind == "qa" else {"index": 1, "gold": 1}
        wrong = {"text": "no", "gold": ["a b"]} if kind == "qa" else {"index": 0, "gold": 1}
        if kind == "pair":
            labels = task(target).labels
            gold, wrong = ({"label": labels[n], "gold": labels[1]} for n in (1, 0))
        items = [
            {"id": f"{target}/{code}/{n}", **(gold if hit else wrong)} for n, hit in enumerate(hits)
        ]
        return Prediction(task(target), code, items, {})

    def statistics(self, place, count, english=None):
        return count(self.prediction(place), None)


def results(run: Run) -> dict[str, str]:
    return {finding.claim.name: finding.result for finding in claims(run)}


def test_claims_are_of_tasks_that_there_are_and_say_where_they_are_read() -> None:
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        assert claim.rows in ROWS and claim.source.startswith("arXiv 2005.13013")
        assert claim.support and set(claim.targets) | set(claim.less) <= set(TASKS)


def test_a_run_shows_them_or_their_contrary() -> None:
    right = {
        ("", "tatoeba"): 0.3,
        ("squad", "tatoeba"): 0.7,
        ("", "mlqa"): 0.5,
        ("squad", "mlqa"): 0.65,
    }
    found = results(Run(["squad"], right))
    assert found["retrieval"] == found["answers"] == found["retrieval-most"] == HOLDS
    turned = {place: 1 - probability for place, probability in right.items()}
    found = results(Run(["squad"], turned))
    assert found["retrieval"] == found["answers"] == found["retrieval-most"] == CONTRARY
    level = dict.fromkeys(right, 0.5)
    found = results(Run(["squad"], level))
    assert found["retrieval"] == found["answers"] == UNKNOWN


def test_the_best_and_the_mixture_are_compared_with_the_mean_of_the_others() -> None:
    names = ["mnli", "qqp", "cosmosqa", {"name": "all", "tasks": ["mnli", "qqp"]}]
    right = {
        (name, "xnli"): probability
        for name, probability in (("mnli", 0.8), ("qqp", 0.5), ("cosmosqa", 0.5), ("all", 0.9))
    }
    run = Run(names, right)
    data = table(claims(run)).set_index("claim")
    assert tuple(["claim", *data.columns]) == COLUMNS
    assert data.loc["best", "result"] == data.loc["several", "result"] == HOLDS
    assert data.loc["best", "rows"] == "mnli - mean of qqp, cosmosqa"
    assert data.loc["several", "rows"] == "all - mean of mnli, qqp"
    assert data.loc["best", "difference"] == pytest.approx(30, abs=4)
    assert data.loc["best", "low"] < 30 < data.loc["best", "high"]
    assert data.loc["retrieval", "result"] == MISSING
    assert data.loc["retrieval", "remark"] == "one of the targets bucc2018 tatoeba"
    assert "mixture of a task and masked words" in data.loc["masked-words", "remark"]


@pytest.mark.parametrize(
    ("of_mixture", "expected"),
    [((0.3, 0.8), HOLDS), ((0.8, 0.8), CONTRARY), ((0.5, 0.5), UNKNOWN), ((0.5, 0.8), UNKNOWN)],
)
def test_never_always_better_is_decided_target_by_target(of_mixture, expected) -> None:
    names = ["squad", {"name": "beside", "tasks": ["squad", "text"]}, "squad-es@es"]
    right = {("squad", target): 0.5 for target in ("xnli", "pawsx")}
    for name in ("beside", "squad-es@es"):
        right |= {
            (name, target): probability
            for target, probability in zip(("xnli", "pawsx"), of_mixture, strict=True)
        }
    found = results(Run(names, right))
    assert found["masked-words"] == found["translated"] == expected


def test_a_row_that_a_target_lacks_is_told_and_one_seed_decides_nothing() -> None:
    right = {
        ("", "tatoeba"): 0.3,
        ("squad", "tatoeba"): 0.9,
        ("", "bucc2018"): 0.3,
        ("mnli", "tatoeba"): 0.9,
    }
    run = Run(["squad", "mnli"], right)
    (finding,) = [each for each in claims(run) if each.claim.name == "retrieval"]
    assert finding.targets == ("tatoeba",) and finding.result == HOLDS
    run = Run(["squad"], right | {("squad", "xquad"): 0.9, ("", "xquad"): 0.1}, seeds=(1,))
    (finding,) = [each for each in claims(run) if each.claim.name == "answers"]
    assert finding.result == UNKNOWN and finding.remark.startswith("one seed")
    assert finding.effect is not None and finding.effect.difference > 50


def test_effects_on_targets_add_up_as_one_effect_over_both() -> None:
    """Against the estimator itself, over both targets' items at once."""
    random = np.random.default_rng(0)
    parts = [random.normal(size=count) + random.normal(size=(4, count)) for count in (50, 80)]
    singles = {
        str(n): effect(part.sum(axis=1), [Stratum(part - part.mean(axis=1, keepdims=True))])
        for n, part in enumerate(parts)
    }
    weights = {"0": 0.5, "1": -0.5}
    ours = combined(singles, weights)
    whole = effect(
        0.5 * parts[0].sum(axis=1) - 0.5 * parts[1].sum(axis=1),
        [Stratum(0.5 * parts[0]), Stratum(-0.5 * parts[1])],
    )
    assert ours.difference == pytest.approx(whole.difference)
    assert ours.uncertainty.seed_error == pytest.approx(whole.uncertainty.seed_error)
    assert min(each.uncertainty.item_error for each in singles.values()) > 0
    assert ours.uncertainty.item_error == pytest.approx(whole.uncertainty.item_error)
    assert ours.p_value == pytest.approx(whole.p_value)
    one = Effect(1.0, np.ones(1), None)
    assert combined({"0": one}, {"0": 2.0}).uncertainty is None


def test_controls_and_other_languages_are_no_intermediates_of_the_paper() -> None:
    named = sources({"intermediates": ["squad:permuted", "mnli@de", "random", "mnli"]})
    assert [str(pair) for pair in ROWS["against none"](named)] == ["mnli - none"]


def test_the_report_lists_what_was_asked_and_what_it_would_take() -> None:
    right = {("", "tatoeba"): 0.3, ("squad", "tatoeba"): 0.7}
    run = Run(["squad"], right)
    section = claims_section(claims(run))
    (line,) = section.rows
    assert len(line) == len(section.heads) and line[1:3] == ("squad - none", "tatoeba")
    assert line[3].startswith("+") and line[-1] == HOLDS
    assert sum(remark.startswith(MISSING) for remark in section.remarks) == len(CLAIMS) - 1
    other = Run(["sick"], {("", "xnli"): 0.3, ("sick", "xnli"): 0.7})
    assert claims_section(claims(other)) is None
