"""The console script `xitt`: each command parses, calls one function and prints. Heavy imports wait
inside."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import click

from adapters_xitt import __version__, atomic, stopping
from adapters_xitt.errors import XittError
from adapters_xitt.text import printable

# Before torch is there: threads that wait asleep. Spinning ones, the default, make small layers on
# a machine whose cores are shared several times slower (970 against 170 ms a step, two threads
# beside two other processes).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# It advises to install a package that lets checkpoints load code, whenever a library imports it.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


class Doors(click.Group):
    """Shows a user's mistake without a traceback, exit status 2; anything else keeps its
    traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        with stopping.listening():
            try:
                result = self._told(ctx)
                stopping.check()
                return result
            except SystemExit:
                if not stopping.asked():
                    raise
            except KeyboardInterrupt:
                pass
            stopping.give_up()
            click.echo(
                "\nstopped; what was finished is kept, and the same command goes on from the last"
                " checkpoint",
                err=True,
            )
            sys.exit(128 + (stopping.asked() or signal.SIGINT))

    def _told(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (XittError, OSError) as error:
            missing = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError)
            if (
                isinstance(error, OSError)
                and not isinstance(error, missing)
                and not atomic.disk_refuses(error)
            ):
                raise  # a defect
            told = (
                f"{error.filename}: {error.strerror}"
                if getattr(error, "filename", None)
                else str(error)
            )
            if isinstance(error, OSError) and atomic.disk_refuses(error):
                told = atomic.explain(error, error.filename or atomic.full_place())
            shown = click.ClickException(printable(told))
            shown.exit_code = 2
            raise shown from None


class Expression(click.Command):
    """A command whose words may be expressions that begin with a minus: they are no options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(
            ctx, [f" {word}" if re.match(r"-[^-].*[*+>(]", word) else word for word in args]
        )


def _shared(*options: Any) -> Any:
    """Several options as one decorator."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


STORE = click.option(
    "--store", type=click.Path(path_type=Path), help="The store. Default: XITT_STORE, or ./store."
)
DATA = click.option("--data", help="The data folder, or demo. Default: XITT_DATA.")
ENCODER = click.option(
    "--encoder", help="demo, a folder, a name below XITT_ENCODERS, or owner/name@revision."
)
MACHINE = _shared(
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda", "mps"]),
        default="auto",
        show_default=True,
    ),
    click.option(
        "--precision",
        type=click.Choice(["32", "bf16", "16", "8bit", "4bit"]),
        help="Over the recipe's.",
    ),
    click.option(
        "--threads", type=click.IntRange(min=1), help="CPU threads. Default: one per core."
    ),
    click.option(
        "--log",
        type=click.Choice(["csv", "tensorboard", "none"]),
        default="csv",
        show_default=True,
        help="Losses and scores of every module, under logs/ in the store.",
    ),
    click.option(
        "--keep-every",
        type=click.FloatRange(min=0),
        default=60.0,
        show_default=True,
        help="Seconds between checkpoints of half-trained modules.",
    ),
)
OVERRIDES = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")


@click.group(cls=Doors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="xitt")
def main() -> None:
    """Zero-shot cross-lingual transfer grids with intermediate-task training, on adapters and LoRA
    over a frozen encoder."""


