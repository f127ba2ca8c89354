"""Module jobs from what they are made of: the same job, under the same key, for the same inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from adapters_xitt import hashing
from adapters_xitt.data.dataset import Rows
from adapters_xitt.data.exposure import Exposure, merge_exposures
from adapters_xitt.data.mixture import Mixture, space
from adapters_xitt.errors import XittError
from adapters_xitt.modules import merging
from adapters_xitt.modules.composition import (
    Composition,
    Fuse,
    Part,
    Stack,
    Sum,
    chain,
    heads,
    names,
    rename,
    show,
    untrained_parts,
)
from adapters_xitt.modules.methods import Choice, above, fusion_of
from adapters_xitt.study import keys
from adapters_xitt.study.costs import SEARCHED
from adapters_xitt.study.jobs import (
    BestOf,
    MergedModule,
    ModuleJob,
    RandomModule,
    TrainedModule,
)
from adapters_xitt.study.plan import Plan


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """What a module is trained on, and how."""

    mixture: Mixture
    method: Choice
    learning_rate: float
    seed: int
    more_steps: int = 0  # on top of its own: those of an intermediate, for the control
    rate_factor: float = 1.0  # of a sweep


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a module trains: by itself; after a `parent`, which it continues (sequential) or in
    whose context it stands above (stack) or beside (sum); above or beside a composition, `base`; or
    as a fusion over `parts`."""

    mode: str = "none"
    parent: ModuleJob | None = None
    base: Composition | None = None
    parts: tuple[ModuleJob, ...] = ()

    @property
    def start(self) -> ModuleJob | None:
        """The module that it continues."""
        return self.parent if self.mode == "sequential" else None

    @property
    def beneath(self) -> Composition | None:
        """The frozen composition that it trains above or beside."""
        if self.parent is not None and self.mode in ("stack", "sum"):
            return self.parent.context
        return self.base

    @property
    def below(self) -> tuple[str, ...]:
        """The frozen modules that it trains above, beside or over."""
        if self.parts:
            return tuple(part.key for part in self.parts)
        return names(self.beneath) if self.beneath else ()

    def context(self, key: str) -> Composition:
        """The composition that the module `key` trains in."""
        if self.parts:
            return Fuse(tuple(part.context for part in self.parts), key)
        if self.beneath is None:
            return Part(key)
        return chain(Stack if self.mode == "stack" else Sum, [self.beneath, Part(key)])

    def exposed(self, plan: Plan) -> list[ModuleJob]:
        """The modules whose data it has seen, through them."""
        if self.parent is not None:
            return [*self.parts, self.parent]
        return list(self.parts) or [plan.train[key] for key in self.below]


ALONE = Placement()


def module_job(
    plan: Plan, training: TrainingSpec, placement: Placement = ALONE, *, title: str
) -> ModuleJob:
    """The job of one module that is trained, or only drawn where its mixture has no portions; added
    to the plan where it is not there."""
    inputs, mixture = plan.inputs, training.mixture
    settings, mixture_rate = inputs.settings(mixture)
    settings = replace(settings, more_steps=training.more_steps)
    method = _method(plan, training, placement)
    rate = mixture_rate or training.learning_rate
    if placement.parts:
        rate = plan.recipe.fusion_rate or method.spec.learning_rate
    rate *= training.rate_factor
    exposure = _own_exposure(plan, mixture)
    drawn = keys.SHARED if plan.recipe.shared_start else mixture.text
    spaces = _spaces(mixture)
    start = placement.start.key if placement.start else None
    carry_pooler = _carries_pooler(plan, placement.start, spaces)
    key_inputs = {
        **keys.training_inputs(
            inputs, mixture, method, training.seed, settings=settings, learning_rate=rate
        ),
        **keys.start_inputs(method, start, drawn, carry_pooler=carry_pooler),
        **keys.base_inputs(
            placement.below, placement.beneath, "fuse" if placement.parts else placement.mode
        ),
    }
    key = hashing.key("train", key_inputs)
    if key in plan.train:
        return plan.train[key]
    swept = f", rate {rate:g}" if training.rate_factor != 1 else ""
    fields: dict[str, Any] = {
        "key": key,
        "title": f"{title}, {method.label}, seed {training.seed}{swept}",
        "mixture": mixture,
        "method": method,
        "seed": training.seed,
        "context": placement.context(key),
        "exposure": merge_exposures([exposure, *(job.exposure for job in placement.exposed(plan))]),
        "chance": inputs.chance(mixture),
        "spaces": spaces,
        "init_fingerprint": (
            placement.start.init_fingerprint
            if placement.start
            else keys.init_fingerprint(inputs.files.fingerprint, method, training.seed, drawn)
        ),
        "settings": settings,
        "learning_rate": rate,
        "drawn": drawn,
    }
    if not mixture.portions:
        return plan.train.setdefault(key, RandomModule(**fields))
    placed: dict[str, Any] = {
        "start": start,
        "below": placement.below,
        "carry_pooler": carry_pooler,
    }
    return plan.train.setdefault(key, TrainedModule(**fields, **placed))


