"""Scores of masked language modelling: the share of masked tokens that are guessed, and
perplexity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import datasets

from adapters_xitt.errors import XittError
from adapters_xitt.metrics.accuracy import share
from adapters_xitt.metrics.base import Metric, check_pairs


class MaskedTokens(Metric):
    """Accuracy and perplexity, exp of the mean negative log-likelihood in nats, over masked tokens.

    A prediction is {"token": the likeliest token, "log_probability": that of the gold one}, a
    reference the gold token. Perplexities compare only where vocabulary and masking are the
    same."""

    main_score = "accuracy"
    about = "Right tokens over masked tokens, in percent, and the perplexity of the gold ones."

    def score(
        self, predictions: Sequence[Mapping[str, Any]], references: Sequence[int]
    ) -> dict[str, float]:
        check_pairs(predictions, references, what=self.name)
        logs = [float(guess["log_probability"]) for guess in predictions]
        wrong = [log for log in logs if log > 1e-6]
        if wrong:
            raise XittError(f"{self.name}: a log-probability is at most 0, found {wrong[0]}")
        tokens = [guess["token"] for guess in predictions]
        mean = math.fsum(logs) / len(logs)
        return {
            "accuracy": share(tokens, references, what=self.name),
            "perplexity": math.exp(-mean) if mean > -700 else math.inf,
        }

    def form(self) -> datasets.Features:
        token = datasets.Value("int64")
        return datasets.Features(
            {
                "predictions": {"token": token, "log_probability": datasets.Value("float64")},
                "references": token,
            }
        )
