"""Modules whose manifest was changed by somebody who knows the format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from adapters_xitt import hashing, integrity
from adapters_xitt.modules import serialization
from adapters_xitt.modules.serialization import SEAL
from adapters_xitt.tensor_files import write_tensors


def reseal(folder: Path) -> None:
    """Gives a module's tensors the digest of the manifest that lies beside them now, where both can
    be read."""
    path = folder / serialization.TENSORS
    try:
        values = json.loads((folder / serialization.MANIFEST).read_text(encoding="utf-8"))
        with safe_open(path, "pt") as file:
            tensors, stated = (
                {name: file.get_tensor(name).clone() for name in file.keys()},
                file.metadata() or {},
            )
        write_tensors(path, tensors, {**stated, SEAL: hashing.digest(values)})
    except (ValueError, FileNotFoundError, SafetensorError):
        pass


def rewrite(path: Path, **changes: Any) -> None:
    """Changes keys of a JSON file that carries its digest, and the digest with them."""
    value = json.loads(path.read_text(encoding="utf-8"))
    del value[integrity.SEAL]
    path.write_text(integrity.json_text({**value, **changes}), encoding="utf-8")
