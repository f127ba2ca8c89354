"""Runs a plan: trains what is missing, scores what is missing, each piece kept the moment it is whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from adapters_xitt import compose, encoder, evaluate, formats, heads, records, train
from adapters_xitt.compose import Composition
from adapters_xitt.digests import tensors_digest
from adapters_xitt.errors import XittError
from adapters_xitt.evaluate import Scored
from adapters_xitt.lower import Lowered, Rig, lower
from adapters_xitt.material import ENGLISH
from adapters_xitt.plan import Plan, ScoreCohort, ScoreJob, TrainCohort, TrainJob, missing
from adapters_xitt.progress import Silent
from adapters_xitt.records import DONE, Result
from adapters_xitt.store import Store

PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed"}  # bf16: frozen weights in bf16, modules and moments in fp32
SCORING_TOKENS = 8192  # tokens of a scoring batch: no graph is kept


def make_fabric(device: str, precision: str) -> Fabric:
    """One device: auto, cpu, cuda or mps."""
    if precision not in PRECISIONS:
        raise XittError(f"precision {precision!r}: one of {', '.join(PRECISIONS)}")
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if device in there and not there[device]():
        raise XittError(f"device {device!r}: torch {torch.__version__} finds none on this machine; "
                        "`xitt doctor` says what it sees")
    return Fabric(accelerator=device, devices=1, precision=PRECISIONS[precision])


class Bench:
    """The encoder on its device with the modules a cohort needs; built when the first job needs it."""

    def __init__(self, files: encoder.EncoderFiles, fabric: Fabric, store: Store, precision: str) -> None:
        self.files, self.fabric, self.store = files, fabric, store
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self._rig: Rig | None = None

    @property
    def rig(self) -> Rig:
        if self._rig is None:
            loaded = encoder.load(self.files, dtype=self.dtype)
            loaded.model.to(self.fabric.device)
            self._rig = Rig(loaded)
        return self._rig

    def clear(self, keep: Iterable[str] = ()) -> None:
        """Takes out every module but those in `keep`."""
        for name in [name for name in self.rig.methods if name not in set(keep)]:
            self.rig.unmount(name)

    def put(self, module: formats.Module, choice: Any) -> None:
        """Mounts a stored module, once; it must have been made for this very encoder."""
        manifest, name = module.manifest, mounted(module.manifest.key)
        if manifest.encoder != self.files.fingerprint:
            raise XittError(f"module {manifest.key[:12]} was made for the encoder {manifest.encoder_name} "
                            f"({manifest.encoder[:12]}), this one is {self.files.name} ({self.files.fingerprint[:12]})")
        if name not in self.rig.methods:
            self.rig.mount(name, choice, tensors=module.part("encoder"))

    def lowered(self, composition: Composition) -> Lowered:
        """The form of a composition over module keys."""
        named = compose.rename(composition, lambda key: compose.Part(mounted(key)))
        return lower(named, self.rig.methods, self.files.layers)

    def head(self, kind: str, labels: Sequence[str], module: formats.Module | None, *, seed: int = 0
             ) -> torch.nn.Module:
        """A module's head, or a fresh one."""
        head = heads.build(kind, self.rig.encoder, len(labels), seed=seed)
        if module is not None and kind != "retrieval":
            stored, own = module.part("head"), head.state_dict()
            if {name: value.shape for name, value in stored.items()} != {name: own[name].shape for name in own}:
                raise XittError(f"module {module.manifest.key[:12]} ({module.manifest.role}): its head doesn't fit "
                                f"kind {kind!r} with labels {' '.join(labels) or '(none)'}")
            head.load_state_dict(stored)
        return head.to(self.fabric.device)


def mounted(key: str) -> str:
    """The name of a module in the encoder: short, and never the name of a layer."""
    return f"m{key[:24]}"


