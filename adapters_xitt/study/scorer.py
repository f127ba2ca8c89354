"""Scores cells, those of one task and language side by side, and keeps each in the store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters_xitt import hashing
from adapters_xitt.data.dataset import Rows
from adapters_xitt.evaluation import predict
from adapters_xitt.evaluation.predict import Attention, Inference, Scored
from adapters_xitt.kinds import KINDS, decoding, heads
from adapters_xitt.kinds.record import HeadOutputs
from adapters_xitt.model.session import machine, module_name
from adapters_xitt.modules.composition import Composition, names
from adapters_xitt.modules.composition import heads as heads_of
from adapters_xitt.study import costs
from adapters_xitt.study.context import RunContext
from adapters_xitt.study.jobs import ScoreCohort, ScoreJob
from adapters_xitt.study.memory_plan import SCORING_TOKENS
from adapters_xitt.study.results import DONE, Result, versions
from adapters_xitt.tasks import Task
from adapters_xitt.training.memory import fit_groups

VECTORS = 2 * 2**30  # bytes of sentence vectors held at once
HELD = 8 * 2**30  # bytes of modules in the encoder at once, where no memory is named
Runnable = tuple[Composition, str]  # a composition, and the module whose head stands on top


class CellScorer:
    """Scores the cells of a plan. What ran in a task's last language stays in the encoder."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.plan, self.store, self.session = context.plan, context.store, context.session
        self.inputs, self.callback = context.plan.inputs, context.callback
        self._owner: tuple[Task, str | None] | None = None  # the task, over which full encoder
        self._ready: dict[Runnable, Scored] = {}

    def forget(self) -> None:
        """Takes nothing for granted that may be in the encoder."""
        self._owner, self._ready = None, {}

    def score(self, cohort: ScoreCohort, keys: set[str]) -> None:
        """Scores those cells of a cohort that `keys` has and no module of which has failed."""
        jobs = [job for job in cohort.jobs if not self._is_broken(job) and job.cell.key in keys]
        if not jobs:
            return
        self.callback.stage(
            f"score {cohort.task.name} in {cohort.language}, {len(jobs)} cells",
            sum(costs.score_tokens(job, self.inputs) for job in jobs),
        )
        # Sentence vectors of many compositions would not fit in memory at once.
        most = self._at_once(cohort) or len(jobs)
        for group in fit_groups(jobs, self._held_bytes, self._room, most=most):
            ready = self._load(cohort.task, group)
            scored = [ready[_runnable(job)] for job in group]
            self._score_group(cohort, group, scored)
        self.callback.stage_done()

    def _is_broken(self, job: ScoreJob) -> bool:
        """Whether a module of a cell has failed; the cell then has, too."""
        failed = self.context.failed
        broken = next((key for key in job.modules if key in failed), None)
        if broken:
            failed[job.cell.key] = f"a module failed: {failed[broken]}"
        return broken is not None

    # -- what is in the encoder --------------------------------------------------------------------

    def _held_bytes(self, job: ScoreJob) -> dict[str, int]:
        """What a cell's composition holds, by module."""
        return self.plan.held_bytes(job.modules)

    @property
    def _room(self) -> int:
        """Bytes that modules in the encoder may take together."""
        room = self.inputs.memory_plan.room
        return HELD if room is None else room

    def _load(self, task: Task, jobs: Sequence[ScoreJob]) -> dict[Runnable, Scored]:
        """What the jobs run, once it is in the encoder. What ran in the task's last language stays
        where there is room."""
        owner = task, self.plan.setup(jobs[0].composition).full  # a full encoder is there alone
        if self._owner != owner or not self._fits_beside(jobs):
            self._ready = {}
        self._owner = owner
        runnables = dict.fromkeys(_runnable(job) for job in jobs)
        new = [runnable for runnable in runnables if runnable not in self._ready]
        needed = dict.fromkeys(key for composition, _ in new for key in names(composition))
        staying = [key for composition, _ in self._ready for key in names(composition)]
        self.session.clear(keep=[module_name(key) for key in (*needed, *staying)])
        tops = dict.fromkeys(head for _, head in new if head)
        modules = {key: self.context.load(key) for key in (*needed, *tops)}
        for key in needed:
            self.session.add(modules[key], self.plan.train[key].method)
        for composition, head in new:
            owners = [modules[key] for key in ([head] if head else heads_of(composition))]
            self._ready[composition, head] = Scored(
                self.session.setup(composition),
                heads.for_task(task, owners, self.session, pooling=self.inputs.pooling(task.name)),
            )
        return self._ready

    def _fits_beside(self, jobs: Sequence[ScoreJob]) -> bool:
        """Whether jobs fit into the encoder beside what is there."""
        keys = [key for job in jobs for key in job.modules]
        for composition, head in self._ready:
            keys += [*names(composition), *([head] if head else [])]
        return sum(self.plan.held_bytes(keys).values()) <= self._room

    # -- scores ------------------------------------------------------------------------------------

    def _score_group(
        self, cohort: ScoreCohort, jobs: Sequence[ScoreJob], scored: Sequence[Scored]
    ) -> None:
        """Scores compositions side by side, and keeps each cell."""
        task, language, adapted = cohort.task, cohort.language, self.session.adapted
        test, *fitting = cohort.tested
        began = time.monotonic()
        scored = [
            replace(form, attention=Attention()) if adapted.attends(form.setup) else form
            for form in scored
        ]
        outputs = self._outputs(task, test, jobs, scored)
        fits: list[HeadOutputs | None] = [None] * len(jobs)
        for fit in fitting:
            fits = [
                HeadOutputs(task, language, fit.rows, self.inputs.features(fit), fitted)
                for fitted in self._outputs(task, fit, jobs, scored)
            ]
        seconds = round((time.monotonic() - began) / len(jobs), 3)
        features = self.inputs.features(test)
        for job, form, output, fitted in zip(jobs, scored, outputs, fits, strict=True):
            predictions = decoding.decode(
                HeadOutputs(task, language, test.rows, features, output, fitted)
            )
            result = Result(
                cell=job.cell,
                status=DONE,
                scores=predictions.scores,
                headline=task.main_score,
                examples=len(test.rows),
                skipped=dict(test.skipped),
                tag=job.tag,
                overlap=job.overlap,
                truncated=KINDS[task.kind].truncated(test.rows, features),
                predictions=self.store.predictions_digest(predictions.items, predictions.arrays),
                **self._fusion_weights(job, form),
                provenance={
                    "versions": versions(),
                    **machine(self.context.fabric),
                    "tokens": self._batch_tokens,
                    "file": str(test.file),
                    "seconds": seconds,
                    "modules": self._digests(job),
                },
            )
            self.store.save_result(result, predictions.items, predictions.arrays)

    @property
    def _batch_tokens(self) -> int:
        """Tokens of a scoring batch: where memory is short, no more than a training step takes."""
        return SCORING_TOKENS if self.plan.recipe.memory is None else self.inputs.memory_plan.tokens

    def _digests(self, job: ScoreJob) -> dict[str, str]:
        """The digest of every module that takes part in a cell, by key."""
        return {key: self.store.manifest(key).digest for key in job.modules}

    def _at_once(self, cohort: ScoreCohort) -> int:
        """Compositions whose vectors for a retrieval test fit in `VECTORS` together, one at least;
        0: no limit."""
        if cohort.task.trains:
            return 0
        features = sum(len(self.inputs.features(rows)) for rows in cohort.tested)
        return max(1, VECTORS // (4 * features * self.inputs.files.width))

    def _outputs(
        self, task: Task, rows: Rows, jobs: Sequence[ScoreJob], scored: Sequence[Scored]
    ) -> list[list[NDArray]]:
        """What each composition gives for each feature of `rows`; sentence vectors are kept, and
        read again."""
        features = self.inputs.features(rows)
        kept: dict[int, NDArray] = {}
        names = [] if task.trains else [self._embeddings_key(rows, job) for job in jobs]
        for index, name in enumerate(names):
            if scored[index].attention is None:  # which is collected while the vectors are made
                vectors = self.store.load_embeddings(name)
                if vectors is not None and len(vectors) == len(features):
                    kept[index] = vectors
        missing = [index for index in range(len(jobs)) if index not in kept]
        new: dict[int, list[NDArray]] = {}
        if missing:
            outputs = predict.outputs(
                [scored[index] for index in missing],
                features,
                task.kind,
                Inference(
                    self.session.adapted,
                    self.context.fabric,
                    self._batch_tokens,
                    self.inputs.layer(task.name),
                    self.callback.tick,
                ),
            )
            new = dict(zip(missing, outputs, strict=True))
        if not task.trains:
            for index, sentences in new.items():
                self.store.save_embeddings(names[index], np.stack(sentences))
        return [list(kept[index]) if index in kept else new[index] for index in range(len(jobs))]

    def _embeddings_key(self, rows: Rows, job: ScoreJob) -> str:
        """Under which the sentence vectors of `rows` are kept: those that this run would make, to
        the bit."""
        return hashing.key(
            "embeddings",
            {
                "encoder": job.cell.encoder,
                "composition": job.cell.composition,
                "rows": rows.digest,
                "lengths": job.cell.lengths,
                "convention": job.cell.convention,
                "precision": job.cell.precision,
                "modules": self._digests(job),
                "versions": versions(),
                "tokens": self._batch_tokens,
                "machine": machine(self.context.fabric),
            },
        )

    def _fusion_weights(self, job: ScoreJob, scored: Scored) -> dict[str, Any]:
        """How a fusion weighted its parts, as fields of the result."""
        if not scored.setup.fusion:
            return {}
        *parts, _ = names(job.composition)
        if scored.attention:
            return {"parts": parts, "weights": scored.attention.mean()}
        parameters = self.session.adapted.parameters(scored.setup.fusion)
        return {"parts": parts, "weights": parameters["weights"].tolist()}


def _runnable(job: ScoreJob) -> Runnable:
    return job.composition, job.cell.head
