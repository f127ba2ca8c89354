"""The header of a card, as the hub's own library keeps it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from statistics import mean, stdev
from typing import Any

from adapters_xitt.data.hub_datasets import HUB_DATASETS
from adapters_xitt.modules.manifest import Manifest
from adapters_xitt.modules.methods import METHODS
from adapters_xitt.sharing.card_contents import TAG, Card, scores
from adapters_xitt.study.results import Result
from adapters_xitt.tasks import TASKS
from adapters_xitt.text import printable

PIPELINES = {
    "pair": "text-classification",
    "tagging": "token-classification",
    "qa": "question-answering",
    "choice": "multiple-choice",
    "mlm": "fill-mask",
}
_SIMILAR = "sentence-similarity"
_LANGUAGE, _LICENCE = re.compile(r"[a-z]{2,3}"), re.compile(r"[a-z0-9][a-z0-9.-]{0,60}")


def metadata(card: Card) -> Any:
    """The card's header, as the hub's own library keeps it (`ModelCardData`)."""
    from huggingface_hub import ModelCardData

    manifest = card.manifest
    rows = [_eval_result(card, result, seeds) for result, seeds in scores(card)]
    libraries = [form.engine for form in card.forms]
    tags = [TAG, "cross-lingual-transfer", "xlm-roberta"]
    tags += ["adapter-transformers"] if "adapters" in libraries else []
    tags += ["peft"] if "peft" in libraries else []
    tags += [method] if (method := manifest.method.get("name")) in METHODS else []
    languages = [
        language
        for language in dict.fromkeys(manifest.languages)
        if isinstance(language, str) and _LANGUAGE.fullmatch(language)
    ]
    kinds = [head.get("kind") for head in manifest.heads.values() if isinstance(head, dict)]
    base: dict[str, Any] = {}
    if card.base:
        base = {"base_model": card.base.repo, "base_model_relation": "adapter"}
    return ModelCardData(
        **base,
        language=languages or None,
        library_name=(
            "adapters" if "adapters" in libraries else "peft" if "peft" in libraries else TAG
        ),
        tags=tags,
        datasets=_hub_datasets(_tasks(manifest)) or None,
        license=card.licence if card.licence and _LICENCE.fullmatch(card.licence) else None,
        pipeline_tag=next((PIPELINES[kind] for kind in kinds if kind in PIPELINES), None),
        model_name=card.repo,
        eval_results=rows or None,
    )


def _eval_result(card: Card, result: Result, seeds: Sequence[float]) -> Any:
    """A result as the hub's own library keeps it (`EvalResult`)."""
    from huggingface_hub import EvalResult

    cell = result.cell
    kind = TASKS[cell.task].kind if cell.task in TASKS else ""
    spread = {"mean": mean(seeds), "spread": stdev(seeds)} if len(seeds) > 1 else {}
    task, language, metric = (
        printable(cell.task, most=200),
        printable(cell.language, most=40),
        printable(result.headline, most=60),
    )
    return EvalResult(
        task_type=PIPELINES.get(kind, _SIMILAR),
        dataset_type=(_hub_datasets([task]) or [task])[0],
        dataset_name=task,
        dataset_config=f"{task}.{language}",
        dataset_split=printable(cell.split, most=60),
        dataset_args={
            "language": language,
            "rows": printable(cell.data, most=200),
            "examples": result.examples,
        },
        metric_type=metric,
        metric_name=f"{task} {metric} in {language}",
        metric_value=result.scores[result.headline],
        metric_config=printable(cell.convention, most=60),
        metric_args={
            "seed": card.manifest.seed if isinstance(card.manifest.seed, int) else None,
            "seeds": len(seeds),
            **spread,
            "tag": printable(result.tag, most=60),
            "precision": printable(cell.precision, most=20),
        },
    )


def _tasks(manifest: Manifest) -> list[str]:
    """The tasks that a module was trained on, its parents' included."""
    return list(
        dict.fromkeys(
            record.get("task", "")
            for record in manifest.exposure
            if record.get("role") == "trained"
        )
    )


def _hub_datasets(names: Iterable[str]) -> list[str]:
    """Where the rows of tasks lie on the hub, of those that are there."""
    return list(
        dict.fromkeys(
            part.repo
            for name in names
            if name in HUB_DATASETS
            for parts in HUB_DATASETS[name].splits.values()
            for part in parts
        )
    )
