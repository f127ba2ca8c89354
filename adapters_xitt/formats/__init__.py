"""A module as a value, and the folders it is kept in: ours, and those of other libraries."""

from __future__ import annotations

from adapters_xitt.formats.manifest import FORMAT, KEY, Manifest, Module
from adapters_xitt.formats.ours import MANIFEST, TENSORS, Seen, look, read_manifest, read_module, write_module

__all__ = ["FORMAT", "KEY", "MANIFEST", "TENSORS", "Manifest", "Module", "Seen", "look", "read_manifest", "read_module",
           "write_module"]
