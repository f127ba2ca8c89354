"""Exact match and F1 of extracted answers, as MLQA's script has them: words are found by the rules
of each language."""

from __future__ import annotations

from adapters_xitt.errors import XittError, unknown
from adapters_xitt.metrics.answers import ARTICLES_IN, normalize_in
from adapters_xitt.metrics.qa import SquadF1


class Mlqa(SquadF1):
    """SQuAD v1.1's scores over words as MLQA's script finds them in `language`: ar, de, en, es, hi,
    vi or zh.

    The language is that of the answers, so of the context. Rows and their errors are those of
    `SquadF1`."""

    main_score = "mean"
    about = "Exact match and token F1 of MLQA in one language, and their mean, in percent."

    def __init__(self, *, language: str | None = None) -> None:
        if language is None:
            raise XittError(f"mlqa: name the language of the answers: {', '.join(ARTICLES_IN)}")
        if language not in ARTICLES_IN:
            raise XittError(f"mlqa: {unknown('language', language, ARTICLES_IN)}")
        super().__init__(language=language)
        self.rules = language

    def normal(self, text: str) -> str:
        return normalize_in(text, self.rules)
