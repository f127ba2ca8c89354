"""RankC against its authors' script, κ against scikit-learn and statsmodels, and the tables over a
small grid."""

from __future__ import annotations

import io
import re

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, jaccard_score
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from adapters_xitt.analysis import agreement
from adapters_xitt.analysis.agreement import Answers
from adapters_xitt.analysis.consistency import COLUMNS, COMPARISONS, can_be_compared, consistency
from adapters_xitt.analysis.consistency import statistics as compared
from adapters_xitt.analysis.evidence import Evidence, Prediction
from adapters_xitt.analysis.measures import measure
from adapters_xitt.report.consistency import (
    consistency_csv,
    consistency_map,
    consistency_sections,
)
from adapters_xitt.study.results import DONE
from adapters_xitt.tasks import task

# What RankC.py of Betswish/Cross-Lingual-Consistency (13c9d46) prints, `-weight softmax`, for 40
# pairs of rankings of so many candidates each: scores of numpy's default_rng(2310), sorted.
OFFICIAL = {
    2: 0.5979177817534971,
    3: 0.5016285436597426,
    5: 0.31895112332991127,
    10: 0.1803276609620941,
    20: 0.08875395451725206,
}


def labels(random, items: int, candidates: int, *, ids=None, gold=None) -> Prediction:
    """A prediction of XNLI's kind with random probabilities."""
    names = task("xnli").labels[:candidates]
    probabilities = random.random((items, candidates))
    gold = random.integers(candidates, size=items) if gold is None else gold
    return Prediction(
        task("xnli"),
        "de",
        [
            {"id": name, "label": names[likeliest], "gold": names[right]}
            for name, likeliest, right in zip(
                ids or [f"xnli/{number}" for number in range(items)],
                probabilities.argmax(axis=1),
                gold,
                strict=True,
            )
        ],
        {"probabilities": probabilities},
    )


def test_rankc_is_that_of_its_authors() -> None:
    random = np.random.default_rng(2310)
    for candidates, printed in OFFICIAL.items():
        rankings = [
            np.argsort(-random.random((40, candidates)), axis=1, kind="stable") for _ in range(2)
        ]
        each = agreement.rank_overlap(*rankings)
        assert each.mean() == pytest.approx(printed, abs=1e-12)
        names = [np.array([[f"id{number}" for number in line] for line in r]) for r in rankings]
        assert agreement.rank_overlap(*(n.astype(object) for n in names)) == pytest.approx(each)


def test_a_shorter_item_is_ranked_among_its_own_candidates() -> None:
    """Padding changes nothing: an item of two candidates in a test of up to four."""
    first, second = np.array([[0, 1], [1, 0]]), np.array([[1, 0], [1, 0]])
    padded = [np.hstack([each, np.full((2, 2), -1)]) for each in (first, second)]
    assert agreement.rank_overlap(*padded) == pytest.approx(agreement.rank_overlap(first, second))


def test_what_lies_behind_twenty_candidates_weighs_nothing() -> None:
    random = np.random.default_rng(0)
    whole = [np.argsort(random.random((5, 200)), axis=1) for _ in range(2)]
    cut = [each[:, :20] for each in whole]
    assert agreement.rank_overlap(*whole) == pytest.approx(agreement.rank_overlap(*cut), abs=3e-9)


def test_kappas_and_overlaps_are_the_libraries() -> None:
    random = np.random.default_rng(3)
    gold = random.integers(3, size=200)
    given = [agreement.answers(labels(random, 200, 3, gold=gold)) for _ in range(4)]
    first, second = given[:2]
    assert agreement.kappa(first, second).total == pytest.approx(
        100 * cohen_kappa_score(first.chosen, second.chosen)
    )
    votes, _ = aggregate_raters(np.stack([each.chosen for each in given], axis=1), n_cat=3)
    assert agreement.fleiss(given).total == pytest.approx(100 * fleiss_kappa(votes))
    assert agreement.overlap_of_right(first, second).total == pytest.approx(
        100 * jaccard_score(first.right, second.right)
    )
    assert agreement.agreement(first, second).total == pytest.approx(
        100 * (first.chosen == second.chosen).mean()
    )
    where_right = first.chosen[second.right] == second.chosen[second.right]
    assert agreement.agreement_where_right(first, second).total == pytest.approx(
        100 * where_right.mean()
    )
    assert 0 < agreement.kappa(first, first).total == pytest.approx(100)


@pytest.mark.parametrize("name", COMPARISONS)
def test_every_comparison_is_a_function_of_what_items_add(name: str) -> None:
    """Without an item it is what it is of the others, and the order of items is nothing."""
    random = np.random.default_rng(5)
    gold = random.integers(3, size=60)
    pair = [labels(random, 60, 3, gold=gold) for _ in range(2)]
    every = compared(name, *pair)
    less = [
        Prediction(p.task, "de", p.items[1:], {"probabilities": p.arrays["probabilities"][1:]})
        for p in pair
    ]
    assert every.only(np.arange(1, 60)).total == pytest.approx(compared(name, *less).total)
    turned = Prediction(
        pair[1].task,
        "en",
        pair[1].items[::-1],
        {"probabilities": pair[1].arrays["probabilities"][::-1]},
    )
    assert compared(name, pair[0], turned).total == pytest.approx(every.total)
    assert compared(name, pair[0], None) is None


