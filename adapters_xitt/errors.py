"""What a user did wrong, told so that they can mend it: one error class, the nearest match, and a
collector that reports every problem at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice

SHOWN = 100  # problems that are told one by one


class XittError(Exception):
    """A user's mistake. The command line shows it without a traceback and exits with status 2."""


class DataError(XittError):
    """A data file that can't be used; the message starts with the file and, where there is one, the
    line."""


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice closest to `word`, or the one whose words begin with its letters (lr:
    learning_rate); None where nothing is close."""
    by_lower = {choice.lower(): choice for choice in choices}
    short = str(word).lower()
    matches = difflib.get_close_matches(short, list(by_lower), n=1, cutoff=0.6)
    matches += [
        choice
        for choice in by_lower
        if "_" in choice and short == "".join(part[:1] for part in choice.split("_"))
    ]
    return by_lower[matches[0]] if matches else None


def unknown(what: str, word: str, choices: Iterable[str], *, shown: int = 30) -> str:
    """One sentence for an unknown name: what it was, the nearest match, and the choices."""
    choices = list(choices)
    near = nearest(word, choices)
    hint = f" Did you mean {near!r}?" if near else ""
    listed = ", ".join(choices[:shown]) + (
        f", … ({len(choices)} in all)" if len(choices) > shown else ""
    )
    return f"unknown {what} {word!r}.{hint} Choices: {listed or '(none)'}."


class Problems:
    """Collects problems, each once, and raises them together, in the order they were found."""

    def __init__(self, title: str, problems: Iterable[str] = ()) -> None:
        self.title, self.problems = title, dict.fromkeys(problems)

    def add(self, problem: str) -> None:
        self.problems.setdefault(problem)

    def raise_if_any(self) -> None:
        if self.problems:
            count = f"{len(self.problems):,} problem{'s' if len(self.problems) > 1 else ''}"
            shown = [f"  {problem}" for problem in islice(self.problems, SHOWN)]
            more = (
                [f"  and {len(self.problems) - SHOWN:,} more"] if len(self.problems) > SHOWN else []
            )
            raise XittError("\n".join([f"{self.title}: {count}", *shown, *more]))
