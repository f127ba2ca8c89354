"""Panels of coloured cells with text, laid out in inches so that nothing overlaps whatever the size
of the grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from adapters_xitt.analysis import TableRow
from adapters_xitt.languages import language

Colour = tuple[float, float, float, float]

POINT = 1 / 72  # inches
LETTER = 0.62  # mean width of a letter, in font sizes; bold ones included
APART = 0.18  # blank before the last column, in columns
HATCHED, EDGE = "0.93", "0.72"


@dataclass(frozen=True)
class Tile:
    """A cell; without a colour it is hatched."""

    text: str
    colour: Colour | None = None
    second: str = ""
    faint: bool = False


@dataclass(frozen=True)
class Line:
    """A line of a panel: the heading of a method, or the row at `row`."""

    intermediate: str
    mode: str
    index: int | None  # None: a heading


@dataclass(frozen=True)
class Panel:
    """A heading, named rows and columns, and their tiles."""

    title: str
    lines: tuple[Line, ...]
    columns: Sequence[str]
    tiles: Sequence[Sequence[Tile]]  # rows × columns
    cell: tuple[float, float]  # inches
    second: Sequence[str] = ()  # second lines of the column headings
    size: float = 9.0  # points
    named: bool = True  # whether the rows' names are shown
    apart: bool = False  # the last column stands apart
    families: bool = False  # columns are languages; their families stand above
    headroom: float = 0.0  # inches kept for families, so that panels side by side stand level

    @property
    def names(self) -> tuple[float, float]:
        """Inches of the columns of intermediates and modes."""
        if not self.named:
            return 0.0, 0.0
        size = self.name_size
        # headings may run on over the cells' blank line
        rows = [line for line in self.lines if line.index is not None]
        return (
            max((_wide(line.intermediate, size) for line in rows), default=0.0) + 0.24,
            max((_wide(line.mode, size) for line in rows), default=0.0) + 0.12,
        )

    @property
    def name_size(self) -> float:
        return max(self.size - 0.5, 7.0)

    @property
    def width(self) -> float:
        cells = (len(self.columns) + APART * self.apart) * self.cell[0]
        if self.families:  # a slanted name may reach beyond the last column
            cells = max(
                cells,
                *(
                    start * self.cell[0] + _rise(name, self.size)
                    for start, name in _spots(self.columns)
                ),
            )
        headings = [
            _wide(line.intermediate, self.name_size)
            for line in self.lines
            if line.index is None and self.named
        ]
        return max(sum(self.names) + cells, _wide(self.title, self.size + 2), *headings)

    @property
    def body(self) -> float:
        return len(self.lines) * self.cell[1]

    @property
    def above(self) -> float:
        """Inches over the cells: the title and the columns' headings, slanted ones for families."""
        if not self.families:
            return 0.52 + (0.16 if any(self.second) else 0.0)
        return 0.55 + max(self.headroom, rise(self.columns, self.size))

    @property
    def height(self) -> float:
        return self.above + self.body + 0.05


def _wide(text: str, size: float) -> float:
    return len(text) * size * LETTER * POINT


def _rise(text: str, size: float) -> float:
    """How far a slanted text reaches, up and to the right, in inches."""
    return 0.71 * (_wide(text, size) + size * POINT)


def rise(codes: Sequence[str], size: float) -> float:
    """Inches that the slanted names of the languages' families need."""
    return max(_rise(language(code).family, size) for code in codes)


def _spots(codes: Sequence[str]) -> list[tuple[float, str]]:
    """Where the name of each family starts, in columns."""
    spots, start = [], 0
    for family, group in groupby(codes, key=lambda code: language(code).family):
        count = len(list(group))
        spots.append((start + count / 2 - 0.1, family))
        start += count
    return spots


def lines_of(rows: Sequence[TableRow]) -> tuple[Line, ...]:
    """A heading for each method, then its rows; an intermediate is named on the first of its
    rows."""
    lines, index = [], 0
    for method, group in groupby(rows, key=lambda table_row: table_row.method):
        lines.append(Line(method, "", None))
        before = None
        for table_row in group:
            lines.append(
                Line(
                    "" if table_row.title == before else table_row.title,
                    table_row.mode,
                    index,
                )
            )
            before = table_row.title
            index += 1
    return tuple(lines)


def draw(figure: Figure, panel: Panel, *, left: float, top: float) -> None:
    """Draws a panel whose upper left corner lies `left` and `top` inches from that of the
    figure."""
    if not panel.lines:
        return
    width, height = figure.get_size_inches()
    inner = (len(panel.columns) + APART * panel.apart) * panel.cell[0]
    start, begin = left + sum(panel.names), top + panel.above
    axes = figure.add_axes(
        (start / width, 1 - (begin + panel.body) / height, inner / width, panel.body / height)
    )
    axes.set_xlim(0, inner / panel.cell[0])
    axes.set_ylim(len(panel.lines), 0)
    axes.set_axis_off()
    figure.text(
        left / width if panel.named else start / width,
        1 - top / height,
        panel.title,
        fontsize=panel.size + 2,
        fontweight="bold",
        va="top",
    )
    _headings(axes, panel)
    _cells(axes, panel)
    if panel.named:
        _names(axes, panel)