def test_choices_and_answers_and_rankings_are_read() -> None:
    choice = Prediction(
        task("xcopa"),
        "et",
        [{"id": "copa/0", "label": 1, "gold": 1}, {"id": "copa/1", "label": 2, "gold": 0}],
        {"probabilities": np.array([0.4, 0.6, 0.2, 0.3, 0.5]), "choices": np.array([2, 3])},
    )
    found = agreement.answers(choice)
    assert found.ranked.tolist() == [[1, 0, -1], [2, 1, 0]] and found.right.tolist() == [1, 0]
    spans = Prediction(
        task("xquad"),
        "es",
        [
            {"id": "squad/a", "text": "The 3 hills.", "gold": ["three", "3 hills"]},
            {"id": "squad/b", "text": "no", "gold": ["yes"]},
        ],
        {},
    )
    assert agreement.answers(spans).right.tolist() == [True, False]
    with pytest.raises(ValueError, match="texts of their language"):
        _ = agreement.answers(spans).chosen
    assert compared("rankc", spans, spans) is None
    assert compared("overlap_of_right", spans, spans).total == 100
    ranking = Prediction(
        task("lareqa"),
        "de",
        [
            {"id": "squad/q", "ids": ["c", "a"], "gold": ["a"]},
            {"id": "squad/r", "ids": ["b"], "gold": ["b"]},
        ],
        {},
    )
    found = agreement.answers(ranking)
    assert found.right.tolist() == [False, True] and found.chosen.tolist() == ["c", "b"]
    assert compared("rankc", ranking, ranking).total == pytest.approx(100)


# -- the tables ------------------------------------------------------------------------------------


class World(Evidence):
    """Predictions of two seeds of one row for a test in some languages: what `Evidence` gives."""

    def __init__(self, target: str, languages: tuple[str, ...]) -> None:
        random = np.random.default_rng(11)
        gold = random.integers(2, size=80)
        grid = {
            "headlines": {target: "accuracy"},
            "recipe": {},
            "entries": [
                {
                    "method": "lora",
                    "intermediate": "",
                    "mode": "none",
                    "target": target,
                    "language": code,
                    "seed": seed,
                    "status": DONE,
                }
                for code in languages
                for seed in (1, 2)
            ],
        }
        super().__init__(grid, None)
        self.predictions = {}
        for code in languages:
            for seed in (1, 2):
                shares = random.random(80)
                chosen = (shares > 0.5).astype(int)
                names = task(target).labels or (0, 1)
                self.predictions[code, seed] = Prediction(
                    task(target),
                    code,
                    [
                        {"id": f"x/{number}", "label": names[label], "gold": names[right]}
                        for number, (label, right) in enumerate(zip(chosen, gold, strict=True))
                    ],
                    {
                        "probabilities": np.column_stack([1 - shares, shares])
                        if task(target).kind == "pair"
                        else np.column_stack([1 - shares, shares]).ravel(),
                        "choices": np.full(80, 2),
                    },
                )

    def prediction(self, place) -> Prediction:
        return self.predictions[place[-2], place[-1]]


def test_the_table_against_english_says_languages_groups_and_all() -> None:
    world = World("pawsx", ("en", "es", "fr", "de", "ja"))
    data = consistency(world)
    assert tuple(data.columns) == COLUMNS and set(data["measure"]) == {*COMPARISONS, "fleiss"}
    rankc = data[data["measure"] == "rankc"].set_index(["by", "group"])
    assert {code for by, code in rankc.index if by == "language"} == {"es", "fr", "de", "ja"}
    assert (rankc["against"] == "en").all() and (rankc["seeds"] == 2).all()
    languages = rankc.loc["language"]["value"]
    assert rankc.loc["all", ""]["value"] == pytest.approx(languages.mean())
    assert rankc.loc["family", "IE: Romance"]["value"] == pytest.approx(
        languages[["es", "fr"]].mean()
    )
    assert ("family", "Japonic") not in rankc.index, "a group of one language is that language"
    by_hand = [
        compared("rankc", world.predictions["es", seed], world.predictions["en", seed]).total
        for seed in (1, 2)
    ]
    assert languages["es"] == pytest.approx(np.mean(by_hand))
    assert rankc.loc["language", "es"]["spread"] == pytest.approx(np.std(by_hand, ddof=1))
    fleiss = data[data["measure"] == "fleiss"].iloc[0]
    votes = [
        fleiss_kappa(
            aggregate_raters(
                np.stack(
                    [
                        agreement.answers(world.predictions[code, seed]).chosen
                        for code in ("en", "es", "fr", "de", "ja")
                    ],
                    axis=1,
                ),
                n_cat=2,
            )[0]
        )
        for seed in (1, 2)
    ]
    assert fleiss["value"] == pytest.approx(100 * np.mean(votes)) and fleiss["languages"] == 5
    assert (data["low"] <= data["value"]).all() and (data["value"] <= data["high"]).all()


