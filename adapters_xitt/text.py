"""Words that others wrote, before a terminal sees them."""

from __future__ import annotations


def printable(text: str) -> str:
    """A text that can't write on a terminal what it likes: control characters, and those that turn
    the direction of what follows, stand there as their escapes; lines are kept."""
    if text.isprintable():
        return text
    return "".join(
        (
            sign
            if sign.isprintable() or sign == "\n"
            else sign.encode("unicode_escape", "surrogatepass").decode()
        )
        for sign in text
    )
