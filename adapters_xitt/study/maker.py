"""Makes modules, each in the way of its kind, and keeps them in the store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import singledispatchmethod
from typing import Any

from torch import Tensor, nn

from adapters_xitt.data.mixture import space
from adapters_xitt.hashing import tensors_digest
from adapters_xitt.kinds import heads
from adapters_xitt.model.session import machine, module_name
from adapters_xitt.modules.composition import fusion_parts, names, rename, show
from adapters_xitt.modules.manifest import Manifest, Module
from adapters_xitt.study import costs, merge
from adapters_xitt.study.context import RunContext
from adapters_xitt.study.jobs import (
    BestOf,
    MergedModule,
    ModuleJob,
    RandomModule,
    TrainCohort,
    TrainedModule,
)
from adapters_xitt.study.results import versions
from adapters_xitt.study.training_log import TrainingLogger
from adapters_xitt.training.loop import train
from adapters_xitt.training.module import ModuleInTraining
from adapters_xitt.training.run import TrainingRun
from adapters_xitt.training.sampler import derive


class ModuleMaker:
    """Makes the modules of a plan. `log`: what kind of log training writes; `keep_every`: seconds
    between checkpoints."""

    def __init__(self, context: RunContext, *, log: str, keep_every: float) -> None:
        self.context, self.log, self.keep_every = context, log, keep_every
        self.plan, self.store, self.session = context.plan, context.store, context.session
        self.inputs, self.callback = context.plan.inputs, context.callback

    def make_cohort(self, cohort: TrainCohort, keys: set[str]) -> None:
        """Makes those jobs of a cohort that `keys` has and whose parents are there: the trained
        ones side by side, every other in the way of its kind."""
        jobs = [job for job in cohort.jobs if job.key in keys and self._is_ready(job)]
        trained = [job for job in jobs if isinstance(job, TrainedModule)]
        for job in jobs:
            if not isinstance(job, TrainedModule):
                self.make(job)
        if trained:
            self._train(cohort, trained)

    def _is_ready(self, job: ModuleJob) -> bool:
        """Whether everything is there that a job needs; where that has failed, it has, too."""
        failed = self.context.failed
        broken = next((parent for parent in job.parents if parent in failed), None)
        if broken:
            failed[job.key] = f"a module that it needs failed: {failed[broken]}"
            return False
        return all(self.store.has_module(parent) for parent in job.parents)

    # -- a way of making each ----------------------------------------------------------------------

    @singledispatchmethod
    def make(self, job: ModuleJob) -> None:
        """Makes a module that no steps are taken for."""
        raise TypeError(f"{type(job).__name__} is no kind of job that is made by itself")

    @make.register
    def _(self, job: RandomModule) -> None:
        self.session.clear()
        name = module_name(job.key)
        seed = derive(job.seed, "module", job.drawn)
        self.session.adapted.add(name, job.method, seed=seed, random=True)
        parameters = self.session.adapted.parameters(name)
        self._save(job, _encoder_tensors(parameters), {"score": None, "steps": 0})

    @make.register
    def _(self, job: BestOf) -> None:
        """The first of the best."""
        modules = [self.context.load(candidate.key) for candidate in job.candidates]
        best = max(modules, key=lambda module: module.manifest.metrics["score"])
        scores = {
            f"{module.manifest.training['learning_rate']:g}": module.manifest.metrics["score"]
            for module in modules
        }
        metrics = {
            **best.manifest.metrics,
            "chosen": best.manifest.training["learning_rate"],
            "tried": scores,
        }
        self._save(job, best.tensors, metrics)

    @make.register
    def _(self, job: MergedModule) -> None:
        """Its weights are searched first where they are to be."""
        self.callback.stage(f"merge {job.title}", costs.train_tokens(job, self.inputs))
        began = time.monotonic()
        expression = job.expression
        metrics: dict[str, Any] = {"score": None, "steps": 0}
        modules = {key: self.context.load(key) for key in names(expression)}
        if job.searched:
            self.session.clear(keep=[module_name(key) for key in modules])
            expression, metrics = merge.search(
                job,
                modules,
                merge.SelectionSplit(*self.inputs.searched(job.mixture)),
                self.session,
                tick=self.callback.tick,
            )
        unmerged = rename(expression, self.plan.unmerged)
        for key in names(unmerged):
            if key not in modules:
                modules[key] = self.context.load(key)
        joined = merge.join(job, modules, expression, unmerged=unmerged, files=self.inputs.files)
        metrics |= {
            "error": joined.record["errors"].get("all"),
            "lost": joined.record.get("lost", {}).get("all"),
            "seconds": round(time.monotonic() - began, 3),
        }
        self._save(job, joined.tensors, metrics, heads=joined.heads, merge_record=joined.record)
        self.callback.stage_done()

    def _train(self, cohort: TrainCohort, jobs: Sequence[TrainedModule]) -> None:
        """Trains modules of one cohort side by side, and keeps each."""
        tokens = sum(costs.train_tokens(job, self.inputs) for job in jobs)
        title = f"train {cohort.mixture.name}, seed {cohort.seed}, {len(jobs)} modules"
        self.callback.stage(title, tokens)
        began = time.monotonic()
        data = self.inputs.data(cohort.mixture)
        self._load_below(jobs)
        modules = [self._module_in_training(job) for job in jobs]
        untrained = {job.key: self._untrained_tensors(job) for job in jobs}
        depth = self.inputs.recipe.kept_depth(self.inputs.files.layers)
        logger = TrainingLogger(self.store, self.log, self.callback, [job.key for job in jobs])
        try:
            run = TrainingRun(
                settings=jobs[0].settings,
                adapted=self.session.adapted,
                fabric=self.context.fabric,
                seed=cohort.seed,
                steps=costs.steps(jobs[0], self.inputs),
                callback=logger,
                checkpointer=self.store,
                checkpoint_every=self.keep_every,
                trunk=self.session.kept_trunk(depth) if depth else None,
            )
            results = train(modules, data, run)
        finally:
            logger.close()
            # What is in the encoder now stands at its last step; whoever needs these modules takes
            # the stored ones, at their best step.
            self._keep_below(jobs)
        seconds = (time.monotonic() - began) / len(jobs)
        for job, result in zip(jobs, results, strict=True):
            if result.failed:
                self.context.failed[job.key] = result.failed
                self.callback.notify(f"{job.title}: {result.failed}")
            else:
                tensors = {**result.tensors, **untrained[job.key]}
                self._save(job, tensors, {**result.metrics, "seconds": round(seconds, 2)})
            self.store.forget(job.key)
        self.callback.stage_done()

    def _keep_below(self, jobs: Sequence[TrainedModule]) -> None:
        """Takes out of the encoder all but what jobs train above, beside or over."""
        self.session.clear(keep=[module_name(parent) for job in jobs for parent in job.below])

    def _load_below(self, jobs: Sequence[TrainedModule]) -> None:
        """Leaves in the encoder what jobs train above, beside or over, and nothing else."""
        self._keep_below(jobs)
        for parent in dict.fromkeys(parent for job in jobs for parent in job.below):
            self.context.load_into_encoder(parent)

    def _module_in_training(self, job: TrainedModule) -> ModuleInTraining:
        """A fresh or continued module in the encoder, with its heads."""
        adapted, name = self.session.adapted, module_name(job.key)
        start = self.context.load(job.start) if job.start else None
        # The same seed for every module of a mixture: they are paired in their start as in their
        # order of data.
        adapted.add(
            name,
            job.method,
            seed=derive(job.seed, "module", job.drawn),
            tensors=start.part("encoder") if start else None,
            over=tuple(module_name(part) for part in fusion_parts(job.context, job.key)),
        )
        setup = self.session.setup(job.context)
        parameters = adapted.trainable(name)
        heads = self._heads(job, start)
        return ModuleInTraining(job.key, job.title, setup, parameters, heads, job.learning_rate)

    def _heads(self, job: TrainedModule, start: Module | None) -> dict[str, nn.Module]:
        """A fresh head for each label space of a job's tasks."""
        modules: dict[str, nn.Module] = {}
        for task in job.mixture.tasks:
            name = space(task)
            if name not in modules:
                seed = derive(job.seed, "head", name)
                modules[name] = heads.for_task(task, [], self.session, seed=seed)
                if job.carry_pooler and start:
                    _carry_pooler(modules[name], start)
        return modules

    def _untrained_tensors(self, job: TrainedModule) -> dict[str, Tensor]:
        """What belongs to a module in the encoder and isn't trained."""
        adapted, name = self.session.adapted, module_name(job.key)
        trained = adapted.trainable(name)
        parameters = adapted.parameters(name)
        return _encoder_tensors(
            {path: value for path, value in parameters.items() if path not in trained}
        )

    # -- what is kept ------------------------------------------------------------------------------

    def _save(
        self,
        job: ModuleJob,
        tensors: dict[str, Tensor],
        metrics: dict[str, Any],
        *,
        heads: dict[str, dict[str, Any]] | None = None,
        merge_record: dict[str, Any] | None = None,
    ) -> None:
        for exposure in job.exposure:
            if exposure.data in self.plan.data:
                self.store.save_data_set(self.plan.data[exposure.data])
        files, tasks = self.inputs.files, job.mixture.tasks
        languages = (code for part in job.mixture.portions for code in part.languages)
        training = job.training_record(
            lengths={task.name: self.inputs.lengths(task.name).record() for task in tasks},
            precision=self.inputs.memory_plan.base,
        )
        manifest = Manifest(
            key=job.key,
            digest=tensors_digest(tensors),
            encoder=files.fingerprint,
            encoder_name=files.name,
            method=job.method.record(),
            trained_on=job.mixture.name,
            mixture=job.mixture.record(),
            heads=heads
            or {space(task): {"kind": task.kind, "labels": list(task.labels)} for task in tasks},
            languages=list(dict.fromkeys(languages)),
            seed=job.seed,
            context=show(job.context),
            role=job.title,
            exposure=[exposure.record() for exposure in job.exposure],
            metrics={
                **metrics,
                "headline": ", ".join(dict.fromkeys(task.main_score for task in tasks)),
            },
            training={**training, "machine": machine(self.context.fabric)},
            versions=versions(),
            chance=job.chance,
            merge=merge_record,
        )
        self.store.save_module(Module(manifest, tensors))


def _encoder_tensors(parameters: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """Copies of parameters in the encoder, named as a module's file names them."""
    return {
        f"encoder.{name}": parameter.detach().cpu().clone()
        for name, parameter in parameters.items()
    }


def _carry_pooler(head: nn.Module, start: Module) -> None:
    """Starts a head from an intermediate's pooler, where both have one."""
    tensors = start.part("head")
    carried = {
        name.partition(".")[2]: value for name, value in tensors.items() if ".pooler." in name
    }
    state = head.state_dict()
    if carried and all(name in state for name in carried):
        head.load_state_dict({**state, **carried})
