"""What `xitt check-store` does: everything in a store read whole, counted, and what is damaged
listed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.table import Table
from rich.text import Text

from adapters_xitt.errors import XittError
from adapters_xitt.progress import console
from adapters_xitt.study.store import Store, default_root
from adapters_xitt.study.store_check import DAMAGED, OLDER, WHOLE
from adapters_xitt.study.store_check import check as findings_of


def check(root: Path | None) -> int:
    """Prints what a store holds, kind by kind, and everything damaged with its remedy; the exit
    status."""
    store, out = Store(root or default_root()), console()
    if not store.root.is_dir():
        raise XittError(f"{store.root}: no such store")
    findings = list(findings_of(store))
    counts = Counter((finding.kind, finding.state) for finding in findings)
    table = Table(title=f"store {store.root}", title_justify="left")
    for column in ("", WHOLE, OLDER, DAMAGED):
        table.add_column(column, justify="right" if column else "left")
    for kind in dict.fromkeys(finding.kind for finding in findings):
        table.add_row(kind, *(f"{counts[kind, state]:,}" for state in (WHOLE, OLDER, DAMAGED)))
    out.print(table)
    damaged = [finding for finding in findings if finding.state == DAMAGED]
    for finding in damaged:
        # Paths stay whole: people copy them.
        out.print(Text(f"damaged: {finding.problem}\n  {finding.remedy}"), soft_wrap=True)
    if any(finding.state == OLDER for finding in findings):
        out.print(
            Text(
                "An older format carries no digests: it is read, and can't be compared with"
                " anything."
            )
        )
    if aside := sorted(path for path in (store.root / "damaged").glob("*/*")):
        out.print(
            Text(
                f"{len(aside)} damaged results were set aside before, in {store.root / 'damaged'};"
                " delete them when you have no more use for them."
            )
        )
    out.print("Everything is as it was written." if not damaged else f"{len(damaged)} damaged.")
    return int(bool(damaged))
