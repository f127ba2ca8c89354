"""The commands that share modules: push, pull, search, verify."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from adapters_xitt.cli.options import DATA, DEVICE, ENCODER, STORE, THREADS


@click.command()
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
    from adapters_xitt.cli.render.sharing import print_push

    print_push(hub.push(module, repository, **options))


@click.command()
@click.argument("reference", metavar="hub:OWNER/NAME[@REVISION]")
@STORE
def pull(reference: str, store: Path | None) -> None:
    """Bring a module from a model hub into a folder of its own below the store: checked, at a
    pinned commit, nothing that runs."""
    from adapters_xitt.api import hub
    from adapters_xitt.cli.render.sharing import print_pull

    print_pull(hub.pull(reference, store=store))


@click.command()
@click.argument("words", nargs=-1)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    help="Only with this tag: a language, a method. Again for several.",
)
@click.option("--all", "every", is_flag=True, help="Other programs' repositories too.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
def search(words: tuple[str, ...], **options: Any) -> None:
    """List modules on the model hub that match WORDS."""
    from adapters_xitt.api import hub
    from adapters_xitt.cli.render.sharing import print_repositories

    print_repositories(hub.search(words, **options))


@click.command()
@click.argument("reference", metavar="hub:OWNER/NAME[@REVISION]")
@ENCODER
@DATA
@STORE
@DEVICE
@THREADS
def verify(reference: str, **options: Any) -> None:
    """Pull a module, score again what it states on the data at hand, and say of every number
    whether it holds. The exit status is 1 where one does not, or none could be checked."""
    from adapters_xitt.api import verification as verifying
    from adapters_xitt.cli.render.sharing import print_verification

    verification = verifying.verify(reference, **options)
    print_verification(verification, reference)
    sys.exit(0 if verification.ok else 1)
