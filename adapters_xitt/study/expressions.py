"""What of an expression has to be made before it can run, as jobs of a plan: merges, and fusions
and searches on a task."""

from __future__ import annotations

from adapters_xitt.data.mixture import Mixture
from adapters_xitt.errors import XittError
from adapters_xitt.modules.composition import (
    Composition,
    Fuse,
    Merge,
    Part,
    names,
    rename,
    replace_unmade,
    show,
)
from adapters_xitt.study.jobs import ModuleJob
from adapters_xitt.study.module_jobs import Placement, TrainingSpec, merge_job, module_job
from adapters_xitt.study.plan import Plan


def plan_parts(
    plan: Plan, composition: Composition, seed: int, *, target: Mixture | None
) -> Composition:
    """The composition over modules alone: everything in it that has to be made first becomes a job
    of the plan, fusions and searches on `target`."""

    def make(node: Fuse | Merge) -> Composition:
        text = show(rename(node, lambda key: Part(plan.train[key].mixture.name)))
        if isinstance(node, Merge):
            return Part(merge_job(plan, node, title=text, target=target).key)
        parts = fusion_parts(plan, node)
        if target is None:
            raise XittError(f"{show(node)}: a fusion is trained on a task; name it: --train TASK")
        training = TrainingSpec(
            mixture=target, method=parts[-1].method, learning_rate=0.0, seed=seed
        )
        placement = Placement(mode="fuse", parts=tuple(parts))
        fusion = module_job(plan, training, placement, title=f"{text} → {target.name}")
        return Fuse(node.parts, fusion.key)

    return replace_unmade(composition, make)


def fusion_parts(plan: Plan, node: Fuse) -> list[ModuleJob]:
    """The modules that a fusion is to be trained over; a `XittError` where it can't be."""
    text, parts = show(node), [plan.train[name] for name in names(node)]
    single = all(isinstance(part, Part) for part in node.parts)
    if not single or any(job.context != Part(job.key) for job in parts):
        raise XittError(
            f"{text}: a fusion has a proven form over single modules only, each trained alone"
        )
    reasons = (job.method.spec.refusal("fuse") for job in parts)
    if reason := next(filter(None, reasons), None):
        raise XittError(f"{text}: {reason}")
    methods = dict.fromkeys(job.method.name for job in parts)
    if len(methods) > 1 and not parts[-1].method.spec.is_update:
        raise XittError(
            f"{text}: modules of {', '.join(methods)} can't be fused; fuse modules of one method"
        )
    if len({job.method.spec.engine for job in parts}) > 1:
        raise XittError(
            f"{text}: bottlenecks and low-rank updates can't be fused; fuse modules of one method"
        )
    return parts
