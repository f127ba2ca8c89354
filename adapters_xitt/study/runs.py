"""The runs of a store: the grid that each has written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapters_xitt.errors import XittError, unknown
from adapters_xitt.integrity import Damaged
from adapters_xitt.study.store import default_root
from adapters_xitt.study.store_files import read_grid


def load_run(name: str, store: Path | None) -> tuple[dict[str, Any], Path]:
    """The grid of a run and its folder."""
    runs = (store or default_root()) / "runs"
    for folder in (
        Path(name),
        Path(name).parent if name.endswith("grid.json") else Path(name),
        runs / name,
    ):
        if (path := folder / "grid.json").is_file():
            try:
                return read_grid(path, folder.name if folder.parent == runs else None), folder
            except Damaged as error:
                raise XittError(
                    f"{error}; run its recipe again, which scores only what is missing and writes"
                    " it anew"
                ) from None
    known = sorted(path.parent.name for path in runs.glob("*/grid.json"))
    raise XittError(f"{unknown('run', name, known)} Runs lie in {runs}.")
