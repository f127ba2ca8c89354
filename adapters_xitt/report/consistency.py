"""How consistent answers are over languages: sections, a CSV and a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from adapters_xitt.analysis import TableRow
from adapters_xitt.analysis.consistency import ABOUT, FLEISS, GROUPS
from adapters_xitt.analysis.frame import family_first
from adapters_xitt.report.pictures import save_picture
from adapters_xitt.report.sections import Section
from adapters_xitt.report.tiles import Panel, Tile, draw, lines_of, rise
from adapters_xitt.report.words import number

if TYPE_CHECKING:
    import pandas as pd

NAMES = {
    "rankc": "RankC",
    "agreement": "agreement",
    "agreement_where_right": "right, of right in English",
    "overlap_of_right": "overlap of right",
    "kappa": "Cohen's κ",
    FLEISS: "Fleiss' κ",
}
UNKNOWN = "–"
SIDE_BY_SIDE = 8  # groups in one table
SHADES, SPAN = "YlGnBu", 10.0  # at least so many points from the lightest shade to the darkest
CELL, MARGIN, GAP, HEADER, FOOTER = (0.46, 0.3), 0.35, 0.4, 0.75, 0.45


def consistency_csv(data: pd.DataFrame) -> str:
    """The whole frame; what is not known is empty."""
    return data.to_csv(index=False, lineterminator="\n")


def consistency_sections(data: pd.DataFrame) -> list[Section]:
    """For each target its rows by measure, and by group of languages."""
    sections = []
    for target, of_target in data.groupby("target", sort=False):
        sections.append(_by_measure(target, of_target))
        sections += _by_group(target, of_target)
    return sections


def _by_measure(target: str, data: pd.DataFrame) -> Section:
    every = data[data["by"] == "all"]
    measures = [name for name in NAMES if name in set(every["measure"])]
    first = every.iloc[0]
    with_english = first["against"] == "en"
    compared = "each language with English" if with_english else "each language with every other"
    remarks = [f"{NAMES[name]}: {ABOUT[name]}" for name in measures]
    if "rankc" not in measures:
        remarks.append(
            "answers are texts of their language: only whether they are right is compared"
        )
    if every.loc[every["measure"] == "kappa", "value"].isna().any():
        remarks.append(f"κ is {UNKNOWN} where a row gives one label to all: that is no consistency")
    remarks.append(
        "in brackets the 95 % interval of a bootstrap over items, of these seeds and languages"
    )
    return Section(
        heading=f"Consistency over languages: {target}",
        about=(
            f"Mean over {first['languages']} languages, {compared}, and over"
            f" {first['seeds']} seed{'s' if first['seeds'] > 1 else ''}; {first['items']:,} items."
        ),
        heads=("row", *(NAMES[name] for name in measures)),
        rows=tuple(
            (name, *(_value(part, measure) for measure in measures))
            for name, part in _by_row(every)
        ),
        remarks=tuple(remarks),
    )


def _by_group(target: str, data: pd.DataFrame) -> Iterator[Section]:
    """The first measure by groups of languages, so many beside each other as a page holds."""
    measure = _main(data)
    groups = data[data["by"].isin(GROUPS) & (data["measure"] == measure)]
    names = list(dict.fromkeys(zip(groups["by"], groups["group"], strict=True)))
    for start in range(0, len(names), SIDE_BY_SIDE):
        chosen = names[start : start + SIDE_BY_SIDE]
        counts = groups.groupby(["by", "group"])["languages"].first()
        yield Section(
            heading=f"By group of languages, {NAMES[measure]}: {target}",
            about="Groups of one language are left out; the number of languages is in brackets.",
            heads=("row", *(f"{_group(by, group)} ({counts[by, group]})" for by, group in chosen)),
            rows=tuple(
                (name, *(_value(part, measure, *place) for place in chosen))
                for name, part in _by_row(groups)
            ),
        )


def _main(data: pd.DataFrame) -> str:
    """The measure that a target is shown by."""
    return next(name for name in ("rankc", "overlap_of_right") if name in set(data["measure"]))


def _group(by: str, group: str) -> str:
    return {"joshi": f"Joshi {group}", "distance": f"distance {group}"}.get(by, group)


def _by_row(data: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The parts of a frame by row, with the rows' names; methods are named where there are
    several."""
    several = data["method"].nunique() > 1
    for (method, intermediate, mode), part in data.groupby(
        ["method", "intermediate", "mode"], sort=False
    ):
        words = (method if several else "", intermediate, mode)
        yield " ".join(word for word in words if word), part


def _value(data: pd.DataFrame, measure: str, by: str = "all", group: str = "") -> str:
    """ "61.2 (58.0–64.1)"."""
    lines = data[(data["measure"] == measure) & (data["by"] == by) & (data["group"] == group)]
    if lines.empty or math.isnan(lines.iloc[0]["value"]):
        return UNKNOWN
    line = lines.iloc[0]
    if math.isnan(line["low"]):
        return number(line["value"])
    return f"{number(line['value'])} ({number(line['low'])}–{number(line['high'])})"


# -- the picture -----------------------------------------------------------------------------------


def consistency_map(name: str, data: pd.DataFrame, path: Path) -> None:
    """Rows × languages of every target by its first measure, and what stays right of what is right
    in English, as PNG."""
    panels = [
        _panel(target, measure, part[part["measure"] == measure])
        for target, part in data[data["by"] == "language"].groupby("target", sort=False)
        for measure in (_main(part), "agreement_where_right")
        if measure in set(part["measure"])
    ]
    width = max(*(panel.width for panel in panels), 6.0) + 2 * MARGIN
    height = HEADER + sum(panel.height + GAP for panel in panels) + FOOTER
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    top = HEADER
    for panel in panels:
        draw(figure, panel, left=MARGIN, top=top)
        top += panel.height + GAP
    figure.text(
        MARGIN / width,
        1 - 0.2 / height,
        f"{name}: consistency over languages",
        fontsize=13,
        fontweight="bold",
        va="top",
    )
    figure.text(
        MARGIN / width,
        0.15 / height,
        "mean over seeds; shades are those of one panel",
        fontsize=8,
        color="0.35",
    )
    save_picture(figure, path)


def _panel(target: str, measure: str, data: pd.DataFrame) -> Panel:
    languages = sorted(set(data["group"]), key=family_first)
    rows = list(dict.fromkeys(zip(data["method"], data["intermediate"], data["mode"], strict=True)))
    values = data.set_index(["method", "intermediate", "mode", "group"])["value"]
    low = values.min()
    span = max(values.max() - low, SPAN)
    tiles = [
        [_tile(values.get((*grid_row, code)), low, span) for code in languages] for grid_row in rows
    ]
    against = ", with each other"
    if (data["against"] == "en").all():
        against = "" if measure == "agreement_where_right" else ", with English"
    return Panel(
        f"{target}: {NAMES[measure]}{against}",
        lines_of([TableRow(*grid_row, {}) for grid_row in rows]),
        languages,
        tiles,
        cell=CELL,
        size=8.0,
        families=True,
        headroom=rise(languages, 8.0),
    )


def _tile(value: float | None, low: float, span: float) -> Tile:
    if value is None or math.isnan(value):
        return Tile(UNKNOWN)
    return Tile(number(value), colormaps[SHADES](0.05 + 0.6 * (value - low) / span))
