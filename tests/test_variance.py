"""Variance components against closed forms and lme4's published fits; what a grid's rows say about
seeds, sources and distance."""

from __future__ import annotations

import io

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2, friedmanchisquare, spearmanr
from statsmodels.regression.mixed_linear_model import MixedLM

from adapters_xitt.analysis.components import LEFT, components
from adapters_xitt.analysis.correlation import spearman
from adapters_xitt.analysis.variance import COLUMNS, kendall_w, sources, variance
from adapters_xitt.errors import XittError
from adapters_xitt.report.variance import variance_csv, variance_map, variance_section
from adapters_xitt.study.results import DONE

# Davies and Goldsmith 1972: lme4's `Pastes` (two assays of three casks of ten batches) and
# `Penicillin` (24 plates × 6 samples), line by line.
PASTES = """62.8 62.6 60.1 62.3 62.7 63.1 60 61.4 57.5 56.9 61.1 58.9 58.7 57.5 63.9 63.1 65.4 63.7
57.1 56.4 56.9 58.6 64.7 64.5 55.1 55.1 54.7 54.2 58.8 57.5 63.4 64.9 59.3 58.1 60.5 60
62.5 62.6 61 58.7 56.9 57.7 59.2 59.4 65.2 66 64.8 64.1 54.8 54.8 64 64 57.7 56.8
58.3 59.3 59.2 59.2 58.9 56.6"""
PENICILLIN = """27 23 26 23 23 21  27 23 26 23 23 21  25 21 25 24 24 20  26 23 25 23 23 20
25 22 26 22 23 20  24 22 25 23 22 19  24 20 23 21 22 19  26 22 26 24 24 21  24 21 24 22 22 20
24 21 24 23 22 19  26 23 26 24 24 21  25 22 26 24 24 20  26 24 26 24 25 22  26 23 26 23 23 20
26 23 25 24 24 22  25 22 25 23 23 20  25 21 24 23 23 20  25 22 24 23 23 19  24 21 23 21 21 19
26 23 26 24 24 21  25 21 24 22 22 18  25 22 25 22 22 20  24 21 24 22 24 19  24 21 24 22 21 18"""


def by_name(values, factors):
    return {each.name: each for each in components(np.asarray(values, dtype=float), factors)}


