"""The memory of training: how it is held, what it takes, and the choice among ways to need less."""

from __future__ import annotations

from adapters_xitt.training.memory.account import Account, Workload, account
from adapters_xitt.training.memory.choice import LEAST, choose, describe, fit_groups, ladder
from adapters_xitt.training.memory.plan import BASES, OPTIMIZERS, MemoryPlan, out_of_memory

__all__ = [
    "BASES",
    "LEAST",
    "OPTIMIZERS",
    "Account",
    "MemoryPlan",
    "Workload",
    "account",
    "choose",
    "describe",
    "fit_groups",
    "ladder",
    "out_of_memory",
]
