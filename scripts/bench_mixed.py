"""Few sentences for each of many modules: in batches of their own, one composition after another,
and in batches that hold rows of all of them, in one pass or only over a shared trunk.

    python scripts/bench_mixed.py [--modules 16] [--each 2] [--rounds 5] [--device cpu]

Random encoder of 12 layers × 512, sentences of 8 to 40 tokens; seconds by round, ratios within
rounds, and the largest difference between what is said."""

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
    from adapters_xitt.evaluation import predict
    from adapters_xitt.evaluation.predict import Asked, Scored
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
        adapted, asked = AdaptedEncoder(made), []
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
            asked.append(
                Asked(
                    features,
                    "pair",
                    Scored(form, heads.build("pair", made, 3, seed=n).to(fabric.device)),
                )
            )

        def apart(adapted: AdaptedEncoder = adapted, asked: list = asked) -> list:
            return [
                predict.say(
                    adapted,
                    [one.scored],
                    one.features,
                    one.kind,
                    fabric=fabric,
                    tokens=8192,
                    stop=12,
                )[0]
                for one in asked
            ]

        def together(adapted: AdaptedEncoder = adapted, asked: list = asked) -> list:
            return predict.mixed(adapted, asked, fabric=fabric, tokens=8192, stop=12)

        def trunk_only(adapted: AdaptedEncoder = adapted, asked: list = asked) -> list:
            activate_rows = predict.activate_rows
            predict.activate_rows = lambda adapted, setups, sizes: False
            try:
                return predict.mixed(adapted, asked, fabric=fabric, tokens=8192, stop=12)
            finally:
                predict.activate_rows = activate_rows

        ways = {"apart": apart, "one pass": together, "shared trunk": trunk_only}
        said = {name: way() for name, way in ways.items()}  # warm
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(given.rounds):
            for name, way in ways.items():
                began = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - began)
        print(f"{method}: {given.modules} modules, {given.each} sentences each")
        for name, times in seconds.items():
            ratios = [one / other for one, other in zip(times, seconds["apart"], strict=True)]
            gap = max(
                float(np.abs(np.subtract(one, two)).max())
                for mine, theirs in zip(said[name], said["apart"], strict=True)
                for one, two in zip(mine, theirs, strict=True)
            )
            print(
                f"  {name:14} {statistics.median(times):7.3f} s  × {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f}–{max(ratios):.2f})  largest difference {gap:.1e}"
            )
        for n in range(given.modules):
            adapted.remove(f"m{n}")


if __name__ == "__main__":
    main()
