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

from adapters_xitt.analysis import Fusion, fused, fusions

FIELDS = ("method", "intermediate", "target", "language", "seed", "place", "part", "weight")
SHADES = "YlGnBu"
# Inches: a part's column and line, a place's line, a language's column; around them.
COLUMN, LINE, PLACE, LANGUAGE = 0.5, 0.2, 0.15, 0.30
MARGIN, MIDDLE, HEADER, NAMES, TITLE = 0.8, 1.6, 0.5, 0.95, 1.0
DPI, MOST_PIXELS = 150, 12_000


def weights_csv(grid: dict[str, Any]) -> str:
    """A line for every weight; places count from the lowest up, from 0."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for entry in fused(grid):
        for place, row in enumerate(entry["fusion"]["weights"]):
            for part, weight in zip(entry["fusion"]["parts"], row, strict=True):
                writer.writerow(
                    [
                        entry["method"],
                        entry["intermediate"],
                        entry["target"],
                        entry["language"],
                        entry["seed"],
                        place,
                        part,
                        repr(float(weight)),
                    ]
                )
    return text.getvalue()


def weights_map(grid: dict[str, Any], path: Path) -> None:
    """Writes the picture as PNG: a line for each fusion; on the left its parts by place, on the
    right by language. Shades are those of the method: attention is a share, a learned weight is
    not."""
    rows = fusions(grid)
    heights = [
        HEADER + NAMES + max(PLACE * row.weights.shape[2], LINE * len(row.parts)) for row in rows
    ]
    left = max(COLUMN * len(row.parts) for row in rows)
    right = max(LANGUAGE * len(row.languages) for row in rows)
    width, height = MARGIN + left + MIDDLE + right + 0.9, TITLE + sum(heights)
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)

    def axes(x: float, top: float, wide: float, high: float) -> Axes:
        return figure.add_axes((x / width, 1 - (top + high) / height, wide / width, high / height))

    top, scales = TITLE, _scales(rows)
    for row, high in zip(rows, heights, strict=True):
        figure.text(
            0.3 / width,
            1 - top / height,
            f"{row.target} · {row.intermediate} · {row.method}",
            fontsize=10,
            fontweight="bold",
            va="top",
        )
        mean, scale = row.weights.mean(axis=0), scales[row.method]  # [languages, places, parts]
        here = top + HEADER
        _shade(
            axes(MARGIN, here, COLUMN * len(row.parts), high - HEADER - NAMES),
            mean.mean(axis=0),
            row.parts,
            range(len(mean[0])),
            scale,
            title="mean over languages",
            label="place, lowest at the bottom",
            flip=True,
        )
        _shade(
            axes(
                MARGIN + left + MIDDLE, here, LANGUAGE * len(row.languages), LINE * len(row.parts)
            ),
            mean.mean(axis=1).T,
            row.languages,
            row.parts,
            scale,
            title="mean over places",
        )
        bar = figure.colorbar(
            ScalarMappable(scale, SHADES), cax=axes(width - 0.7, here, 0.12, high - HEADER - NAMES)
        )
        bar.ax.tick_params(labelsize=6)
        top += high
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
        "mean over seeds " + ", ".join(map(str, rows[0].seeds)),
        fontsize=9,
        color="0.35",
        va="top",
    )
    figure.savefig(
        path,
        format="png",
        dpi=min(DPI, MOST_PIXELS / max(width, height)),
        metadata={"Software": None},
        facecolor="white",
    )


def _scales(rows: Sequence[Fusion]) -> dict[str, Normalize]:
    """Each method's scale, from zero or below it to its largest mean weight over seeds and
    languages or places."""
    found: dict[str, list[float]] = {}
    for row in rows:
        mean = row.weights.mean(axis=0)
        shown = [*mean.mean(axis=0).ravel(), *mean.mean(axis=1).ravel()]
        found.setdefault(row.method, []).extend(map(float, shown))
    return {method: Normalize(min(0.0, *shown), max(shown)) for method, shown in found.items()}


def _shade(
    axes: Axes,
    values: Any,
    columns: Any,
    lines: Any,
    scale: Normalize,
    *,
    title: str,
    label: str = "",
    flip: bool = False,
) -> None:
    """One table of weights as shades."""
    axes.imshow(
        values,
        aspect="auto",
        cmap=SHADES,
        norm=scale,
        origin="lower" if flip else "upper",
        interpolation="nearest",
    )
    axes.set_xticks(
        range(len(columns)), columns, rotation=55, ha="right", rotation_mode="anchor", fontsize=7
    )
    axes.set_yticks(range(len(lines)), lines, fontsize=7)
    axes.set_title(title, fontsize=8, color="0.35", loc="left")
    axes.set_ylabel(label, fontsize=7)
    axes.tick_params(length=0)
