"""The cohorts of a run in their order: shared out among processes by locks, and kept apart where
one breaks."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from adapters_xitt import stopping
from adapters_xitt.atomic import DiskRefuses
from adapters_xitt.errors import XittError
from adapters_xitt.progress import Silent
from adapters_xitt.study.plan import Plan
from adapters_xitt.study.store import Store

# What a single job can be the cause of; a full disk, too little memory and whoever stops a run are
# no job's.
FAILURES = (
    XittError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    FileNotFoundError,
)
Work = Callable[[Any, set[str]], None]  # on the jobs of a cohort with these keys
Done = Callable[[str], bool]  # whether the store answers a job


class Queue:
    """Works off cohorts. `failed` has the reason of every job that broke; `renew` is told each
    error, and lets go of what it may have left half-made or raises where it is no job's."""

    def __init__(
        self, plan: Plan, store: Store, callback: Silent, renew: Callable[[Exception], None]
    ) -> None:
        self.plan, self.store, self.callback, self.renew = plan, store, callback, renew
        self.failed: dict[str, str] = {}

    def work_off(
        self, cohorts: Sequence[Any], keys: Callable[[Any], list[str]], done: Done, work: Work
    ) -> None:
        """Works off cohorts in order, each under the locks of its missing jobs; another process's
        jobs come last."""
        left, waited = list(cohorts), False

        def missing(cohort: Any) -> list[str]:
            return [key for key in keys(cohort) if not done(key) and key not in self.failed]

        while left:
            stopping.check()
            waiting = []
            for cohort in left:
                todo, going = missing(cohort), True
                while todo and going:  # a claim takes no more than a process may have open files
                    stopping.check()
                    with self.store.claim(todo) as held:
                        mine = [key for key in held if not done(key)]
                        if mine:
                            self._attempt(cohort, mine, done, work)
                    before, todo = todo, missing(cohort)
                    going = bool(mine) and len(todo) < len(before)
                if todo:
                    waiting.append(cohort)
            if waiting and len(waiting) == len(left):
                if not waited:
                    self.callback.notify("waiting for another process that works in this store")
                    waited = True
                time.sleep(0.5)
            left = waiting

    def _attempt(self, cohort: Any, keys: Sequence[str], done: Done, work: Work) -> None:
        """Works on jobs of a cohort. Where that breaks, on each half of them, down to the job that
        breaks by itself: it has failed, and nothing else has. Where a module failed, again on those
        that don't need it."""
        before = len(self.failed)
        try:
            return work(cohort, set(keys))
        except DiskRefuses:
            raise
        except FAILURES as error:
            self.renew(error)
            known = len(self.failed) > before
            if len(keys) == 1 and not known:
                self.fail(keys[0], error)
        # Here the error is gone, and with it what its traceback held.
        left = [key for key in keys if not done(key) and key not in self.failed]
        half = 0 if known else len(left) // 2
        for some in (left[:half], left[half:]):
            if some:
                self._attempt(cohort, some, done, work)

    def fail(self, key: str, error: Exception) -> None:
        """Marks a job failed and tells why; a defect of the program with its traceback."""
        defect = "" if isinstance(error, XittError) else f"{type(error).__name__}: "
        self.failed[key] = defect + self.plan.called(str(error))
        if defect:
            self.callback.notify("".join(traceback.format_exception(error)).rstrip())
        self.callback.notify(f"failed: {self.plan.title(key)}: {self.failed[key]}")
