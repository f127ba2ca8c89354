"""What the encoder's own training says of the targets of a grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters_xitt.tasks import task


def encoder_seen(grid: Mapping[str, Any], target: str) -> tuple[str, ...] | None:
    """Of what a target's tasks teach, the part that the encoder's own training had: keys of
    tasks.SEEN; None where nobody says what it had."""
    seen = grid["encoder"].get("seen")
    return None if seen is None else tuple(name for name in task(target).taught_by if name in seen)
