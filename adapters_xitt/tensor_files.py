"""Writes safetensors files whose bytes follow from what they hold: the library orders metadata by
chance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapters_xitt.hashing import canonical
from adapters_xitt.safe_files import DTYPES


def write_tensors(
    path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes `tensors` (torch's, any strides) with words about them: the same bytes for the same
    values. Wide types come first, as the library has them, so that every tensor lies aligned."""
    import torch

    stated = {name: (dtype, size) for dtype, (name, size) in DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    whole, end = [], 0
    kinds = {
        name: stated[str(value.dtype).removeprefix("torch.")] for name, value in tensors.items()
    }
    for name in sorted(tensors, key=lambda name: (-kinds[name][1], name)):
        value = tensors[name].detach().cpu().contiguous()
        begin, end = end, end + value.numel() * kinds[name][1]
        header[name] = {
            "dtype": kinds[name][0],
            "shape": list(value.shape),
            "data_offsets": [begin, end],
        }
        whole.append(value)
    text = canonical(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for value in whole:
            if value.numel():  # an empty one may have a stride that no view allows
                file.write(value.reshape(-1).view(torch.uint8).numpy().data)
