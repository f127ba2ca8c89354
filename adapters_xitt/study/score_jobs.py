"""From a composition to a cell: its key, its tag, and whether it may be scored at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters_xitt import hashing
from adapters_xitt.data.contamination import OverlapTogether
from adapters_xitt.data.dataset import Rows
from adapters_xitt.data.exposure import OVERLAP, Exposure, merge_exposures, tag
from adapters_xitt.data.mixture import ENGLISH, space
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
    exposure = _exposure(plan, composition, head)
    digests = dict.fromkeys(seen.data for seen in exposure if seen.data)
    tested = inputs.tested(target.name, language)
    shared = inputs.contamination.together(tested[0], [plan.data[digest] for digest in digests])
    reason = _reason_to_block(shared, plan.recipe.block_overlap)
    doubtful = shared.share > OVERLAP or shared.unsure
    cell_tag = tag(
        target,
        language,
        exposure,
        same_task=[inputs.sources.training_task(target)],
        unsure=doubtful and not reason,
    )
    entry: dict[str, Any] = {"tag": cell_tag, "overlap": shared.share}
    if reason:
        return {**entry, "status": BLOCKED, "reason": reason}, None
    job = ScoreJob(
        cell=_cell(plan, target, tested, composition, seed, head),
        task=target,
        composition=composition,
        tested=tuple(tested),
        tag=cell_tag,
        overlap=shared.share,
    )
    return {**entry, "key": job.cell.key}, job


def plan_calibration(
    plan: Plan, target: Task, composition: Composition, seed: int, *, head: str = ""
) -> ScoreJob:
    """The job that scores a composition on its target's selection split in the language of
    training, on which a temperature is fitted. The split is no test: nothing blocks it, and no
    table has its score; `overlap` is the share of its items that trained a part."""
    inputs = plan.inputs
    mixture = inputs.training_mixture(target)
    (part,) = mixture.portions
    language = ENGLISH if ENGLISH in part.languages else part.languages[0]
    rows = inputs.selection(part, mixture)[part.languages.index(language)]
    head = _other_head(plan, inputs.task(target.name), composition, head)
    exposure = _exposure(plan, composition, head)
    trained = [seen.data for seen in exposure if seen.data and seen.role == "trained"]
    trained_on = set().union(*(plan.data[digest].ids for digest in trained))
    items = {example["id"] for example in rows.rows}
    return ScoreJob(
        cell=_cell(plan, part.record, [rows], composition, seed, head),
        task=part.record,
        composition=composition,
        tested=(rows,),
        tag=tag(part.record, language, exposure, same_task=[]),
        overlap=len(items & trained_on) / len(items),
    )


def _exposure(plan: Plan, composition: Composition, head: str) -> tuple[Exposure, ...]:
    """What reached the modules that take part."""
    keys = [*names(composition), *([head] if head else [])]
    return merge_exposures(plan.train[key].exposure for key in keys)


def _cell(
    plan: Plan,
    task: Task,
    tested: Sequence[Rows],
    composition: Composition,
    seed: int,
    head: str,
) -> Cell:
    """The identity of a composition's score on these rows of a task."""
    inputs, test = plan.inputs, tested[0]
    return Cell(
        encoder=inputs.files.fingerprint,
        composition=show(composition),
        task=task.name,
        language=test.language,
        split=test.split,
        data=test.digest if len(tested) == 1 else hashing.digest([rows.digest for rows in tested]),
        lengths=KINDS[task.kind].caps(inputs.lengths(task.name)),
        seed=seed if names(composition) else None,
        precision=inputs.memory_plan.base,
        convention=inputs.convention(task.name),
        head=head,
        lm_head=inputs.lm_head if KINDS[task.kind].masks else "",
    )


def _other_head(plan: Plan, target: Task, composition: Composition, head: str) -> str:
    """The module `head`; empty where it is the composition's own choice, or where no trained head
    is read."""
    fitting = (key for key in heads(composition) if space(target) in plan.train[key].spaces)
    return head if target.trains and head != next(fitting, "") else ""


def _reason_to_block(shared: OverlapTogether, allowed: float) -> str:
    """Why a cell may not be scored: law 8; empty where it may."""
    if shared.items:
        return "test items reached the row: " + ", ".join(
            f"{count} in {data}" for data, count in shared.items.items()
        )
    if shared.share > allowed:
        return (
            f"{shared.share:.0%} of the test items share a text with training, over {allowed:.0%};"
            " block_overlap is the share that a recipe allows"
        )
    return ""