@main.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@OVERRIDES
@STORE
@MACHINE
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes that share the work. On small encoders two do more than two threads.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option(
    "--fresh-versions",
    is_flag=True,
    help="Score again what other versions of the libraries than the installed ones have scored.",
)
def run(
    recipe: Path,
    overrides: tuple[str, ...],
    store: Path | None,
    device: str,
    precision: str | None,
    threads: int | None,
    log: str,
    keep_every: float,
    workers: int,
    dry_run: bool,
    fresh_versions: bool,
) -> None:
    """Run what is missing of RECIPE, resume what was cut off, print the grid.

    KEY=VALUE overrides a key of the recipe, as in training.epochs=1 or seeds=[1,2]. The exit status
    is 0 only when every cell is done, blocked or not applicable."""
    from adapters_xitt import progress, report
    from adapters_xitt.api import common
    from adapters_xitt.cli import render_plan
    from adapters_xitt.model import session

    session.check_device(device)  # before anything is read
    work = common.open_recipe(recipe, _with_precision(overrides, precision), store)
    if dry_run:
        render_plan.print_plan(work)
        return
    if fresh_versions:
        count = common.discard_other_versions(work)
        click.echo(
            f"{count:,} of {len(work.plan.score):,} cells were scored by other versions and are"
            " scored again"
        )
    if workers > 1:
        threads = threads or max(1, (os.cpu_count() or 1) // workers)
    same = (
        "run",
        recipe,
        *_with_precision(overrides, precision),
        "--store",
        work.store.root,
        "--device",
        device,
        "--threads",
        threads,
        "--log",
        log,
        "--keep-every",
        keep_every,
    )
    if stopping.follow_parent():
        common.share(work, device=device, threads=threads, keep_every=keep_every, log=log)
        return
    with common.others(same, workers - 1, work.store.root / "logs"):
        grid = common.run_work(work, device=device, threads=threads, log=log, keep_every=keep_every)
    report.terminal(grid, progress.console())
    folder = work.store.root / "runs" / work.plan.recipe.name
    written = report.write(grid, folder)
    click.echo(
        "\n".join(
            [
                "",
                *common.failures(grid),
                f"{', '.join(path.name for path in written)} and grid.json lie in {folder}",
            ]
        )
    )
    sys.exit(common.exit_status(grid))


@main.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@OVERRIDES
@STORE
@click.option(
    "--details", is_flag=True, help="Every module by itself, and every place that is not scored."
)
def plan(recipe: Path, overrides: tuple[str, ...], store: Path | None, details: bool) -> None:
    """Show the jobs of RECIPE, what the store already has, and what the rest costs. Trains nothing,
    and needs no more of the encoder than its configuration and tokenizer. The exit status is 1
    where a row can't be run."""
    from adapters_xitt.api import common
    from adapters_xitt.cli import render_plan

    work = common.open_recipe(recipe, overrides, store, weights=False)
    render_plan.print_plan(work, details=details)
    sys.exit(int(work.plan.refused))


@main.command()
@click.argument("name", required=False)
@ENCODER
@DATA
@STORE
@click.option(
    "--ceiling", is_flag=True, help="Of a question answering task: what gold spans score."
)
@click.option("--markdown", is_flag=True, help="The table of tasks as the handbook has it.")
def tasks(
    name: str | None,
    encoder: str | None,
    data: str | None,
    store: Path | None,
    ceiling: bool,
    markdown: bool,
) -> None:
    """List the tasks, or show task NAME whole, with an example as the encoder sees it."""
    from adapters_xitt.cli import render

    if name is None:
        render.print_tasks(markdown=markdown)
    elif ceiling:
        render.print_ceiling(name, encoder=encoder, data=data, store=store)
    else:
        render.print_task(name, encoder=encoder, data=data, store=store)


@main.command()
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
def train(
    task: str,
    overrides: tuple[str, ...],
    encoder: str | None,
    data: str | None,
    store: Path | None,
    device: str,
    precision: str | None,
    threads: int | None,
    log: str,
    keep_every: float,
    method: str,
    seed: int,
    after: str | None,
    mode: str,
    name: str | None,
) -> None:
    """Train one module for TASK, without a recipe file. KEY=VALUE as in a recipe:
    training.epochs=1."""
    from adapters_xitt.api import common
    from adapters_xitt.cli import render

    made = common.train(
        task,
        _with_precision(overrides, precision),
        encoder=encoder,
        data=data,
        store=store,
        method=method,
        seed=seed,
        after=after,
        mode=mode,
        name=name,
        device=device,
        threads=threads,
        log=log,
        keep_every=keep_every,
    )
    render.print_manifest(made, name=name)


LANGUAGES = click.option(
    "--language", "languages", multiple=True, help="Again for several. Default: the task's all."
)
SET = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="A key as in a recipe."
)
HEAD = click.option(
    "--head",
    metavar="MODULE",
    help=(
        "Whose head stands on top. Default: of a stack the top's, else "
        "that of the last part that has one."
    ),
)
SPOKEN = click.option(
    "--lang",
    "spoken",
    default="lang-{lang}",
    show_default=True,
    metavar="PATTERN",
    help="Names of the modules that stand for $lang.",
)


COMPOSITION = click.argument(
    "composition",
    callback=lambda ctx, argument, text: text.removeprefix(" ") if text.startswith(" -") else text,
)
EXPRESSION = _shared(ENCODER, DATA, STORE, MACHINE, LANGUAGES, SET, HEAD, SPOKEN)


@main.command(cls=Expression)
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
def evaluate(
    composition: str, tasks: tuple[str, ...], conventions: str, store: Path | None, **told: Any
) -> None:
    """Score COMPOSITION on TASKS. `xitt compose --help` says how it is written."""
    settings = tuple(word for word in tasks if "=" in word)
    told["overrides"] += settings
    _evaluate(
        composition,
        tuple(word for word in tasks if word not in settings),
        store,
        _options(told),
        conventions == "all",
    )