class Runner:
    """One plan on one store."""

    def __init__(self, plan: Plan, store: Store, fabric: Fabric, *, watch: Silent | None = None, log: str = "csv",
                 keep_every: float = 60.0) -> None:
        self.plan, self.store, self.fabric = plan, store, fabric
        self.watch, self.log, self.keep_every = watch or Silent(), log, keep_every
        self.material = plan.material
        self.bench = Bench(self.material.files, fabric, store, plan.recipe.precision)
        self.failed: dict[str, str] = {}  # job key -> reason

    def run(self) -> None:
        """Trains and scores until the store answers every job; waits for what another process is at."""
        self.store.sweep()
        modules, cells = missing(self.plan, self.store.has_module, self.store.has_result)
        work = sum(map(self.plan.train_tokens, modules)) + sum(map(self.plan.score_tokens, cells))
        self.watch.begin(self.plan.recipe.name, work)
        try:
            wanted = {job.key for job in modules}
            self._each([cohort for cohort in self.plan.train_cohorts() if wanted & {job.key for job in cohort.jobs}],
                       lambda cohort: [job.key for job in cohort.jobs if job.key in wanted],
                       self.store.has_module, self._train)
            self._each(self.plan.score_cohorts(), lambda cohort: [job.cell.key for job in cohort.jobs],
                       self.store.has_result, self._score)
        finally:
            self.watch.end()

    def train_only(self, keys: Sequence[str]) -> None:
        """Trains these modules where the store lacks them."""
        cohorts = [cohort for cohort in self.plan.train_cohorts() if {job.key for job in cohort.jobs} & set(keys)]
        todo = [self.plan.train[key] for key in keys if not self.store.has_module(key)]
        self.watch.begin("training", sum(map(self.plan.train_tokens, todo)))
        try:
            self._each(cohorts, lambda cohort: [job.key for job in cohort.jobs if job.key in keys],
                       self.store.has_module, self._train)
        finally:
            self.watch.end()

    def _each(self, cohorts: Sequence[Any], keys: Callable[[Any], list[str]], done: Callable[[str], bool],
              work: Callable[[Any, set[str]], None]) -> None:
        """Works off cohorts in order, each under the locks of its missing jobs; another process's jobs come last."""
        left, told = list(cohorts), False
        while left:
            waiting = []
            for cohort in left:
                todo = [key for key in keys(cohort) if not done(key) and key not in self.failed]
                with self.store.claim(todo) as held:
                    mine = {key for key in held if not done(key)}
                    if mine:
                        work(cohort, mine)
                if any(not done(key) and key not in self.failed for key in keys(cohort)):
                    waiting.append(cohort)
            if waiting and len(waiting) == len(left):
                if not told:
                    self.watch.say("waiting for another process that works in this store")
                    told = True
                time.sleep(0.5)
            left = waiting

    # -- training ------------------------------------------------------------------------------------------------

    def _train(self, cohort: TrainCohort, mine: set[str]) -> None:
        jobs = [job for job in cohort.jobs if job.key in mine]
        ready = []
        for job in jobs:
            broken = next((parent for parent in job.parents if parent in self.failed), None)
            if broken:
                self.failed[job.key] = f"its intermediate module failed: {self.failed[broken]}"
            elif all(self.store.has_module(parent) for parent in job.parents):
                ready.append(job)
        if not ready:
            return
        self.watch.stage(f"train {cohort.task.name}, seed {cohort.seed}, {len(ready)} modules",
                         sum(map(self.plan.train_tokens, ready)))
        began = time.monotonic()
        train_rows, selection = self.material.train(cohort.task.name), self.material.selection(cohort.task.name)
        data = train.Data(cohort.task, self.material.units(train_rows), self.material.units(selection), selection.rows)
        rows = self._rows(ready)
        journal = Journal(self.store, self.log, self.watch, rows)
        try:
            trained = train.train(rows, data, ready[0].settings, rig=self.bench.rig, fabric=self.fabric,
                                  seed=cohort.seed, keeper=self.store, watch=journal, keep_every=self.keep_every)
        finally:
            journal.close()
            # What is mounted now stands at its last step; whoever needs these modules takes the stored ones, at their
            # best step.
            self.bench.clear(keep=[mounted(parent) for job in ready for parent in job.below])
        seconds = time.monotonic() - began
        for job, result in zip(ready, trained, strict=True):
            if result.failed:
                self.failed[job.key] = result.failed
                self.watch.say(f"{job.title}: {result.failed}")
            else:
                self._save(job, result, seconds / len(ready))
            self.store.forget(job.key)
        self.watch.stage_done()

    def _rows(self, jobs: Sequence[TrainJob]) -> list[train.Row]:
        """Fresh or continued modules in the encoder, beside the frozen ones they train with."""
        bench = self.bench
        bench.clear(keep=[mounted(parent) for job in jobs for parent in job.below])
        rows = []
        for job in jobs:
            for parent in job.below:
                bench.put(self.store.load_module(parent), self.plan.train[parent].method)
            start = self.store.load_module(job.start) if job.start else None
            name = mounted(job.key)
            # The same seed for every row of a task: rows are paired in their start as in their order of data.
            bench.rig.mount(name, job.method, seed=train.derive(job.seed, "module", job.task.name),
                            tensors=start.part("encoder") if start else None)
            head = bench.head(job.task.kind, job.task.labels, None, seed=train.derive(job.seed, "head", job.task.name))
            if job.carry_pooler and start:
                _carry_pooler(head, start)
            rows.append(train.Row(job.key, job.title, bench.lowered(job.context), bench.rig.parameters(name), head,
                                  job.learning_rate))
        return rows

    def _save(self, job: TrainJob, result: train.Trained, seconds: float) -> None:
        for exposure in job.exposure:
            if exposure.data in self.plan.data:
                self.store.save_data_set(self.plan.data[exposure.data])
        manifest = formats.Manifest(
            key=job.key, digest=tensors_digest(result.tensors), encoder=self.material.files.fingerprint,
            encoder_name=self.material.files.name, method=job.method.record(), task=job.task.name,
            labels=list(job.task.labels), kind=job.task.kind, languages=[ENGLISH], seed=job.seed,
            context=compose.show(job.context), role=job.title,
            exposure=[exposure.record() for exposure in job.exposure],
            metrics={**result.metrics, "headline": job.task.headline, "seconds": round(seconds, 2)},
            training={**job.settings.record(), **job.lengths.record(), "learning_rate": job.learning_rate,
                      "precision": self.plan.recipe.precision, "start": job.start, "below": list(job.below),
                      "carry_pooler": job.carry_pooler},
            versions=records.versions(), chance=job.chance)
        self.store.save_module(formats.Module(manifest, result.tensors))

    # -- scoring -------------------------------------------------------------------------------------------------

    def _score(self, cohort: ScoreCohort, mine: set[str]) -> None:
        jobs = []
        for job in cohort.jobs:
            broken = next((name for name in compose.names(job.composition) if name in self.failed), None)
            if broken:
                self.failed[job.cell.key] = f"a module failed: {self.failed[broken]}"
            elif job.cell.key in mine:
                jobs.append(job)
        if not jobs:
            return
        self.watch.stage(f"score {cohort.task.name}, {len(jobs)} cells", sum(map(self.plan.score_tokens, jobs)))
        compositions = dict.fromkeys(job.composition for job in jobs)
        scored = self._mount(cohort, compositions)
        for language in dict.fromkeys(job.cell.language for job in jobs):
            now = [job for job in jobs if job.cell.language == language]
            self._score_language(cohort, language, now, [scored[job.composition] for job in now])
        self.watch.stage_done()

    def _mount(self, cohort: ScoreCohort, compositions: Iterable[Composition]) -> dict[Composition, Scored]:
        bench, needed = self.bench, list(dict.fromkeys(key for c in compositions for key in compose.names(c)))
        bench.clear(keep=[mounted(key) for key in needed])
        modules = {key: self.store.load_module(key) for key in needed}
        for key in needed:
            bench.put(modules[key], self.plan.train[key].method)
        found = {}
        for composition in compositions:
            keys = compose.names(composition)
            head = bench.head(cohort.task.kind, cohort.task.labels, modules[keys[-1]] if keys else None)
            found[composition] = Scored(bench.lowered(composition), head)
        return found

    def _score_language(self, cohort: ScoreCohort, language: str, jobs: Sequence[ScoreJob],
                        scored: Sequence[Scored]) -> None:
        rows = self.material.test(cohort.task.name, language)
        units, began = self.material.units(rows), time.monotonic()
        said = evaluate.say(self.bench.rig, scored, units, cohort.task.kind, fabric=self.fabric, tokens=SCORING_TOKENS,
                            stop=self.material.layer(cohort.task.name), tick=self.watch.tick)
        seconds = (time.monotonic() - began) / len(jobs)
        for job, spoken in zip(jobs, said, strict=True):
            found = evaluate.decode(cohort.task, rows.rows, units, spoken)
            self.store.save_result(Result(
                cell=job.cell, status=DONE, scores=found.scores, headline=cohort.task.headline,
                examples=len(rows.rows), skipped=dict(rows.skipped), tag=job.tag, overlap=job.overlap,
                predictions=self.store.predictions_digest(found.items, found.arrays),
                provenance={"versions": records.versions(), "device": str(self.fabric.device), "file": str(rows.file),
                            "seconds": round(seconds, 3), "modules": {key: self.store.load_module(key).manifest.digest
                                                                      for key in compose.names(job.composition)}},
            ), found.items, found.arrays)


