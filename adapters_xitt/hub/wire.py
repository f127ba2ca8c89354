"""The hub's errors as sentences, and asking again where that helps: one place for every room that
speaks to a hub."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TypeVar

from requests import exceptions

from adapters_xitt.errors import XittError
from adapters_xitt.hub import bounds
from adapters_xitt.text import printable

PAUSES = (0.2, 0.8, 2.0)  # seconds between the tries of one request
LONGEST = 30.0  # seconds; who asks to wait longer is told about, not waited for
BUSY = (429, 500, 502, 503, 504)
BROKEN = (
    exceptions.ConnectionError,
    exceptions.Timeout,
    exceptions.ChunkedEncodingError,
    exceptions.JSONDecodeError,
)
Answer = TypeVar("Answer")
_LOGIN = "log in with `hf auth login`, or set HF_TOKEN"
_SAME = "the same command goes on where this one stopped"


def again(
    ask: Callable[[], Answer],
    *,
    statuses: Collection[int] = BUSY,
    breaks: tuple[type[Exception], ...] = BROKEN,
) -> Answer:
    """What `ask` answers, asked four times at most: while the hub says that it is busy, or the line
    breaks. What the library tries again by itself is left to it, by narrower `statuses` and
    `breaks`."""
    for pause in PAUSES:
        try:
            return ask()
        except (OSError, RuntimeError) as error:
            wait = _wait(error, pause, statuses, breaks)
            if wait is None:
                raise
            time.sleep(wait)
    return ask()


def _wait(
    error: BaseException,
    pause: float,
    statuses: Collection[int],
    breaks: tuple[type[Exception], ...],
) -> float | None:
    """Seconds after which to ask again; None where that would not help."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, RuntimeError):  # around what broke a file that was put up
        error = error.__cause__ or error
        # tried five times, but not at 429
        if getattr(getattr(error, "request", None), "method", "") == "PUT":
            statuses, breaks = (429,), ()
    status = _status(error)
    if status is None:
        never = (OfflineModeIsEnabled, exceptions.SSLError, exceptions.ProxyError)
        return pause if isinstance(error, breaks) and not isinstance(error, never) else None
    asked = _retry_after(error)
    seconds = float(asked) if asked.isdecimal() and asked.isascii() else pause
    return seconds if status in statuses and seconds <= LONGEST else None


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    return getattr(response, "status_code", None)


def _retry_after(error: BaseException) -> str:
    """The seconds that the hub wants to be left alone, as it writes them; empty where it says
    nothing."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    return headers.get("Retry-After", "")


@contextmanager
def readable_errors(
    repo: str, revision: str | None = None, *, what: str = "repository"
) -> Iterator[None]:
    """The hub's errors as `XittError`s that name the repository and what to do; what it may answer
    is bounded."""
    bounds.install()
    try:
        yield
    except RecursionError:
        raise XittError(
            f"{repo}: the hub sends from one address to the next in a circle, or answers in"
            " brackets without end"
        ) from None
    except RuntimeError as error:  # how the library wraps what broke while it put a file up
        if not isinstance(error.__cause__, (OSError, ValueError)):
            raise
        raise XittError(_sentence(repo, revision, what, error.__cause__)) from None
    # every error of the hub's and of requests is one of the two
    except (OSError, ValueError) as error:
        raise XittError(_sentence(repo, revision, what, error)) from None


def _sentence(repo: str, revision: str | None, what: str, error: OSError | ValueError) -> str:
    from huggingface_hub import constants, errors

    name = f"{repo}@{revision}" if revision else repo
    words = printable(error, most=200)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return (
            f"{name}: HF_HUB_OFFLINE is set, so the hub is not asked; unset it, or take what is"
            " here already"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repo}: the hub has no revision {revision or 'main'} of it"
    if isinstance(error, errors.GatedRepoError):
        return f"{repo}: its owner asks for an agreement; accept it on the hub's page and log in"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{repo}: the hub has no such {what}, or it is not public and the token may not see it;"
            f" check the name, or {_LOGIN}"
        )
    if isinstance(error, errors.HFValidationError):
        return f"{repo}: not a repository's name ({words})"
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(
        error, errors.LocalEntryNotFoundError
    ):
        return f"{name}: the hub lacks a file that it listed ({words})"
    if status := _status(error):
        return _refusal(name, status, error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return (
            f"{name}: the disk takes no more ({error.strerror}); make room and try again, nothing"
            " half-made is kept"
        )
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, exceptions.ProxyError):
        return (
            f"{name}: the proxy can't be reached ({words}); HTTPS_PROXY, HTTP_PROXY and"
            " NO_PROXY say which it is"
        )
    if isinstance(error, exceptions.SSLError):
        return f"{name}: the hub's certificate is not accepted ({words})"
    if isinstance(error, OSError):
        return (
            f"{name}: the hub at {constants.ENDPOINT} can't be reached or broke off"
            f" ({type(error).__name__}: {words or 'no reason given'}); {_SAME}"
        )
    return f"{name}: the hub does not take this, or answers nonsense ({words})"


def _refusal(name: str, status: int, error: OSError | ValueError) -> str:
    """The sentence for a status that the hub answered."""
    reason = printable(getattr(error, "server_message", None) or "no reason given", most=200)
    if status == 401:
        return f"{name}: the hub does not accept the token, or asks for one ({reason}); {_LOGIN}"
    if status == 403:
        return (
            f"{name}: you have no right to this ({reason}); ask its owner, or {_LOGIN} with a token"
            " that may write"
        )
    if status == 409:
        return (
            f"{name}: another change of the same thing is under way ({reason}); try again when it"
            " is done"
        )
    if status == 412:
        return (
            f"{name}: it was changed by somebody else meanwhile ({reason}); look at that change,"
            " then push again"
        )
    if status == 413:
        return f"{name}: too large for the hub ({reason})"
    if status == 429:
        seconds = _retry_after(error)
        return (
            f"{name}: the hub is asked too often"
            + (f" and wants {printable(seconds, most=20)} seconds' rest" if seconds else "")
            + f" ({reason}); wait, {_SAME}"
        )
    if status >= 500:
        return f"{name}: the hub is in trouble ({status}: {reason}); wait, {_SAME}"
    return f"{name}: the hub refuses ({status}: {reason})"
