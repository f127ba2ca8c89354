"""Scores to probabilities."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def softmax(scores: NDArray) -> NDArray:
    """Probabilities of scores, in their order; they sum to one."""
    shifted = np.exp(scores - scores.max())
    return shifted / shifted.sum()


def sigmoid(score: float) -> float:
    """The probability of one score."""
    return 1 / (1 + math.exp(-score)) if score > -700 else 0.0
