"""What the commands about the machine and the store print."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from adapters_xitt.api.doctor import BAD, GOOD, NOTE, Check
from adapters_xitt.api.stores import StoreCheck
from adapters_xitt.progress import console
from adapters_xitt.study.store_check import DAMAGED, OLDER, WHOLE

MARKS = {GOOD: ("ok  ", "green"), BAD: ("bad ", "red"), NOTE: ("note", "yellow")}


def print_checks(checks: Iterable[Check]) -> bool:
    """What the doctor finds, as it comes; whether all is well."""
    out, well = console(highlight=False, soft_wrap=True), True
    for check in checks:
        well &= check.state != BAD
        out.print(Text.assemble(MARKS[check.state], f" {check.text}"))
    out.print(
        "All is well."
        if well
        else (
            "Something is wrong: see the lines marked bad. The versions that the "
            "project was tested with stand in scripts/locks."
        )
    )
    return well


def print_store_check(check: StoreCheck) -> None:
    """What a store holds, kind by kind, and everything damaged with its remedy."""
    out, states = console(), (WHOLE, OLDER, DAMAGED)
    table = Table(title=f"store {check.store}", title_justify="left")
    for column in ("", *states):
        table.add_column(column, justify="right" if column else "left")
    counts = check.counts
    for kind in dict.fromkeys(finding.kind for finding in check.findings):
        table.add_row(kind, *(f"{counts.get((kind, state), 0):,}" for state in states))
    out.print(table)
    for finding in check.damaged:
        # Paths stay whole: people copy them.
        text = Text(f"damaged: {finding.problem}\n  {finding.remedy}")
        out.print(text, soft_wrap=True)
    if any(finding.state == OLDER for finding in check.findings):
        out.print(
            Text(
                "An older format carries no digests: it is read, and can't be compared with"
                " anything."
            )
        )
    if check.set_aside:
        out.print(
            Text(
                f"{len(check.set_aside)} damaged results were set aside before, in"
                f" {check.store / 'damaged'}; delete them when you have no more use for them."
            )
        )
    damaged = len(check.damaged)
    out.print(f"{damaged} damaged." if damaged else "Everything is as it was written.")
