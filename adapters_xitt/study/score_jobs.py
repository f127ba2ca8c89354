"""From a composition to a cell: its key, its tag, and whether it may be scored at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters_xitt import hashing
from adapters_xitt.data.contamination import Overlap
from adapters_xitt.data.exposure import OVERLAP, DataSet, merge_exposures, tag
from adapters_xitt.data.mixture import space
from adapters_xitt.kinds import KINDS
from adapters_xitt.modules.composition import Composition, heads, names, show
from adapters_xitt.study.jobs import ScoreJob
from adapters_xitt.study.plan import Plan
from adapters_xitt.study.results import BLOCKED, Cell
from adapters_xitt.tasks import Task


def plan_cell(
    plan: Plan, target: Task, language: str, composition: Composition, seed: int, *, head: str = ""
) -> tuple[dict[str, Any], ScoreJob | None]:
    """The fields of a grid's entry for one composition in one language, and the job that scores it;
    no job where it is blocked. `head`: the module whose head stands on top, where it is not the
    composition's own."""
    inputs = plan.inputs
    head = _other_head(plan, inputs.task(target.name), composition, head)
    modules = [plan.train[name] for name in names(composition)]
    exposed = [*modules, *([plan.train[head]] if head else [])]
    exposure = merge_exposures(job.exposure for job in exposed)
    digests = dict.fromkeys(seen.data for seen in exposure if seen.data)
    tested = inputs.tested(target.name, language)
    test = tested[0]
    shared = {
        plan.data[data]: inputs.contamination.overlap(test, plan.data[data]) for data in digests
    }
    texts: frozenset[str] = frozenset().union(*(part.texts for part in shared.values()))
    overlap = len(texts) / len(test.rows)
    reason = _reason_to_block(shared, overlap, plan.recipe.block_overlap)
    doubtful = overlap > OVERLAP or any(part.unsure for part in shared.values())
    cell_tag = tag(
        target,
        language,
        exposure,
        same_task=[inputs.sources.training_task(target)],
        unsure=doubtful and not reason,
    )
    entry: dict[str, Any] = {"tag": cell_tag, "overlap": overlap}
    if reason:
        return {**entry, "status": BLOCKED, "reason": reason}, None
    cell = Cell(
        encoder=inputs.files.fingerprint,
        composition=show(composition),
        task=target.name,
        language=language,
        split=test.split,
        data=test.digest if len(tested) == 1 else hashing.digest([rows.digest for rows in tested]),
        lengths=KINDS[target.kind].caps(inputs.lengths(target.name)),
        seed=seed if modules else None,
        precision=inputs.memory_plan.base,
        convention=inputs.convention(target.name),
        head=head,
        lm_head=inputs.lm_head if KINDS[target.kind].masks else "",
    )
    job = ScoreJob(cell=cell, task=target, composition=composition, tag=cell_tag, overlap=overlap)
    return {**entry, "key": cell.key}, job


def _other_head(plan: Plan, target: Task, composition: Composition, head: str) -> str:
    """The module `head`; empty where it is the composition's own choice, or where no trained head
    is read."""
    fitting = (key for key in heads(composition) if space(target) in plan.train[key].spaces)
    return head if target.trains and head != next(fitting, "") else ""


def _reason_to_block(shared: Mapping[DataSet, Overlap], overlap: float, allowed: float) -> str:
    """Why a cell may not be scored: law 8; empty where it may."""
    counts = {
        f"{data.task}@{data.language} {data.split}": len(part.items)
        for data, part in shared.items()
        if part.items
    }
    if counts:
        return "test items reached the row: " + ", ".join(
            f"{count} in {data}" for data, count in counts.items()
        )
    if overlap > allowed:
        return (
            f"{overlap:.0%} of the test items share a text with training, over {allowed:.0%};"
            " block_overlap is the share that a recipe allows"
        )
    return ""
