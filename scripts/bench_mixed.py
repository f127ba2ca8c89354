"""Few sentences for each of many modules: in batches of their own, one composition after another,
and in batches that hold rows of all of them, in one pass or only over a shared trunk.

    python scripts/bench_mixed.py [--modules 16] [--each 2] [--rounds 5] [--device cpu]

Random encoder of 12 layers × 512, sentences of 8 to 40 tokens; seconds by round, ratios within
rounds, and the largest difference between the outputs."""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--modules", type=int, default=16)
    parser.add_argument("--each", type=int, default=2, help="sentences for each module")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    import numpy as np
    import torch

    from adapters_xitt.data.features import Features
    from adapters_xitt.evaluation import predict, split_batches
    from adapters_xitt.evaluation.predict import Inference, Scored
    from adapters_xitt.evaluation.split_batches import Query
    from adapters_xitt.kinds import heads
    from adapters_xitt.model import encoder
    from adapters_xitt.model.adapted import AdaptedEncoder
    from adapters_xitt.model.pretrained import EncoderFiles
    from adapters_xitt.model.session import make_fabric
    from adapters_xitt.model.setup import AdapterSetup
    from adapters_xitt.modules.methods import choose

    config = {
        "vocab_size": 8_000,
        "hidden_size": 512,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "intermediate_size": 2048,
        "max_position_embeddings": 130,
        "type_vocab_size": 1,
        "pad_token_id": 1,
    }
    fabric, draw = make_fabric(given.device, "32"), np.random.default_rng(1)
    torch.manual_seed(0)
    made = encoder.load_random(EncoderFiles(Path(), "random", "", config, 0))
    made.model.to(fabric.device)
    for method in ("lora", "seq_bn"):
        adapted, queries = AdaptedEncoder(made), []
        for n in range(given.modules):
            adapted.add(f"m{n}", choose(method, {}), seed=n, random=True)
            lengths = draw.integers(8, 41, given.each)
            ids = [[0, *draw.integers(4, 8_000, length).tolist(), 2] for length in lengths]
            features = Features(
                {
                    "ids": ids,
                    "example": list(range(given.each)),
                    "weight": [1] * given.each,
                    "label": [0] * given.each,
                },
                given.each,
            )
            form = (
                AdapterSetup((), (f"m{n}",), None, 0)
                if method == "lora"
                else AdapterSetup((f"m{n}",), (), None, 0)
            )
            queries.append(
                Query(
                    features,
                    "pair",
                    Scored(form, heads.build("pair", made, 3, seed=n).to(fabric.device)),
                )
            )

        inference = Inference(adapted, fabric, tokens=8192, stop=12)

        def apart(inference: Inference = inference, queries: list = queries) -> list:
            return [
                predict.outputs([query.scored], query.features, query.kind, inference)[0]
                for query in queries
            ]

        def together(inference: Inference = inference, queries: list = queries) -> list:
            return split_batches.outputs(queries, inference)

        def trunk_only(inference: Inference = inference, queries: list = queries) -> list:
            activate_rows = split_batches.activate_rows
            split_batches.activate_rows = lambda adapted, setups, sizes: False
            try:
                return split_batches.outputs(queries, inference)
            finally:
                split_batches.activate_rows = activate_rows

        ways = {"apart": apart, "one pass": together, "shared trunk": trunk_only}
        outputs = {name: way() for name, way in ways.items()}  # warm
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(given.rounds):
            for name, way in ways.items():
                began = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - began)
        print(f"{method}: {given.modules} modules, {given.each} sentences each")
        for name, times in seconds.items():
            ratios = [taken / alone for taken, alone in zip(times, seconds["apart"], strict=True)]
            gap = max(
                float(np.abs(np.subtract(mine, theirs)).max())
                for ours, alone in zip(outputs[name], outputs["apart"], strict=True)
                for mine, theirs in zip(ours, alone, strict=True)
            )
            print(
                f"  {name:14} {statistics.median(times):7.3f} s  × {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f}–{max(ratios):.2f})  largest difference {gap:.1e}"
            )
        for n in range(given.modules):
            adapted.remove(f"m{n}")


if __name__ == "__main__":
    main()
