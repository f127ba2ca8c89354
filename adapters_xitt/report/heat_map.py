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
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from adapters_xitt.analysis import INCOMPLETE, Reading, Table, TableCell, TableRow
from adapters_xitt.report import words
from adapters_xitt.report.pictures import save_picture
from adapters_xitt.report.reservations import MEANING_UNLEARNED, encoder_lines
from adapters_xitt.report.tiles import Panel, Tile, draw, lines_of, rise
from adapters_xitt.study.results import NOT_APPLICABLE

# Inches.
MARGIN, GAP = 0.35, 0.55
CELL, LANGUAGE_CELL = (0.86, 0.44), (0.37, 0.25)  # width, height
HEADER, FOOTER = 0.85, 0.75
LEAST_WIDTH = 9.0
SMALL = 6.5  # points, by language

SCORES, DIFFERENCES = "YlGnBu", "PuOr"  # both are readable to the colour-blind
PALE = 0.62  # share of the score map in use: dark text stays readable on it


@dataclass(frozen=True)
class PlacedPanel:
    """A panel and where it stands: inches from the left and from the top of the figure, its
    headings included."""

    panel: Panel
    left: float
    top: float


def heat_map(grid: dict[str, Any], path: Path) -> None:
    """Writes the picture as PNG; it grows with the grid."""
    reading = Reading(grid)
    table = reading.table()
    compared = {table_row.reference for table_row in table.rows} == {True, False}
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
    placed, height = _flow(above, below, width)
    size = (width + 2 * MARGIN, height)
    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)
    for panel in placed:
        draw(figure, panel.panel, left=panel.left, top=panel.top)
    _title(figure, grid, reading)
    if compared:
        last = placed[len(above) - 1]
        _bar(
            figure,
            limit,
            left=last.left + last.panel.width + 0.2,
            top=last.top + last.panel.above,
            height=min(last.panel.body, 3.0),
        )
    save_picture(figure, path)


def _flow(
    above: Sequence[Panel], below: Sequence[Panel], width: float
) -> tuple[list[PlacedPanel], float]:
    """The first panels side by side, the others in lines of `width` under them; with the whole
    height in inches."""
    placed, left, top = [], MARGIN, MARGIN + HEADER
    for panel in above:
        placed.append(PlacedPanel(panel, left, top))
        left += panel.width + GAP
    top += max(panel.height for panel in above) + GAP
    for line in _lines(below, width):
        left, ascent = MARGIN, max(panel.above for panel in line)
        for panel in line:
            placed.append(PlacedPanel(panel, left, top + ascent - panel.above))
            left += panel.width + GAP
        top += ascent + max(panel.height - panel.above for panel in line) + GAP
    return placed, top - GAP + FOOTER


def _lines(panels: Sequence[Panel], width: float) -> list[list[Panel]]:
    """Panels in lines that fit into `width`."""
    lines: list[list[Panel]] = []
    for panel in panels:
        if not lines or sum(each.width + GAP for each in lines[-1]) + panel.width > width + 1e-6:
            lines.append([])
        lines[-1].append(panel)
    return lines


def _limit(tables: Sequence[Table]) -> float:
    """Where the colours of differences end: the 98th percentile of their sizes, at least one
    point."""
    sizes = sorted(
        abs(cell.difference)
        for table in tables
        for table_row in table.rows
        for cell in table_row.cells.values()
        if cell.difference is not None
    )
    return max(1.0, sizes[int(0.98 * (len(sizes) - 1))]) if sizes else 1.0


def _only_compared(table: Table) -> Table:
    """The rows that a method has, `none` left out."""
    return Table(
        table.columns,
        tuple(
            table_row
            for table_row in table.rows
            if not table_row.reference
            and any(cell.status != NOT_APPLICABLE for cell in table_row.cells.values())
        ),
    )


def _columns(table: Table, reading: Reading) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Headings and their second lines; the average over targets comes last."""
    averaged = any(table_row.average for table_row in table.rows)
    names = (*table.columns, *(["average"] if averaged else []))
    return names, tuple(
        words.main_score(reading, name) if name in table.columns else "of targets" for name in names
    )


def _cells(table_row: TableRow) -> list[TableCell]:
    return [*table_row.cells.values(), *([table_row.average] if table_row.average else [])]


def _scores(table: Table, reading: Reading) -> Panel:
    """Scores, shaded within each column: targets have different metrics."""
    names, second = _columns(table, reading)
    rows = [_cells(table_row) for table_row in table.rows]
    tiles: list[list[Tile]] = [[] for _ in rows]
    for column in zip(*rows, strict=True):
        numbers = [cell.mean for cell in column if cell.mean is not None]
        low, span = (min(numbers), max(max(numbers) - min(numbers), 2.0)) if numbers else (0.0, 1.0)
        for tile, cell in zip(tiles, column, strict=True):
            if cell.mean is None:
                tile.append(_nothing(cell))
            else:
                colour = colormaps[SCORES](0.04 + PALE * (cell.mean - low) / span)
                tile.append(
                    Tile(words.score(cell), colour, second=words.plus_minus(cell.spread).strip())
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
        [
            _change(cell, limit, spread=True, reference=table_row.reference)
            for cell in _cells(table_row)
        ]
        for table_row in table.rows
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
        [_change(cell, limit, spread=False) for cell in table_row.cells.values()]
        for table_row in table.rows
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


def _change(cell: TableCell, limit: float, *, spread: bool, reference: bool = False) -> Tile:
    """A difference; without one, why: the reference itself, or the word for what is missing."""
    if reference:
        return Tile("none", (1.0, 1.0, 1.0, 1.0), faint=True)
    if cell.difference is None:
        # A number without a difference: the cell, or its `none`, is over a part only.
        return (
            _nothing(cell) if spread else Tile("*" if cell.mean is not None else words.score(cell))
        )
    colour = colormaps[DIFFERENCES](0.5 - 0.42 * max(-1.0, min(1.0, cell.difference / limit)))
    return Tile(
        words.signed(cell.difference) + (words.seen(cell) if not spread else ""),
        colour,
        second=words.plus_minus(cell.difference_spread).strip() if spread else "",
    )


def _nothing(cell: TableCell) -> Tile:
    """A cell of the upper panels without a number, in a word."""
    whole = cell.mean is None and cell.status != INCOMPLETE
    return Tile(words.MARKS[cell.status] if whole else INCOMPLETE)


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
        *([MEANING_UNLEARNED] if any(each.failed for each in reading.learning.values()) else []),
        *encoder_lines(grid, reading.targets),
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
    whole_map = colormaps[DIFFERENCES].reversed()
    shades = whole_map([0.08 + 0.84 * step / 255 for step in range(256)])
    cut = LinearSegmentedColormap.from_list("cut", shades)
    bar = figure.colorbar(ScalarMappable(Normalize(-limit, limit), cut), cax=axes)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7.5, length=2)
