"""What training tells: losses and scores over the steps of every row, to its log and to whoever
watches."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adapters_xitt.atomic import writing
from adapters_xitt.errors import XittError
from adapters_xitt.progress import Silent
from adapters_xitt.study.store import Store
from adapters_xitt.training.loop import Row


def check_log(log: str) -> None:
    """Refuses a kind of log whose package is not there."""
    if log == "tensorboard" and not find_spec("tensorboard") and not find_spec("tensorboardX"):
        raise XittError(
            "--log tensorboard needs the package: pip install 'adapters-xitt[tensorboard]'"
        )


class TrainingLogger:
    """What training tells: losses and scores to a log of each row, tokens to the watch."""

    def __init__(self, store: Store, log: str, callback: Silent, rows: Sequence[Row]) -> None:
        self.callback = callback
        self.folder = store.root / "logs"
        with writing(self.folder):
            self.loggers = (
                {row.key: _logger(self.folder / row.key, log) for row in rows}
                if log != "none"
                else {}
            )

    def step(self, key: str, *, step: int, loss: float, tokens: int) -> None:
        if key in self.loggers:
            with writing(self.folder):
                self.loggers[key].log_metrics({"loss": loss, "tokens": tokens}, step)
        self.callback.tick(tokens)

    def look(self, key: str, *, step: int, scores: dict[str, float]) -> None:
        if key in self.loggers:
            with writing(self.folder):
                self.loggers[key].log_metrics(
                    {f"selection/{name}": value for name, value in scores.items()}, step
                )

    def tick(self, tokens: int) -> None:
        self.callback.tick(tokens)

    def say(self, text: str) -> None:
        self.callback.say(text)

    def close(self) -> None:
        with writing(self.folder):
            for logger in self.loggers.values():
                logger.finalize("done")


def _logger(folder: Path, log: str) -> Any:
    """Lightning's logger; every attempt at a row has a version of its own."""
    if log == "tensorboard":
        from lightning_fabric.loggers import TensorBoardLogger

        return TensorBoardLogger(root_dir=folder.parent, name=folder.name)
    from lightning_fabric.loggers import CSVLogger

    return CSVLogger(root_dir=folder.parent, name=folder.name, flush_logs_every_n_steps=200)
