"""What a hub may answer: so many bytes, in so much time. A server that sends for ever ends here,
not on a full disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from threading import Timer
from typing import Any

from requests import PreparedRequest, RequestException, Response
from requests.adapters import BaseAdapter, HTTPAdapter

from adapters_xitt.errors import XittError

MIB = 2**20
# bytes of an answer that is no file, or of a file whose length nobody states
MOST_ANSWER = 64 * MIB
MOST_FILE = 64 * 2**30  # bytes of a file; XLM-R XXL has 43 GB
LONGEST_ANSWER = 60.0  # seconds
SLOWEST = 20_000.0  # bytes a second that a file must come with, on top of them

_most_file: ContextVar[int] = ContextVar("most_file", default=MOST_FILE)


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """No file that is downloaded in the block has more than `size` bytes."""
    token = _most_file.set(size)
    try:
        yield
    finally:
        _most_file.reset(token)


@cache
def install() -> None:
    """Has every request of the hub's library bounded, from now on."""
    from huggingface_hub import configure_http_backend, constants
    from huggingface_hub.utils import _http

    def session() -> Any:
        # its ids of requests, its refusal to ask while offline
        hub_session = _http._default_backend_factory()
        if not constants.HF_HUB_OFFLINE:
            for scheme in ("http://", "https://"):
                hub_session.mount(scheme, _Bounded(hub_session.get_adapter(scheme)))
        return hub_session

    configure_http_backend(session)


class _Bounded(HTTPAdapter):
    """Sends as the library's own adapter does, and bounds what comes back."""

    def __init__(self, inner: BaseAdapter) -> None:
        super().__init__()
        self.inner = inner

    def send(  # type: ignore[override]  # what a session sends with is the library's matter
        self, request: PreparedRequest, stream: bool = False, **options: Any
    ) -> Response:
        """The answer, whose body ends with an error where it is longer than allowed, or late."""
        response = self.inner.send(request, stream=stream, **options)
        if request.method == "HEAD":  # states the length of what it does not send
            return response
        length = response.headers.get("Content-Length", "")
        size = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else None
        most = MOST_ANSWER
        if stream:
            stated = size is not None and "Content-Encoding" not in response.headers
            most = _most_file.get() if stated else min(_most_file.get(), MOST_ANSWER)
        if size is not None and size > most:
            response.close()
            raise XittError(
                f"{_host(request)} sends {size:,} bytes where at most {most:,} were expected; not"
                " read"
            )
        _bound(response, request, most, LONGEST_ANSWER + (size or 0) / SLOWEST)
        if not stream:
            response._content = b"".join(response.iter_content(2**16))  # as `Response.content` does
        return response


def _bound(response: Response, request: PreparedRequest, most: int, seconds: float) -> None:
    """Has the body end with an error after `most` bytes, decoded, or after `seconds`."""
    late = False

    def stop() -> None:
        nonlocal late
        late = True
        with suppress(ValueError, RuntimeError, OSError):  # it was read meanwhile
            response.raw.shutdown()  # whoever waits for bytes is told that there are no more

    timer = Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    read = response.iter_content

    def bounded(*words: Any, **options: Any) -> Iterator[bytes]:
        count = 0
        try:
            for block in read(*words, **options):
                count += len(block)
                if count > most:
                    raise XittError(
                        f"{_host(request)} sends more than the {most:,} bytes that were expected"
                    )
                yield block
        except RequestException:
            if not late:
                raise
        finally:
            timer.cancel()
        if late:
            raise XittError(
                f"{_host(request)} took longer than {seconds:.0f} seconds for an answer; try again"
                " when it is quicker"
            )

    response.iter_content = bounded  # type: ignore[method-assign]


def _host(request: PreparedRequest) -> str:
    return str(request.url).split("?")[0][:200]
