"""Prints what training one module on XLM-R Large takes at 4,096 tokens a step.

    python scripts/account_memory.py                  sizes on the meta device, no weights, no GPU
    python scripts/account_memory.py --device cuda    torch.cuda.max_memory_allocated of the real
                                                      code beside them
    python scripts/account_memory.py --budget 2GiB    what a recipe's `memory: 2GiB` would choose
    python scripts/account_memory.py --markdown       the totals, as the handbook has them

The configuration is the public one of xlm-roberta-large; the weights are random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import torch

from adapters_xitt import sizes
from adapters_xitt.errors import XittError
from adapters_xitt.kinds import KINDS, heads
from adapters_xitt.model import encoder
from adapters_xitt.model.adapted import AdaptedEncoder
from adapters_xitt.model.pretrained import EncoderFiles
from adapters_xitt.model.setup import resolve
from adapters_xitt.modules import composition
from adapters_xitt.modules.methods import choose
from adapters_xitt.training import memory
from adapters_xitt.training.memory import MemoryPlan

XLMR_LARGE = {
    "vocab_size": 250002,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "layer_norm_eps": 1e-5,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
}
FILES = EncoderFiles(Path("."), "xlm-roberta-large", "", XLMR_LARGE, 559_890_432)
STEP, LABELS = 4096, 3

# the limit that is asked of it, and the plan
PLANS = [
    ("", MemoryPlan()),
    ("", MemoryPlan(base="bf16")),
    ("4GiB", MemoryPlan(base="bf16", embeddings="cut")),
    ("", MemoryPlan(base="bf16", embeddings="host")),
    ("", MemoryPlan(base="bf16", embeddings="cut", checkpointing=2)),
    ("", MemoryPlan(base="bf16", checkpointing=1)),
    ("1.6GiB", MemoryPlan(base="bf16", embeddings="cut", checkpointing=1)),
    ("", MemoryPlan(base="8bit", embeddings="host", checkpointing=1)),
    ("0.8GiB", MemoryPlan(base="4bit", embeddings="host", checkpointing=1)),
    ("0.8GiB", MemoryPlan(base="4bit", embeddings="host", checkpointing=1, optimizer="8bit")),
    ("0.8GiB", MemoryPlan(base="4bit", embeddings="host", checkpointing=1, tokens=2048)),
]


def measure(method: str, memory_plan: MemoryPlan, *, length: int, vocabulary: int) -> int:
    """The most bytes torch had allocated in the second of two steps of the real code, everything on
    the device."""
    torch.cuda.empty_cache()
    ids = {"ids": torch.arange(vocabulary)} if memory_plan.embeddings == "cut" else {}
    base_encoder = encoder.load_random(FILES, **memory_plan.encoder_options(), **ids)
    base_encoder.model.to("cuda")
    adapted = AdaptedEncoder(base_encoder)
    adapted.add("module", choose(method, {}), seed=1)
    head = heads.build("pair", adapted.encoder, LABELS, seed=1).to("cuda")
    trained = [*adapted.parameters("module").values(), *head.parameters()]
    for parameter in trained:
        parameter.requires_grad_(True)
    adapted.activate(resolve(composition.Part("module"), adapted.methods, adapted.encoder.layers))
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    if memory_plan.optimizer == "8bit":
        from bitsandbytes.optim import AdamW8bit

        optimizer = AdamW8bit(trained, lr=1e-4)
    features = memory_plan.tokens // length
    tokens = torch.randint(4, vocabulary, (features, length), device="cuda")
    mask, label = torch.ones_like(tokens), torch.zeros(features, dtype=torch.long, device="cuda")
    for _ in range(2):
        torch.cuda.reset_peak_memory_stats()
        with adapted.training(None):
            for _ in range(STEP // memory_plan.tokens):
                with torch.autocast(
                    "cuda",
                    memory_plan.autocast or torch.bfloat16,
                    enabled=memory_plan.autocast is not None,
                ):
                    hidden = base_encoder.run(
                        base_encoder.embed(tokens), mask, 0, base_encoder.layers
                    )
                    logits = head(hidden, {"mask": mask})
                KINDS["pair"].loss(logits, {"label": label}).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return torch.cuda.max_memory_allocated()


@click.command()
@click.option(
    "--device", type=click.Choice(["none", "cuda"]), default="none", help="where to measure as well"
)
@click.option("--method", "methods", multiple=True, default=("seq_bn", "lora"), show_default=True)
@click.option("--length", default=128, show_default=True, help="tokens in every sequence")
@click.option(
    "--vocabulary",
    default=50_000,
    show_default=True,
    help="distinct ids in the data, for cut embeddings",
)
@click.option("--budget", help="choose for this much memory, and say how")
@click.option("--markdown", is_flag=True, help="the totals only, a column for each method")
def main(
    device: str,
    methods: tuple[str, ...],
    length: int,
    vocabulary: int,
    budget: str | None,
    markdown: bool,
) -> None:
    """One line per method and memory plan; MiB, and the total in GiB."""
    if budget:
        print_choice(budget, methods, length, vocabulary)
    elif markdown:
        print_markdown(methods, length, vocabulary)
    else:
        print_account(methods, length, vocabulary, measured=device == "cuda")


def print_choice(budget: str, methods: tuple[str, ...], length: int, vocabulary: int) -> None:
    """What would be chosen for a budget, method by method."""
    for method in methods:
        try:
            _, lines = memory.choose(
                sizes.parse(budget),
                FILES,
                choose(method, {}),
                memory.Workload(step_tokens=STEP, vocabulary=vocabulary, length=length),
            )
        except XittError as error:
            raise click.ClickException(str(error)) from None
        click.echo("\n".join([method, *(f"  {line}" for line in lines)]))


def account_of(method: str, memory_plan: MemoryPlan, length: int, vocabulary: int) -> Any:
    """The account of training one module."""
    return memory.account(
        FILES,
        choose(method, {}),
        memory_plan,
        memory.Workload(step_tokens=STEP, vocabulary=vocabulary, length=length),
    )


def print_markdown(methods: tuple[str, ...], length: int, vocabulary: int) -> None:
    """The totals alone, a column for each method."""
    click.echo("| " + " | ".join(["memory plan", *(f"{method}, GiB" for method in methods)]) + " |")
    click.echo("| --- |" + " ---: |" * len(methods))
    for _, memory_plan in PLANS:
        totals = [
            account_of(method, memory_plan, length, vocabulary).total / 2**30 for method in methods
        ]
        cells = [memory.describe(memory_plan), *(f"{total:.2f}" for total in totals)]
        click.echo("| " + " | ".join(cells) + " |")


def print_account(
    methods: tuple[str, ...], length: int, vocabulary: int, *, measured: bool
) -> None:
    """Every part of every total, and beside them what a GPU allocated where that is measured."""
    names = ("weights", "embeddings", "module", "moments", "gradients", "saved", "alive")
    head = [
        "method",
        *(f"{name:>10}" for name in names),
        "total GiB",
        "limit",
        "measured" if measured else "",
    ]
    click.echo("  ".join(head) + "  memory plan")
    for method in methods:
        for limit, memory_plan in PLANS:
            account = account_of(method, memory_plan, length, vocabulary)
            within = "" if not limit else " ok" if account.total <= sizes.parse(limit) else " over"
            cells = [
                f"{method:6}",
                *(f"{getattr(account, name) / 2**20:10.0f}" for name in names),
                f"{account.total / 2**30:9.3f}",
                f"{limit:>6}{within}",
            ]
            if measured:
                peak = measure(method, memory_plan, length=length, vocabulary=vocabulary)
                cells.append(f"{peak / 2**30:8.3f}")
            click.echo("  ".join(cells) + f"  {memory.describe(memory_plan)}")


if __name__ == "__main__":
    main()
