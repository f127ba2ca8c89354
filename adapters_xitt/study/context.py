"""What making and scoring modules work with, in one run."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_fabric import Fabric

from adapters_xitt.model.session import ModelSession
from adapters_xitt.modules.manifest import Module
from adapters_xitt.progress import Silent
from adapters_xitt.study.plan import Plan
from adapters_xitt.study.queue import FAILURES, Queue
from adapters_xitt.study.store import Store


@dataclass
class RunContext:
    """A plan, its store, the encoder on its device, the jobs that have failed, and who is told how
    it goes."""

    plan: Plan
    store: Store
    fabric: Fabric
    session: ModelSession
    queue: Queue
    callback: Silent

    @property
    def failed(self) -> dict[str, str]:
        """The reason of every job that broke, by key."""
        return self.queue.failed

    def load(self, key: str) -> Module:
        """A stored module; one that can't be read has failed, and with it all that needs it."""
        try:
            return self.store.load_module(key)
        except FAILURES as error:
            self.queue.fail(key, error)
            raise

    def load_into_encoder(self, key: str) -> Module:
        """A stored module, once it is in the encoder; one that can't be put there has failed, and
        with it all that needs it."""
        module = self.load(key)
        try:
            self.session.add(module, self.plan.train[key].method)
        except FAILURES as error:
            self.queue.fail(key, error)
            raise
        return module
