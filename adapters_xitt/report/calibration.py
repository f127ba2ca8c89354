"""What a report says of calibration: tables of each target, before and after temperature scaling,
and every number as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

import numpy as np

from adapters_xitt.analysis.calibration.summary import (
    COLUMNS,
    LEAST_CORRELATED,
    LEAST_LANGUAGES,
    Calibration,
)
from adapters_xitt.analysis.calibration.table import AFTER, CALIBRATION
from adapters_xitt.analysis.calibration.temperature import LEAST, MOST
from adapters_xitt.analysis.effects import Effect
from adapters_xitt.analysis.tables import Name
from adapters_xitt.report.sections import Section
from adapters_xitt.report.words import number, signed

UNKNOWN = "–"
SHOWN = ("ece", "overconfidence", "brier", "nll")  # of each target
GROUPED = ("ece", "overconfidence")  # of each group of languages
SIDE_BY_SIDE = 8  # groups in one table
EXPLAINED = (
    (
        "before → after temperature scaling (Guo et al. 2017): one temperature T for each row and"
        f" seed, from {LEAST} to {MOST:g}, fitted on the selection split in the language of"
        " training; the range over seeds in brackets"
    ),
    (
        "± is half of a 95 % interval over seeds and test items; the languages stand for"
        " themselves. Means are over the languages that no row has seen"
    ),
    "ECE and over-confidence are in points, Brier from 0 to 2 (of answers to 1), NLL in nats",
    (
        "ρ: Spearman's correlation of ECE, before scaling, with the distance to English over"
        " languages, and a 95 % interval of the bootstrap over languages; of at least"
        f" {LEAST_CORRELATED} languages"
    ),
    (
        "by family, script, resource class, word order and distance to English: calibration.md;"
        " every number: calibration.csv, calibration-groups.csv; pictures: calibration.png"
    ),
)


def calibration_sections(calibration: Calibration) -> list[Section]:
    """For each target its rows, and these by groups of languages."""
    sections = []
    for target, section in zip(calibration.targets, target_sections(calibration), strict=True):
        sections.append(section)
        for column, title in COLUMNS.items():
            sections += _by_group(calibration, target, column, title)
    return sections


def target_sections(calibration: Calibration) -> list[Section]:
    """The rows of each target over all its languages; the first says how they are read."""
    return [
        _section(calibration, target, EXPLAINED if number == 0 else ())
        for number, target in enumerate(calibration.targets)
    ]


def _section(calibration: Calibration, target: str, remarks: tuple[str, ...]) -> Section:
    codes, names = calibration.unseen(target), calibration.rows(target)
    count = f"{len(codes)} language{'s' if len(codes) != 1 else ''} that no row has seen"
    return Section(
        heading=f"Calibration: {target}",
        about=f"Mean over {count}: {' '.join(codes)}." if codes else "No language is unseen.",
        heads=("row", "T", *(CALIBRATION[name].title for name in SHOWN), "ρ with distance"),
        rows=tuple(
            (
                row_title(name, names),
                _temperatures(calibration.temperatures(name, target)),
                *(_change(calibration, name, target, codes, measure) for measure in SHOWN),
                _correlation(calibration, name, target),
            )
            for name in names
        ),
        remarks=remarks,
    )


def _by_group(calibration: Calibration, target: str, column: str, title: str) -> Iterator[Section]:
    """ECE of the rows of a target by one column of the language table, a few groups at a time, and
    which languages are in which group."""
    groups, names = calibration.groups(target, column), calibration.rows(target)
    chosen = list(groups.averaged.items())
    for start in range(0, len(chosen), SIDE_BY_SIDE):
        part = chosen[start : start + SIDE_BY_SIDE]
        yield Section(
            heading=f"Calibration by {title}: {target}",
            about="ECE before → after temperature scaling.",
            heads=("row", *(group for group, _ in part)),
            rows=tuple(
                (
                    row_title(name, names),
                    *(_change(calibration, name, target, codes, "ece") for _, codes in part),
                )
                for name in names
            ),
        )
    yield Section(
        heading=f"Languages by {title}: {target}",
        about=f"Groups of fewer than {LEAST_LANGUAGES} languages are named, not averaged.",
        heads=(title, "languages", "averaged"),
        rows=tuple(
            (group, " ".join(codes), averaged)
            for averaged, part in (("yes", groups.averaged), ("no", groups.named))
            for group, codes in part.items()
        ),
        left=3,
    )


def row_title(name: Name, names: Sequence[Name]) -> str:
    """ "mnli sequential" or "none", with the method where there are several."""
    method, intermediate, mode = name
    words = [intermediate, mode] if intermediate else [mode]
    if len({each[0] for each in names}) > 1:
        words.insert(0, method)
    return " ".join(words)


def _temperatures(values: Sequence[float]) -> str:
    if not values:
        return UNKNOWN
    spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{spread}"


def _change(
    calibration: Calibration, name: Name, target: str, codes: Sequence[str], measure: str
) -> str:
    """A mean before and after scaling."""
    before = calibration.level(name, target, codes, measure)
    after = calibration.level(name, target, codes, measure + AFTER)
    return f"{_level(before, measure)} → {_level(after, measure)}"


def _level(level: Effect | None, measure: str) -> str:
    """ "12.3 ±0.8" """
    if level is None:
        return UNKNOWN
    show = _decimals if not CALIBRATION[measure].points else number
    mean = signed(level.difference) if measure == "overconfidence" else show(level.difference)
    interval = level.interval()
    return mean if interval is None else f"{mean} ±{show((interval[1] - interval[0]) / 2)}"


def _decimals(value: float) -> str:
    return f"{value:.3f}"


def _correlation(calibration: Calibration, name: Name, target: str) -> str:
    correlation = calibration.correlation(name, target, "ece")
    if correlation is None:
        return UNKNOWN
    return f"{correlation.rho:+.2f} ({correlation.low:+.2f} to {correlation.high:+.2f})"


# -- every number ----------------------------------------------------------------------------------


def calibration_csv(calibration: Calibration) -> str:
    """A line for each scored cell: its row, target, language and seed, its temperature, and every
    measure before and after it."""
    return calibration.frame.to_csv(index=False, lineterminator="\n")


def groups_csv(calibration: Calibration) -> str:
    """A line for each row, target, group of languages and measure, with its 95 % interval."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = ("method", "intermediate", "mode", "target", "column", "group", "languages")
    writer.writerow([*heads, "measure", "mean", "low", "high"])
    for target in calibration.targets:
        whole = {("all", "all"): calibration.unseen(target)}
        grouped = {
            (column, group): codes
            for column in COLUMNS
            for group, codes in calibration.groups(target, column).averaged.items()
        }
        for (column, group), codes in {**whole, **grouped}.items():
            for name in calibration.rows(target):
                for measure in (each + ending for each in GROUPED for ending in ("", AFTER)):
                    level = calibration.level(name, target, codes, measure)
                    if level is not None:
                        place = [*name, target, column, group, " ".join(codes), measure]
                        bounds = level.interval() or ("", "")
                        writer.writerow([*place, level.difference, *bounds])
    return text.getvalue()
