"""A module as a value, and the folders it is kept in: ours, and those of other libraries."""

from __future__ import annotations

from adapters_xitt.formats.ours import (
    FORMAT,
    MANIFEST,
    TENSORS,
    Manifest,
    Module,
    read_manifest,
    read_module,
    write_module,
)

__all__ = ["FORMAT", "MANIFEST", "TENSORS", "Manifest", "Module", "read_manifest", "read_module", "write_module"]
