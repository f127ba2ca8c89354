"""A store read whole and compared with the digests that it carries."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from adapters_xitt.api.options import store_root
from adapters_xitt.errors import XittError
from adapters_xitt.study import store_check
from adapters_xitt.study.store import Store
from adapters_xitt.study.store_check import DAMAGED, Finding


@dataclass(frozen=True)
class StoreCheck:
    """What everything in a store is: whole, of an older format, or damaged."""

    store: Path
    findings: list[Finding]  # kind, state, problem, remedy
    set_aside: list[Path]  # damaged results of before

    @property
    def damaged(self) -> list[Finding]:
        """What is not as it was written, each with its remedy."""
        return [finding for finding in self.findings if finding.state == DAMAGED]

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damaged

    @property
    def counts(self) -> dict[tuple[str, str], int]:
        """(kind, state) → how many."""
        return Counter((finding.kind, finding.state) for finding in self.findings)


def check_store(*, store: str | Path | None = None) -> StoreCheck:
    """Reads everything in a store whole and compares it with the digests that it carries. Changes
    nothing. A `XittError` where there is no store.

    >>> check_store(store="docs").ok
    True
    """
    stored = Store(store_root(store))
    if not stored.root.is_dir():
        raise XittError(f"{stored.root}: no such store")
    findings = list(store_check.check(stored))
    return StoreCheck(stored.root, findings, sorted((stored.root / "damaged").glob("*/*")))
