"""What training tells: losses and scores over the steps of every module, to its log and to whoever
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


def check_log(log: str) -> None:
    """Refuses a kind of log whose package is not there."""
    if log == "tensorboard" and not find_spec("tensorboard") and not find_spec("tensorboardX"):
        raise XittError(
            "--log tensorboard needs the package: pip install 'adapters-xitt[tensorboard]'"
        )


class TrainingLogger:
    """Writes losses and scores to a log of each module, and tells the tokens to a callback."""

    def __init__(self, store: Store, log: str, callback: Silent, keys: Sequence[str]) -> None:
        self.callback = callback
        self.folder = store.root / "logs"
        self.loggers: dict[str, Any] = {}
        if log != "none":
            with writing(self.folder):
                self.loggers = {key: _logger(self.folder / key, log) for key in keys}

    def on_step(self, key: str, *, step: int, loss: float | None, tokens: int) -> None:
        self._write(key, {"loss": loss, "tokens": tokens}, step)
        self.callback.tick(tokens)

    def on_validation(self, key: str, *, step: int, scores: dict[str, Any]) -> None:
        self._write(key, {f"selection/{name}": value for name, value in scores.items()}, step)

    def on_tokens(self, tokens: int) -> None:
        self.callback.tick(tokens)

    def on_message(self, text: str) -> None:
        self.callback.notify(text)

    def close(self) -> None:
        """Writes what is left, and closes the logs."""
        with writing(self.folder):
            for logger in self.loggers.values():
                logger.finalize("done")

    def _write(self, key: str, values: dict[str, Any], step: int) -> None:
        if key in self.loggers:
            with writing(self.folder):
                self.loggers[key].log_metrics(values, step)


def _logger(folder: Path, log: str) -> Any:
    """Lightning's logger; every attempt at a module has a version of its own."""
    if log == "tensorboard":
        from lightning_fabric.loggers import TensorBoardLogger

        return TensorBoardLogger(root_dir=folder.parent, name=folder.name)
    from lightning_fabric.loggers import CSVLogger

    return CSVLogger(root_dir=folder.parent, name=folder.name, flush_logs_every_n_steps=200)