class Journal:
    """What training tells: losses and scores to a log of each row, tokens to the watch."""

    def __init__(self, store: Store, log: str, watch: Silent, rows: Sequence[train.Row]) -> None:
        self.watch = watch
        self.loggers = {row.key: _logger(store.root / "logs" / row.key, log) for row in rows} if log != "none" else {}

    def step(self, key: str, *, step: int, loss: float, tokens: int) -> None:
        if key in self.loggers:
            self.loggers[key].log_metrics({"loss": loss, "tokens": tokens}, step)
        self.watch.tick(tokens)

    def look(self, key: str, *, step: int, scores: dict[str, float]) -> None:
        if key in self.loggers:
            self.loggers[key].log_metrics({f"selection/{name}": value for name, value in scores.items()}, step)

    def tick(self, tokens: int) -> None:
        self.watch.tick(tokens)

    def close(self) -> None:
        for logger in self.loggers.values():
            logger.finalize("done")


def _logger(folder: Path, log: str) -> Any:
    """Lightning's logger; every attempt at a row has a version of its own."""
    if log == "tensorboard":
        from importlib.util import find_spec

        if not find_spec("tensorboard") and not find_spec("tensorboardX"):
            raise XittError("--log tensorboard needs the package: pip install 'adapters-xitt[tensorboard]'")
        from lightning_fabric.loggers import TensorBoardLogger

        return TensorBoardLogger(root_dir=folder.parent, name=folder.name)
    from lightning_fabric.loggers import CSVLogger

    return CSVLogger(root_dir=folder.parent, name=folder.name, flush_logs_every_n_steps=200)


def _carry_pooler(head: torch.nn.Module, start: formats.Module) -> None:
    """Starts a head from an intermediate's pooler, where both have one."""
    carried = {name: value for name, value in start.part("head").items() if name.startswith("pooler.")}
    own = head.state_dict()
    if carried and all(name in own for name in carried):
        head.load_state_dict({**own, **carried})
