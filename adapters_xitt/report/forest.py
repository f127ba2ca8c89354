"""The answers as a picture: an interval for every question."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from adapters_xitt.analysis.questions import CONTRARY, HOLDS, SMALL, UNKNOWN, Answer
from adapters_xitt.report.pictures import save_picture

COLOURS = {HOLDS: "#1b7837", CONTRARY: "#b35806", SMALL: "#4575b4", UNKNOWN: "#777777"}
WIDTH, LINE, REST = 9.0, 0.55, 1.5  # inches: the figure, a question, title and axis
WRAP = 46


def forest(answers: Sequence[Answer], path: Path) -> None:
    """Writes the effects with their 95 % intervals as PNG; what could have been found is a pale
    bar about zero, what would not matter a band."""
    shown = [each for each in answers if each.effect]
    figure = Figure((WIDTH, LINE * max(len(shown), 1) + REST), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for height, each in enumerate(reversed(shown)):
        _draw(axes, each, height)
    axes.axvline(0, color="black", linewidth=0.8, zorder=1)
    labels = [textwrap.fill(each.sentence, WRAP) for each in reversed(shown)]
    several = len({each.method for each in shown}) > 1
    if several:
        labels = [
            f"{label}\n({each.method})" for label, each in zip(labels, reversed(shown), strict=True)
        ]
    axes.set_yticks(range(len(shown)), labels, fontsize=8)
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.set_xlabel("effect in points, 95 % interval")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.legend(handles=_legend(), fontsize=7, loc="outside lower center", ncols=3)
    save_picture(figure, path)


def _draw(axes: Axes, each: Answer, height: int) -> None:
    if each.effect is None:
        return
    colour = COLOURS[each.verdict]
    if each.detectable is not None:
        bar = 2 * each.detectable
        axes.barh(height, bar, left=-each.detectable, height=0.5, color="#eeeeee", zorder=0)
    if each.matters is not None:
        band = 2 * each.matters
        axes.barh(height, band, left=-each.matters, height=0.5, color="#d0dff0", zorder=0)
    if each.interval:
        axes.plot(each.interval, (height, height), color=colour, linewidth=2, zorder=2)
    axes.plot(each.effect.difference, height, "o", color=colour, markersize=6, zorder=3)


def _legend() -> list[Artist]:
    verdicts = [
        Line2D([], [], color=colour, marker="o", label=verdict)
        for verdict, colour in COLOURS.items()
    ]
    return [
        *verdicts,
        Patch(color="#eeeeee", label="below what could have been found"),
        Patch(color="#d0dff0", label="would not matter"),
    ]
