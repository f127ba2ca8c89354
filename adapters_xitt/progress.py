"""What is told while long work runs: bars with tokens per second and time left on a terminal, lines
elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from adapters_xitt.text import printable

EVERY = 15.0  # seconds between lines where there is no terminal


def console(*, stderr: bool = False, **options: Any) -> Any:
    """rich's terminal, on which brackets are brackets and nothing that is printed acts; where there
    is none, wide enough that tables need not wrap."""
    from rich.console import Console
    from rich.text import Text

    class Screen(Console):
        """Words are data here, whoever wrote them."""

        def render_str(self, text: str, **options: Any) -> Text:
            """A word as rich takes it in."""
            return super().render_str(printable(text), **options)

        def render(self, renderable: Any, options: Any = None) -> Any:
            """What rich lays out, every word of it printable."""
            if isinstance(renderable, Text) and printable(renderable.plain) != renderable.plain:
                renderable = Text(printable(renderable.plain), style=renderable.style)
            for segment in super().render(renderable, options):
                yield segment if segment.control else segment._replace(text=printable(segment.text))

    if not stderr and not sys.stdout.isatty():
        options["width"] = 120
    return Screen(stderr=stderr, markup=False, emoji=False, **options)


_shown = False  # whether somebody watches


def show_progress(shown: bool = True) -> None:
    """Shows, from here on, how far long work is and what is worth a line, on the terminal's error
    stream; `show_progress(False)` hides it again. Commands show it; whoever imports the package
    sees nothing until they ask for it here, and finds the lines in the log `adapters_xitt`.

    >>> show_progress()
    >>> show_progress(False)
    """
    global _shown
    _shown = shown


@contextmanager
def watched() -> Iterator[None]:
    """Shows progress within the block."""
    before = _shown
    show_progress()
    try:
        yield
    finally:
        show_progress(before)


def notify(line: str) -> None:
    """A line for whoever watches, beside what is printed."""
    if _shown:
        print(printable(line), file=sys.stderr, flush=True)
    else:
        logging.getLogger("adapters_xitt").info(printable(line))


def callback() -> Silent:
    """What long work is told to: bars on a terminal, lines elsewhere, nothing where nobody
    watches."""
    if not _shown:
        return Silent()
    return Bars(console(stderr=True)) if sys.stderr.isatty() else Lines(notify)


class Silent:
    """Tells nothing; what the others build on."""

    def begin(self, title: str, tokens: int) -> None:
        """The whole work starts: `tokens` are to be read in all."""

    def stage(self, title: str, tokens: int) -> None:
        """A cohort starts."""

    def tick(self, tokens: int) -> None:
        """So many tokens were read."""

    def stage_done(self) -> None:
        """The cohort is finished, with less than planned where rows stopped early."""

    def notify(self, text: str) -> None:
        """Something worth a line."""

    def end(self) -> None:
        """The whole work is over or was cut off."""


class Lines(Silent):
    """One line at the start of a cohort, and one every quarter of a minute."""

    def __init__(self, write: Any) -> None:
        self.write = write
        self.total = self.done = self.stage_total = self.stage_read = 0
        self.title, self.began, self.last_line = "", time.monotonic(), 0.0

    def begin(self, title: str, tokens: int) -> None:
        self.total, self.done, self.began = tokens, 0, time.monotonic()
        self.write(f"{title}: {tokens:,} tokens to read")

    def stage(self, title: str, tokens: int) -> None:
        self.title, self.stage_total, self.stage_read, self.last_line = (
            title,
            tokens,
            0,
            time.monotonic(),
        )
        self.write(f"[{_clock(time.monotonic() - self.began)}] {title}")

    def tick(self, tokens: int) -> None:
        self.stage_read += tokens
        # the plan counts with means; no share is over the whole
        more = max(self.stage_read - self.stage_total, 0)
        self.stage_total, self.total = self.stage_total + more, self.total + more
        now = time.monotonic()
        if now - self.last_line > EVERY:
            self.last_line = now
            done = self.done + self.stage_read
            rate = done / max(now - self.began, 1e-9)
            left = max(self.total - done, 0) / max(rate, 1e-9)
            share = self.stage_read / max(self.stage_total, 1)
            self.write(
                f"[{_clock(now - self.began)}]   {self.title}: {share:.0%}, "
                f"{rate:,.0f} tokens/s, {_clock(left)} left"
            )

    def stage_done(self) -> None:
        self.done += self.stage_total

    def notify(self, text: str) -> None:
        self.write(text)


class Bars(Silent):
    """Two bars: the grid and the cohort."""

    def __init__(self, console: Any) -> None:
        from rich.progress import (
            BarColumn,
            Progress,
            ProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        class Speed(ProgressColumn):
            def render(self, task: Any) -> Text:
                speed = task.finished_speed or task.speed
                return Text(f"{speed:,.0f} tokens/s" if speed else "", style="dim")

        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            Speed(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            speed_estimate_period=60,
        )
        self.whole: Any = None
        self.part: Any = None  # rich's numbers of the two
        self.part_total = self.part_read = self.total = 0

    def begin(self, title: str, tokens: int) -> None:
        self.bars.start()
        self.total = tokens
        self.whole = self.bars.add_task(title, total=tokens)

    def stage(self, title: str, tokens: int) -> None:
        if self.part is not None:  # of a cohort that broke
            self.bars.remove_task(self.part)
        self.part = self.bars.add_task(title, total=tokens)
        self.part_total, self.part_read = tokens, 0

    def tick(self, tokens: int) -> None:
        self.part_read += tokens
        if (more := self.part_read - self.part_total) > 0:  # the plan counts with means
            self.part_total, self.total = self.part_total + more, self.total + more
            self.bars.update(self.part, total=self.part_total)
            self.bars.update(self.whole, total=self.total)
        self.bars.advance(self.whole, tokens)
        self.bars.advance(self.part, tokens)

    def stage_done(self) -> None:
        self.bars.advance(self.whole, max(self.part_total - self.part_read, 0))
        self.bars.remove_task(self.part)
        self.part = None

    def notify(self, text: str) -> None:
        self.bars.console.print(text, highlight=False)

    def end(self) -> None:
        self.bars.stop()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
