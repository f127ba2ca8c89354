"""Training speed and memory side by side: this project, the AdapterTrainer of `adapters`,
transformers' Trainer with peft, and its full fine-tuning; the same encoder (12 layers × 512) and
the same batches for all, token for token, each in a process of its own.

    python scripts/benchmark_training.py [--rounds 3] [--steps 8] [--device cpu]

The batches are this project's, 32 examples a step, written to a file that the libraries' own loops
read; every contestant gives a digest of what it read. Prints tokens a second, padding left out,
over the steps after two of warm-up, and peak memory (resident on the CPU, allocated on a GPU). On
the CPU a contestant has one thread, and its seconds are those that the processor gave it, so that
other work on the machine counts little. In every round all contestants run in turn, each beside the
library that trains the same; ratios are taken within rounds."""

from __future__ import annotations

import argparse
import hashlib
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

# Contestant: (library, method, settings, the contestant it is measured by). A frozen encoder has
# dropout, as each library leaves it, or none.
CONTESTANTS = {
    "xitt seq_bn": ("xitt", "seq_bn", {}, "AdapterTrainer seq_bn"),
    "AdapterTrainer seq_bn": ("adapters", "seq_bn", {}, "AdapterTrainer seq_bn"),
    "xitt seq_bn, no dropout": (
        "xitt",
        "seq_bn",
        {"dropout": 0.0},
        "AdapterTrainer seq_bn, no dropout",
    ),
    "AdapterTrainer seq_bn, no dropout": (
        "adapters",
        "seq_bn",
        {"dropout": 0.0},
        "AdapterTrainer seq_bn, no dropout",
    ),
    "xitt lora": ("xitt", "lora", {}, "Trainer + peft lora"),
    "Trainer + peft lora": ("peft", "lora", {}, "Trainer + peft lora"),
    "xitt lora, no dropout": ("xitt", "lora", {"dropout": 0.0}, "Trainer + peft lora, no dropout"),
    "Trainer + peft lora, no dropout": (
        "peft",
        "lora",
        {"dropout": 0.0},
        "Trainer + peft lora, no dropout",
    ),
    "xitt full": ("xitt", "full", {}, "Trainer full"),
    "Trainer full": ("full", "full", {}, "Trainer full"),
}
WARM = 2  # steps before the clock starts


def encoder(folder: Path) -> Path:
    """A random XLM-R of 12 layers × 512 with a real tokenizer beside it."""
    import shutil

    import torch
    from transformers import XLMRobertaConfig, XLMRobertaModel

    torch.manual_seed(0)
    vocabulary = json.loads(
        (Path(os.environ["XITT_ENCODERS"]) / "lab-xlmr" / "config.json").read_text()
    )["vocab_size"]
    XLMRobertaModel(
        XLMRobertaConfig(
            vocab_size=vocabulary,
            hidden_size=512,
            num_hidden_layers=12,
            num_attention_heads=8,
            intermediate_size=2048,
            max_position_embeddings=514,
            type_vocab_size=1,
        ),
        add_pooling_layer=False,
    ).save_pretrained(folder)
    shutil.copy(Path(os.environ["XITT_ENCODERS"]) / "lab-xlmr" / "tokenizer.json", folder)
    return folder


class Clock:
    """When each step ended, and what was read by then."""

    def __init__(self, device: str) -> None:
        self.now = time.process_time if device == "cpu" else time.perf_counter
        self.ends: list[float] = []
        self.tokens: list[int] = []  # of every step, without padding
        self.padded = 0
        self.rows: list[list[int]] = []

    def read(self, ids: Any, mask: Any) -> None:
        """Counts a batch that is about to be read; its rows' true tokens are kept for the
        digest."""
        self.padded += mask.shape[0] * mask.shape[1]
        self.rows += [
            line[seen.astype(bool)].tolist() for line, seen in zip(ids, mask, strict=True)
        ]

    def end_step(self) -> None:
        """A step has ended."""
        self.ends.append(self.now())
        self.tokens.append(sum(map(len, self.rows)) - sum(self.tokens))

    def record(self) -> dict[str, Any]:
        """Tokens a second over the steps after the warm-up, the share of padding, and a digest of
        all rows."""
        return {
            "rate": sum(self.tokens[WARM:]) / (self.ends[-1] - self.ends[WARM - 1]),
            "padding": 1 - sum(self.tokens) / self.padded,
            "tokens": sum(self.tokens),
            "digest": hashlib.sha256(json.dumps(sorted(self.rows)).encode()).hexdigest()[:16],
        }