def test_without_english_every_pair_is_compared() -> None:
    data = consistency(World("xcopa", ("et", "it", "sw")))
    pairs = data[(data["by"] == "pair") & (data["measure"] == "kappa")]
    assert list(pairs["group"]) == ["it-sw", "it-et", "sw-et"], "by family"
    assert (data["against"] == "each other").all()
    assert "agreement_where_right" not in set(data["measure"])
    of_sw = data[(data["by"] == "language") & (data["group"] == "sw")].set_index("measure")
    with_sw = pairs[pairs["group"].str.contains("sw")]["value"]
    assert of_sw.loc["kappa"]["value"] == pytest.approx(with_sw.mean())


def test_the_interval_is_the_bootstrap_over_items() -> None:
    """Of a mean of items and one seed: its width is that of the normal theory."""
    world = World("pawsx", ("en", "de"))
    for entry in world.grid["entries"]:
        if entry["seed"] == 2:
            entry["status"] = "failed"
    line = consistency(world).set_index(["measure", "by"]).loc["agreement", "all"]
    share = line["value"] / 100
    width = 2 * 1.96 * 100 * np.sqrt(share * (1 - share) / 80)
    assert line["high"] - line["low"] == pytest.approx(width, rel=0.1)
    assert np.isnan(line["spread"])


def test_only_parallel_tests_in_several_languages_are_compared() -> None:
    assert can_be_compared(World("pawsx", ("en", "de")).grid) == ("pawsx",)
    assert can_be_compared(World("pawsx", ("de",)).grid) == ()
    world = World("pawsx", ("en", "de"))
    world.grid["headlines"] = {"udpos": "f1", "pawsx": "accuracy"}
    assert can_be_compared(world.grid) == ("pawsx",)


def test_languages_without_a_common_item_are_not_compared() -> None:
    world = World("pawsx", ("en", "de", "fr"))
    for seed in (1, 2):
        moved = world.predictions["fr", seed]
        for item in moved.items:
            item["id"] += "/other"
    data = consistency(world)
    assert set(data[data["by"] == "language"]["group"]) == {"de"}


def test_an_answer_that_never_changes_has_no_kappa() -> None:
    same = Answers(("a", "b"), np.array([True, False]), np.array([[0, 1], [0, 1]]))
    assert np.isnan(agreement.kappa(same, same).total)


def test_comparisons_are_measures_that_questions_may_ask_of() -> None:
    for name, comparison in COMPARISONS.items():
        asked = measure(name)
        assert asked.against_english and asked.kinds == comparison.kinds
        random = np.random.default_rng(1)
        gold = random.integers(3, size=9)
        pair = [labels(random, 9, 3, gold=gold) for _ in range(2)]
        assert asked.statistics(*pair).total == compared(name, *pair).total


# -- the report ------------------------------------------------------------------------------------


def test_the_report_has_rows_measures_groups_and_a_picture(tmp_path) -> None:
    data = consistency(World("pawsx", ("en", "es", "fr", "de", "ja")))
    whole, groups = consistency_sections(data)
    assert whole.heads == (
        "row",
        "RankC",
        "agreement",
        "right, of right in English",
        "overlap of right",
        "Cohen's κ",
        "Fleiss' κ",
    )
    (line,) = whole.rows
    assert line[0] == "none" and re.fullmatch(r"\d+\.\d \(\d+\.\d–\d+\.\d\)", line[1])
    assert "4 languages, each language with English, and over 2 seeds; 80 items" in whole.about
    assert "IE: Romance (2)" in groups.heads and "Japonic (1)" not in groups.heads
    assert all(len(each) == len(groups.heads) for each in groups.rows)
    back = pd.read_csv(io.StringIO(consistency_csv(data)), keep_default_na=True)
    assert np.array_equal(back["value"], data["value"], equal_nan=True) and list(
        back.columns
    ) == list(COLUMNS)
    consistency_map("small", data, tmp_path / "map.png")
    assert matplotlib.image.imread(tmp_path / "map.png").shape[1] > 500


def test_one_label_for_all_is_told_to_be_no_consistency() -> None:
    world = World("pawsx", ("en", "de"))
    for prediction in world.predictions.values():
        prediction.arrays["probabilities"][:] = [0.9, 0.1]
    (whole, *_) = consistency_sections(consistency(world))
    values = dict(zip(whole.heads, whole.rows[0], strict=True))
    assert values["agreement"].startswith("100.0") and values["Cohen's κ"] == "–"
    assert any("one label to all" in remark for remark in whole.remarks)
