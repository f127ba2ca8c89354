"""Hashes: keys of what was asked, digests of what came out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Goes into every key. Raise it when the same inputs would no longer give the same numbers;
# tests/test_golden.py holds both. While it stays, the key of every request that could be made
# before stays: a new option enters a key only where it differs from its default. A key holds what
# was resolved and decides numbers, nothing of how it was spelled.
PROTOCOL = 2


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: one text per value."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`, 64 hex digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def key(what: str, inputs: Mapping[str, Any]) -> str:
    """The key of a job: its kind, its inputs and the protocol version, 64 hex digits."""
    return digest({"what": what, "inputs": inputs, "protocol": PROTOCOL})


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_digest(tensors: Mapping[str, Any]) -> str:
    """SHA-256 over tensors by name, dtype, shape and bytes, in order of name."""
    import torch

    sha = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        sha.update(
            f"{name}|{str(tensor.dtype).removeprefix('torch.')}|{tuple(tensor.shape)}|".encode()
        )
        if tensor.numel():  # an empty one may have a stride that no view allows
            sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()
