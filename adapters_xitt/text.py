"""Words that others wrote, before a terminal sees them."""

from __future__ import annotations


def printable(value: object, *, most: int | None = None) -> str:
    """A value as a text that can't write on a terminal what it likes: control characters, and those
    that turn the direction of what follows, stand there as their escapes.

    Lines are kept. With `most` it is one line of at most so many characters, its end as "…"."""
    text = str(value)
    if most is not None:
        text = " ".join(text.split())
    if not text.isprintable():
        text = "".join(map(_printable_sign, text))
    return text if most is None or len(text) <= most else text[: most - 1] + "…"


def _printable_sign(sign: str) -> str:
    if sign.isprintable() or sign == "\n":
        return sign
    return sign.encode("unicode_escape", "surrogatepass").decode()
