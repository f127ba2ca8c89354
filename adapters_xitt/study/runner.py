"""Runs a plan: trains what is missing, scores what is missing, each piece kept the moment it is
whole."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lightning_fabric import Fabric

from adapters_xitt.data.features import Features
from adapters_xitt.model.session import ModelSession
from adapters_xitt.progress import Silent
from adapters_xitt.study import costs, memory_plan
from adapters_xitt.study.context import RunContext
from adapters_xitt.study.jobs import TrainedModule
from adapters_xitt.study.maker import ModuleMaker
from adapters_xitt.study.plan import Plan
from adapters_xitt.study.queue import Queue
from adapters_xitt.study.scorer import CellScorer
from adapters_xitt.study.store import Store
from adapters_xitt.study.training_log import check_log


class Runner:
    """One plan on one store. `callback` is told how it goes; nothing is printed. `log`: csv,
    tensorboard or none; `keep_every`: seconds between the checkpoints of half-trained modules.

    `failed` has the reason of every job that broke, by key."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        fabric: Fabric,
        *,
        callback: Silent | None = None,
        log: str = "csv",
        keep_every: float = 60.0,
    ) -> None:
        check_log(log)
        self.plan, self.store, self.callback = plan, store, callback or Silent()
        self.session = ModelSession(
            plan.inputs.files,
            fabric,
            lambda: memory_plan.encoder_options(plan.inputs.memory_plan, self._read),
        )
        self.queue = Queue(plan, store, self.callback, self._renew)
        self.failed = self.queue.failed
        context = RunContext(plan, store, fabric, self.session, self.queue, self.callback)
        self.maker = ModuleMaker(context, log=log, keep_every=keep_every)
        self.scorer = CellScorer(context)

    def run(self) -> None:
        """Trains and scores until the store answers every job; waits for what another process is
        at."""
        self.store.sweep()
        inputs = self.plan.inputs
        modules, cells = self.plan.missing(self.store.has_module, self.store.has_result)
        tokens = sum(costs.train_tokens(job, inputs) for job in modules)
        tokens += sum(costs.score_tokens(job, inputs) for job in cells)
        self.callback.begin(self.plan.recipe.name, tokens)
        try:
            self._make({job.key for job in modules})
            self.scorer.forget()
            self.queue.work_off(
                self.plan.score_cohorts(),
                lambda cohort: [job.cell.key for job in cohort.jobs],
                self.store.has_result,
                self.scorer.score,
            )
        finally:
            self.callback.end()

    def train_only(self, keys: Sequence[str]) -> None:
        """Makes these modules where the store lacks them; their parents must be there or among
        them."""
        missing = [self.plan.train[key] for key in keys if not self.store.has_module(key)]
        tokens = sum(costs.train_tokens(job, self.plan.inputs) for job in missing)
        self.callback.begin("training", tokens)
        try:
            self._make(keys)
        finally:
            self.callback.end()

    def _make(self, keys: Collection[str]) -> None:
        """Makes modules, cohort by cohort."""
        cohorts = self.plan.train_cohorts()
        self.queue.work_off(
            [cohort for cohort in cohorts if any(job.key in keys for job in cohort.jobs)],
            lambda cohort: [job.key for job in cohort.jobs if job.key in keys],
            self.store.has_module,
            self.maker.make_cohort,
        )

    def _renew(self, error: Exception) -> None:
        """Lets go of an encoder in which something broke; one that can't be loaded is no job's
        failure."""
        if error is self.session.unusable:
            raise error
        self.session.renew()
        self.scorer.forget()

    def _read(self) -> list[Features]:
        """Everything that the encoder is to read in this run."""
        inputs = self.plan.inputs
        mixtures = dict.fromkeys(
            job.mixture
            for job in self.plan.train.values()
            if isinstance(job, TrainedModule) and not self.store.has_module(job.key)
        )
        features = memory_plan.features_read(inputs, list(mixtures), [])
        for cohort in self.plan.score_cohorts():
            features += [inputs.features(rows) for rows in cohort.tested]
        return features
