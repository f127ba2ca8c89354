"""The commands of single modules: train, compose, evaluate, show, inspect, export, import,
convert."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from adapters_xitt.cli.options import (
    COMPOSITION,
    DATA,
    ENCODER,
    EXPRESSION,
    MACHINE,
    OVERRIDES,
    STORE,
    Expression,
)
from adapters_xitt.text import printable


@click.command()
@click.argument("task")
@OVERRIDES
@ENCODER
@DATA
@STORE
@MACHINE
@click.option(
    "--method",
    default="seq_bn",
    show_default=True,
    help="A method with options: lora or 'lora(rank=16)'.",
)
@click.option("--seed", type=click.IntRange(min=0, max=2**63 - 1), default=1, show_default=True)
@click.option(
    "--after", metavar="MODULE", help="A module of the store that takes part: see --mode."
)
@click.option(
    "--mode",
    type=click.Choice(["sequential", "stack", "sum"]),
    default="sequential",
    show_default=True,
)
@click.option("--name", help="A name for the module in the store.")
def train(task: str, overrides: tuple[str, ...], **options: Any) -> None:
    """Train one module for TASK, without a recipe file. KEY=VALUE as in a recipe:
    training.epochs=1."""
    from adapters_xitt.api import training
    from adapters_xitt.cli.render.modules import print_manifest

    module = training.train(task, overrides, **options)
    print_manifest(module.manifest, name=module.name)


@click.command(cls=Expression)
@COMPOSITION
@click.argument("tasks", nargs=-1, required=True, metavar="TASK... [KEY=VALUE]...")
@EXPRESSION
@click.option(
    "--conventions",
    type=click.Choice(["default", "all"]),
    default="default",
    show_default=True,
    help=(
        "all: a number under each convention where sources disagree, as in the layer that retrieval"
        " reads or the windows of tagging."
    ),
)
def evaluate(composition: str, tasks: tuple[str, ...], **options: Any) -> None:
    """Score COMPOSITION on TASKS. `xitt compose --help` says how it is written."""
    options["overrides"] += tuple(word for word in tasks if "=" in word)
    _evaluate(composition, tuple(word for word in tasks if "=" not in word), options)


@click.command(cls=Expression)
@COMPOSITION
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--save", metavar="NAME", help="Make one module of it, where it can be one, and call it NAME."
)
@click.option(
    "--train",
    metavar="TASK",
    help=(
        "Train on TASK what it leaves open, a fusion or a search; or "
        "else TASK's own module on top of it. With --save it is given a name."
    ),
)
@click.option(
    "--evaluate", "scored", metavar="TASK", multiple=True, help="Score it. Again for several."
)
@EXPRESSION
@click.option("--method", help="Of a module trained on top. Default: that of the part below it.")
@click.option("--seed", type=click.IntRange(min=0, max=2**63 - 1), default=1, show_default=True)
def compose(
    composition: str,
    settings: tuple[str, ...],
    save: str | None,
    train: str | None,
    method: str | None,
    seed: int,
    **options: Any,
) -> None:
    """Explain COMPOSITION: what its parts are, what they run as, what is still to be trained, how
    far a merge is from the sum it stands for. Or make it (--save, --train), or score it
    (--evaluate).

    \b
    none                    the encoder as it is
    a                       a module of the store: its name, or the first digits of its key; or a
                            folder
    a > b                   a stack, bottom first
    a + b, 0.6*a - 0.2*b    low-rank updates added up
    fuse(a, b)              a fusion to be trained; f(a, b) one that was trained and is called f
    mean(a, b), svd(a, b, rank=16), ties(a, 2*b, density=0.3), dare(…), magnitude(…)
                            one module made of several, a weighted mean
    search(a, b)            the weighted sum that scores best on the selection split of --train TASK
    $lang > a               the module of the language under evaluation, below a"""
    from adapters_xitt.api import compositions, explain
    from adapters_xitt.cli.render.expressions import print_explanation
    from adapters_xitt.cli.render.modules import print_manifest

    options |= {"trained": train, "overrides": options["overrides"] + settings}
    expression = composition
    if save or train:
        module = compositions.compose(
            composition, save=save, train=train, method=method, seed=seed, **options
        )
        print_manifest(module.manifest, name=module.name)
        if train:
            expression = module.whole
            click.echo(printable(f"\nwhole: {expression}"))
    if options["scored"]:
        _evaluate(expression, options["scored"], options)
    elif not (save or train):
        print_explanation(explain.explain(composition, **options))


def _evaluate(composition: str, tasks: tuple[str, ...], options: dict[str, Any]) -> None:
    """Prints scores; the exit status is 1 where a cell failed."""
    from adapters_xitt.api import compositions
    from adapters_xitt.cli.render.expressions import print_scores

    evaluation = compositions.evaluate(composition, tasks, **options)
    print_scores(evaluation)
    sys.exit(0 if evaluation.ok else 1)


@click.command()
@click.argument("name", required=False)
@click.option("--results", is_flag=True, help="List results instead of modules.")
@STORE
def show(name: str | None, results: bool, store: Path | None) -> None:
    """List what is in the store, or show module NAME (a name or the first digits of a key)
    whole."""
    from adapters_xitt.api.options import store_root
    from adapters_xitt.cli.render import modules
    from adapters_xitt.study.store import Store

    stored = Store(store_root(store))
    if name:
        modules.print_manifest(stored.manifest(stored.resolve(name)), name=name)
    elif results:
        modules.print_results(stored)
    else:
        modules.print_modules(stored)


@click.command()
@click.argument("path")
@STORE
def inspect(path: str, store: Path | None) -> None:
    """Show what is in the module at PATH (a folder, ours or of adapters or peft; a file; or a name
    in the store) and what is wrong with it, without building a model. The exit status is 1 where
    there are problems."""
    from adapters_xitt.cli import inspect as inspection

    sys.exit(inspection.inspect(path, store=store))


WITHOUT_HEAD = click.option("--without-head", is_flag=True, help="Leave the head where it is.")


@click.command()
@click.argument("module")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--form",
    type=click.Choice(["xitt", "adapters", "peft"]),
    default="xitt",
    show_default=True,
    help="adapters: what its load_adapter reads; peft: what PeftModel.from_pretrained reads.",
)
@click.option("--task", help="Whose head goes along. Default: the only one.")
@WITHOUT_HEAD
@STORE
def export(module: str, folder: Path, without_head: bool, **options: Any) -> None:
    """Write MODULE (a name, or the first digits of a key) into a new FOLDER that xitt, adapters or
    peft reads."""
    from adapters_xitt.api import exchange

    notes = exchange.export(module, folder, with_head=not without_head, **options)
    click.echo(printable("\n".join([f"written: {folder}", *notes])))


@click.command(name="import")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="A name for the module in the store.")
@ENCODER
@click.option("--task", help="What its head answers.")
@click.option("--labels", help="What the outputs of its head mean, in their order: yes,no.")
@click.option(
    "--trained-in", multiple=True, metavar="LANG", help="A language it has seen. Again for several."
)
@WITHOUT_HEAD
@STORE
def import_module(folder: Path, labels: str | None, without_head: bool, **options: Any) -> None:
    """Take the module in FOLDER, ours or of adapters or peft, into the store. What a folder can't
    say is asked for; what else a foreign module has seen stays unknown, and the cells it reaches
    carry a star."""
    from adapters_xitt.api import exchange
    from adapters_xitt.cli.render.modules import print_manifest

    options |= {"labels": labels.split(",") if labels else (), "with_head": not without_head}
    module = exchange.import_module(folder, **options)
    print_manifest(module.manifest, name=module.name)


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--trust-pickle", is_flag=True, help="You trust whoever made it.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Of a file. Default: the name that its library reads, beside it.",
)
def convert(path: Path, trust_pickle: bool, out: Path | None) -> None:
    """Turn the pickled weights in PATH (pytorch_adapter.bin, adapter_model.bin, …), or all of a
    module's folder, into safetensors files. Only tensors are read, in a process of its own; what a
    pickle asks to run is not run."""
    from adapters_xitt.api import exchange

    written = exchange.convert(path, trust_pickle=trust_pickle, out=out)
    click.echo("\n".join(f"written: {file}" for file in written))
