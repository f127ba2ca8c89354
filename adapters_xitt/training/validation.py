"""Scores modules in training on the selection split, and keeps what is best."""

from __future__ import annotations

from collections.abc import Sequence

from adapters_xitt.evaluation import predict
from adapters_xitt.evaluation.predict import Inference, Scored
from adapters_xitt.kinds import decoding
from adapters_xitt.kinds.record import HeadOutputs
from adapters_xitt.training.module import ModuleInTraining
from adapters_xitt.training.run import TrainingRun
from adapters_xitt.training.sampler import Data


def validate(
    modules: Sequence[ModuleInTraining], step: int, data: Sequence[Data], run: TrainingRun
) -> None:
    """Scores the selection split of every portion after `step` steps; keeps the tensors of a module
    where the mean of the main scores is the best so far."""
    scores: list[dict[str, float]] = [{} for _ in modules]
    main_scores: list[list[float]] = [[] for _ in modules]
    for portion in data:
        prefix = "" if len(data) == 1 else f"{portion.name}."
        for index, portion_scores in enumerate(_scores(modules, portion, run)):
            main_scores[index].append(portion_scores[portion.task.main_score])
            for name, value in portion_scores.items():
                scores[index][prefix + name] = value
    for module, record, values in zip(modules, scores, main_scores, strict=True):
        loss = module.progress.loss
        module.progress.history.append({"step": step, "loss": loss, **record})
        run.callback.on_validation(module.key, step=step, scores={"loss": loss, **record})
        module.keep_best(sum(values) / len(values), run.settings.patience)


def _scores(
    modules: Sequence[ModuleInTraining], portion: Data, run: TrainingRun
) -> list[dict[str, float]]:
    """The scores of every module on one portion's selection split."""
    outputs = predict.outputs(
        [Scored(module.setup, module.heads[portion.space]) for module in modules],
        portion.selection,
        portion.task.kind,
        Inference(
            run.adapted,
            run.fabric,
            tokens=run.settings.tokens,
            stop=run.adapted.encoder.layers,
            tick=run.callback.on_tokens,
            kept=run.trunk,
        ),
    )
    tests = [
        HeadOutputs(
            portion.task, portion.language, portion.selection_rows, portion.selection, by_feature
        )
        for by_feature in outputs
    ]
    return [decoding.decode(test).scores for test in tests]
