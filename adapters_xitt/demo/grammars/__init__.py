"""One module per language; each has `clause(words, scene, front=, ask=)`, which chooses and orders the forms."""

from __future__ import annotations

from adapters_xitt.demo.scenes import Scene
from adapters_xitt.demo.words import Token, Words, tokens


def adverbs(words: Words, scene: Scene, front: str, ask: str) -> tuple[list[Token], list[Token], list[Token]]:
    """What is fronted, then place and time where they are neither fronted nor asked for."""
    said = {}
    for slot in ("place", "time"):
        key = getattr(scene, slot)
        said[slot] = words.say(slot, key, "phrase", slot) if key and ask != slot else []
    first = said[front] if front else []
    return first, *([] if front == slot else said[slot] for slot in ("place", "time"))


def asked(forms: dict[str, str], ask: str) -> list[Token]:
    """The question word for the part asked for, or nothing."""
    return tokens(forms[ask], slot="ask") if ask else []
