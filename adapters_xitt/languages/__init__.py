"""The languages: a table of them, what its columns select, and how far two are apart."""

from __future__ import annotations

from adapters_xitt.languages.filters import COLUMNS, Selection, check_filter, select
from adapters_xitt.languages.table import LANGUAGES, Language, distance, language

__all__ = [
    "COLUMNS",
    "LANGUAGES",
    "Language",
    "Selection",
    "check_filter",
    "distance",
    "language",
    "select",
]
