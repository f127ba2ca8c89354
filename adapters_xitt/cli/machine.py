"""The commands about the machine and the store: doctor, check-store; and the handbook: help."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from adapters_xitt.cli.options import STORE


@click.command()
@STORE
def doctor(store: Path | None) -> None:
    """Check versions, devices, disk and, on a small random encoder, the laws that the numbers rest
    on."""
    from adapters_xitt.api import doctor as checks
    from adapters_xitt.cli.render.machine import print_checks

    sys.exit(0 if print_checks(checks.doctor(store=store)) else 1)


@click.command(name="check-store")
@STORE
def check_store(store: Path | None) -> None:
    """Read everything in the store whole and compare it with the digests that it carries. Changes
    nothing. The exit status is 1 where something is damaged."""
    from adapters_xitt.api import stores
    from adapters_xitt.cli.render.machine import print_store_check

    checked = stores.check_store(store=store)
    print_store_check(checked)
    sys.exit(0 if checked.ok else 1)


@click.command(name="help")
@click.argument("topic", required=False)
def show_help(topic: str | None) -> None:
    """Show a page of the handbook, or list the pages."""
    from adapters_xitt.cli import handbook
    from adapters_xitt.cli.render import pages

    if topic is None:
        pages.print_topics(handbook.first_lines())
    else:
        pages.print_page(handbook.read_page(topic))