def job_of(folder: Path, method: str, settings: dict[str, Any], steps: int) -> tuple[Any, Any]:
    """This project's plan of one module, on XNLI's English dev items, and its job."""
    from adapters_xitt.study import planner, recipe
    from adapters_xitt.study.inputs import Inputs
    from adapters_xitt.study.plan import Plan
    from adapters_xitt.study.store import Store

    document = recipe.parse(
        {
            "name": "benchmark",
            "encoder": str(folder),
            "methods": [method],
            "intermediates": [],
            "targets": ["xnli"],
            "modes": ["none"],
            "training": {
                "max_steps": steps,
                "evaluate_every": steps,
                "selection_examples": 1,
                **settings,
            },
            "tasks": {"xnli": {"train": "dev[:90%]", "selection": "dev[90%:]"}},
        },
        source="benchmark",
    )
    # a fresh one: what is there is not trained again
    store = Store(Path(tempfile.mkdtemp(dir=folder)))
    work = Plan(document, Inputs(document, Path(os.environ["XITT_DATA"]), store))
    return work, planner.plan_module(work, "xnli", parent=None, mode="none")


def write_batches(folder: Path, steps: int) -> None:
    """The rows of every step of this project's training, for the other loops: `batches.json` in
    `folder`."""
    from adapters_xitt.training.sampler import StepBatches

    work, job = job_of(folder, "seq_bn", {}, steps)
    batches = StepBatches(
        work.inputs.data(job.mixture),
        tokens=job.settings.tokens,
        seed=job.seed,
        steps=steps,
        pad=1,
    )
    written = []
    for step in range(steps):
        written.append(
            [
                {"input_ids": ids[seen.astype(bool)].tolist(), "labels": int(label)}
                for batch in batches[step].micro_batches
                for ids, seen, label in zip(
                    batch["ids"], batch["mask"], batch["label"], strict=True
                )
            ]
        )
    (folder / "batches.json").write_text(json.dumps(written))


def with_xitt(
    folder: Path, method: str, settings: dict[str, Any], steps: int, device: str
) -> Clock:
    from adapters_xitt.model.session import make_fabric
    from adapters_xitt.progress import Silent
    from adapters_xitt.study.runner import Runner
    from adapters_xitt.training import sampler

    clock = Clock(device)

    class Callback(Silent):
        """Takes the time where training tells its tokens; what follows is the look at the selection
        split."""

        def tick(self, tokens: int) -> None:
            if len(clock.ends) < steps:
                clock.end_step()

    collate = sampler.collate

    def seen(*args: Any, **options: Any) -> dict[str, Any]:
        batch = collate(*args, **options)
        clock.read(batch["ids"], batch["mask"])
        return batch

    sampler.collate = seen  # counts; the batch itself is untouched
    try:
        work, job = job_of(folder, method, settings, steps)
        Runner(
            work,
            work.inputs.store,
            make_fabric(device, "32"),
            callback=Callback(),
            log="none",
            keep_every=1e9,
        ).train_only([job.key])
    finally:
        sampler.collate = collate
    return clock


def model_and_trainer(library: str, folder: Path, settings: dict[str, Any]) -> tuple[Any, type]:
    """The encoder with a head, adapted by a library, and the library's trainer."""
    from transformers import Trainer, XLMRobertaForSequenceClassification

    options = (
        {}
        if "dropout" not in settings
        else {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    )
    model = XLMRobertaForSequenceClassification.from_pretrained(folder, num_labels=3, **options)
    if library == "adapters":
        import adapters

        adapters.init(model)
        model.add_adapter("own", config="seq_bn")
        model.train_adapter("own")
        return model, adapters.AdapterTrainer
    if library == "peft":
        from peft import LoraConfig, TaskType, get_peft_model

        model = get_peft_model(model, LoraConfig(task_type=TaskType.SEQ_CLS))
    return model, Trainer


def with_trainer(
    library: str, folder: Path, settings: dict[str, Any], steps: int, device: str
) -> Clock:
    import torch
    from torch.utils.data import DataLoader
    from transformers import TrainerCallback, TrainingArguments

    model, trainer = model_and_trainer(library, folder, settings)
    batches, clock = json.loads((folder / "batches.json").read_text())[:steps], Clock(device)
    examples = [example for batch in batches for example in batch]
    ends = [sum(map(len, batches[: n + 1])) for n in range(len(batches))]
    indices = [list(range(end - len(batch), end)) for end, batch in zip(ends, batches, strict=True)]

    def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
        longest = max(len(item["input_ids"]) for item in items)
        ids = torch.full((len(items), longest), model.config.pad_token_id)
        for line, item in zip(ids, items, strict=True):
            line[: len(item["input_ids"])] = torch.tensor(item["input_ids"])
        mask = (
            torch.arange(longest) < torch.tensor([[len(item["input_ids"])] for item in items])
        ).long()
        clock.read(ids.numpy(), mask.numpy())
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "labels": torch.tensor([item["labels"] for item in items]),
        }

    class Given(trainer):
        """The library's own loop over the batches it is given."""

        def get_train_dataloader(self) -> DataLoader:
            return DataLoader(examples, batch_sampler=indices, collate_fn=collate)

    class Steps(TrainerCallback):
        """Takes the time after every optimiser step."""

        def on_step_end(self, *args: Any, **_: Any) -> None:
            if device == "cuda":
                torch.cuda.synchronize()
            clock.end_step()

    arguments = TrainingArguments(
        output_dir=str(folder / "out"),
        max_steps=steps,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        use_cpu=device == "cpu",
    )
    Given(model=model, args=arguments, train_dataset=examples, callbacks=[Steps()]).train()
    return clock