@main.command(cls=Expression)
@COMPOSITION
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--save", metavar="NAME", help="Make one module of it, where it can be one, and call it NAME."
)
@click.option(
    "--train",
    "train_on",
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
    train_on: str | None,
    scored: tuple[str, ...],
    store: Path | None,
    **told: Any,
) -> None:
    """Explain COMPOSITION: what its parts are, what they run as, what is still to be trained, how
    far a merge is from the sum it stands for. Or make it (--save, --train), or score it
    (--evaluate).

    \b none                    the encoder as it is a                       a module of the store:
    its name, or the first digits of its key; or a folder a > b                   a stack, bottom
    first a + b, 0.6*a - 0.2*b    low-rank updates added up fuse(a, b)              a fusion to be
    trained; f(a, b) one that was trained and is called f mean(a, b), svd(a, b, rank=16), ties(a,
    2*b, density=0.3), dare(…), magnitude(…)
                            one module made of several, a weighted mean
    search(a, b)            the weighted sum that scores best on the selection split of --train TASK
    $lang > a               the module of the language under evaluation, below a"""
    from adapters_xitt.api import compositions
    from adapters_xitt.cli import render

    told["overrides"] += settings
    options, text = _options({**told, "trained": train_on, "scored": scored}), composition
    if train_on:
        made, text = compositions.train(text, train_on, store=store, options=options, name=save)
        render.print_manifest(made, name=save)
        click.echo(printable(f"\nwhole: {text}"))
    elif save:
        render.print_manifest(
            compositions.save(text, save, store=store, options=options), name=save
        )
    if scored:
        _evaluate(text, scored, store, options, False)
    elif not (save or train_on):
        render.print_expression(compositions.explain(text, store=store, options=options))


def _options(told: dict[str, Any]) -> Any:
    """The options of commands on expressions, as one value."""
    from adapters_xitt.api.compositions import Options

    overrides = _with_precision(told.pop("overrides"), told.pop("precision"))
    machine = {name: told.pop(name) for name in ("device", "threads", "log", "keep_every")}
    return Options(overrides=overrides, machine=machine, **told)


def _evaluate(
    text: str, tasks: tuple[str, ...], store: Path | None, options: Any, every: bool
) -> None:
    """Prints scores; the exit status is 1 where a cell failed."""
    from adapters_xitt.api import common, compositions
    from adapters_xitt.cli import render

    grids = compositions.evaluate(text, tasks, store=store, options=options, all_conventions=every)
    render.print_scores(grids)
    sys.exit(max(map(common.exit_status, grids)))


@main.command()
@click.argument("name", required=False)
@click.option("--results", is_flag=True, help="List results instead of modules.")
@STORE
def show(name: str | None, results: bool, store: Path | None) -> None:
    """List what is in the store, or show module NAME (a name or the first digits of a key)
    whole."""
    from adapters_xitt.cli import render

    render.print_store(store, name=name, results=results)


@main.command(name="check-store")
@STORE
def check_store(store: Path | None) -> None:
    """Read everything in the store whole and compare it with the digests that it carries. Changes
    nothing. The exit status is 1 where something is damaged."""
    from adapters_xitt.cli import check_store as storedesk

    sys.exit(storedesk.check(store))


@main.command()
@click.argument("path")
@STORE
def inspect(path: str, store: Path | None) -> None:
    """Show what is in the module at PATH (a folder, ours or of adapters or peft; a file; or a name
    in the store) and what is wrong with it, without building a model. The exit status is 1 where
    there are problems."""
    from adapters_xitt.cli import inspect as moduledesk

    sys.exit(moduledesk.inspect(path, store=store))


WITHOUT_HEAD = click.option("--without-head", is_flag=True, help="Leave the head where it is.")


@main.command()
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
def export(
    module: str, folder: Path, form: str, task: str | None, without_head: bool, store: Path | None
) -> None:
    """Write MODULE (a name, or the first digits of a key) into a new FOLDER that xitt, adapters or
    peft reads."""
    from adapters_xitt.sharing import exchange

    told = exchange.export(
        module, folder, form=form, task=task, with_head=not without_head, store=store
    )
    click.echo(printable("\n".join([f"written: {folder}", *told])))


