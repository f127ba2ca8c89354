"""How often the test of a difference between rows finds one that isn't there, and how often its
95 % interval holds the true one: with 2, 3, 5 and 10 seeds, on real predictions.

    python scripts/null_differences.py --encoder lab-xlmr --store nulls --picture nulls.png

trains UDPOS on XTREME's English sentences with many seeds, alone and after SICK (an hour or less on
two cores; a second run finds the predictions in the store), and draws from them, test sentences
with replacement every time:

- same row: two sets of seeds of the row `none`, which differ by chance alone;
- swapped items: `none` and `sick` with the same seeds, where for every test sentence a coin says
  which row is called which, the same for all seeds: a difference in every item, none in the mean;
- true effect: `none` and `sick` as they are; the interval must hold the difference over all seeds
  and sentences at hand.

It prints a table with the Monte Carlo error of each rate. Nominal: 5 % found, 95 % held."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import yaml
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import adapters_xitt as xitt
from adapters_xitt.analysis.effects import LEVEL, Effect, Stratum, effect
from adapters_xitt.analysis.evidence import Evidence
from adapters_xitt.analysis.measures import MEASURES
from adapters_xitt.analysis.statistics import ItemStatistics
from adapters_xitt.study.store import Store

SEEDS = (2, 3, 5, 10)
LANGUAGES = ("de", "es", "fi", "tr")
SAME, SWAPPED, TRUE = "same row", "swapped items", "true effect"
RECIPE: dict[str, Any] = {
    "name": "null-differences",
    "data": {"root": "${XITT_DATA}"},
    "methods": [{"name": "seq_bn", "reduction": 2, "learning_rate": 1.0e-3}],
    "intermediates": ["sick"],
    "targets": ["udpos"],
    "languages": list(LANGUAGES),
    "training": {
        "batch_size": 16,
        "max_steps": 40,
        "evaluate_every": 40,
        "selection_examples": 20,
        "dropout": 0.0,
    },
    "lengths": {"max_length": 128},
    "tasks": {"udpos": {"test": "test[:200]"}},
}


@dataclass(frozen=True)
class Bank:
    """The statistics of two rows by language and seed."""

    none: dict[str, list[ItemStatistics]]
    sick: dict[str, list[ItemStatistics]]

    @property
    def seeds(self) -> int:
        return len(self.none[LANGUAGES[0]])


def read_bank(encoder: str, seeds: int, store: Path) -> Bank:
    """Runs what is missing, and reads it."""
    recipe = {**RECIPE, "encoder": encoder, "seeds": list(range(1, seeds + 1))}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "null-differences.yaml"
        path.write_text(yaml.safe_dump(recipe))
        grid = xitt.run(path, store=store, device="cpu", workers=2)
    evidence = Evidence(grid.record, Store(store))
    (method,) = grid.frame.method.unique()
    count = MEASURES["score"].statistics

    def of(name: tuple[str, str]) -> dict[str, list[ItemStatistics]]:
        rows: dict[str, list[ItemStatistics]] = {}
        for code in LANGUAGES:
            for seed in recipe["seeds"]:
                statistics = evidence.statistics((method, *name, "udpos", code, seed), count)
                assert statistics is not None
                rows.setdefault(code, []).append(statistics)
        return rows

    return Bank(of(("", "none")), of(("sick", "sequential")))


Pairs = dict[str, list[tuple[ItemStatistics, ItemStatistics]]]  # by language, one for each seed


def difference(pairs: Pairs) -> Effect:
    """The effect of the first of each pair less the second, as a question has it."""
    values, strata = [], []
    for of_seeds in pairs.values():
        values.append([first.total - second.total for first, second in of_seeds])
        parts = [first.influences() - second.influences() for first, second in of_seeds]
        strata.append(Stratum(np.stack(parts) / (len(parts[0]) * len(pairs))))
    return effect(np.mean(values, axis=0), strata)


def same_row(bank: Bank, seeds: int, random: np.random.Generator) -> Pairs:
    """Two sets of seeds of one row, over sentences drawn anew."""
    drawn = random.permutation(bank.seeds)[: 2 * seeds]
    pairs: Pairs = {}
    for code, rows in bank.none.items():
        items = random.integers(len(rows[0].ids), size=len(rows[0].ids))
        pairs[code] = [
            (rows[first].only(items), rows[second].only(items))
            for first, second in zip(drawn[:seeds], drawn[seeds:], strict=True)
        ]
    return pairs


def true_effect(bank: Bank, seeds: int, random: np.random.Generator) -> Pairs:
    """Both rows as they are, with some seeds, over sentences drawn anew."""
    drawn = random.permutation(bank.seeds)[:seeds]
    pairs: Pairs = {}
    for code in LANGUAGES:
        count = len(bank.none[code][0].ids)
        items = random.integers(count, size=count)
        pairs[code] = [
            (bank.sick[code][seed].only(items), bank.none[code][seed].only(items)) for seed in drawn
        ]
    return pairs


def swapped_items(bank: Bank, seeds: int, random: np.random.Generator) -> Pairs:
    """Both rows with the same seeds, their names swapped for half of the sentences."""
    pairs = true_effect(bank, seeds, random)
    for code, of_seeds in pairs.items():
        coin = random.integers(2, size=(len(of_seeds[0][0].ids), 1)).astype(bool)
        pairs[code] = [
            (
                ItemStatistics(first.ids, np.where(coin, first.sums, second.sums), first.value),
                ItemStatistics(first.ids, np.where(coin, second.sums, first.sums), first.value),
            )
            for first, second in of_seeds
        ]
    return pairs


def whole_difference(bank: Bank) -> float:
    """Over all seeds and sentences at hand."""
    pairs = {code: list(zip(bank.sick[code], bank.none[code], strict=True)) for code in LANGUAGES}
    return difference(pairs).difference


Draw = Callable[[Bank, int, np.random.Generator], Pairs]
DRAWS: dict[str, Draw] = {SAME: same_row, SWAPPED: swapped_items, TRUE: true_effect}


@dataclass(frozen=True)
class Rate:
    """What came out of many draws with so many seeds."""

    kind: str
    seeds: int
    draws: int
    rejected: float  # share of draws in which a test at 5 % finds a difference
    held: float  # share in which the 95 % interval holds the true difference
    width: float  # of the interval, its median, in points

    def error(self, share: float) -> float:
        """The Monte Carlo standard error of a share of the draws."""
        return float(np.sqrt(share * (1 - share) / self.draws))


def simulate(bank: Bank, draws: int, random: np.random.Generator) -> Iterator[Rate]:
    """The rates of every kind of draw, with every number of seeds."""
    for kind, draw in DRAWS.items():
        truth = whole_difference(bank) if kind == TRUE else 0.0
        for seeds in SEEDS:
            effects = [difference(draw(bank, seeds, random)) for _ in range(draws)]
            rejected = [each.p_value is not None and each.p_value <= LEVEL for each in effects]
            intervals = np.array([each.interval() for each in effects])
            held = (intervals[:, 0] <= truth) & (truth <= intervals[:, 1])
            width = float(np.median(intervals[:, 1] - intervals[:, 0]))
            yield Rate(kind, seeds, draws, float(np.mean(rejected)), float(held.mean()), width)


def picture(rates: list[Rate], path: Path) -> None:
    """False positives and coverage over the number of seeds, with two Monte Carlo errors."""
    figure = Figure((9.0, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for kind in DRAWS:
        of_kind = [rate for rate in rates if rate.kind == kind]
        places = range(len(of_kind))
        if kind != TRUE:
            left.errorbar(
                places,
                [100 * rate.rejected for rate in of_kind],
                [200 * rate.error(rate.rejected) for rate in of_kind],
                marker="o",
                capsize=3,
                label=kind,
            )
        right.errorbar(
            places,
            [100 * rate.held for rate in of_kind],
            [200 * rate.error(rate.held) for rate in of_kind],
            marker="o",
            capsize=3,
            label=kind,
        )
    for axes, nominal, title in (
        (left, 100 * LEVEL, "differences found where there are none, %"),
        (right, 100 * (1 - LEVEL), "intervals that hold the true difference, %"),
    ):
        axes.axhline(nominal, color="black", linewidth=0.8, linestyle="--")
        axes.set_xticks(range(len(SEEDS)), list(map(str, SEEDS)))
        axes.set_xlabel("seeds")
        axes.set_title(title, fontsize=10)
        axes.legend(fontsize=8)
    left.set_ylim(0, None)
    right.set_ylim(None, 100)
    figure.savefig(path, format=path.suffix.lstrip("."), dpi=150)


@click.command()
@click.option("--encoder", default="lab-xlmr", show_default=True)
@click.option("--seeds", default=40, show_default=True, help="Seeds trained; 20 at least.")
@click.option("--draws", default=2000, show_default=True)
@click.option("--store", type=click.Path(path_type=Path), default=Path("store"))
@click.option("--picture", "file", type=click.Path(path_type=Path))
def main(encoder: str, seeds: int, draws: int, store: Path, file: Path | None) -> None:
    """False positives and coverage of the test of a difference, on real predictions."""
    bank = read_bank(encoder, max(seeds, 2 * max(SEEDS)), store)
    rates = list(simulate(bank, draws, np.random.default_rng(1)))
    table = Table("drawn", "seeds", "found, %", "held, %", "median width, points")
    for rate in rates:
        rejected = f"{100 * rate.rejected:.1f} ±{100 * rate.error(rate.rejected):.1f}"
        held = f"{100 * rate.held:.1f} ±{100 * rate.error(rate.held):.1f}"
        table.add_row(rate.kind, str(rate.seeds), rejected, held, f"{rate.width:.2f}")
    Console().print(table)
    print(f"{bank.seeds} seeds, {draws:,} draws each; after SICK {whole_difference(bank):+.2f}")
    if file:
        picture(rates, file)


if __name__ == "__main__":
    main()
