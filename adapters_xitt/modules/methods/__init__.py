"""The methods, one row each: what is trained, by which library, in which modes, with which
options.

To add one, write a row in its family's file; everything else about it is asked from the row. The
laws that it must hold have a line for each method in tests/method_laws.py."""

from __future__ import annotations

from adapters_xitt.modules.methods.choice import (
    Choice,
    above,
    block,
    choose,
    from_record,
    fusion_of,
)
from adapters_xitt.modules.methods.low_rank import TARGET_MODULES, TARGET_OF_PATH, TargetModule
from adapters_xitt.modules.methods.method import (
    COMPOSED,
    LARGEST,
    MODES,
    SITES,
    START,
    Method,
    Shapes,
)
from adapters_xitt.modules.methods.table import FUSIONS, METHODS

__all__ = [
    "COMPOSED",
    "FUSIONS",
    "LARGEST",
    "METHODS",
    "MODES",
    "SITES",
    "START",
    "TARGET_MODULES",
    "TARGET_OF_PATH",
    "Choice",
    "Method",
    "Shapes",
    "TargetModule",
    "above",
    "block",
    "choose",
    "from_record",
    "fusion_of",
]