def test_the_components_are_lme4s() -> None:
    """Those of `lmer(strength ~ 1 + (1|batch/cask))` and `lmer(diameter ~ 1 + (1|plate) +
    (1|sample))`; of the second, which is balanced, mean squares give them too."""
    values = np.array(PASTES.split(), dtype=float)
    number = np.arange(60)
    found = by_name(values, {"batch": number // 6, "cask": number // 2})
    assert [round(found[name].variance, 3) for name in ("batch", "cask", LEFT)] == [
        1.658,
        8.433,
        0.678,
    ]
    assert found["batch"].at_zero and not found["cask"].at_zero
    values, number = np.array(PENICILLIN.split(), dtype=float), np.arange(144)
    found = by_name(values, {"plate": number // 6, "sample": number % 6})
    assert [round(found[name].variance, 3) for name in ("plate", "sample", LEFT)] == [
        0.717,
        3.731,
        0.302,
    ]
    table = values.reshape(24, 6)
    plates, samples = table.mean(axis=1), table.mean(axis=0)
    error = ((table - plates[:, None] - samples + values.mean()) ** 2).sum() / (23 * 5)
    assert found[LEFT].variance == pytest.approx(error, rel=1e-4)
    assert found["plate"].variance == pytest.approx(plates.var(ddof=1) - error / 6, rel=1e-4)
    assert found["sample"].variance == pytest.approx(samples.var(ddof=1) - error / 24, rel=1e-4)


def test_crossed_balanced_factors_have_the_estimates_of_anova() -> None:
    """Two factors and their interaction, four values in each place: expected mean squares."""
    random = np.random.default_rng(4)
    first, second, copies = 8, 6, 4
    values = (
        random.normal(0, 3, (first, 1, 1))
        + random.normal(0, 2, (1, second, 1))
        + random.normal(0, 1.5, (first, second, 1))
        + random.normal(0, 1, (first, second, copies))
    )
    places, means = values.mean(axis=2), values.mean(axis=(1, 2))
    others = values.mean(axis=(0, 2))
    left = ((values - places[..., None]) ** 2).sum() / (first * second * (copies - 1))
    crossed = places - means[:, None] - others + values.mean()
    square = copies * (crossed**2).sum() / ((first - 1) * (second - 1))
    expected = {
        "first": (second * copies * means.var(ddof=1) - square) / (second * copies),
        "second": (first * copies * others.var(ddof=1) - square) / (first * copies),
        "both": (square - left) / copies,
        LEFT: left,
    }
    assert min(expected.values()) > 0, "else the two estimators differ"
    number = np.arange(values.size)
    found = by_name(
        values.ravel(),
        {
            "first": number // (second * copies),
            "second": number // copies % second,
            "both": number // copies,
        },
    )
    for name, variance_of in expected.items():
        assert found[name].variance == pytest.approx(variance_of, rel=1e-4)
    total = sum(expected.values())
    assert found["both"].share == pytest.approx(expected["both"] / total, rel=1e-4)
    assert sum(each.share for each in found.values()) == pytest.approx(1)


def test_unbalanced_factors_have_the_estimates_of_statsmodels() -> None:
    random = np.random.default_rng(8)
    first, second = random.integers(9, size=150), random.integers(7, size=150)
    values = (
        random.normal(0, 2, 9)[first] + random.normal(0, 1, 7)[second] + random.normal(0, 1, 150)
    )
    found = by_name(values, {"first": first, "second": second})
    data = pd.DataFrame({"y": values, "first": first, "second": second})
    fitted = MixedLM.from_formula(
        "y ~ 1",
        data,
        groups=np.ones(150),
        vc_formula={"first": "0 + C(first)", "second": "0 + C(second)"},
        re_formula="0",
    ).fit(reml=True, method=["powell", "bfgs"])
    assert [found["first"].variance, found["second"].variance, found[LEFT].variance] == (
        pytest.approx([*fitted.vcomp, fitted.scale], rel=1e-3)
    )


def test_the_interval_of_what_is_left_is_that_of_its_profile() -> None:
    """Of one balanced factor the criterion falls apart: the mean squares', in closed form."""
    random = np.random.default_rng(2)
    values = random.normal(0, 2, (12, 1)) + random.normal(0, 1, (12, 5))
    left = components(values.ravel(), {"group": np.arange(60) // 5})[1]
    squares, freedom = ((values - values.mean(axis=1, keepdims=True)) ** 2).sum(), 48

    def above(variance_of: float) -> float:
        best = squares / freedom
        return freedom * (np.log(variance_of / best) + best / variance_of - 1)

    for end in (left.low, left.high):
        assert above(end) == pytest.approx(chi2.ppf(0.95, 1), abs=0.01)


def test_a_factor_without_variance_is_at_zero_and_says_so() -> None:
    random = np.random.default_rng(1)
    values = random.normal(0, 1, (6, 10))
    values -= values.mean(axis=1, keepdims=True)  # less between groups than by chance
    group, left = components(values.ravel(), {"group": np.arange(60) // 10})
    assert group.variance == 0 and group.low == 0 and group.at_zero and 0 < group.high < 0.2
    assert left.low > 0 and not left.at_zero


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ({"a": [0, 0, 1, 1], "b": [3, 3, 2, 2]}, "b and a part the values alike"),
        ({"a": [0, 0, 0, 0]}, "a has 1 levels over 4 values"),
        ({"a": [0, 1, 2, 3]}, "a has 4 levels over 4 values"),
    ],
)
def test_factors_that_say_nothing_are_refused(factors, words) -> None:
    with pytest.raises(XittError, match=words):
        components(np.arange(4.0), {name: np.array(levels) for name, levels in factors.items()})
    with pytest.raises(XittError, match="no variance"):
        components(np.ones(4), {"a": np.array([0, 0, 1, 1])})


# -- orders and distances --------------------------------------------------------------------------


def test_kendalls_w_is_friedmans_statistic_scaled() -> None:
    random = np.random.default_rng(6)
    for scores in (random.normal(size=(4, 7)), random.integers(3, size=(5, 6))):
        judges, things = scores.shape
        statistic = friedmanchisquare(*scores.T).statistic
        assert kendall_w(scores) == pytest.approx(statistic / (judges * (things - 1)))
    assert kendall_w(np.array([[1, 2, 3], [4, 5, 6]])) == 1
    assert np.isnan(kendall_w(np.ones((2, 3))))


def test_the_correlation_is_the_mean_of_spearmans_over_columns() -> None:
    random = np.random.default_rng(7)
    first, second = random.integers(4, size=(9, 3)), random.normal(size=(9, 3))
    rho, low, high = spearman(first, second, draws=1000)
    each = [spearmanr(first[:, n], second[:, n]).statistic for n in range(3)]
    assert rho == pytest.approx(np.mean(each)) and -1 <= low < rho < high <= 1


# -- grids -----------------------------------------------------------------------------------------


def grid(intermediates, targets, *, seeds=(1, 2, 3), score, modes=("sequential",)):
    """A finished grid; `targets` is target → languages, `score` a function of intermediate, target,
    language and seed."""
    return {
        "recipe": {
            "methods": ["lora"],
            "intermediates": list(intermediates),
            "targets": [*targets],
        },
        "headlines": dict.fromkeys(targets, "accuracy"),
        "entries": [
            {
                "method": "lora",
                "intermediate": name if isinstance(name, str) else name["name"],
                "mode": mode,
                "target": target,
                "language": code,
                "seed": seed,
                "status": DONE,
                "reason": "",
                "tag": "zero-shot",
                "overlap": 0.0,
                "key": "k",
                "scores": {},
                "score": float(score(str(name), target, code, seed)),
                "examples": 1,
            }
            for mode in modes
            for name in intermediates
            for target, languages in targets.items()
            for code in languages
            for seed in seeds
        ],
    }


def test_the_factors_are_those_that_the_grid_has() -> None:
    random = np.random.default_rng(9)
    small = grid(
        ["squad", "hellaswag", "sick"],
        {"xnli": ["de", "fr", "ru"], "tydiqa": ["fi"]},
        score=lambda *place: random.normal(),
    )
    data = variance(small)
    assert tuple(data.columns) == COLUMNS
    told = {
        (line.target, line.quantity, line.of): line.remark
        for line in data.itertuples()
        if line.quantity in ("variance", "left out")
    }
    assert told["xnli", "left out", "source language"] == "only en"
    assert ("xnli", "variance", "seed") in told and ("xnli", "variance", "row in language") in told
    assert told["tydiqa", "left out", "test language"] == "only fi"
    assert ("tydiqa", "variance", "seed") in told, "what is left, in one language"
    assert ("tydiqa", "left out", "seed") not in told
    assert told["", "left out", "source language"] == "only en"
    assert ("", "variance", "target") in told and ("", "variance", "seed") in told
    shares = data[data["quantity"] == "variance"].groupby("target")["share"].sum()
    assert shares.to_list() == pytest.approx([1, 1, 1])


def test_a_grid_whose_variance_is_known_says_it() -> None:
    """Half a point of seeds, three of source languages, ten of test languages."""
    random = np.random.default_rng(10)
    codes = "ar bg de el en es fr hi ru sw th tr ur vi zh".split()

    def effects(deviation: float) -> dict[str, float]:
        drawn = random.normal(size=15)
        return dict(zip(codes, deviation * drawn / drawn.std(ddof=1), strict=True))

    of_source, of_test = effects(3), effects(10)
    of_seed = {(code, seed): random.normal(0, 0.5) for code in codes for seed in (1, 2, 3)}

    def score(name, target, code, seed):
        source = name.partition("@")[2] or "en"
        return (
            50 + of_source[source] + of_test[code] + of_seed[source, seed] + random.normal(0, 0.2)
        )

    data = variance(grid([f"xnli@{code}" for code in codes], {"xnli": codes}, score=score))
    lines = data[data["quantity"] == "variance"].set_index("of")
    for name, deviation in (
        ("source language", 3),
        ("test language", 10),
        ("seed", 0.5),
        ("row in language", 0.2),
    ):
        line = lines.loc[name]
        assert line["low"] < deviation**2 < line["high"] and line["remark"] == ""
    assert data[data["quantity"] == "left out"]["of"].to_list() == ["intermediate task"]
    assert data[data["quantity"] == "kendall_w"]["value"].item() > 0.9


def test_the_best_intermediate_and_its_seeds() -> None:
    scores = {"squad": (3, 3, 1), "sick": (2, 1, 3), "hellaswag": (1, 2, 2)}
    data = variance(
        grid(list(scores), {"xnli": ["de"]}, score=lambda name, t, c, seed: scores[name][seed - 1])
    )
    best = data[data["quantity"] == "best"].set_index("of")["value"]
    assert best.to_dict() == pytest.approx({"squad": 2 / 3, "sick": 1 / 3, "hellaswag": 0})
    assert data[data["quantity"] == "kendall_tau"]["value"].item() == pytest.approx(
        np.mean([1 / 3, -1, -1 / 3])
    )


def test_distance_is_a_predictor_where_there_are_sources_enough() -> None:
    codes = ["en", "de", "es", "ru", "sw", "tr"]
    distances = dict(zip(codes, [0, 0.1, 0.18, 0.19, 0.53, 0.49], strict=True))
    names = [f"xnli@{code}" for code in codes[1:]]
    data = variance(
        grid(
            ["xnli", *names],
            {"xnli": ["en"]},
            score=lambda name, t, c, seed: -distances[name.partition("@")[2] or "en"],
        )
    )
    left = data[data["quantity"] == "left out"].set_index("of")["remark"]
    assert left["seed"].startswith("the factors leave nothing over"), "equal for every seed"
    line = data[data["quantity"] == "distance"].iloc[0]
    assert (line["of"], line["value"], line["levels"]) == ("xnli en", pytest.approx(-1), 6)
    few = variance(grid(["xnli", *names[:2]], {"xnli": ["en"]}, score=lambda *place: place[3]))
    assert "distance" not in set(few["quantity"])


def test_mixtures_and_controls_are_told_apart() -> None:
    named = sources(
        {
            "intermediates": [
                "squad",
                "squad:permuted",
                "squad:text",
                "random",
                {"name": "many", "tasks": ["xnli@de+ru", "squad"]},
            ]
        }
    )
    assert {name: (each.task, each.languages) for name, each in named.items()} == {
        "squad": ("squad", ("en",)),
        "squad:text": ("squad:text", ("en",)),
        "many": ("xnli+squad", ("de", "ru", "en")),
    }


def test_one_intermediate_or_one_seed_has_nothing_to_say() -> None:
    assert variance(grid(["squad"], {"xnli": ["de"]}, score=lambda *place: 1)).empty
    one = variance(
        grid(["squad", "sick"], {"xnli": ["de"]}, seeds=(1,), score=lambda name, *place: len(name))
    )
    assert set(one["quantity"]) == {"left out"}


# -- the report ------------------------------------------------------------------------------------


def test_the_report_says_components_order_and_distance(tmp_path) -> None:
    random = np.random.default_rng(12)
    names = [f"xnli@{code}" for code in ("de", "es", "ru", "sw", "tr")]
    data = variance(
        grid(
            names,
            {"xnli": ["en", "fr", "zh"], "tydiqa": ["fi"]},
            score=lambda name, *place: len(name) + random.normal(),
        )
    )
    section = variance_section(data)
    assert all(len(line) == len(section.heads) for line in section.rows)
    assert {line[1] for line in section.rows if line[0].startswith("xnli")} == {
        "source language",
        "seed",
        "test language",
        "row in language",
    }
    shares = [float(line[-1].rstrip("%")) for line in section.rows if line[0].startswith("tydiqa")]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    text = "\n".join(section.remarks)
    assert "intermediate task left out (only xnli): xnli, tydiqa, means over targets" in text
    assert "order of 5 intermediates on means over targets (sequential) over 3 seeds" in text
    assert "(0.33 by chance)" in text and "bootstrap over 5 sources" in text
    back = pd.read_csv(io.StringIO(variance_csv(data)))
    assert np.array_equal(back["value"], data["value"], equal_nan=True) and list(
        back.columns
    ) == list(COLUMNS)
    variance_map("small", data, tmp_path / "variance.png")
    assert matplotlib.image.imread(tmp_path / "variance.png").shape[1] > 500
    assert variance_section(data.iloc[:0]) is None
