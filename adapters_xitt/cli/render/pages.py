"""The handbook on the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.markdown import Markdown
from rich.table import Table

from adapters_xitt.progress import console


def print_topics(lines: Mapping[str, str]) -> None:
    """The pages there are, each with its first line."""
    table = Table(box=None, show_header=False)
    for topic, line in lines.items():
        table.add_row(topic, line)
    out = console()
    out.print("Pages of the handbook, shown by xitt help TOPIC:", highlight=False)
    out.print(table)


def print_page(page: str) -> None:
    """A page, as wide as the terminal is."""
    console().print(Markdown(page))
