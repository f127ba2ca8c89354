"""From a scene to text: the grammar's tokens, punctuation, capital letters, spaces and character offsets."""

from __future__ import annotations

from importlib import import_module

from adapters_xitt.demo.scenes import Scene
from adapters_xitt.demo.words import Token, lexicon

LANGUAGES = ("en", "de", "es", "fi", "tr", "sw", "hi", "ar", "zh")
UNSPACED = ("zh",)
STOP = {"hi": "।", "zh": "。"}
QUERY = {"ar": "؟", "zh": "？"}
OPENING = "¿"


def sentence(scene: Scene, language: str, *, front: str = "", ask: str = "") -> list[Token]:
    """The tokens of a scene as a statement, or as a question for one of agent, object, place, time.

    `front` (place or time) is said first; it changes nothing in the meaning.
    """
    grammar = import_module(f"adapters_xitt.demo.grammars.{language}")
    found = list(grammar.clause(lexicon(language), scene, front=front, ask=ask))
    found[0] = found[0]._replace(word=capital(found[0].word, language))
    if ask and language == "es":
        found.insert(0, Token(OPENING, "PUNCT"))
    mark = QUERY.get(language, "?") if ask else STOP.get(language, ".")
    return [*found, Token(mark, "PUNCT")]


def capital(word: str, language: str) -> str:
    """The word with its first letter as a capital; Turkish has its own."""
    first = "İ" if language == "tr" and word[0] == "i" else word[0].upper()
    return first + word[1:]


def spaced(found: list[Token], language: str) -> list[bool]:
    """For each token, whether a space comes behind it (the last: never)."""
    behind = [
        language not in UNSPACED and this.word != OPENING and after.upos != "PUNCT"
        for this, after in zip(found[:-1], found[1:], strict=True)
    ]
    return [*behind, False]


def text(found: list[Token], language: str) -> str:
    """The tokens as running text."""
    return "".join(t.word + " " * space for t, space in zip(found, spaced(found, language), strict=True))


def say(scene: Scene, language: str, *, front: str = "", ask: str = "") -> str:
    """A scene as text; see `sentence`."""
    return text(sentence(scene, language, front=front, ask=ask), language)


def join(texts: list[str], language: str) -> str:
    """Sentences as a paragraph."""
    return ("" if language in UNSPACED else " ").join(texts)


def span(found: list[Token], language: str, slot: str) -> tuple[int, int]:
    """Where a part of the scene stands in the text of its tokens: first character, last character + 1."""
    start, begin, end = 0, -1, -1
    for token, space in zip(found, spaced(found, language), strict=True):
        if token.slot == slot:
            begin = start if begin < 0 else begin
            end = start + len(token.word)
        start += len(token.word) + space
    if begin < 0:
        raise ValueError(f"{language}: no {slot} in {text(found, language)!r}")
    return begin, end
