"""Where the variance of a score comes from, how stable the order of intermediates is over seeds,
and whether the distance of languages predicts it.

The rows of one method and mode are taken, controls and compositions left out. On each target the
variance over rows, seeds and test languages is split into intermediate task, source language, seed
(one training of one row) and test language; what is left is how rows and languages go together.
Over targets it is split, of the averages over test languages, into target, intermediate task,
source language, and rows on targets; what is left is the seed. A factor with one level, or one that
parts the scores as another does, is left out and named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adapters_xitt.analysis.correlation import spearman
from adapters_xitt.analysis.frame import frame
from adapters_xitt.data.mixture import RANDOM, portion
from adapters_xitt.errors import XittError
from adapters_xitt.languages import distance
from adapters_xitt.study.results import DONE

if TYPE_CHECKING:
    import pandas as pd

TRANSFERS = ("sequential", "stack", "sum")  # modes whose rows have one intermediate each
FEWEST = 4  # sources, for a correlation
DRAWS = 1000
TASK, SOURCE, TARGET, TESTED = "intermediate task", "source language", "target", "test language"
ON_TARGET, TRAINED, TOGETHER = "row on target", "seed", "row in language"
COLUMNS = (
    "method",
    "mode",
    "target",  # "": over targets
    "quantity",  # a key of QUANTITIES
    "of",  # the factor, the intermediate, the test language
    "value",
    "low",  # 95 % interval
    "high",
    "share",  # of the whole variance
    "levels",  # of the factor; seeds; sources
    "remark",
)
QUANTITIES = {
    "variance": "variance component, in squared points; profile likelihood interval",
    "left out": "a factor that this run can't tell",
    "kendall_w": "Kendall's W of the order of intermediates, seeds as judges",
    "kendall_tau": "mean Kendall's τ-b of the order of intermediates over pairs of seeds",
    "best": "share of seeds in which an intermediate is the best one",
    "distance": (
        "Spearman's ρ of a score and the distance of its source language; bootstrap over sources"
    ),
}


@dataclass(frozen=True)
class Source:
    """What an intermediate is trained on."""

    task: str  # several are joined with +
    languages: tuple[str, ...]


def sources(recipe: Mapping[str, Any]) -> dict[str, Source]:
    """The intermediates of a recipe, controls left out, by name."""
    named: dict[str, Source] = {}
    for entry in recipe.get("intermediates", ()):
        name = entry if isinstance(entry, str) else entry["name"]
        texts = [entry] if isinstance(entry, str) else entry["tasks"]
        portions = [portion(text) for text in texts if text != RANDOM]
        if portions and not any(part.variant == "permuted" for part in portions):
            tasks = dict.fromkeys(
                f"{part.task}:{part.variant}" if part.variant else part.task for part in portions
            )
            languages = dict.fromkeys(code for part in portions for code in part.languages)
            named[name] = Source("+".join(tasks), tuple(languages))
    return named


def variance(grid: dict[str, Any]) -> pd.DataFrame:
    """`COLUMNS`: a line for every component, every measure of stability and every correlation of a
    finished grid, by method and mode; empty where no mode has two intermediates."""
    import pandas as pd

    named, data = sources(grid["recipe"]), frame(grid)
    data = data[
        data["mode"].isin(TRANSFERS) & data["intermediate"].isin(named) & (data["status"] == DONE)
    ]
    lines = []
    for (method, mode), part in data.groupby(["method", "mode"], sort=False):
        if part["intermediate"].nunique() > 1:
            lines += [(method, mode, *values) for values in _of_mode(part, named)]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _of_mode(part: pd.DataFrame, named: Mapping[str, Source]) -> Iterator[tuple[Any, ...]]:
    """The columns after the mode, of the rows of one method and mode."""
    part = part.assign(
        task=[named[name].task for name in part["intermediate"]],
        source=["+".join(named[name].languages) for name in part["intermediate"]],
    )
    for target, of_target in part.groupby("target", sort=False):
        trained = of_target["intermediate"] + " " + of_target["seed"].astype(str)
        factors = {
            TASK: of_target["task"],
            SOURCE: of_target["source"],
            TRAINED: trained,
            TESTED: of_target["language"],
        }
        several = of_target["language"].nunique() > 1
        left = TOGETHER if several else TRAINED
        yield from _split(target, of_target["score"], factors, left)
        yield from _stability(target, _by_seed(of_target))
        yield from _distances(target, of_target, named)
    averages = _averages(part)
    if averages["target"].nunique() > 1:
        factors = {
            TARGET: averages["target"],
            TASK: averages["task"],
            SOURCE: averages["source"],
            ON_TARGET: averages["intermediate"] + " " + averages["target"],
        }
        yield from _split("", averages["score"], factors, TRAINED)
        yield from _stability("", _by_seed(averages))


def _averages(part: pd.DataFrame) -> pd.DataFrame:
    """The mean over the test languages of every target, of the rows and seeds that have all."""
    languages = part.groupby("target")["language"].transform("nunique")
    keys = ["target", "intermediate", "task", "source", "seed"]
    whole = part.groupby(keys)["language"].transform("nunique") == languages
    return part[whole].groupby(keys, sort=False, as_index=False)["score"].mean()


# -- components ------------------------------------------------------------------------------------


def _split(
    target: str, scores: pd.Series, factors: Mapping[str, pd.Series], left: str
) -> Iterator[tuple[Any, ...]]:
    """The components of scores, and a line for every factor that is left out."""
    from adapters_xitt.analysis.components import LEFT, components

    kept, remarks = _told_apart(len(scores), factors, left)
    for name, remark in remarks.items():
        if name != left:
            yield target, "left out", name, np.nan, np.nan, np.nan, np.nan, 0, remark
    if not kept:
        return
    try:
        split = components(scores.to_numpy(), kept)
    except XittError as error:
        yield target, "left out", left, np.nan, np.nan, np.nan, np.nan, 0, str(error)
        return
    for each in split:
        remark = "at zero" if each.at_zero else ""
        name = left if each.name == LEFT else each.name
        interval = each.low, each.high
        yield target, "variance", name, each.variance, *interval, each.share, each.levels, remark


def _told_apart(
    count: int, factors: Mapping[str, pd.Series], left: str
) -> tuple[dict[str, NDArray], dict[str, str]]:
    """The factors that part the scores in ways of their own, and why the others don't."""
    import pandas as pd

    kept: dict[str, NDArray] = {}
    remarks: dict[str, str] = {}
    ways: dict[bytes, str] = {}
    for name, levels in factors.items():
        codes, unique = pd.factorize(levels)
        other = ways.setdefault(codes.tobytes(), name)
        if len(unique) == 1:
            remarks[name] = f"only {unique[0]}"
        elif len(unique) == count:
            remarks[name] = f"a level for every score: not to be told from {left}"
        elif other != name:
            remarks[name] = f"parts the scores as {other} does"
        else:
            kept[name] = codes
    return kept, remarks


