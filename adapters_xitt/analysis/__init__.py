"""What a finished grid says: its entries as a frame, paired differences to `none`, averages that
never hide a gap.

Pure functions of the grid's JSON value (`run.grid`); nothing here reads or writes a file."""

from __future__ import annotations

from adapters_xitt.analysis.encoder_past import encoder_seen
from adapters_xitt.analysis.frame import counts, frame, ordered, score_names
from adapters_xitt.analysis.fusions import Fusion, fused, fusions
from adapters_xitt.analysis.learned import Learning, learning
from adapters_xitt.analysis.table_cells import INCOMPLETE, NOT_ASKED, TableCell
from adapters_xitt.analysis.tables import EVERY, Reading, Table, TableRow, by_language, table

__all__ = [
    "EVERY",
    "INCOMPLETE",
    "NOT_ASKED",
    "Fusion",
    "Learning",
    "Reading",
    "Table",
    "TableCell",
    "TableRow",
    "by_language",
    "counts",
    "encoder_seen",
    "frame",
    "fused",
    "fusions",
    "learning",
    "ordered",
    "score_names",
    "table",
]
