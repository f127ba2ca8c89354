"""Answers as bags of words: the normalisations of SQuAD's script and of MLQA's, exact match, F1."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import cache

_DROP = str.maketrans("", "", string.punctuation)  # ASCII only, as in the script
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalize(text: str) -> str:
    """Lower case, without ASCII punctuation and English articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_DROP)).split())


def exact(pred: str, gold: str, *, normal: Callable[[str], str] = normalize) -> float:
    """1.0 where both are the same after `normal`."""
    return float(normal(pred) == normal(gold))


def token_f1(pred: str, gold: str, *, normal: Callable[[str], str] = normalize) -> float:
    """F1 of the two bags of normalised tokens; two empty bags have none in common and score 0."""
    ours, theirs = normal(pred).split(), normal(gold).split()
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs)) if common else 0.0


ARTICLES_IN = {
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
    articles = ARTICLES_IN[language]
    if articles:
        text = articles.sub(" ", text)
    if language == "zh":
        # The script sets punctuation apart too, but none is left here.
        text = _HAN.sub(r" \1 ", text)
    return " ".join(text.split())
