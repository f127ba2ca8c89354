"""The commands of a study: run, plan, report, submit, score."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from adapters_xitt import stopping
from adapters_xitt.cli.options import BENCHMARK, MACHINE, OVERRIDES, STORE, read_languages


@click.command()
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
    workers: int,
    dry_run: bool,
    fresh_versions: bool,
    **options: Any,
) -> None:
    """Run what is missing of RECIPE, resume what was cut off, print the grid.

    KEY=VALUE overrides a key of the recipe, as in training.epochs=1 or seeds=[1,2]. The exit status
    is 0 only when every cell is done, blocked or not applicable."""
    from adapters_xitt.api import studies
    from adapters_xitt.cli.render import grids, plan

    if dry_run:
        plan.print_plan(studies.dry_run(recipe, overrides, **options))
        return
    if stopping.follow_parent():
        studies.share(recipe, overrides, **options)
        return
    grid = studies.run(recipe, overrides, workers=workers, fresh_versions=fresh_versions, **options)
    grids.print_run(grid)
    sys.exit(0 if grid.ok else 1)


@click.command()
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
    from adapters_xitt.api import studies
    from adapters_xitt.cli.render.plan import print_plan

    planned = studies.plan(recipe, overrides, store=store)
    print_plan(planned, details=details)
    sys.exit(int(planned.refused))


@click.command()
@click.argument("run")
@STORE
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for the report. Default: the run's own."
)
def report(run: str, store: Path | None, out: Path | None) -> None:
    """Print the grid of RUN (its name or its folder), and write it as Markdown, CSV and heat
    map."""
    from adapters_xitt.api.runs import load_run
    from adapters_xitt.cli.render.grids import print_grid

    print_grid(load_run(run, store=store), out)


@click.command()
@click.argument("run")
@click.argument("contrast")
@STORE
@click.option("--on", multiple=True, required=True, help="A target; of several, their mean.")
@click.option(
    "--languages",
    help=(
        "de,fi,sw, or conditions on the table of languages: 'joshi<=2,family=Uralic'. Default:"
        " those that no row has seen."
    ),
)
@click.option("--against", default="zero", help="Another contrast: a difference of differences.")
@click.option("--measure", default="score", show_default=True)
@click.option("--method", help="Default: each method that has the rows.")
@click.option("--matters", type=float, help="Points below which a difference is as good as none.")
@click.option("--general", is_flag=True, help="The languages are a sample of languages in general.")
def ask(
    run: str,
    contrast: str,
    store: Path | None,
    on: tuple[str, ...],
    languages: str | None,
    **options: Any,
) -> None:
    """Ask a new question of a finished RUN, from its stored predictions.

    CONTRAST is ROW - ROW, rows as the report names them: 'mnli - none', 'mnli [stack] - mnli
    [sequential]', 'xnli@de+ru - xnli@en'."""
    from adapters_xitt.api import runs
    from adapters_xitt.cli.render.grids import print_answers

    condition = read_languages(languages) if languages else None
    print_answers(runs.ask(run, contrast, on=on, store=store, languages=condition, **options))


@click.command()
@click.argument("run")
@click.argument("folder", type=click.Path(path_type=Path))
@STORE
@BENCHMARK
@click.option("--method", help="The row's method, where the run has several.")
@click.option("--row", help="The row as the report names it: none, 'mnli stack'.")
@click.option("--seed", type=int)
def submit(run: str, folder: Path, store: Path | None, **options: Any) -> None:
    """Write one row of RUN into FOLDER as the files that the benchmark's own evaluate.py reads. The
    exit status is 1 where the benchmark asks for more than the run has."""
    from adapters_xitt.api import runs
    from adapters_xitt.cli.render.grids import print_submission

    submission = runs.submit(run, folder, store=store, **options)
    print_submission(submission)
    sys.exit(int(bool(submission.missing)))


@click.command()
@click.argument("predictions", type=click.Path(path_type=Path))
@click.argument("labels", type=click.Path(path_type=Path))
@BENCHMARK
@click.option(
    "--json",
    "json_file",
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
def score(predictions: Path, labels: Path, **options: Any) -> None:
    """Score a submission folder, ours or not, against a folder of labels with the same names, as
    XTREME's evaluate.py does it: what stops the script is refused."""
    from adapters_xitt.api import runs
    from adapters_xitt.cli.render.standing import print_standing

    print_standing(runs.score(predictions, labels, **options), predictions)
