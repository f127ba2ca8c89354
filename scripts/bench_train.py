"""Training speed and memory side by side: this project, the AdapterTrainer of `adapters`, transformers' Trainer with
peft, and its full fine-tuning; the same data, encoder (12 layers × 512) and number of examples, each in a process of
its own.

    python scripts/bench_train.py [--rounds 3] [--steps 8] [--device cpu]

Prints examples a second over the steps after two of warm-up, the share of padding, and peak memory (resident on the
CPU, allocated on a GPU); in every round all contestants run in turn, and ratios are taken within rounds."""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# Contestant: (library, method, settings). "defaults" are each library's own, but for the number of steps; "best" are
# those with which it did best here: batches of 32, sentences of like length together, no dropout in a frozen encoder.
CONTESTANTS = {
    "xitt seq_bn": ("xitt", "seq_bn", {}),
    "xitt seq_bn, best": ("xitt", "seq_bn", {"dropout": 0.0}),
    "xitt lora": ("xitt", "lora", {}),
    "xitt lora, best": ("xitt", "lora", {"dropout": 0.0}),
    "xitt full": ("xitt", "full", {}),
    "AdapterTrainer seq_bn": ("adapters", "seq_bn", {}),
    "AdapterTrainer seq_bn, best": ("adapters", "seq_bn", {"batch": 32, "group": True, "dropout": 0.0}),
    "Trainer + peft lora": ("peft", "lora", {}),
    "Trainer + peft lora, best": ("peft", "lora", {"batch": 32, "group": True, "dropout": 0.0}),
    "Trainer full": ("full", "full", {}),
    "Trainer full, best": ("full", "full", {"batch": 32, "group": True}),
}
WARM = 2  # steps before the clock starts


def rows() -> list[dict[str, Any]]:
    """Real sentence pairs: XNLI's English dev items, from the data folder."""
    from adapters_xitt.readers import pairs_tsv
    from adapters_xitt.tasks import TASKS

    path = Path(os.environ["XITT_DATA"]) / "xtreme" / "xnli" / "dev-en.tsv"
    return pairs_tsv(path, split="dev", labels=TASKS["xnli"].labels).rows


def encoder(folder: Path) -> Path:
    """A random XLM-R of 12 layers × 512 with a real tokenizer beside it."""
    import shutil

    import torch
    from transformers import XLMRobertaConfig, XLMRobertaModel

    torch.manual_seed(0)
    vocabulary = json.loads((Path(os.environ["XITT_ENCODERS"]) / "lab-xlmr" / "config.json").read_text())["vocab_size"]
    XLMRobertaModel(XLMRobertaConfig(
        vocab_size=vocabulary, hidden_size=512, num_hidden_layers=12, num_attention_heads=8, intermediate_size=2048,
        max_position_embeddings=514, type_vocab_size=1), add_pooling_layer=False).save_pretrained(folder)
    shutil.copy(Path(os.environ["XITT_ENCODERS"]) / "lab-xlmr" / "tokenizer.json", folder)
    return folder


