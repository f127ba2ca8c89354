"""What the report says beyond answers and scores: the paper's claims, calibration, consistency over
languages and variability, each where a run has something to say of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from adapters_xitt.analysis.findings import Findings
from adapters_xitt.report.calibration import calibration_csv, groups_csv, target_sections
from adapters_xitt.report.calibration_curves import calibration_curves
from adapters_xitt.report.claims import claims_section
from adapters_xitt.report.consistency import (
    consistency_csv,
    consistency_map,
    consistency_sections,
)
from adapters_xitt.report.sections import Section
from adapters_xitt.report.variance import variance_csv, variance_map, variance_section

Writer = Callable[[Path], object]


def further_sections(findings: Findings) -> list[Section]:
    """In the order in which they are read."""
    claimed, split = claims_section(findings.claims), variance_section(findings.variance)
    return [
        *([claimed] if claimed else []),
        *(target_sections(findings.calibration) if findings.has_temperatures else []),
        *consistency_sections(findings.consistency),
        *([split] if split else []),
    ]


def further_files(grid: dict[str, Any], findings: Findings) -> dict[str, Writer]:
    """File name → what writes it."""
    writers: dict[str, Writer] = {}
    if findings.has_temperatures:
        calibration = findings.calibration
        writers["calibration.csv"] = _text(calibration_csv(calibration))
        writers["calibration-groups.csv"] = _text(groups_csv(calibration))
        writers["calibration.png"] = partial(calibration_curves, calibration, grid["name"])
    consistent, split = findings.consistency, findings.variance
    if not consistent.empty:
        writers["consistency.csv"] = _text(consistency_csv(consistent))
        writers["consistency.png"] = lambda path: consistency_map(grid["name"], consistent, path)
    if variance_section(split):
        writers["variance.csv"] = _text(variance_csv(split))
        writers["variance.png"] = lambda path: variance_map(grid["name"], split, path)
    return writers


def _text(text: str) -> Writer:
    return lambda path: path.write_text(text, encoding="utf-8", newline="")
