"""Low-rank updates and bottlenecks put together without training: pure functions on the tensors of modules."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from adapters_xitt.methods import Choice


def converted(tensors: Mapping[str, Tensor], choice: Choice) -> tuple[dict[str, Tensor], Choice]:
    """A PiSSA module as a plain LoRA of twice the rank, for whoever knows nothing of its start: the trained factors
    and the frozen ones side by side."""
    found = {}
    for name, value in tensors.items():
        if ".start." not in name:
            start = tensors[name.replace(".weight", ".start.weight")]
            found[name] = torch.cat([value, start], dim=0 if ".lora_A" in name else 1)
    doubled = {"rank": 2 * choice["rank"], "alpha": 2 * choice["alpha"]}
    return found, Choice("lora", tuple((option, doubled.get(option, value)) for option, value in choice.options))
