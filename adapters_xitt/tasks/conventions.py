"""The choices that a score depends on where sources disagree: how texts are cut and pooled."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Convention:
    """A way to read and score a task, where sources disagree; each field counts for the kinds that
    it names."""

    name: str
    why: str  # who does it so, and what speaks for it
    # retrieval, mining, ranking: share of the encoder's layers; 14/24 is `hidden_states[14]` of
    # XLM-R Large
    layer: float = 14 / 24
    # the same: over the tokens, `<s>` and `</s>` among them; "first": the vector of `<s>`
    pooling: str = "mean"
    context: bool = False  # ranking: whether a candidate's paragraph follows it, in one sequence
    # tagging: the `</s>` at the end of a window, which holds as many pieces less
    separators: int = 1
    # tagging: whether a word longer than a window is read as `<unk>`, else its first pieces are
    unknown: bool = False
    # qa: the tokens of a window whose 20 best starts and ends are paired: all | context
    best_of: str = "all"


PLAIN = Convention(name="plain", why="sources agree")
MEAN_14 = Convention(
    name="mean-14",
    layer=14 / 24,
    pooling="mean",
    why=(
        "jiant for both tasks, XTREME for Tatoeba (index 13 of the last 24): what both papers say,"
        " so the default"
    ),
)
XTREME_WINDOWS = Convention(
    name="xtreme-windows",
    separators=2,
    unknown=True,
    why="XTREME's utils_preprocess.py and utils_tag.py: 125 pieces of 128, `<s> … </s></s>`",
)
FULL_WINDOWS = Convention(
    name="full-windows", why="`<s> … </s>`, as a text alone is packed elsewhere: 126 pieces of 128"
)
BEST_OF_ALL = Convention(
    name="best-of-all",
    best_of="all",
    why=(
        "compute_predictions_logits of transformers, which XTREME calls: the 20 best starts and"
        " ends among all tokens of a window (padding, which depends on the batch, left out), then"
        " those outside the context dropped"
    ),
)
BEST_OF_CONTEXT = Convention(
    name="best-of-context",
    best_of="context",
    why=(
        "the 20 best among the tokens that an answer may start or end with: an answer is always"
        " found"
    ),
)
