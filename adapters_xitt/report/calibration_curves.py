"""Calibration as a picture: reliability diagrams before and after temperature scaling, and
risk-coverage curves, of each row of each target, by family."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure

from adapters_xitt.analysis.calibration.cells import CalibratedCell, Curves
from adapters_xitt.analysis.calibration.summary import Calibration
from adapters_xitt.analysis.tables import Name
from adapters_xitt.report.calibration import row_title
from adapters_xitt.report.pictures import save_picture

SIDE_BY_SIDE = 6  # rows of the grid in one band
PANEL, MARGIN, HEADER = 1.75, 0.9, 1.35  # inches
LEAST_SHARE = 0.01  # of the decisions, in a bin that is drawn
TITLE = 22  # letters in a line of a panel's heading
FIRST = 3  # percent: the errors of fewer decisions are chance
COLOURS = 10  # of the map tab10
EVERY = "all languages"
Lines = Mapping[str, tuple[str, ...]]  # the languages of each line


def calibration_curves(calibration: Calibration, title: str, path: Path) -> None:
    """Writes the picture as PNG: a band for each target, a column for each row of the grid."""
    bands = [
        (target, names[start : start + SIDE_BY_SIDE])
        for target in calibration.targets
        for names in [calibration.rows(target)]
        for start in range(0, len(names), SIDE_BY_SIDE)
    ]
    columns = max(len(names) for _, names in bands)
    size = (MARGIN + max(columns, 3) * PANEL, 0.5 + len(bands) * (HEADER + 3 * PANEL))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{title}: confidence and accuracy", fontsize=13, fontweight="bold")
    parts = figure.subfigures(len(bands), 1, squeeze=False)[:, 0]
    for part, (target, names) in zip(parts, bands, strict=True):
        _band(part, calibration, target, names, columns)
    save_picture(figure, path)


def _band(
    part: SubFigure, calibration: Calibration, target: str, names: Sequence[Name], columns: int
) -> None:
    """The panels of some rows of one target."""
    codes = calibration.unseen(target)
    lines = {EVERY: codes, **calibration.groups(target, "family").averaged}
    axes = part.subplots(3, columns, squeeze=False)
    part.suptitle(f"{target}, {len(codes)} unseen languages", fontsize=10, fontweight="bold")
    most = 0.0
    for column, name in enumerate(names):
        cells = [cell for cell in calibration.cells if (cell.name, cell.target) == (name, target)]
        _reliability(axes[0, column], cells, lines, after=False)
        _reliability(axes[1, column], cells, lines, after=True)
        most = max(most, _risk(axes[2, column], cells, lines))
        heading = textwrap.wrap(row_title(name, calibration.rows(target)), TITLE)
        axes[0, column].set_title("\n".join(heading), fontsize=8)
    for column in range(len(names)):
        axes[2, column].set_ylim(0, 1.05 * most if most else 1)
    for column in range(len(names), columns):
        for panel in axes[:, column]:
            panel.set_axis_off()
    for panel, label in zip(
        axes[:, 0],
        ("accuracy\nbefore scaling", "accuracy\nafter scaling", "errors among\nthe kept"),
        strict=True,
    ):
        panel.set_ylabel(label, fontsize=7.5)
    for panel in axes[1, : len(names)]:
        panel.set_xlabel("confidence", fontsize=7.5)
    for panel in axes[2, : len(names)]:
        panel.set_xlabel("coverage", fontsize=7.5)
    handles, labels = axes[2, 0].get_legend_handles_labels()
    part.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(len(labels), 2 * columns),
        fontsize=7,
        frameon=False,
    )


def _style(lines: Lines, label: str) -> dict[str, Any]:
    """All languages in black, families in colours."""
    if label == EVERY:
        return {"color": "0.1", "linewidth": 1.8, "zorder": 3, "label": label}
    place = list(lines).index(label) - 1
    dashes = ("-", "--", ":")[place // COLOURS % 3]
    colour = colormaps["tab10"](place % COLOURS)
    return {"color": colour, "linewidth": 1.0, "linestyle": dashes, "label": label}


def _curves(cells: Sequence[CalibratedCell], codes: Sequence[str], after: bool) -> list[Curves]:
    every = [cell.after if after else cell.before for cell in cells if cell.language in codes]
    return [curves for curves in every if curves is not None]


def _reliability(
    panel: Axes, cells: Sequence[CalibratedCell], lines: Lines, *, after: bool
) -> None:
    """Accuracy by confidence, the decisions of all seeds and of the languages of a line pooled."""
    _tidy(panel)
    panel.plot((0, 1), (0, 1), color="0.75", linewidth=0.8, zorder=1)
    for label, codes in lines.items():
        curves = _curves(cells, codes, after)
        if not curves:
            panel.text(0.5, 0.5, "no temperature", ha="center", fontsize=7, color="0.4")
            return
        counts, confidence, hits = (
            np.sum([getattr(each, field) for each in curves], axis=0)
            for field in ("counts", "confidence", "hits")
        )
        kept = counts > LEAST_SHARE * counts.sum()
        marker = {"marker": "o", "markersize": 3 if label == EVERY else 2}
        style = _style(lines, label) | marker
        panel.plot(confidence[kept] / counts[kept], hits[kept] / counts[kept], **style)
    panel.set_xlim(0, 1)
    panel.set_ylim(0, 1)


def _risk(panel: Axes, cells: Sequence[CalibratedCell], lines: Lines) -> float:
    """Errors by coverage, the mean over the seeds and languages of a line; the most of them."""
    _tidy(panel)
    most = 0.0
    for label, codes in lines.items():
        curves = _curves(cells, codes, after=False)
        if curves:
            risk = np.mean([each.risk for each in curves], axis=0)[FIRST - 1 :]
            panel.plot(np.arange(FIRST, 101) / 100, risk, **_style(lines, label))
            most = max(most, float(risk.max()))
    panel.set_xlim(0, 1)
    return most


def _tidy(panel: Axes) -> None:
    panel.tick_params(labelsize=6.5, length=2)
    panel.set_box_aspect(1)
    panel.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
    panel.spines[["top", "right"]].set_visible(False)
