"""Few sentences for each of many modules: in batches of their own, one composition after another,
and in batches that hold sentences of all of them, in one pass or only over a shared trunk.

    python scripts/benchmark_batches.py [--modules 16] [--each 2] [--rounds 5] [--device cpu]

Random encoder of 12 layers × 512, sentences of 8 to 40 tokens; seconds by round, ratios within
rounds, and the largest difference between what is predicted."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONFIGURATION = {
    "vocab_size": 8_000,
    "hidden_size": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "intermediate_size": 2048,
    "max_position_embeddings": 130,
    "type_vocab_size": 1,
    "pad_token_id": 1,
}
APART = "apart"


def queries_of(adapted: Any, method: str, modules: int, each: int, device: Any) -> list[Any]:
    """Random modules in the encoder, and the sentences that each of them is asked to score."""
    import numpy as np

    from adapters_xitt.data.features import Features
    from adapters_xitt.evaluation.predict import Scored
    from adapters_xitt.evaluation.split_batches import Query
    from adapters_xitt.kinds import heads
    from adapters_xitt.model.setup import AdapterSetup
    from adapters_xitt.modules.methods import choose

    draw, queries = np.random.default_rng(1), []
    for n in range(modules):
        adapted.add(f"m{n}", choose(method, {}), seed=n, random=True)
        ids = [
            [0, *draw.integers(4, 8_000, length).tolist(), 2]
            for length in draw.integers(8, 41, each)
        ]
        columns = {
            "ids": ids,
            "example": list(range(each)),
            "weight": [1] * each,
            "label": [0] * each,
        }
        stacked, summed = ((), (f"m{n}",)) if method == "lora" else ((f"m{n}",), ())
        head = heads.build("pair", adapted.encoder, 3, seed=n).to(device)
        scored = Scored(AdapterSetup(stacked, summed, None, 0), head)
        queries.append(Query(Features(columns, each), "pair", scored))
    return queries


def ways_of(adapted: Any, queries: list[Any], fabric: Any) -> dict[str, Callable[[], list[Any]]]:
    """The three ways to score the queries; each gives outputs in the order of the queries."""
    from adapters_xitt.evaluation import predict, split_batches
    from adapters_xitt.evaluation.predict import Inference

    inference = Inference(adapted, fabric, tokens=8192, stop=CONFIGURATION["num_hidden_layers"])

    def apart() -> list[Any]:
        return [
            predict.outputs([query.scored], query.features, query.kind, inference)[0]
            for query in queries
        ]

    def together() -> list[Any]:
        return split_batches.outputs(queries, inference)

    def trunk_only() -> list[Any]:
        activate_rows = split_batches.activate_rows
        split_batches.activate_rows = lambda adapted, setups, sizes: False
        try:
            return together()
        finally:
            split_batches.activate_rows = activate_rows

    return {APART: apart, "one pass": together, "shared trunk": trunk_only}


def largest_difference(left: list[Any], right: list[Any]) -> float:
    """Between two ways' outputs, sentence by sentence."""
    import numpy as np

    return max(
        float(np.abs(np.subtract(first, second)).max())
        for ours, theirs in zip(left, right, strict=True)
        for first, second in zip(ours, theirs, strict=True)
    )


def measure(ways: dict[str, Callable[[], list[Any]]], rounds: int) -> None:
    """Prints a line for each way: median seconds, ratios to `apart`, and how far it is from it."""
    outputs = {name: way() for name, way in ways.items()}  # warm
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    for name, times in seconds.items():
        ratios = [duration / base for duration, base in zip(times, seconds[APART], strict=True)]
        print(
            f"  {name:14} {statistics.median(times):7.3f} s  × {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f}–{max(ratios):.2f})  largest difference "
            f"{largest_difference(outputs[name], outputs[APART]):.1e}"
        )


def main() -> None:
    """Both families of methods, one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--modules", type=int, default=16)
    parser.add_argument("--each", type=int, default=2, help="sentences for each module")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    import torch

    from adapters_xitt.model import encoder
    from adapters_xitt.model.adapted import AdaptedEncoder
    from adapters_xitt.model.pretrained import EncoderFiles
    from adapters_xitt.model.session import make_fabric

    fabric = make_fabric(given.device, "32")
    torch.manual_seed(0)
    frozen = encoder.load_random(EncoderFiles(Path(), "random", "", CONFIGURATION, 0))
    frozen.model.to(fabric.device)
    for method in ("lora", "seq_bn"):
        adapted = AdaptedEncoder(frozen)
        queries = queries_of(adapted, method, given.modules, given.each, fabric.device)
        print(f"{method}: {given.modules} modules, {given.each} sentences each")
        measure(ways_of(adapted, queries, fabric), given.rounds)
        for n in range(given.modules):
            adapted.remove(f"m{n}")


if __name__ == "__main__":
    main()
