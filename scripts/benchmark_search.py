"""Exact search of nearest neighbours, both ways as BUCC's mining wants it: our blocks of products
beside faiss.

    pip install faiss-cpu
    python scripts/benchmark_search.py [--sentences 50000] [--width 1024] [--rounds 3] [--k 4]

Random unit vectors; seconds and peak resident memory of a process each, in turn; ratios within
rounds."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time


def blocks(left, right, k: int) -> None:
    import torch

    from adapters_xitt.kinds.nearest import both_ways

    both_ways(torch.from_numpy(left), torch.from_numpy(right), k)


def faiss(left, right, k: int) -> None:
    import faiss as library

    for queries, candidates in ((left, right), (right, left)):
        index = library.IndexFlatIP(candidates.shape[1])
        index.add(candidates)
        index.search(queries, k)


CONTESTANTS = {"blocks of products": blocks, "faiss IndexFlatIP": faiss}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sentences", type=int, default=50_000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=list(CONTESTANTS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        import numpy as np

        draw = np.random.default_rng(1)
        left, right = (
            draw.standard_normal((given.sentences, given.width), dtype=np.float32) for _ in range(2)
        )
        left /= np.linalg.norm(left, axis=1, keepdims=True)
        right /= np.linalg.norm(right, axis=1, keepdims=True)
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        CONTESTANTS[given.only](left, right, given.k)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(
            json.dumps(
                {
                    "seconds": time.perf_counter() - began,
                    "MiB": peak / (2**20 if sys.platform == "darwin" else 2**10),
                }
            )
        )
        return
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
    for _ in range(given.rounds):
        for name in CONTESTANTS:
            words = [
                sys.executable,
                __file__,
                "--only",
                name,
                "--sentences",
                str(given.sentences),
                "--width",
                str(given.width),
                "--k",
                str(given.k),
            ]
            ran = subprocess.run(words, capture_output=True, text=True, check=True)
            measured[name].append(json.loads(ran.stdout))
    ours = measured["blocks of products"]
    for name, runs in measured.items():
        ratios = [run["seconds"] / base["seconds"] for run, base in zip(runs, ours, strict=True)]
        seconds = statistics.median(run["seconds"] for run in runs)
        print(
            f"{name:20} {seconds:7.1f} s  × {statistics.median(ratios):.2f}"
            f" ({min(ratios):.2f}–{max(ratios):.2f}) "
            f" {statistics.median(run['MiB'] for run in runs):7,.0f} MiB more"
        )


if __name__ == "__main__":
    main()
