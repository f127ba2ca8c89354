"""How fusions weight their parts: by layer and by language as a picture, and every weight as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from adapters_xitt.analysis import fused, fusions

FIELDS = ("method", "intermediate", "target", "language", "seed", "place", "part", "weight")
SHADES = "YlGnBu"
COLUMN, PLACE, LANGUAGE = 0.62, 0.19, 0.30  # inches: a part's column, a place's line, a language's column
HEADER, NAMES, TITLE = 0.8, 1.5, 1.1
DPI, MOST_PIXELS = 150, 12_000


def weights_csv(grid: dict[str, Any]) -> str:
    """A line for every weight; places count from the lowest up, from 0."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for entry in fused(grid):
        for place, row in enumerate(entry["fusion"]["weights"]):
            for part, weight in zip(entry["fusion"]["parts"], row, strict=True):
                writer.writerow([entry["method"], entry["intermediate"], entry["target"], entry["language"],
                                 entry["seed"], place, part, repr(float(weight))])
    return text.getvalue()


def weights_map(grid: dict[str, Any], path: Path) -> None:
    """Writes the picture as PNG: a line for each fusion; on the left its parts by place, on the right by language."""
    rows = fusions(grid)
    limit = max(float(row.weights.max()) for row in rows)
    least = min(0.0, *(float(row.weights.min()) for row in rows))
    heights = [HEADER + NAMES + max(PLACE * row.weights.shape[2], 0.26 * len(row.parts)) for row in rows]
    left = max(COLUMN * len(row.parts) for row in rows)
    right = max(LANGUAGE * len(row.languages) for row in rows)
    width, height = 0.9 + left + 2.2 + right + 1.0, TITLE + sum(heights)
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)

    def axes(x: float, top: float, wide: float, high: float) -> Axes:
        return figure.add_axes((x / width, 1 - (top + high) / height, wide / width, high / height))

    scale, top = Normalize(least, limit), TITLE
    for row, high in zip(rows, heights, strict=True):
        figure.text(0.3 / width, 1 - (top + 0.1) / height, f"{row.target} · {row.intermediate} · {row.method}",
                    fontsize=10, fontweight="bold", va="top")
        mean, body = row.weights.mean(axis=0), high - HEADER - NAMES  # [languages, places, parts]
        _shade(axes(0.9, top + HEADER, COLUMN * len(row.parts), body), mean.mean(axis=0), row.parts,
               range(len(mean[0])), scale, title="mean over languages", label="place, lowest at the bottom", flip=True)
        _shade(axes(0.9 + left + 2.2, top + HEADER, LANGUAGE * len(row.languages), 0.26 * len(row.parts)),
               mean.mean(axis=1).T, row.languages, row.parts, scale, title="mean over places")
        top += high
    figure.text(0.3 / width, 1 - 0.25 / height, f"{grid['name']}: how fusions weight their parts", fontsize=14,
                fontweight="bold", va="top")
    figure.text(0.3 / width, 1 - 0.6 / height, "mean over seeds " + ", ".join(map(str, rows[0].seeds)), fontsize=9,
                color="0.35", va="top")
    bar = figure.colorbar(ScalarMappable(scale, SHADES), cax=axes(width - 0.75, TITLE + HEADER, 0.14, 1.6))
    bar.ax.tick_params(labelsize=7)
    figure.savefig(path, format="png", dpi=min(DPI, MOST_PIXELS / max(width, height)), metadata={"Software": None},
                   facecolor="white")


def _shade(axes: Axes, values: Any, columns: Any, lines: Any, scale: Normalize, *, title: str, label: str = "",
           flip: bool = False) -> None:
    """One table of weights as shades."""
    axes.imshow(values, aspect="auto", cmap=SHADES, norm=scale, origin="lower" if flip else "upper",
                interpolation="nearest")
    axes.set_xticks(range(len(columns)), columns, rotation=55, ha="right", rotation_mode="anchor", fontsize=7)
    axes.set_yticks(range(len(lines)), lines, fontsize=7)
    axes.set_title(title, fontsize=8, color="0.35", loc="left")
    axes.set_ylabel(label, fontsize=7)
    axes.tick_params(length=0)