def _left_edge(panel: Panel, column: int) -> float:
    """The left edge of a column, in columns."""
    return column + (APART if panel.apart and column == len(panel.columns) - 1 else 0.0)


def _cells(axes: Axes, panel: Panel) -> None:
    coloured, colours, hatched = [], [], []
    for y, line in enumerate(panel.lines):
        tiles = panel.tiles[line.index] if line.index is not None else ()
        # one long word for the whole row
        if panel.families and len(set(tiles)) == 1 and tiles[0].colour is None:
            hatched.append(Rectangle((0, y), len(tiles), 1))
            _text(axes, panel, tiles[0], len(tiles) / 2, y + 0.5, room=len(tiles))
            continue
        for column, tile in enumerate(tiles):
            x = _left_edge(panel, column)
            if tile.colour is None:
                hatched.append(Rectangle((x, y), 1, 1))
            else:
                coloured.append(Rectangle((x, y), 1, 1))
                colours.append(tile.colour)
            _text(axes, panel, tile, x + 0.5, y + 0.5)
    axes.add_collection(
        PatchCollection(coloured, facecolors=colours, edgecolors="white", linewidths=0.8)
    )
    axes.add_collection(
        PatchCollection(hatched, facecolors=HATCHED, edgecolors=EDGE, hatch="////", linewidths=0.0)
    )
    axes.add_collection(
        PatchCollection(hatched, facecolors="none", edgecolors="white", linewidths=0.8)
    )


def _text(axes: Axes, panel: Panel, tile: Tile, x: float, y: float, *, room: int = 1) -> None:
    if tile.colour is None:
        # On a plate of its own, so that the hatching does not run through the word.
        fit = 0.86 * room * panel.cell[0] / max(_wide(tile.text, 1.0), 1e-9)
        axes.text(
            x,
            y,
            tile.text,
            ha="center",
            va="center",
            fontsize=min(panel.size - 0.5, fit),
            color="0.3",
            bbox={"boxstyle": "square,pad=0.1", "facecolor": HATCHED, "edgecolor": "none"},
        )
        return
    ink = "0.6" if tile.faint else _ink(tile.colour)
    axes.text(
        x,
        y - (0.16 if tile.second else 0),
        tile.text,
        ha="center",
        va="center",
        fontsize=panel.size,
        color=ink,
    )
    if tile.second:
        axes.text(
            x, y + 0.24, tile.second, ha="center", va="center", fontsize=panel.size - 2, color=ink
        )


def _ink(colour: Colour) -> str:
    """Black or white, whichever is read better on `colour` (relative luminance, WCAG's weights)."""
    red, green, blue, _ = colour
    return "white" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.45 else "0.1"


def _headings(axes: Axes, panel: Panel) -> None:
    """Names of the columns, over the cells."""
    up = 1 / panel.cell[1]  # rows in an inch
    for column, name in enumerate(panel.columns):
        x = _left_edge(panel, column) + 0.5
        second = panel.second[column] if panel.second else ""
        fit = min(panel.size, 0.96 * panel.cell[0] / _wide(name, 1.0))
        axes.text(
            x,
            -(0.22 if second else 0.05) * up,
            name,
            ha="center",
            va="bottom",
            fontsize=fit,
            clip_on=False,
        )
        if second:
            axes.text(
                x,
                -0.05 * up,
                second,
                ha="center",
                va="bottom",
                fontsize=panel.size - 2,
                color="0.45",
            )
    if panel.families:
        start = 0
        for x, family in _spots(panel.columns):
            end = start + sum(language(code).family == family for code in panel.columns)
            axes.plot(
                (start + 0.12, end - 0.12),
                (-0.2 * up, -0.2 * up),
                color="0.55",
                linewidth=0.8,
                clip_on=False,
            )
            axes.text(
                x,
                -0.23 * up,
                family,
                ha="left",
                va="bottom",
                rotation=45,
                rotation_mode="anchor",
                fontsize=panel.size,
                color="0.35",
            )
            start = end


def _names(axes: Axes, panel: Panel) -> None:
    """Names of the rows, left of the cells; methods as headings."""
    first, modes = (inches / panel.cell[0] for inches in panel.names)
    for y, line in enumerate(panel.lines):
        if line.index is None:
            axes.text(
                -first - modes,
                y + 0.62,
                line.intermediate,
                ha="left",
                va="center",
                fontsize=panel.name_size,
                fontweight="bold",
            )
            continue
        axes.text(
            -modes - 0.08 / panel.cell[0],
            y + 0.5,
            line.intermediate,
            ha="right",
            va="center",
            fontsize=panel.name_size,
        )
        axes.text(
            -0.06 / panel.cell[0],
            y + 0.5,
            line.mode,
            ha="right",
            va="center",
            fontsize=panel.name_size,
            color="0.35",
        )
