"""Options that several commands have, and what makes the values of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from adapters_xitt.errors import XittError


class Expression(click.Command):
    """A command whose words may be expressions that begin with a minus: they are no options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(
            ctx, [f" {word}" if re.match(r"-[^-].*[*+>(]", word) else word for word in args]
        )


def shared(*options: Any) -> Any:
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
DEVICE = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True
)
THREADS = click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads. Default: one per core."
)
MACHINE = shared(
    DEVICE,
    click.option(
        "--precision",
        type=click.Choice(["32", "bf16", "16", "8bit", "4bit"]),
        help="Over the recipe's.",
    ),
    THREADS,
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
LANG = click.option(
    "--lang",
    default="lang-{lang}",
    show_default=True,
    metavar="PATTERN",
    help="Names of the modules that stand for $lang.",
)


COMPOSITION = click.argument(
    "composition",
    callback=lambda ctx, argument, text: text.removeprefix(" ") if text.startswith(" -") else text,
)
EXPRESSION = shared(ENCODER, DATA, STORE, MACHINE, LANGUAGES, SET, HEAD, LANG)
BENCHMARK = click.option(
    "--benchmark",
    default="xtreme",
    show_default=True,
    help="xtreme, xtreme-29 (UDPOS in 29 languages) or xtreme-r.",
)


def read_languages(text: str) -> list[str] | dict[str, Any]:
    """Languages as an option has them: codes, or conditions on the table of languages."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    conditions = [re.fullmatch(r"(\w+)\s*(<=|>=|<|>|=)\s*(.+)", part) for part in parts]
    if not any(conditions):
        return parts
    chosen: dict[str, Any] = {}
    for part, condition in zip(parts, conditions, strict=True):
        if condition is None:
            raise XittError(f"languages {text!r}: {part!r} is no condition; write joshi<=2")
        column, sign, value = condition.groups()
        chosen[column] = (
            (int(value) if value.isdigit() else value) if sign == "=" else f"{sign}{value}"
        )
    return chosen