@main.command(name="import")
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
def take_in(
    folder: Path,
    name: str,
    encoder: str | None,
    task: str | None,
    labels: str | None,
    trained_in: tuple[str, ...],
    without_head: bool,
    store: Path | None,
) -> None:
    """Take the module in FOLDER, ours or of adapters or peft, into the store. What a folder can't
    say is asked for; what else a foreign module has seen stays unknown, and the cells it reaches
    carry a star."""
    from adapters_xitt.cli import render
    from adapters_xitt.sharing import exchange

    made = exchange.take_in(
        folder,
        name=name,
        encoder=encoder,
        task=task,
        trained_in=trained_in,
        store=store,
        labels=labels.split(",") if labels else (),
        with_head=not without_head,
    )
    render.print_manifest(made, name=name)


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--trust-pickle", "trusted", is_flag=True, help="You trust whoever made it.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Of a file. Default: the name that its library reads, beside it.",
)
def convert(path: Path, trusted: bool, out: Path | None) -> None:
    """Turn the pickled weights in PATH (pytorch_adapter.bin, adapter_model.bin, …), or all of a
    module's folder, into safetensors files. Only tensors are read, in a process of its own; what a
    pickle asks to run is not run."""
    from adapters_xitt.modules.formats import pickles

    if path.is_dir() and out:
        raise XittError(
            f"--out {out}: a folder's files get the names that its library reads, beside the"
            " pickles"
        )
    written = (
        pickles.convert_folder(path, trusted=trusted)
        if path.is_dir()
        else [pickles.convert(path, out, trusted=trusted)]
    )
    click.echo("\n".join(f"written: {one}" for one in written))


@main.command()
@click.argument("run")
@STORE
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for the report. Default: the run's own."
)
def report(run: str, store: Path | None, out: Path | None) -> None:
    """Print the grid of RUN (its name or its folder), and write it as Markdown, CSV and heat
    map."""
    from adapters_xitt import progress
    from adapters_xitt import report as reports
    from adapters_xitt.study import runs

    grid, folder = runs.load_run(run, store)
    reports.terminal(grid, progress.console())
    written = reports.write(grid, out or folder)
    click.echo(f"\n{', '.join(path.name for path in written)} lie in {out or folder}")


@main.command()
@STORE
def doctor(store: Path | None) -> None:
    """Check versions, devices, disk and, on a small random encoder, the laws that the numbers rest
    on."""
    from adapters_xitt.api import doctor as checks

    sys.exit(0 if checks.examine(store) else 1)


BENCHMARK = click.option(
    "--benchmark",
    default="xtreme",
    show_default=True,
    help="xtreme, xtreme-29 (UDPOS in 29 languages) or xtreme-r.",
)


@main.command()
@click.argument("run")
@click.argument("folder", type=click.Path(path_type=Path))
@STORE
@BENCHMARK
@click.option("--method", help="The row's method, where the run has several.")
@click.option("--row", help="The row as the report names it: none, 'mnli stack'.")
@click.option("--seed", type=int)
def submit(
    run: str,
    folder: Path,
    store: Path | None,
    benchmark: str,
    method: str | None,
    row: str | None,
    seed: int | None,
) -> None:
    """Write one row of RUN into FOLDER as the files that the benchmark's own evaluate.py reads. The
    exit status is 1 where the benchmark asks for more than the run has."""
    from adapters_xitt.api import common

    sys.exit(
        common.submit(run, folder, store, benchmark=benchmark, method=method, row=row, seed=seed)
    )


@main.command()
@click.argument("predictions", type=click.Path(path_type=Path))
@click.argument("labels", type=click.Path(path_type=Path))
@BENCHMARK
@click.option(
    "--json",
    "out",
    type=click.Path(path_type=Path),
    help="Write every score and average here as well.",
)
@click.option(
    "--lenient",
    is_flag=True,
    help=(
        "Score what is there, and take blank lines, byte order marks, 01 for 1 "
        "and words before tags as people do; every such line is told."
    ),
)
def score(predictions: Path, labels: Path, benchmark: str, out: Path | None, lenient: bool) -> None:
    """Score a submission folder, ours or not, against a folder of labels with the same names, as
    XTREME's evaluate.py does it: what stops the script is refused."""
    from adapters_xitt.cli import render

    render.print_standing(predictions, labels, benchmark=benchmark, out=out, lenient=lenient)


@main.command()
@click.argument("module")
@click.argument("repository")
@STORE
@click.option("--base", metavar="OWNER/NAME@COMMIT", help="Where the encoder lies on the hub.")
@click.option(
    "--run", metavar="RUN", help="The run whose other seeds, row none and controls the card shows."
)
@click.option("--revision", help="The branch to push to. Default: main.")
@click.option(
    "--private",
    is_flag=True,
    help="Make the repository private; refused where it is there and public.",
)
@click.option(
    "--create-pr", is_flag=True, help="Make a pull request, which needs no right to write."
)
@click.option("--licence", help="As the hub names them: mit, apache-2.0, cc-by-4.0.")
@click.option("--message", help="Of the commit.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print what would be pushed, the card too, and ask nothing of the hub.",
)
def push(module: str, repository: str, **options: Any) -> None:
    """Push MODULE of the store, with the parts of its context, its results and its card, to
    REPOSITORY (owner/name) on a model hub, in one commit. The token is the one that `hf auth login`
    or HF_TOKEN gives; HF_ENDPOINT is another hub."""
    from adapters_xitt.api import hub
    from adapters_xitt.cli import sharing

    store = options.pop("store")
    pushed = hub.push(module, repository, store=store, options=hub.PushOptions(**options))
    sharing.print_push(pushed)


