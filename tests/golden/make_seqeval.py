"""Writes seqeval.json, what seqeval 1.2.2 answers to 400 drawn pairs of tag sequences in IOB2: run
it where seqeval is installed, `python tests/golden/make_seqeval.py`. The tests read the answers
alone."""

from __future__ import annotations

import json
import random
import warnings
from importlib.metadata import version
from pathlib import Path

from seqeval import metrics

TAGS = ["O", *(f"{prefix}-{kind}" for prefix in "BI" for kind in ("PER", "ORG", "LOC"))]
CASES = 400


def draw_case(generator: random.Random) -> tuple[list[list[str]], list[list[str]]]:
    """Gold tags of 1 to 4 sentences of up to 8 words, and predictions wrong in a share of them."""
    golds = [
        generator.choices(TAGS, k=generator.randint(0, 8)) for _ in range(generator.randint(1, 4))
    ]
    wrong = generator.choice([0.0, 0.2, 0.5, 1.0])
    preds = [
        [generator.choice(TAGS) if generator.random() < wrong else tag for tag in sentence]
        for sentence in golds
    ]
    return golds, preds


def main() -> None:
    """Draws the cases and writes them with the answers."""
    warnings.simplefilter("ignore")  # where there is no span to divide by
    generator, cases = random.Random(1), []
    while len(cases) < CASES:
        golds, preds = draw_case(generator)
        if not any(golds):
            continue
        answers = {
            name: getattr(metrics, f"{name}_score")(golds, preds, zero_division=0)
            for name in ("f1", "precision", "recall")
        }
        answers["accuracy"] = metrics.accuracy_score(golds, preds)
        cases.append(
            {
                "golds": [" ".join(sentence) for sentence in golds],
                "preds": [" ".join(sentence) for sentence in preds],
                **{name: float(value) for name, value in answers.items()},
            }
        )
    lines = ",\n".join(json.dumps(case) for case in cases)
    Path(__file__).with_name("seqeval.json").write_text(
        f'{{"seqeval": "{version("seqeval")}", "cases": [\n{lines}\n]}}\n'
    )


if __name__ == "__main__":
    main()
