"""Data sets of a model hub brought into a data folder, as files of their origins' own layouts: one
reader for both.

`table` says where each task's rows lie on the hub (its parts, records and labels beside it),
`shapes` writes the origins' formats,
`repository` finds and downloads the hub's files, `parquet` reads them, `fetch` does the work and
keeps the record that pins every revision. Parquet only: nothing that comes from a hub is run."""

from __future__ import annotations

from adapters_xitt.data.hub_datasets.fetch import (
    RECORD,
    Written,
    fetch,
    task_reference,
)
from adapters_xitt.data.hub_datasets.parts import HubDataset, Part
from adapters_xitt.data.hub_datasets.table import ELSEWHERE, HUB_DATASETS, hub_dataset

__all__ = [
    "ELSEWHERE",
    "HUB_DATASETS",
    "RECORD",
    "HubDataset",
    "Part",
    "Written",
    "fetch",
    "hub_dataset",
    "task_reference",
]
