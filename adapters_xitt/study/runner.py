"""Runs a plan: trains what is missing, scores what is missing, each piece kept the moment it is
whole."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from adapters_xitt import hashing
from adapters_xitt.data import truncation
from adapters_xitt.data.dataset import Rows
from adapters_xitt.data.features import Features
from adapters_xitt.data.mixture import space
from adapters_xitt.evaluation import predict
from adapters_xitt.evaluation.predict import Attention, Scored
from adapters_xitt.hashing import tensors_digest
from adapters_xitt.kinds import decode, heads
from adapters_xitt.kinds.decode import Said
from adapters_xitt.model.session import ModelSession, machine, mounted
from adapters_xitt.modules import composition as compose
from adapters_xitt.modules import serialization
from adapters_xitt.modules.composition import Composition
from adapters_xitt.progress import Silent
from adapters_xitt.study import memory_plan
from adapters_xitt.study import merge as merging
from adapters_xitt.study.jobs import Plan, ScoreCohort, ScoreJob, TrainCohort, TrainJob
from adapters_xitt.study.queue import FAILURES, Queue
from adapters_xitt.study.results import DONE, Result, versions
from adapters_xitt.study.store import Store
from adapters_xitt.study.training_log import TrainingLogger, check_log
from adapters_xitt.tasks import Task
from adapters_xitt.training import loop, memory, sampler

VECTORS = 2 * 2**30  # bytes of sentence vectors held at once
MOUNTED = 8 * 2**30  # bytes of modules mounted for scoring at once, where no memory is named
SCORING_TOKENS = 8192  # tokens of a scoring batch: no graph is kept


class Runner:
    """One plan on one store."""

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
        self.plan, self.store, self.fabric = plan, store, fabric
        self.callback, self.log, self.keep_every = callback or Silent(), log, keep_every
        self.inputs = plan.inputs
        self.session = ModelSession(
            self.inputs.files,
            fabric,
            lambda: memory_plan.loading(self.inputs.means, self._read),
        )
        self.queue = Queue(plan, store, self.callback, self._renew)
        self.failed = self.queue.failed  # job key -> reason
        # What is mounted for scoring: of which task, over which full encoder; composition, whose
        # head -> what runs.
        self._standing: tuple[
            tuple[Task, str | None] | None, dict[tuple[Composition, str], Scored]
        ] = (None, {})

    def _read(self) -> list[Features]:
        """Everything that the encoder is to read in this run."""
        mixtures = dict.fromkeys(
            job.mixture
            for job in self.plan.train.values()
            if job.trains and not self.store.has_module(job.key)
        )
        tests = {(job.task.name, job.cell.language) for job in self.plan.score.values()}
        return [
            *memory_plan.features_read(self.inputs, list(mixtures), []),
            *(
                self.inputs.features(rows)
                for test in sorted(tests)
                for rows in self.inputs.tested(*test)
            ),
        ]

    def run(self) -> None:
        """Trains and scores until the store answers every job; waits for what another process is
        at."""
        self.store.sweep()
        modules, cells = self.plan.missing(self.store.has_module, self.store.has_result)
        work = sum(map(self.plan.train_tokens, modules)) + sum(map(self.plan.score_tokens, cells))
        self.callback.begin(self.plan.recipe.name, work)
        try:
            wanted = {job.key for job in modules}
            cohorts = [
                cohort
                for cohort in self.plan.train_cohorts()
                if wanted & {job.key for job in cohort.jobs}
            ]
            self.queue.work_off(
                cohorts,
                lambda cohort: [job.key for job in cohort.jobs if job.key in wanted],
                self.store.has_module,
                self._train,
            )
            self._standing = (None, {})
            self.queue.work_off(
                self.plan.score_cohorts(),
                lambda cohort: [job.cell.key for job in cohort.jobs],
                self.store.has_result,
                self._score,
            )
        finally:
            self.callback.end()

    def train_only(self, keys: Sequence[str]) -> None:
        """Trains these modules where the store lacks them."""
        cohorts = [
            cohort
            for cohort in self.plan.train_cohorts()
            if {job.key for job in cohort.jobs} & set(keys)
        ]
        todo = [self.plan.train[key] for key in keys if not self.store.has_module(key)]
        self.callback.begin("training", sum(map(self.plan.train_tokens, todo)))
        try:
            self.queue.work_off(
                cohorts,
                lambda cohort: [job.key for job in cohort.jobs if job.key in keys],
                self.store.has_module,
                self._train,
            )
        finally:
            self.callback.end()

    def _renew(self, error: Exception) -> None:
        """Lets go of an encoder in which something broke; one that can't be loaded is no job's
        failure."""
        if error is self.session.unusable:
            raise error
        self.session.renew()
        self._standing = (None, {})

    def _load(self, key: str, *, mount: bool = False) -> serialization.Module:
        """A stored module, put into the encoder where it is to `mount`; one that can't be has
        failed, and with it all that needs it."""
        try:
            module = self.store.load_module(key)
            if mount:
                self.session.put(module, self.plan.train[key].method)
        except FAILURES as error:
            self.queue.fail(key, error)
            raise
        return module

    # -- training ----------------------------------------------------------------------------------

    def _train(self, cohort: TrainCohort, mine: set[str]) -> None:
        ready = []
        for job in [job for job in cohort.jobs if job.key in mine]:
            broken = next((parent for parent in job.parents if parent in self.failed), None)
            if broken:
                self.failed[job.key] = f"a module that it needs failed: {self.failed[broken]}"
            elif all(self.store.has_module(parent) for parent in job.parents):
                ready.append(job)
        for job in ready:
            if job.candidates:
                self._choose(job)
            elif job.merged is not None:
                self._join(job)
            elif not job.trains:
                self._draw(job)
        ready = [job for job in ready if job.trains]
        if ready:
            self._train_rows(cohort, ready)

    def _train_rows(self, cohort: TrainCohort, ready: Sequence[TrainJob]) -> None:
        """Trains modules of one cohort side by side, and keeps each."""
        self.callback.stage(
            f"train {cohort.mixture.name}, seed {cohort.seed}, {len(ready)} modules",
            sum(map(self.plan.train_tokens, ready)),
        )
        began = time.monotonic()
        data = self.inputs.data(cohort.mixture)
        rows = [self._row(job) for job in self._making_room(ready)]
        extras = {job.key: self._frozen(job) for job in ready}
        logger = TrainingLogger(self.store, self.log, self.callback, rows)
        try:
            trained = loop.train(
                rows,
                data,
                ready[0].settings,
                adapted=self.session.adapted,
                fabric=self.fabric,
                seed=cohort.seed,
                total=self.plan.steps(ready[0]),
                checkpointer=self.store,
                callback=logger,
                keep_every=self.keep_every,
            )
        finally:
            logger.close()
            # What is mounted now stands at its last step; whoever needs these modules takes the
            # stored ones, at their best step.
            self.session.clear(keep=[mounted(parent) for job in ready for parent in job.below])
        seconds = time.monotonic() - began
        for job, result in zip(ready, trained, strict=True):
            if result.failed:
                self.failed[job.key] = result.failed
                self.callback.say(f"{job.title}: {result.failed}")
            else:
                self._save(
                    job,
                    {**result.tensors, **extras[job.key]},
                    {**result.metrics, "seconds": round(seconds / len(ready), 2)},
                )
            self.store.forget(job.key)
        self.callback.stage_done()

    def _making_room(self, jobs: Sequence[TrainJob]) -> Sequence[TrainJob]:
        """The jobs, once the encoder holds what they stand on and nothing else."""
        self.session.clear(keep=[mounted(parent) for job in jobs for parent in job.below])
        for parent in dict.fromkeys(parent for job in jobs for parent in job.below):
            self._load(parent, mount=True)
        return jobs

    def _row(self, job: TrainJob) -> loop.Row:
        """A fresh or continued module in the encoder, with its heads."""
        session = self.session
        start = self._load(job.start) if job.start else None
        name = mounted(job.key)
        # The same seed for every row of a mixture: rows are paired in their start as in their order
        # of data.
        session.adapted.mount(
            name,
            job.method,
            seed=sampler.derive(job.seed, "module", job.drawn),
            tensors=start.part("encoder") if start else None,
            over=tuple(mounted(part) for part in compose.fused(job.context, job.key)),
        )
        found = {}
        for task in job.mixture.tasks:
            if space(task) not in found:
                head = heads.trained(
                    task, [], session, seed=sampler.derive(job.seed, "head", space(task))
                )
                if job.carry_pooler and start:
                    _carry_pooler(head, start)
                found[space(task)] = head
        return loop.Row(
            job.key,
            job.title,
            session.setup(job.context),
            session.adapted.trainable(name),
            found,
            job.learning_rate,
        )

    def _frozen(self, job: TrainJob) -> dict[str, torch.Tensor]:
        """What belongs to a mounted module and isn't trained."""
        adapted, name = self.session.adapted, mounted(job.key)
        trained = adapted.trainable(name)
        return {
            f"encoder.{own}": value.detach().cpu().clone()
            for own, value in adapted.parameters(name).items()
            if own not in trained
        }

    def _draw(self, job: TrainJob) -> None:
        """The random module of the capacity control."""
        self.session.clear()
        name = mounted(job.key)
        self.session.adapted.mount(
            name, job.method, seed=sampler.derive(job.seed, "module", job.drawn), random=True
        )
        tensors = {
            f"encoder.{own}": value.detach().cpu().clone()
            for own, value in self.session.adapted.parameters(name).items()
        }
        self._save(job, tensors, {"score": None, "steps": 0})

    def _choose(self, job: TrainJob) -> None:
        """The candidate with the best selection score; the first of equals."""
        tried = [self._load(key) for key in job.candidates]
        best = max(tried, key=lambda module: module.manifest.metrics["score"])
        metrics = {
            **best.manifest.metrics,
            "chosen": best.manifest.training["learning_rate"],
            "tried": {
                f"{module.manifest.training['learning_rate']:g}": module.manifest.metrics["score"]
                for module in tried
            },
        }
        self._save(job, best.tensors, metrics)

    def _join(self, job: TrainJob) -> None:
        """A module put together from others, its weights searched first where they are to be."""
        self.callback.stage(f"merge {job.title}", self.plan.train_tokens(job))
        written, metrics, began = job.merged, {"score": None, "steps": 0}, time.monotonic()
        modules = {key: self._load(key) for key in compose.names(written)}
        if compose.untrained(job.merged):
            self.session.clear(keep=[mounted(key) for key in modules])
            written, metrics = merging.search(
                job,
                modules,
                *self.inputs.searched(job.mixture),
                session=self.session,
                fabric=self.fabric,
                tokens=SCORING_TOKENS,
                tick=self.callback.tick,
            )
        meant = compose.rename(written, self.plan.meant)
        modules |= {key: self._load(key) for key in compose.names(meant) if key not in modules}
        joined = merging.join(
            job,
            modules,
            written,
            meant=meant,
            layers=self.inputs.files.layers,
            width=self.inputs.files.width,
        )
        metrics |= {
            "error": joined.record["errors"].get("all"),
            "lost": joined.record.get("lost", {}).get("all"),
            "seconds": round(time.monotonic() - began, 3),
        }
        self._save(job, joined.tensors, metrics, heads=joined.heads, merge=joined.record)
        self.callback.stage_done()

    def _save(
        self,
        job: TrainJob,
        tensors: dict[str, torch.Tensor],
        metrics: dict[str, Any],
        *,
        heads: dict[str, dict[str, Any]] | None = None,
        merge: dict[str, Any] | None = None,
    ) -> None:
        for exposure in job.exposure:
            if exposure.data in self.plan.data:
                self.store.save_data_set(self.plan.data[exposure.data])
        rows = job.mixture.tasks
        manifest = serialization.Manifest(
            key=job.key,
            digest=tensors_digest(tensors),
            encoder=self.inputs.files.fingerprint,
            encoder_name=self.inputs.files.name,
            method=job.method.record(),
            trained_on=job.mixture.name,
            mixture=job.mixture.record(),
            heads=heads
            or {space(row): {"kind": row.kind, "labels": list(row.labels)} for row in rows},
            languages=list(
                dict.fromkeys(code for part in job.mixture.portions for code in part.languages)
            ),
            seed=job.seed,
            context=compose.show(job.context),
            role=job.title,
            exposure=[exposure.record() for exposure in job.exposure],
            metrics={**metrics, "headline": ", ".join(dict.fromkeys(row.headline for row in rows))},
            training={
                **job.settings.record(),
                "learning_rate": job.learning_rate,
                "lengths": {row.name: self.inputs.lengths(row.name).record() for row in rows},
                "precision": self.inputs.means.base,
                "start": job.start,
                "below": list(job.below),
                "candidates": list(job.candidates),
                "carry_pooler": job.carry_pooler,
                "drawn": job.drawn,
                "born": job.init_fingerprint,
                "machine": machine(self.fabric),
            },
            versions=versions(),
            chance=job.chance,
            merge=merge,
        )
        self.store.save_module(serialization.Module(manifest, tensors))

    # -- scoring -----------------------------------------------------------------------------------

    def _score(self, cohort: ScoreCohort, mine: set[str]) -> None:
        jobs = []
        for job in cohort.jobs:
            broken = next(
                (
                    key
                    for key in (*compose.names(job.composition), job.cell.head)
                    if key in self.failed
                ),
                None,
            )
            if broken:
                self.failed[job.cell.key] = f"a module failed: {self.failed[broken]}"
            elif job.cell.key in mine:
                jobs.append(job)
        if not jobs:
            return
        self.callback.stage(
            f"score {cohort.task.name} in {cohort.language}, {len(jobs)} cells",
            sum(map(self.plan.score_tokens, jobs)),
        )
        # Sentence vectors of many compositions would not fit in memory at once.
        most = self._at_once(cohort.task, cohort.language) or len(jobs)
        for some in memory.fitting(jobs, self.plan.scored_bytes, self._room, most=most):
            scored = self._mount(cohort, some)
            self._score_some(cohort, some, [scored[job.composition, job.cell.head] for job in some])
        self.callback.stage_done()

    def _mount(
        self, cohort: ScoreCohort, jobs: Sequence[ScoreJob]
    ) -> dict[tuple[Composition, str], Scored]:
        """What the jobs run, by composition and the module whose head stands on top where that is
        named. What ran in the task's last language stays."""
        session, task = self.session, cohort.task
        full = self.plan.setup(jobs[0].composition).full  # mounted alone
        ready = self._standing[1] if self._standing[0] == (task, full) else {}
        standing = {
            key
            for composition, own in ready
            for key in (*compose.names(composition), *([own] if own else []))
        }
        held = self.plan.held_bytes(standing)
        for job in jobs:
            held |= self.plan.scored_bytes(job)
        if sum(held.values()) > self._room:
            ready = {}
        self._standing = ((task, full), ready)
        new = [job for job in jobs if (job.composition, job.cell.head) not in ready]
        needed = list(dict.fromkeys(key for job in new for key in compose.names(job.composition)))
        session.clear(
            keep=[
                mounted(key)
                for key in [*needed, *(key for one, _ in ready for key in compose.names(one))]
            ]
        )
        loaded = {
            key: self._load(key)
            for key in dict.fromkeys([*needed, *(job.cell.head for job in new if job.cell.head)])
        }
        for key in needed:
            session.put(loaded[key], self.plan.train[key].method)
        for composition, own in dict.fromkeys((job.composition, job.cell.head) for job in new):
            tops = [own] if own else compose.heads(composition)
            head = heads.trained(
                task, [loaded[key] for key in tops], session, pooling=self.inputs.pooling(task.name)
            )
            ready[composition, own] = Scored(session.setup(composition), head)
        return ready

    def _score_some(
        self, cohort: ScoreCohort, jobs: Sequence[ScoreJob], scored: Sequence[Scored]
    ) -> None:
        """Scores compositions side by side, and keeps each cell."""
        language = cohort.language
        rows = self.inputs.test(cohort.task.name, language)
        features, began = self.inputs.features(rows), time.monotonic()
        adapted = self.session.adapted
        scored = [
            replace(one, attention=Attention()) if adapted.attends(one.setup) else one
            for one in scored
        ]
        said = self._said(cohort.task, rows, jobs, scored)
        fit = self.inputs.fit(cohort.task.name, language)
        fits: list[Said | None] = (
            [None] * len(jobs)
            if fit is None
            else [
                Said(cohort.task, language, fit.rows, self.inputs.features(fit), spoken)
                for spoken in self._said(cohort.task, fit, jobs, scored)
            ]
        )
        seconds = (time.monotonic() - began) / len(jobs)
        for job, one, spoken, fitted in zip(jobs, scored, said, fits, strict=True):
            found = decode.decode(Said(cohort.task, language, rows.rows, features, spoken, fitted))
            self.store.save_result(
                Result(
                    cell=job.cell,
                    status=DONE,
                    scores=found.scores,
                    headline=cohort.task.headline,
                    examples=len(rows.rows),
                    skipped=dict(rows.skipped),
                    tag=job.tag,
                    overlap=job.overlap,
                    truncated=truncation.losses(cohort.task.kind, rows.rows, features),
                    predictions=self.store.predictions_digest(found.items, found.arrays),
                    **self._fused(job, one),
                    provenance={
                        "versions": versions(),
                        **machine(self.fabric),
                        "tokens": self._scoring_tokens,
                        "file": str(rows.file),
                        "seconds": round(seconds, 3),
                        "modules": self._digests(job),
                    },
                ),
                found.items,
                found.arrays,
            )

    @property
    def _room(self) -> int:
        """Bytes that modules mounted for scoring may take together."""
        room = self.inputs.means.room
        return MOUNTED if room is None else room

    @property
    def _scoring_tokens(self) -> int:
        """Tokens of a scoring batch: where memory is short, no more than a training step takes."""
        return SCORING_TOKENS if self.plan.recipe.memory is None else self.inputs.means.tokens

    def _digests(self, job: ScoreJob) -> dict[str, str]:
        """The digest of every module that takes part in a cell, by key."""
        keys = [*compose.names(job.composition), *([job.cell.head] if job.cell.head else [])]
        return {key: self.store.manifest(key).digest for key in keys}

    def _at_once(self, task: Task, language: str) -> int:
        """Compositions whose vectors for a retrieval test fit in `VECTORS` together, one at least;
        0: no limit."""
        if task.trains:
            return 0
        features = sum(
            len(self.inputs.features(rows)) for rows in self.inputs.tested(task.name, language)
        )
        return max(1, VECTORS // (4 * features * self.inputs.files.width))

    def _said(
        self, task: Task, rows: Rows, jobs: Sequence[ScoreJob], scored: Sequence[Scored]
    ) -> list[list[NDArray]]:
        """What each composition says of each unit of `rows`; sentence vectors are kept, and found
        again."""
        features, kept = self.inputs.features(rows), {}
        if not task.trains:
            names = [
                hashing.key(
                    "embeddings",
                    {
                        "encoder": job.cell.encoder,
                        "composition": job.cell.composition,
                        "rows": rows.digest,
                        "lengths": job.cell.lengths,
                        "convention": job.cell.convention,
                        "precision": job.cell.precision,
                        # Kept vectors are those that this run would make, to the bit.
                        "modules": self._digests(job),
                        "versions": versions(),
                        "tokens": self._scoring_tokens,
                        "machine": machine(self.fabric),
                    },
                )
                for job in jobs
            ]
            kept = {
                at: found
                for at, name in enumerate(names)
                if scored[at].attention is None  # which is collected while the vectors are made
                and (found := self.store.load_embeddings(name)) is not None
                and len(found) == len(features)
            }
        left = [at for at in range(len(jobs)) if at not in kept]
        said = (
            predict.say(
                self.session.adapted,
                [scored[at] for at in left],
                features,
                task.kind,
                fabric=self.fabric,
                tokens=self._scoring_tokens,
                stop=self.inputs.layer(task.name),
                tick=self.callback.tick,
            )
            if left
            else []
        )
        if not task.trains:
            for at, found in zip(left, said, strict=True):
                self.store.save_embeddings(names[at], np.stack(found))
        return [list(kept[at]) if at in kept else said[left.index(at)] for at in range(len(jobs))]

    def _fused(self, job: ScoreJob, scored: Scored) -> dict[str, Any]:
        """How a fusion weighted its parts, as fields of the result."""
        if not scored.setup.fusion:
            return {}
        *parts, _ = compose.names(job.composition)
        weights = (
            scored.attention.mean()
            if scored.attention
            else self.session.adapted.parameters(scored.setup.fusion)["weights"].tolist()
        )
        return {"parts": parts, "weights": weights}


def _carry_pooler(head: torch.nn.Module, start: serialization.Module) -> None:
    """Starts a head from an intermediate's pooler, where both have one."""
    poolers = (name for name in start.part("head") if ".pooler." in name)
    carried = {name.partition(".")[2]: start.part("head")[name] for name in poolers}
    own = head.state_dict()
    if carried and all(name in own for name in carried):
        head.load_state_dict({**own, **carried})
