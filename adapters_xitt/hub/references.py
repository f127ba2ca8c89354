"""What people write for a repository of a hub: `hub:owner/name@revision`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from adapters_xitt.errors import XittError

PREFIX = "hub:"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9](?:[\w./-]{0,254}\w)?", re.ASCII)


@dataclass(frozen=True)
class Reference:
    """A repository and, where one was named, a revision of it: a commit, or a branch or tag, which
    move."""

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{PREFIX}{self.repo}" + (f"@{self.revision}" if self.revision else "")


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a whole commit, which stays what it is."""
    return bool(revision and _COMMIT.fullmatch(revision))


def reference(text: str) -> Reference:
    """`hub:owner/name`, with `@revision` or without; the prefix may be left out where nothing else
    can be meant."""
    repo, separator, revision = text.removeprefix(PREFIX).partition("@")
    owner, _, name = repo.partition("/")
    bad = [
        part for part in (owner, name) if not _NAME.fullmatch(part) or "--" in part or ".." in part
    ]
    if bad or name.endswith(".git"):
        raise XittError(
            f"{text!r}: not a repository of a hub; write {PREFIX}owner/name or "
            f"{PREFIX}owner/name@revision, names of letters, digits, '.', '_' and '-'"
        )
    if separator and (not _REVISION.fullmatch(revision) or ".." in revision or "//" in revision):
        raise XittError(
            f"{text!r}: {revision!r} is no revision; write a branch, a tag, or all 40 digits of a"
            " commit"
        )
    return Reference(repo, revision or None)


def pinned_reference(text: str, problem: str) -> Reference:
    """`name`, or `name@commit` with all 40 digits of the commit, because a branch moves; anything
    else is a `XittError` that says `problem`."""
    name, separator, revision = text.partition("@")
    if separator and not is_commit(revision):
        raise XittError(problem)
    return Reference(name, revision or None)
