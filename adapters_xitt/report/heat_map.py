"""The grid as a picture: scores and differences to `none`, then the differences language by
language."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from adapters_xitt.analysis import INCOMPLETE, Place, Reading, Row, Table
from adapters_xitt.report import words
from adapters_xitt.report.tiles import Panel, Tile, draw, lines_of, rise
from adapters_xitt.study.results import NOT_APPLICABLE

# Inches.
MARGIN, GAP = 0.35, 0.55
CELL, LANGUAGE_CELL = (0.86, 0.44), (0.37, 0.25)  # width, height
HEADER, FOOTER = 0.85, 0.75
LEAST_WIDTH = 9.0
SMALL = 6.5  # points, by language
MOST_PIXELS, DPI = 12_000, 150  # of the longer side; dots per inch, lowered for very large grids

SCORES, DIFFERENCES = "YlGnBu", "PuOr"  # both are readable to the colour-blind
PALE = 0.62  # share of the score map in use: dark text stays readable on it


@dataclass(frozen=True)
class Put:
    """A panel with its place: inches from the left and from the top of the figure, its headings
    included."""

    panel: Panel
    left: float
    top: float


def heat_map(grid: dict[str, Any], path: Path) -> None:
    """Writes the picture as PNG; it grows with the grid."""
    reading = Reading(grid)
    table = reading.table()
    compared = {row.reference for row in table.rows} == {True, False}
    each = (
        {target: _only_compared(reading.by_language(target)) for target in reading.targets}
        if compared
        else {}
    )
    limit = _limit([table, *each.values()])
    above = [_scores(table, reading)] + ([_differences(table, reading, limit)] if compared else [])
    headroom = max((rise(each[target].columns, SMALL) for target in each), default=0.0)
    below = [
        _languages(target, some, limit, headroom) for target, some in each.items() if some.rows
    ]
    bar = 1.1 if compared else 0.0
    top_width = sum(panel.width for panel in above) + GAP * (len(above) - 1) + bar
    width = max([LEAST_WIDTH - 2 * MARGIN, top_width, *(panel.width for panel in below)])
    puts, height = _flow(above, below, width)
    size = (width + 2 * MARGIN, height)
    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)
    for put in puts:
        draw(figure, put.panel, left=put.left, top=put.top)
    _title(figure, grid, reading)
    if compared:
        last = puts[len(above) - 1]
        _bar(
            figure,
            limit,
            left=last.left + last.panel.width + 0.2,
            top=last.top + last.panel.above,
            height=min(last.panel.body, 3.0),
        )
    figure.savefig(
        path,
        format="png",
        dpi=min(DPI, MOST_PIXELS / max(size)),
        metadata={"Software": None},
        facecolor="white",
    )


def _flow(above: Sequence[Panel], below: Sequence[Panel], width: float) -> tuple[list[Put], float]:
    """The first panels side by side, the others in lines of `width` under them; with the whole
    height in inches."""
    puts, left, top = [], MARGIN, MARGIN + HEADER
    for panel in above:
        puts.append(Put(panel, left, top))
        left += panel.width + GAP
    top += max(panel.height for panel in above) + GAP
    line: list[Panel] = []
    for panel in [*below, None]:
        if line and (
            panel is None or sum(one.width + GAP for one in line) + panel.width > width + 1e-6
        ):
            left, ascent = MARGIN, max(one.above for one in line)
            for one in line:
                puts.append(Put(one, left, top + ascent - one.above))
                left += one.width + GAP
            top += ascent + max(one.height - one.above for one in line) + GAP
            line = []
        if panel is not None:
            line.append(panel)
    return puts, top - GAP + FOOTER


def _limit(tables: Sequence[Table]) -> float:
    """Where the colours of differences end: the 98th percentile of their sizes, at least one
    point."""
    sizes = sorted(
        abs(place.difference)
        for table in tables
        for row in table.rows
        for place in row.places.values()
        if place.difference is not None
    )
    return max(1.0, sizes[int(0.98 * (len(sizes) - 1))]) if sizes else 1.0


def _only_compared(table: Table) -> Table:
    """The rows that a method has, `none` left out."""
    return Table(
        table.columns,
        tuple(
            row
            for row in table.rows
            if not row.reference
            and any(place.status != NOT_APPLICABLE for place in row.places.values())
        ),
    )


def _columns(table: Table, reading: Reading) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Headings and their second lines; the average over targets comes last."""
    averaged = any(row.average for row in table.rows)
    names = (*table.columns, *(["average"] if averaged else []))
    return names, tuple(
        words.headline(reading, name) if name in table.columns else "of targets" for name in names
    )


