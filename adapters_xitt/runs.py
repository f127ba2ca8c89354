"""The runs of a store: the grid that each has written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapters_xitt.errors import XittError, unknown
from adapters_xitt.readers.files import json_of, text_of
from adapters_xitt.store import default_root


def load_run(name: str, store: Path | None) -> tuple[dict[str, Any], Path]:
    """The grid of a run and its folder."""
    runs = (store or default_root()) / "runs"
    for folder in (Path(name), Path(name).parent if name.endswith("grid.json") else Path(name), runs / name):
        if (folder / "grid.json").is_file():
            found = json_of(text_of(folder / "grid.json"), folder / "grid.json")
            if not isinstance(found, dict) or "entries" not in found:
                raise XittError(f"{folder / 'grid.json'}: not the grid of a run; run its recipe again")
            return found, folder
    known = sorted(path.parent.name for path in runs.glob("*/grid.json"))
    raise XittError(f"{unknown('run', name, known)} Runs lie in {runs}.")