def contest(name: str, folder: Path, steps: int, device: str) -> dict[str, Any]:
    """One contestant in this process, `steps` steps after the warm-up."""
    import torch

    library, method, settings, _ = CONTESTANTS[name]
    if device == "cpu":
        torch.set_num_threads(1)
    clock = (
        with_xitt(folder, method, settings, WARM + steps, device)
        if library == "xitt"
        else with_trainer(library, folder, settings, WARM + steps, device)
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    return {**clock.record(), "peak": peak / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--steps", type=int, default=8, help="steps of 32 examples, after the warm-up"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--markdown", action="store_true", help="the table as the handbook has it")
    parser.add_argument("--only", choices=list(CONTESTANTS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(json.dumps(contest(given.only, given.folder, given.steps, given.device)))
        return
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTESTANTS}
    with tempfile.TemporaryDirectory() as folder:
        encoder_folder = encoder(Path(folder) / "encoder")
        write_batches(encoder_folder, WARM + given.steps)
        for turn in range(given.rounds):
            for name in list(CONTESTANTS)[:: -1 if turn % 2 else 1]:
                finished = subprocess.run(
                    [
                        sys.executable,
                        __file__,
                        "--only",
                        name,
                        "--folder",
                        encoder_folder,
                        "--steps",
                        str(given.steps),
                        "--device",
                        given.device,
                    ],
                    capture_output=True,
                    text=True,
                )
                if finished.returncode:
                    sys.exit(f"{name}: {finished.stderr[-2000:]}")
                measured[name].append(json.loads(finished.stdout.splitlines()[-1]))
                print(
                    f"round {turn + 1}: {name}: {measured[name][-1]}", file=sys.stderr, flush=True
                )
    if len({run["digest"] for runs in measured.values() for run in runs}) > 1:
        sys.exit(
            "the contestants did not read the same tokens: "
            + ", ".join(
                f"{name} {run['digest']}" for name, runs in measured.items() for run in runs
            )
        )
    report(measured, markdown=given.markdown)


def report(measured: dict[str, list[dict[str, Any]]], *, markdown: bool) -> None:
    """The table; ratios are to the library that trains the same, of the same round: median and
    range."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    # The lines of Markdown where it is asked for.
    table = Table(
        **(
            {"box": box.MARKDOWN}
            if markdown
            else {"title": "training, 12 layers × 512, XNLI English dev"}
        )
    )
    for column in ("contestant", "tokens/s", "× its peer", "peak MiB", "× its peer's", "padding"):
        table.add_column(column, justify="left" if column == "contestant" else "right")
    for name, runs in measured.items():
        peer = CONTESTANTS[name][3]
        rate, peak = (
            (
                ""
                if peer == name
                else _range(
                    [
                        run[what] / other[what]
                        for run, other in zip(runs, measured[peer], strict=True)
                    ]
                )
            )
            for what in ("rate", "peak")
        )
        table.add_row(
            name,
            f"{statistics.median(run['rate'] for run in runs):,.0f}",
            rate,
            f"{statistics.median(run['peak'] for run in runs):,.0f}",
            peak,
            f"{statistics.median(run['padding'] for run in runs):.1%}",
        )
    Console(width=120).print(table)


def _range(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


if __name__ == "__main__":
    main()
