"""What the commands that share modules print."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from adapters_xitt import hub
from adapters_xitt.api.hub import Push
from adapters_xitt.api.verification import Check, Verification
from adapters_xitt.cli.render.modules import print_manifest
from adapters_xitt.modules import serialization
from adapters_xitt.progress import console
from adapters_xitt.sharing import card
from adapters_xitt.text import printable


def print_push(push: Push) -> None:
    """Where what was pushed lies; after a dry run the files that would go, and the card."""
    if push.reference:
        print(printable(push.url))
        print(f"xitt pull {push.reference}")
        return
    for path, size in push.files.items():
        print(f"{size:>13,}  {path}")
    print(printable(f"\n{push.card}"))


def print_pull(pulled: hub.Pulled) -> None:
    """What was pulled, and where it lies."""
    name = str(hub.Reference(pulled.repo, pulled.commit))
    print_manifest(serialization.read_manifest(pulled.folder), name=name)
    print(pulled.folder)


def print_repositories(repositories: Sequence[hub.Repository]) -> None:
    """A table of modules on a hub."""
    table = Table(title=f"{len(repositories)} found", title_justify="left")
    for column in ("module", "changed", "downloads", "tags"):
        table.add_column(column, overflow="fold")
    for repository in repositories:
        tags = [tag for tag in repository.tags if tag != card.TAG and ":" not in tag]
        table.add_row(
            f"{hub.PREFIX}{repository.repo}",
            repository.changed,
            str(repository.downloads),
            ", ".join(tags),
        )
    console().print(table)


def print_verification(verification: Verification, reference: str) -> None:
    """Every number that a module states, what comes out here, and whether it holds."""
    checks = verification.checks
    if not checks:
        print(printable(f"{reference}: states no results"))
        return
    table = Table(title=verification.reference, title_justify="left")
    for column in ("task", "language", "stated", "here", "difference", "verdict"):
        table.add_column(column)
    for check in checks:
        table.add_row(check.task, check.language, *_numbers(check), check.verdict)
    console().print(table)
    verdicts = [check.holds for check in checks]
    print(
        f"{verdicts.count(True)} of {len(checks)} stated numbers hold, {verdicts.count(False)} do"
        f" not, {verdicts.count(None)} could not be checked"
    )


def _numbers(check: Check) -> tuple[str, str, str]:
    if check.here is None:
        return f"{check.stated:.2f}", "–", "–"
    return f"{check.stated:.2f}", f"{check.here:.2f}", f"{check.here - check.stated:+.2f}"
