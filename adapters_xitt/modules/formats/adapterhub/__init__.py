"""AdapterHub's form, as `adapters` 1.x writes and reads it with `use_safetensors=True`.

A module is adapter_config.json and adapter.safetensors; its head head_config.json and
model_head.safetensors; a fusion adapter_fusion_config.json and model_adapter_fusion.safetensors,
the modules it is over in folders of their own."""

from __future__ import annotations

from adapters_xitt.modules.formats.adapterhub.layout import (
    FUSION_WEIGHTS,
    HEAD_CONFIG,
    HEAD_WEIGHTS,
    WEIGHTS,
)
from adapters_xitt.modules.formats.adapterhub.reading import read
from adapters_xitt.modules.formats.adapterhub.writing import write, writes_head

__all__ = [
    "FUSION_WEIGHTS",
    "HEAD_CONFIG",
    "HEAD_WEIGHTS",
    "WEIGHTS",
    "read",
    "write",
    "writes_head",
]