def best_of(plan: Plan, candidates: Sequence[ModuleJob]) -> ModuleJob:
    """The job that keeps the best of several modules, by their score on the selection split."""
    key = hashing.key("best", {"candidates": [candidate.key for candidate in candidates]})
    first = candidates[0]
    job = BestOf(
        key=key,
        title=first.title.rpartition(", rate")[0] + f", best of {len(candidates)} rates",
        mixture=first.mixture,
        method=first.method,
        seed=first.seed,
        context=rename(first.context, lambda name: Part(key if name == first.key else name)),
        exposure=first.exposure,
        chance=first.chance,
        spaces=first.spaces,
        init_fingerprint=first.init_fingerprint,
        candidates=tuple(candidates),
    )
    return plan.train.setdefault(key, job)


def merge_job(
    plan: Plan, expression: Composition, *, title: str, target: Mixture | None = None
) -> ModuleJob:
    """The job that puts one module together from others. Where weights are to be searched, `target`
    is what scores them on its selection split; the module then has the target's head alone."""
    files, parts = plan.inputs.files, {name: plan.train[name] for name in names(expression)}
    methods = {name: job.method for name, job in parts.items()}
    method = merging.merged_method(expression, methods, files.layers, files.width)
    if method.spec.is_bottleneck:
        _check_same_start(expression, parts)
    key_inputs = keys.merge_inputs(expression)
    exposure = [job.exposure for job in parts.values()]
    searched = bool(untrained_parts(expression))
    if searched:
        if target is None:
            raise XittError(
                f"{show(expression)}: its weights are searched on a task's selection split;"
                " name it: --train TASK"
            )
        exposure += [(read,) for read in _selection_exposure(plan, target)]
        key_inputs |= {
            "target": [keys.portion_inputs(plan.inputs, part, target) for part in target.portions],
            "grid": SEARCHED,
            "precision": plan.inputs.memory_plan.base,
        }
        mixture, spaces = target, _spaces(target)
        title = f"{title} for {target.name}"
    else:
        portions = (part for job in parts.values() for part in job.mixture.portions)
        mixture = Mixture(title, tuple(dict.fromkeys(portions)))
        every_space = (name for key in heads(expression) for name in parts[key].spaces)
        spaces = tuple(dict.fromkeys(every_space))
    last = list(parts.values())[-1]
    key = hashing.key("merge", key_inputs)
    job = MergedModule(
        key=key,
        title=title,
        mixture=mixture,
        method=method,
        seed=last.seed,
        context=Part(key),
        exposure=merge_exposures(exposure),
        spaces=spaces,
        init_fingerprint=last.init_fingerprint if method.spec.is_bottleneck else None,
        expression=expression,
    )
    return plan.train.setdefault(key, job)


def _method(plan: Plan, training: TrainingSpec, placement: Placement) -> Choice:
    """The method of a module in its place: its own, what stands above a parent's, or a fusion."""
    method = training.method.within(plan.inputs.files.layers)
    if placement.parts:
        return fusion_of(method, len(placement.parts))
    if placement.parent is not None and placement.mode == "stack":
        return above(method)
    return method


def _spaces(mixture: Mixture) -> tuple[str, ...]:
    """The label spaces of a mixture's tasks."""
    return tuple(dict.fromkeys(space(task) for task in mixture.tasks))


def _carries_pooler(plan: Plan, start: ModuleJob | None, spaces: Sequence[str]) -> bool:
    """Whether the head of a module that continues `start` starts from the pooler of its head."""
    if start is None or not plan.recipe.carry_pooler:
        return False
    return keys.pooled(start.spaces) and keys.pooled(spaces)


def _own_exposure(plan: Plan, mixture: Mixture) -> list[Exposure]:
    """What training on a mixture shows a module."""
    trained = [rows for part in mixture.portions for rows in plan.inputs.train(part, mixture)]
    exposure = [_exposure(plan, rows, "trained") for rows in trained]
    return exposure + _selection_exposure(plan, mixture)


def _selection_exposure(plan: Plan, mixture: Mixture) -> list[Exposure]:
    """What selecting on a mixture shows a module."""
    selected = [rows for part in mixture.portions for rows in plan.inputs.selection(part, mixture)]
    return [_exposure(plan, rows, "selected") for rows in selected]


def _exposure(plan: Plan, rows: Rows, role: str) -> Exposure:
    """Exposure to rows, whose items and texts the plan then has."""
    plan.data[rows.digest] = plan.inputs.data_set(rows)
    return Exposure(rows.task.name, rows.language, role, rows.digest)


def _check_same_start(expression: Composition, parts: Mapping[str, ModuleJob]) -> None:
    """Refuses a mean of bottlenecks that did not start from the same values."""
    starts = {job.init_fingerprint for job in parts.values()}
    if None in starts or len(starts) > 1:
        raise XittError(
            f"{show(expression)}: these bottlenecks were not born with the same values, so"
            " their mean is like none of them; train them with shared_start: true, or continue one"
            " module in both (sequential)"
        )
