"""How a training run is held in memory, and when memory has run out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from adapters_xitt.model import encoder

# base -> dtype of the frozen weights, bits of the products; modules, gradients and moments are fp32
# under all of them
BASES: dict[str, tuple[torch.dtype, int | None]] = {
    "32": (torch.float32, None),
    "bf16": (torch.bfloat16, None),
    "16": (torch.float16, None),
    "8bit": (torch.bfloat16, 8),
    "4bit": (torch.bfloat16, 4),
}
OPTIMIZERS = ("32", "8bit")


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """How a training run is held in memory. Only `base` and `optimizer` change what is computed,
    within their precision; the rest gives the same numbers (a smaller micro-batch: but for the
    order of its sums)."""

    # every n-th layer is run again in the backward pass; 1 is every layer
    checkpointing: int | None = None
    base: str = "32"  # the frozen weights: one of BASES
    embeddings: str = "whole"  # one of encoder.EMBEDDINGS
    optimizer: str = "32"  # the moments: one of OPTIMIZERS
    tokens: int = 4096  # tokens a micro-batch may hold, padding included
    # bytes that modules side by side may take, moments and heads too; None: unlimited
    room: int | None = None

    def __post_init__(self) -> None:
        for name, choices in (
            ("base", tuple(BASES)),
            ("embeddings", encoder.EMBEDDINGS),
            ("optimizer", OPTIMIZERS),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} {getattr(self, name)!r}: one of {', '.join(choices)}")
        if self.tokens < 1 or (self.checkpointing is not None and self.checkpointing < 1):
            raise ValueError(
                f"tokens {self.tokens} and checkpointing {self.checkpointing} are counted from 1"
            )

    def encoder_options(self) -> dict[str, Any]:
        """The keywords of `encoder.load` that this plan stands for, but for the `ids` of cut
        embeddings."""
        dtype, bits = BASES[self.base]
        return {
            "dtype": dtype,
            "bits": bits,
            "embeddings": self.embeddings,
            "checkpointing": self.checkpointing,
        }

    @property
    def autocast(self) -> torch.dtype | None:
        """What products are computed in; None: in fp32."""
        return None if self.base == "32" else BASES[self.base][0]


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a device or on the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(
        words in text
        for words in (
            "not enough memory",
            "DefaultCPUAllocator",
            "out of memory",
            "CUBLAS_STATUS_ALLOC",
        )
    )