class Clock:
    """When each step ended, what it read."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.tokens = self.padded = 0

    def rate(self, batch: int) -> float:
        """Examples a second over the steps after the warm-up."""
        return batch * (len(self.ends) - WARM) / (self.ends[-1] - self.ends[WARM - 1])

    def saw(self, mask: Any) -> None:
        self.tokens += int(mask.sum())
        self.padded += mask.numel() if hasattr(mask, "numel") else mask.size


def with_xitt(folder: Path, method: str, settings: dict[str, Any], steps: int, device: str) -> tuple[Clock, int]:
    from adapters_xitt import plan, recipe, stream
    from adapters_xitt.bench import make_fabric
    from adapters_xitt.jobs import Plan
    from adapters_xitt.material import Material
    from adapters_xitt.progress import Silent
    from adapters_xitt.run import Runner
    from adapters_xitt.store import Store

    clock = Clock()

    class Watch(Silent):
        """Takes the time where training tells its tokens."""

        def tick(self, tokens: int) -> None:
            clock.ends.append(time.perf_counter())

    collate = stream.collate

    def seen(*args: Any, **options: Any) -> dict[str, Any]:
        batch = collate(*args, **options)
        clock.saw(batch["mask"])
        return batch

    stream.collate = seen  # counts padding; the batch itself is untouched
    found = recipe.parse({
        "name": "bench", "encoder": str(folder), "methods": [method], "intermediates": [], "targets": ["xnli"],
        "modes": ["none"], "training": {"max_steps": steps, "evaluate_every": steps, "selection_examples": 1,
                                        **settings},
        "tasks": {"xnli": {"train": "dev[:90%]", "selection": "dev[90%:]"}}}, where="bench")
    store = Store(Path(tempfile.mkdtemp(dir=folder)))  # a fresh one: what is there is not trained again
    work = Plan(found, Material(found, Path(os.environ["XITT_DATA"]), store))
    job = plan.one_module(work, "xnli", parent=None, mode="none")
    Runner(work, store, make_fabric(device, "32"), watch=Watch(), log="none", keep_every=1e9).train_only([job.key])
    del clock.ends[steps:]  # what follows is the look at the selection split
    return clock, job.settings.batch_size


def with_trainer(library: str, folder: Path, settings: dict[str, Any], steps: int, device: str) -> tuple[Clock, int]:
    import torch
    from transformers import (
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
        XLMRobertaForSequenceClassification,
    )

    options = {} if "dropout" not in settings else {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = XLMRobertaForSequenceClassification.from_pretrained(folder, num_labels=3, **options)
    kind: type[Trainer] = Trainer
    if library == "adapters":
        import adapters

        adapters.init(model)
        model.add_adapter("own", config="seq_bn")
        model.train_adapter("own")
        kind = adapters.AdapterTrainer
    elif library == "peft":
        from peft import LoraConfig, TaskType, get_peft_model

        model = get_peft_model(model, LoraConfig(task_type=TaskType.SEQ_CLS))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = rows()[: int(len(rows()) * 0.9)]
    encoded = tokenizer([row["a"] for row in found], [row["b"] for row in found], truncation=True, max_length=128)
    data = [{"input_ids": ids, "attention_mask": mask, "labels": row["label"]} for ids, mask, row in
            zip(encoded["input_ids"], encoded["attention_mask"], found, strict=True)]
    clock, pad = Clock(), DataCollatorWithPadding(tokenizer)

    def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
        batch = pad(items)
        clock.saw(batch["attention_mask"])
        return batch

    class Steps(TrainerCallback):
        """Takes the time after every optimiser step."""

        def on_step_end(self, *args: Any, **_: Any) -> None:
            if device == "cuda":
                torch.cuda.synchronize()
            clock.ends.append(time.perf_counter())

    batch = {"per_device_train_batch_size": settings["batch"]} if "batch" in settings else {}
    arguments = TrainingArguments(
        output_dir=str(folder / "out"), max_steps=steps, report_to=[], save_strategy="no", logging_strategy="no",
        disable_tqdm=True, use_cpu=device == "cpu", group_by_length=settings.get("group", False), **batch)
    kind(model=model, args=arguments, train_dataset=data, data_collator=collate, callbacks=[Steps()]).train()
    return clock, arguments.per_device_train_batch_size


def contest(name: str, folder: Path, steps: int, device: str) -> dict[str, float]:
    """One contestant in this process."""
    library, method, settings = CONTESTANTS[name]
    # As many examples for everybody: a library whose batches are smaller takes more steps.
    steps = WARM + (steps if library == "xitt" or "batch" in settings else steps * 4)
    clock, batch = (with_xitt(folder, method, settings, steps, device) if library == "xitt"
                    else with_trainer(library, folder, settings, steps, device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if device == "cuda":
        import torch

        peak = torch.cuda.max_memory_allocated()
    return {"rate": clock.rate(batch), "padding": 1 - clock.tokens / clock.padded, "peak": peak / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="steps of 32 examples, after the warm-up")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--markdown", action="store_true", help="the table as the README has it")
    parser.add_argument("--only", choices=list(CONTESTANTS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(json.dumps(contest(given.only, given.folder, given.steps, given.device)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
    with tempfile.TemporaryDirectory() as folder:
        where = encoder(Path(folder) / "encoder")
        for turn in range(given.rounds):
            for name in CONTESTANTS:
                ran = subprocess.run(
                    [sys.executable, __file__, "--only", name, "--folder", where, "--steps", str(given.steps),
                     "--device", given.device], capture_output=True, text=True)
                if ran.returncode:
                    sys.exit(f"{name}: {ran.stderr[-2000:]}")
                found[name].append(json.loads(ran.stdout.splitlines()[-1]))
                print(f"round {turn + 1}: {name}: {found[name][-1]}", file=sys.stderr, flush=True)
    report(found, markdown=given.markdown)


def report(found: dict[str, list[dict[str, float]]], *, markdown: bool) -> None:
    """The table; ratios are to `Trainer full` of the same round, median and range."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    # The lines of Markdown where it is asked for.
    table = Table(**({"box": box.MARKDOWN} if markdown else {"title": "training, 12 layers × 512, XNLI English dev"}))
    for column in ("contestant", "examples/s", "× Trainer full", "peak MiB", "× its peak", "padding"):
        table.add_column(column, justify="left" if column == "contestant" else "right")
    base = found["Trainer full"]
    for name, runs in found.items():
        rates = [run["rate"] / one["rate"] for run, one in zip(runs, base, strict=True)]
        peaks = [run["peak"] / one["peak"] for run, one in zip(runs, base, strict=True)]
        table.add_row(name, f"{statistics.median(run['rate'] for run in runs):.1f}", _range(rates),
                      f"{statistics.median(run['peak'] for run in runs):,.0f}", _range(peaks),
                      f"{statistics.median(run['padding'] for run in runs):.1%}")
    Console(width=120).print(table)


def _range(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


if __name__ == "__main__":
    main()
