"""How the examples of one task are encoded, and the features that are kept beside a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from adapters_xitt import hashing
from adapters_xitt.data.features import Features, Lengths, vocabulary
from adapters_xitt.data.ragged import Ragged
from adapters_xitt.kinds import KINDS
from adapters_xitt.kinds.encoding import encode
from adapters_xitt.model.pretrained import EncoderFiles
from adapters_xitt.safe_files import read_arrays
from adapters_xitt.study.results import versions
from adapters_xitt.study.store import Store
from adapters_xitt.tasks import Convention, Task
from adapters_xitt.tensor_files import write_tensors

FILE, ENDS = "features.safetensors", ".ends"
ENCODED_BY = ("adapters-xitt", "tokenizers", "transformers")


@dataclass(frozen=True)
class Encoding:
    """Everything that decides how examples of a task become features."""

    task: Task
    lengths: Lengths
    reading: Convention
    files: EncoderFiles
    tokenizer: Any

    def encode(self, examples: Sequence[dict[str, Any]]) -> Features:
        """The features of examples."""
        return encode(
            self.task.kind,
            examples,
            tokenizer=self.tokenizer,
            lengths=self.lengths,
            reading=self.reading,
        )

    def encode_once(self, examples: Sequence[dict[str, Any]], store: Store) -> Features:
        """The features of examples, kept beside a store and read from there the next time."""
        folder = store.cached_folder(
            store.root / "tokens" / self._key(examples),
            lambda work: _write(work / FILE, self.encode(examples)),
        )
        columns = _read(folder / FILE)
        words = vocabulary(self.tokenizer) if KINDS[self.task.kind].masks else None
        return Features(columns, len(examples), words, self.reading)

    def _key(self, examples: Sequence[dict[str, Any]]) -> str:
        """Under which the features are kept."""
        return hashing.key(
            "features",
            {
                "rows": hashing.digest(list(examples)),
                "labels": self.task.labels,
                "encoder": self.files.fingerprint,
                "kind": self.task.kind,
                "lengths": KINDS[self.task.kind].caps(self.lengths),
                "convention": self.reading.name,
                "versions": {
                    name: version for name, version in versions().items() if name in ENCODED_BY
                },
            },
        )


def _write(path: Path, features: Features) -> None:
    """Writes the columns of features: of those with values for each token, where each feature ends
    in them."""
    import torch

    arrays: dict[str, NDArray[Any]] = {}
    for name, column in features.columns.items():
        ragged = isinstance(column, Ragged)
        arrays[name] = column.values if ragged else column
        if ragged:
            arrays[name + ENDS] = column.ends
    write_tensors(path, {name: torch.from_numpy(array) for name, array in arrays.items()})


def _read(path: Path) -> dict[str, Any]:
    """The columns of features in a file."""
    arrays = read_arrays(path)
    return {
        name: Ragged(array, arrays[name + ENDS]) if name + ENDS in arrays else array
        for name, array in arrays.items()
        if not name.endswith(ENDS)
    }