@main.command()
@click.argument("reference", metavar="hub:OWNER/NAME[@REVISION]")
@STORE
def pull(reference: str, store: Path | None) -> None:
    """Bring a module from a model hub into a folder of its own below the store: checked, at a
    pinned commit, nothing that runs."""
    from adapters_xitt.api import hub
    from adapters_xitt.cli import render
    from adapters_xitt.hub import Reference
    from adapters_xitt.modules import serialization

    pulled = hub.pull(reference, store=store)
    name = str(Reference(pulled.repo, pulled.commit))
    render.print_manifest(serialization.read_manifest(pulled.folder), name=name)
    print(pulled.folder)


@main.command()
@click.argument("words", nargs=-1)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    help="Only with this tag: a language, a method. Again for several.",
)
@click.option("--all", "every", is_flag=True, help="Other programs' repositories too.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
def search(words: tuple[str, ...], tags: tuple[str, ...], every: bool, limit: int) -> None:
    """List modules on the model hub that match WORDS."""
    from adapters_xitt.api import hub
    from adapters_xitt.cli import sharing

    sharing.print_repositories(hub.search(words, tags=tags, every=every, limit=limit))


@main.command()
@click.argument("reference", metavar="hub:OWNER/NAME[@REVISION]")
@ENCODER
@DATA
@STORE
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. Default: one per core.")
def verify(
    reference: str,
    encoder: str | None,
    data: str | None,
    store: Path | None,
    device: str,
    threads: int | None,
) -> None:
    """Pull a module, score again what it states on the data at hand, and say of every number
    whether it holds. The exit status is 1 where one does not, or none could be checked."""
    from adapters_xitt.api import hub
    from adapters_xitt.cli import sharing

    verification = hub.verify(
        reference, encoder=encoder, data=data, store=store, device=device, threads=threads
    )
    sharing.print_verification(verification, reference)
    sys.exit(0 if verification.ok else 1)


@main.group()
def data() -> None:
    """Check a data folder, or fill one from a hub."""


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("tasks", nargs=-1)
@click.option(
    "--json", "out", type=click.Path(path_type=Path), help="Write every finding here as well."
)
def check(folder: Path, tasks: tuple[str, ...], out: Path | None) -> None:
    """Read every file that FOLDER has of TASKS (default: all) and say how many rows it holds, what
    is broken and what is missing. The exit status is 1 where there are problems: a file that is
    broken, or a test without its labels."""
    from adapters_xitt.cli import data as datadesk

    sys.exit(datadesk.check(folder, tasks, out=out))


@data.command()
@click.argument("tasks", nargs=-1)
@click.option("--to", "folder", type=click.Path(path_type=Path), help="The data folder to fill.")
@click.option(
    "--revision",
    "revisions",
    multiple=True,
    metavar="REPOSITORY=COMMIT",
    help="A commit of one repository, all 40 digits. Again for several.",
)
@click.option(
    "--language",
    "languages",
    multiple=True,
    help="Only this one, and what it is trained on. Again for several.",
)
@click.option(
    "--train-language",
    "training",
    multiple=True,
    default=("en",),
    show_default=True,
    help="Whose training split is wanted. Again for several.",
)
@click.option("--most", default="2GB", show_default=True, help="Refuse to download more than this.")
def fetch(
    tasks: tuple[str, ...],
    folder: Path | None,
    revisions: tuple[str, ...],
    languages: tuple[str, ...],
    training: tuple[str, ...],
    most: str,
) -> None:
    """Bring TASKS (or TASK@COMMIT) from the hub into a folder, as files of the origin's own layout.
    Without TASKS: list what can be fetched. The commits are kept in fetched.json and taken again
    the next time."""
    from adapters_xitt.cli import data as datadesk

    datadesk.fetch(
        tasks, folder, revisions=revisions, languages=languages, training=training, most=most
    )


def _with_precision(overrides: tuple[str, ...], precision: str | None) -> tuple[str, ...]:
    return (*overrides, f'precision="{precision}"') if precision else overrides


if __name__ == "__main__":
    main()
