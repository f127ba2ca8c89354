"""The handbook's pages: Markdown files that come with the package."""

from __future__ import annotations

from importlib.resources import files

from adapters_xitt.errors import XittError, unknown

PAGES = files("adapters_xitt") / "help"


def topics() -> list[str]:
    """The names of the pages, by alphabet."""
    if not PAGES.is_dir():
        return []
    names = (page.name for page in PAGES.iterdir())
    return sorted(name.removesuffix(".md") for name in names if name.endswith(".md"))


def read_page(topic: str) -> str:
    """A page as Markdown; a `XittError` with the nearest topic where there is none."""
    name = topic.removesuffix(".md")
    if name not in topics():
        raise XittError(unknown("topic", topic, topics()))
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def first_lines() -> dict[str, str]:
    """Topic → the page's first line, without its marks."""
    pages = {topic: read_page(topic) for topic in topics()}
    return {topic: page.partition("\n")[0].lstrip("# ") for topic, page in pages.items()}
