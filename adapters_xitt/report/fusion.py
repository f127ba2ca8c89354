"""How fusions weight their parts: by layer and by language as a picture, and every weight as
CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from adapters_xitt.analysis import Fusion, fused, fusions
from adapters_xitt.report.pictures import save_picture

FIELDS = ("method", "intermediate", "target", "language", "seed", "place", "part", "weight")
SHADES = "YlGnBu"
# Inches: a part's column and line, a position's line, a language's column; around them.
COLUMN, LINE, POSITION, LANGUAGE = 0.5, 0.2, 0.15, 0.30
MARGIN, MIDDLE, HEADER, NAMES, TITLE = 0.8, 1.6, 0.5, 0.95, 1.0


def weights_csv(grid: dict[str, Any]) -> str:
    """A line for every weight; positions count from the lowest up, from 0."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for entry in fused(grid):
        for position, weights in enumerate(entry["fusion"]["weights"]):
            for part, weight in zip(entry["fusion"]["parts"], weights, strict=True):
                writer.writerow(
                    [
                        entry["method"],
                        entry["intermediate"],
                        entry["target"],
                        entry["language"],
                        entry["seed"],
                        position,
                        part,
                        repr(float(weight)),
                    ]
                )
    return text.getvalue()


def weights_map(grid: dict[str, Any], path: Path) -> None:
    """Writes the picture as PNG: a line for each fusion; on the left its parts by position, on the
    right by language. Shades are those of the method: attention is a share, a learned weight is
    not."""
    trained = fusions(grid)
    left = max(COLUMN * len(fusion.parts) for fusion in trained)
    right = max(LANGUAGE * len(fusion.languages) for fusion in trained)
    width, height = MARGIN + left + MIDDLE + right + 0.9, TITLE + sum(map(_height, trained))
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    scales, top = _scales(trained), TITLE
    for fusion in trained:
        _draw(figure, fusion, scales[fusion.method], top=top, right=MARGIN + left + MIDDLE)
        top += _height(fusion)
    figure.text(
        0.3 / width,
        1 - 0.25 / height,
        f"{grid['name']}: how fusions weight their parts",
        fontsize=14,
        fontweight="bold",
        va="top",
    )
    figure.text(
        0.3 / width,
        1 - 0.6 / height,
        "mean over seeds " + ", ".join(map(str, trained[0].seeds)),
        fontsize=9,
        color="0.35",
        va="top",
    )
    save_picture(figure, path)


def _height(fusion: Fusion) -> float:
    """Inches that a fusion takes, its heading and the names under it included."""
    _, _, positions, parts = fusion.weights.shape
    return HEADER + NAMES + max(POSITION * positions, LINE * parts)


def _draw(figure: Figure, fusion: Fusion, scale: Normalize, *, top: float, right: float) -> None:
    """Draws a fusion `top` inches under the figure's edge: its weights by position on the left, by
    language from `right` inches on, their scale at the end."""
    width, height = figure.get_size_inches()

    def axes(left: float, wide: float, high: float) -> Axes:
        begin = top + HEADER
        return figure.add_axes(
            (left / width, 1 - (begin + high) / height, wide / width, high / height)
        )

    figure.text(
        0.3 / width,
        1 - top / height,
        f"{fusion.target} · {fusion.intermediate} · {fusion.method}",
        fontsize=10,
        fontweight="bold",
        va="top",
    )
    mean = fusion.weights.mean(axis=0)  # [languages, positions, parts]
    body = _height(fusion) - HEADER - NAMES
    by_position = axes(MARGIN, COLUMN * len(fusion.parts), body)
    _shade(by_position, mean.mean(axis=0), scale, lowest_first=True)
    _name(by_position, fusion.parts, range(mean.shape[1]))
    by_position.set_title("mean over languages", fontsize=8, color="0.35", loc="left")
    by_position.set_ylabel("place, lowest at the bottom", fontsize=7)
    by_language = axes(right, LANGUAGE * len(fusion.languages), LINE * len(fusion.parts))
    _shade(by_language, mean.mean(axis=1).T, scale)
    _name(by_language, fusion.languages, fusion.parts)
    by_language.set_title("mean over places", fontsize=8, color="0.35", loc="left")
    bar = figure.colorbar(ScalarMappable(scale, SHADES), cax=axes(width - 0.7, 0.12, body))
    bar.ax.tick_params(labelsize=6)


def _scales(trained: Sequence[Fusion]) -> dict[str, Normalize]:
    """Each method's scale, from zero or below it to its largest mean weight over seeds and
    languages or places."""
    by_method: dict[str, list[float]] = {}
    for fusion in trained:
        mean = fusion.weights.mean(axis=0)
        shown = [*mean.mean(axis=0).ravel(), *mean.mean(axis=1).ravel()]
        by_method.setdefault(fusion.method, []).extend(map(float, shown))
    return {method: Normalize(min(0.0, *shown), max(shown)) for method, shown in by_method.items()}


def _shade(axes: Axes, values: NDArray, scale: Normalize, *, lowest_first: bool = False) -> None:
    """A table of weights as shades; `lowest_first`: the first line at the bottom."""
    axes.imshow(
        values,
        aspect="auto",
        cmap=SHADES,
        norm=scale,
        origin="lower" if lowest_first else "upper",
        interpolation="nearest",
    )


def _name(axes: Axes, columns: Sequence[str], lines: Sequence[object]) -> None:
    """The names of columns and lines beside the shades."""
    axes.set_xticks(
        range(len(columns)), columns, rotation=55, ha="right", rotation_mode="anchor", fontsize=7
    )
    axes.set_yticks(range(len(lines)), list(map(str, lines)), fontsize=7)
    axes.tick_params(length=0)
