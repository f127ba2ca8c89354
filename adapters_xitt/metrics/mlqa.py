"""Exact match and F1 of extracted answers, as MLQA's script has them: words are found by the rules
of each language."""

from __future__ import annotations

import re
import string
import unicodedata
from functools import cache

from adapters_xitt.errors import XittError, unknown
from adapters_xitt.metrics.qa import SquadF1

_ARTICLES = {
    "ar": re.compile("ال"),  # anywhere in a word: the script's other branch, "\sال^", can't match
    "de": re.compile(r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    "en": re.compile(r"\b(a|an|the)\b"),
    "es": re.compile(r"\b(un|una|unos|unas|el|la|los|las)\b"),
    "hi": None,
    "vi": re.compile(r"\b(của|là|cái|chiếc|những)\b"),
    "zh": None,
}
_HAN = re.compile("([\u4e00-\u9fa5])")


@cache
def _is_punctuation(char: str) -> bool:
    return char in string.punctuation or unicodedata.category(char).startswith("P")


def normalize_in(text: str, language: str) -> str:
    """Lower case, no punctuation (Unicode's and ASCII's) or articles, single spaces; in zh a word
    per Han character.

    The rules of mlqa_evaluation_v1.py of facebookresearch/MLQA, which is
    third_party/evaluate_mlqa.py of XTREME."""
    text = "".join(char for char in text.lower() if not _is_punctuation(char))
    articles = _ARTICLES[language]
    if articles:
        text = articles.sub(" ", text)
    if language == "zh":
        # The script sets punctuation apart too, but none is left here.
        text = _HAN.sub(r" \1 ", text)
    return " ".join(text.split())


class Mlqa(SquadF1):
    """SQuAD v1.1's scores over words as MLQA's script finds them in `language`: ar, de, en, es, hi,
    vi or zh.

    The language is that of the answers, so of the context. Rows and their errors are those of
    `SquadF1`."""

    headline = "mean"
    about = "Exact match and token F1 of MLQA in one language, and their mean, in percent."

    def __init__(self, *, language: str | None = None) -> None:
        if language is None:
            raise XittError(f"mlqa: name the language of the answers: {', '.join(_ARTICLES)}")
        if language not in _ARTICLES:
            raise XittError(f"mlqa: {unknown('language', language, _ARTICLES)}")
        super().__init__(language=language)

    def normal(self, text: str) -> str:
        return normalize_in(text, self.language)
