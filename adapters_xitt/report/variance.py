"""Where the variance of scores comes from and how stable the order of intermediates is: a section,
a CSV and a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from adapters_xitt.report.pictures import save_picture
from adapters_xitt.report.sections import Section

if TYPE_CHECKING:
    import pandas as pd

OVER_TARGETS = "means over targets"
COLOUR, AT_ZERO = "#2c6e9b", "0.6"
# Inches: a line, a panel's heading and axis, the names on the left, the width of a panel.
LINE, ABOVE, BELOW, NAMES, WIDTH, GAP = 0.26, 0.42, 0.5, 1.7, 3.4, 0.5
FAR = 3.0  # times the largest estimate: what an axis shows
COLUMNS, HEADER, FOOTER = 2, 0.75, 0.45


def variance_csv(data: pd.DataFrame) -> str:
    """The whole frame; what is not known is empty."""
    return data.to_csv(index=False, lineterminator="\n")


def variance_section(data: pd.DataFrame) -> Section | None:
    """Components by target, with the stability over seeds; None where there is nothing to say."""
    data = _named(data)
    components = data[data["quantity"] == "variance"]
    if components.empty:
        return None
    return Section(
        heading="Variability",
        about=(
            "The variance of a score over intermediates, seeds and test languages, split by a mixed"
            " model (restricted maximum likelihood). In brackets the 95 % interval of the standard"
            " deviation, by profile likelihood."
        ),
        heads=("target", "factor", "levels", "standard deviation, points", "share of variance"),
        rows=tuple(map(_component, components.itertuples(index=False))),
        remarks=(*_left_out(data), *_stability(data), *_distances(data), *NOTES),
        left=2,
    )


NOTES = (
    "seed: one training of one intermediate and target; row in language: what a training does in"
    " some languages and not in others; row on target: what an intermediate does for some targets"
    " and not for others",
    "an interval from 0: no variance at all fits as well; a factor of few levels is hardly known",
)


def _component(line) -> tuple[str, ...]:
    deviation, low, high = (math.sqrt(value) for value in (line.value, line.low, line.high))
    return (
        _place(line),
        line.of,
        str(line.levels),
        f"{deviation:.2f} ({low:.2f} to {_most(high)})",
        f"{line.share:.1%}",
    )


def _named(data: pd.DataFrame) -> pd.DataFrame:
    """The frame, with the method in the column `label` beside the mode where there are several."""
    several = data["method"].nunique() > 1
    return data.assign(label=data["method"] + " " + data["mode"] if several else data["mode"])


def _place(line) -> str:
    return f"{line.target or OVER_TARGETS} ({line.label})"


def _most(high: float) -> str:
    return "no bound" if math.isinf(high) else f"{high:.2f}"


def _left_out(data: pd.DataFrame) -> Iterator[str]:
    """Factors that can't be told, each reason once with the places it holds for."""
    lines = data[data["quantity"] == "left out"]
    for (factor, remark), part in lines.groupby(["of", "remark"], sort=False):
        targets = dict.fromkeys(target or OVER_TARGETS for target in part["target"])
        yield f"{factor} left out ({remark}): {', '.join(targets)}"


def _stability(data: pd.DataFrame) -> Iterator[str]:
    """Agreement of seeds on the order of intermediates, and which were best in how many."""
    lines = data[data["quantity"].isin(["kendall_w", "kendall_tau", "best"])]
    for (label, target), part in lines.groupby(["label", "target"], sort=False):
        values = part.set_index("quantity")["value"]
        counts = part[part["quantity"] == "kendall_w"].iloc[0]
        best = part[(part["quantity"] == "best") & (part["value"] > 0)]
        ranked = best.sort_values("value", ascending=False, kind="stable")
        shares = ", ".join(f"{line.of} {line.value:.0%}" for line in ranked.itertuples())
        yield (
            f"order of {counts['remark']} on {target or OVER_TARGETS} ({label}) over"
            f" {counts['levels']} seeds: Kendall's W {values['kendall_w']:.2f}"
            f" ({1 / counts['levels']:.2f} by chance), mean τ {values['kendall_tau']:.2f}; best:"
            f" {shares}"
        )


def _distances(data: pd.DataFrame) -> Iterator[str]:
    """The correlations over all test languages of a target, or in the only one."""
    lines = data[data["quantity"] == "distance"]
    for _, part in lines.groupby(["label", "target"], sort=False):
        over_all = part[~part["of"].str.contains(" ")]
        for line in (part if over_all.empty else over_all).itertuples():
            yield (
                f"{line.target} ({line.label}): the score and the distance from the"
                f" source language of {line.of} to the test language have Spearman's ρ"
                f" {line.value:+.2f} ({line.low:+.2f} to {line.high:+.2f}, bootstrap over"
                f" {line.levels} sources)"
            )


# -- the picture -----------------------------------------------------------------------------------


def variance_map(name: str, data: pd.DataFrame, path: Path) -> None:
    """A panel for each target, method and mode: standard deviations with intervals, as PNG."""
    data = _named(data)
    components = data[data["quantity"] == "variance"]
    places = list(components.groupby(["target", "label"], sort=False))
    tallest = max(len(part) for _, part in places)
    lines = math.ceil(len(places) / COLUMNS)
    panel = ABOVE + tallest * LINE + BELOW
    columns = min(COLUMNS, len(places))
    width = columns * (NAMES + WIDTH + GAP) + 0.3
    height = HEADER + lines * panel + FOOTER
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.text(
        0.2 / width,
        1 - 0.2 / height,
        f"{name}: where the variance of scores comes from",
        fontsize=13,
        fontweight="bold",
        va="top",
    )
    for index, (_, part) in enumerate(places):
        line, column = divmod(index, COLUMNS)
        left = column * (NAMES + WIDTH + GAP) + NAMES
        top = HEADER + line * panel + ABOVE
        body = len(part) * LINE
        axes = figure.add_axes(
            (left / width, 1 - (top + body) / height, WIDTH / width, body / height)
        )
        _draw(axes, part)
    figure.text(
        0.2 / width,
        0.12 / height,
        "standard deviation in points with its 95 % profile interval, and share of the variance;"
        " grey: the interval holds 0",
        fontsize=8,
        color="0.35",
    )
    save_picture(figure, path)


def _draw(axes: Axes, part: pd.DataFrame) -> None:
    """One panel. An interval that runs far beyond every estimate is cut, with an arrow."""
    lines = list(part.itertuples())
    axes.set_title(_place(lines[0]), fontsize=9, fontweight="bold", loc="left")
    largest = math.sqrt(max(line.value for line in lines))
    edge = 1.05 * min(math.sqrt(max(line.high for line in lines)), FAR * largest)
    for index, line in enumerate(lines):
        colour = AT_ZERO if line.low == 0 else COLOUR
        low, high = math.sqrt(line.low), math.sqrt(line.high)
        axes.plot((low, min(high, edge)), (index, index), color=colour, lw=2, solid_capstyle="butt")
        axes.plot(math.sqrt(line.value), index, "|", color=colour, markersize=11, mew=2.5)
        if high > edge:
            axes.plot(edge, index, ">", color=colour, markersize=6, clip_on=False)
    names = [f"{line.of}, {line.share:.0%}" for line in lines]
    axes.set_yticks(range(len(lines)), names, fontsize=8)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlim(-0.01 * edge, edge)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