# -- stability over seeds --------------------------------------------------------------------------


def _by_seed(part: pd.DataFrame) -> pd.DataFrame:
    """The mean score over targets and languages: intermediates × seeds, of the intermediates that
    have every cell that any has."""
    cells = part.groupby(["intermediate", "seed"], sort=False).size().unstack()
    whole = cells.index[(cells == cells.max().max()).all(axis=1)]
    scores = part.pivot_table(index="intermediate", columns="seed", values="score", sort=False)
    return scores.loc[whole]


def _stability(target: str, scores: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """How alike the seeds order the intermediates; nothing where there is one seed or one
    intermediate, or a seed that tells none apart."""
    from scipy.stats import kendalltau

    intermediates, seeds = scores.shape
    columns = scores.to_numpy().T
    if intermediates < 2 or seeds < 2 or (np.ptp(columns, axis=1) == 0).any():
        return
    taus = [
        kendalltau(first, second).statistic
        for index, first in enumerate(columns)
        for second in columns[index + 1 :]
    ]
    for quantity, value in (("kendall_w", kendall_w(columns)), ("kendall_tau", np.mean(taus))):
        remark = f"{intermediates} intermediates"
        yield target, quantity, "", float(value), np.nan, np.nan, np.nan, seeds, remark
    best = columns == columns.max(axis=1, keepdims=True)
    shares = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    for name, share in zip(scores.index, shares, strict=True):
        yield target, "best", name, float(share), np.nan, np.nan, np.nan, seeds, ""


def kendall_w(scores: NDArray) -> float:
    """Kendall's coefficient of concordance of judges' scores [judges, things], corrected for ties;
    NaN where no judge tells two things apart (Kendall and Gibbons 1990, chapter 6)."""
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=1)
    judges, things = ranks.shape
    sums = ranks.sum(axis=0)
    ties = sum(
        float((counts**3 - counts).sum())
        for counts in (np.unique(line, return_counts=True)[1] for line in ranks)
    )
    whole = judges**2 * (things**3 - things) - judges * ties
    return float(12 * ((sums - sums.mean()) ** 2).sum() / whole) if whole else float("nan")


# -- distance as a predictor -----------------------------------------------------------------------


def _distances(
    target: str, part: pd.DataFrame, named: Mapping[str, Source]
) -> Iterator[tuple[Any, ...]]:
    """Of every intermediate task in four source languages or more: the correlation over sources of
    the score in a test language with the distance to it, and the mean over test languages. A
    language in which all score alike has none."""
    single = part[[len(named[name].languages) == 1 for name in part["intermediate"]]]
    for task_name, of_task in single.groupby("task", sort=False):
        scores = of_task.pivot_table(index="source", columns="language", values="score", sort=False)
        distances = np.array(
            [[distance(source, code) for code in scores.columns] for source in scores.index],
            dtype=np.float64,
        )
        known = np.isfinite(scores.to_numpy()) & np.isfinite(distances)
        tested = known.all(axis=0) & (np.ptp(scores.to_numpy(), axis=0) > 0)
        if len(scores) < FEWEST or not tested.any():
            continue
        codes = [code for code, use in zip(scores.columns, tested, strict=True) if use]
        values, apart = scores.to_numpy()[:, tested], distances[:, tested]
        of_language = [(code, [index]) for index, code in enumerate(codes)]
        every = [("", list(range(len(codes))))] if len(codes) > 1 else []
        for code, columns in (*every, *of_language):
            rho, low, high = spearman(apart[:, columns], values[:, columns], draws=DRAWS)
            of = f"{task_name} {code}".strip()
            yield target, "distance", of, rho, low, high, np.nan, len(scores), ""