def _places(row: Row) -> list[Place]:
    return [*row.places.values(), *([row.average] if row.average else [])]


def _scores(table: Table, reading: Reading) -> Panel:
    """Scores, shaded within each column: targets have different metrics."""
    names, second = _columns(table, reading)
    rows = [_places(row) for row in table.rows]
    tiles: list[list[Tile]] = [[] for _ in rows]
    for column in zip(*rows, strict=True):
        means = [place.mean for place in column if place.mean is not None]
        low, span = (min(means), max(max(means) - min(means), 2.0)) if means else (0.0, 1.0)
        for tile, place in zip(tiles, column, strict=True):
            if place.mean is None:
                tile.append(_nothing(place))
            else:
                colour = colormaps[SCORES](0.04 + PALE * (place.mean - low) / span)
                tile.append(
                    Tile(words.score(place), colour, second=words.plus_minus(place.spread).strip())
                )
    return Panel(
        "Zero-shot score",
        lines_of(table.rows),
        names,
        tiles,
        cell=CELL,
        second=second,
        apart="average" in names[-1:],
    )


def _differences(table: Table, reading: Reading, limit: float) -> Panel:
    names, second = _columns(table, reading)
    tiles = [
        [_change(place, limit, spread=True, reference=row.reference) for place in _places(row)]
        for row in table.rows
    ]
    return Panel(
        "Difference to none, in points",
        lines_of(table.rows),
        names,
        tiles,
        cell=CELL,
        second=second,
        named=False,
        apart="average" in names[-1:],
    )


def _languages(target: str, table: Table, limit: float, headroom: float) -> Panel:
    tiles = [
        [_change(place, limit, spread=False) for place in row.places.values()] for row in table.rows
    ]
    return Panel(
        f"{target}: difference to none by language",
        lines_of(table.rows),
        table.columns,
        tiles,
        cell=LANGUAGE_CELL,
        size=SMALL,
        families=True,
        headroom=headroom,
    )


def _change(place: Place, limit: float, *, spread: bool, reference: bool = False) -> Tile:
    """A difference; without one, why: the reference itself, or the word for what is missing."""
    if reference:
        return Tile("none", (1.0, 1.0, 1.0, 1.0), faint=True)
    if place.difference is None:
        # A number without a difference: the place, or its `none`, is over a part only.
        return (
            _nothing(place)
            if spread
            else Tile("*" if place.mean is not None else words.score(place))
        )
    colour = colormaps[DIFFERENCES](0.5 - 0.42 * max(-1.0, min(1.0, place.difference / limit)))
    return Tile(
        words.signed(place.difference) + (words.seen(place) if not spread else ""),
        colour,
        second=words.plus_minus(place.difference_spread).strip() if spread else "",
    )


def _nothing(place: Place) -> Tile:
    """A place of the upper panels without a number, in a word."""
    whole = place.mean is None and place.status != INCOMPLETE
    return Tile(words.MARKS[place.status] if whole else INCOMPLETE)


def _title(figure: Figure, grid: dict[str, Any], reading: Reading) -> None:
    width, height = figure.get_size_inches()
    figure.text(
        MARGIN / width,
        1 - MARGIN / height,
        f"{grid['name']}: zero-shot transfer",
        fontsize=15,
        fontweight="bold",
        va="top",
    )
    figure.text(
        MARGIN / width,
        1 - (MARGIN + 0.34) / height,
        words.title(grid)[0],
        fontsize=9,
        color="0.35",
        va="top",
    )
    marks = [words.SPREAD] if len(reading.seeds) > 1 else ["one seed, so no spread"]
    marks += [
        "* incomplete",
        "hatched: no number",
        f"{words.SEEN_MARK} not zero-shot",
        "scores are shaded within a column",
    ]
    # characters of a line: inches over the width of one at this size
    room = int((width - 2 * MARGIN) / 0.072)
    figure.text(
        MARGIN / width,
        MARGIN / height / 2,
        textwrap.fill("  ·  ".join(marks), room),
        fontsize=8,
        color="0.35",
        va="bottom",
    )


def _bar(figure: Figure, limit: float, *, left: float, top: float, height: float) -> None:
    """The scale of the differences."""
    width, whole = figure.get_size_inches()
    axes = figure.add_axes((left / width, 1 - (top + height) / whole, 0.14 / width, height / whole))
    cut = colormaps[DIFFERENCES].reversed()
    cut = cut.from_list("cut", cut([0.08 + 0.84 * step / 255 for step in range(256)]))
    bar = figure.colorbar(ScalarMappable(Normalize(-limit, limit), cut), cax=axes)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7.5, length=2)
