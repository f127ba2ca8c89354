"""The commands of tasks and data: tasks, data check, data fetch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from adapters_xitt.cli.options import DATA, ENCODER, STORE
from adapters_xitt.errors import XittError


@click.command()
@click.argument("name", required=False)
@ENCODER
@DATA
@STORE
@click.option(
    "--ceiling", is_flag=True, help="Of a question answering task: what gold spans score."
)
@click.option("--markdown", is_flag=True, help="The table of tasks as the handbook has it.")
def tasks(name: str | None, ceiling: bool, markdown: bool, **options: Any) -> None:
    """List the tasks, or show task NAME whole, with an example as the encoder sees it."""
    from adapters_xitt.api import tasks as face
    from adapters_xitt.cli.render import tasks as render

    if name is None:
        render.print_tasks(markdown=markdown)
    elif ceiling:
        render.print_upper_bound(name, face.upper_bound(name, **options))
    else:
        task = face.show_task(name)
        render.print_task(task)
        if options["encoder"] or options["data"] or task.demo:
            render.print_example(face.show_example(name, **options))
        else:
            click.echo("An example is shown with --encoder and --data.")


@click.group()
def data() -> None:
    """Check a data folder, or fill one from a hub."""


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("tasks", nargs=-1)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path),
    help="Write every finding here as well.",
)
def check(folder: Path, tasks: tuple[str, ...], json_file: Path | None) -> None:
    """Read every file that FOLDER has of TASKS (default: all) and say how many rows it holds, what
    is broken and what is missing. The exit status is 1 where there are problems: a file that is
    broken, or a test without its labels."""
    from adapters_xitt.api.data import check_data
    from adapters_xitt.cli.render.data import print_check, watch

    checked = check_data(folder, tasks, json_file=json_file, watch=watch)
    print_check(checked, absent=[] if tasks else checked.absent)
    sys.exit(0 if checked.ok else 1)


@data.command()
@click.argument("tasks", nargs=-1)
@click.option("--to", "folder", type=click.Path(path_type=Path), help="The data folder to fill.")
@click.option(
    "--revision",
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
    multiple=True,
    default=("en",),
    show_default=True,
    help="Whose training split is wanted. Again for several.",
)
@click.option("--most", default="2GB", show_default=True, help="Refuse to download more than this.")
def fetch(tasks: tuple[str, ...], folder: Path | None, **options: Any) -> None:
    """Bring TASKS (or TASK@COMMIT) from the hub into a folder, as files of the origin's own layout.
    Without TASKS: list what can be fetched. The commits are kept in fetched.json and taken again
    the next time."""
    from adapters_xitt.api.data import fetch_data
    from adapters_xitt.cli.render.data import print_hub_datasets, print_written

    if not tasks:
        print_hub_datasets()
    elif folder is None:
        raise XittError("fetch: which folder is to be filled? Give --to FOLDER")
    else:
        print_written(fetch_data(tasks, folder, **options), folder)
