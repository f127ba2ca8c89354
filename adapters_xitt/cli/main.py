"""The console script `xitt`: each command parses, calls one function of the face and prints what it
gives. Heavy imports wait inside."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import Any

import click

from adapters_xitt import __version__, atomic, progress, stopping
from adapters_xitt.cli import data, machine, modules, sharing, study
from adapters_xitt.errors import XittError
from adapters_xitt.text import printable

# Before torch is there: threads that wait asleep. Spinning ones, the default, make small layers on
# a machine whose cores are shared several times slower (970 against 170 ms a step, two threads
# beside two other processes).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# It advises to install a package that lets checkpoints load code, whenever a library imports it.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

# What `xitt --help` lists under each heading, in this order.
HEADINGS: dict[str, tuple[click.Command, ...]] = {
    "Studies": (study.run, study.plan, study.report, study.ask, study.submit, study.score),
    "Modules": (
        modules.train,
        modules.compose,
        modules.evaluate,
        modules.show,
        modules.inspect,
        modules.export,
        modules.import_module,
        modules.convert,
    ),
    "Sharing": (sharing.push, sharing.pull, sharing.search, sharing.verify),
    "Tasks and data": (data.tasks, data.data),
    "Store, machine, handbook": (machine.check_store, machine.doctor, machine.show_help),
}


class Mistake(click.ClickException):
    """What a user did wrong."""

    exit_code = 2


class Commands(click.Group):
    """The commands under their headings. A user's mistake is shown without a traceback, with exit
    status 2; anything else keeps its traceback."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the commands, heading by heading."""
        for heading, commands in HEADINGS.items():
            with formatter.section(heading):
                width = formatter.width - 6 - max(map(len, self.commands))
                formatter.write_dl(
                    [
                        (command.name or "", command.get_short_help_str(width))
                        for command in commands
                    ]
                )

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command, with progress shown, and stops it where Ctrl-C or SIGTERM asks for it."""
        with stopping.listening(), progress.watched():
            try:
                result = self._invoke(ctx)
                stopping.check()
                return result
            except SystemExit:
                if not stopping.signal_received():
                    raise
            except KeyboardInterrupt:
                pass
            stopping.give_up()
            click.echo(
                "\nstopped; what was finished is kept, and the same command goes on from the last"
                " checkpoint",
                err=True,
            )
            sys.exit(128 + (stopping.signal_received() or signal.SIGINT))

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (XittError, OSError) as error:
            raise Mistake(printable(_message(error))) from None


def _message(error: XittError | OSError) -> str:
    """What a user is told; raises what is no mistake of theirs but a defect."""
    if not isinstance(error, OSError):
        return str(error)
    if atomic.disk_refuses(error):
        return atomic.explain(error, error.filename or atomic.full_place())
    missing = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError)
    if not isinstance(error, missing):
        raise error
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="xitt")
def main() -> None:
    """Zero-shot cross-lingual transfer grids with intermediate-task training, on adapters and LoRA
    over a frozen encoder."""


for _commands in HEADINGS.values():
    for _command in _commands:
        main.add_command(_command)


if __name__ == "__main__":
    main()
