"""How the examples of one task are encoded, and the features that are kept beside a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapters_xitt import hashing
from adapters_xitt.data.features import Features, Lengths, vocabulary
from adapters_xitt.kinds import KINDS
from adapters_xitt.kinds.encoding import encode
from adapters_xitt.model.pretrained import EncoderFiles
from adapters_xitt.study.results import versions
from adapters_xitt.study.store import Store
from adapters_xitt.tasks import Convention, Task

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
        """The features of examples, kept as Arrow beside a store and read from there the next
        time."""
        from datasets import Dataset

        folder = store.cached_folder(
            store.root / "tokens" / self._key(examples),
            lambda work: Dataset.from_dict(self.encode(examples).columns).save_to_disk(work),
        )
        kept = Dataset.load_from_disk(str(folder))
        columns = {column: list(kept[column]) for column in kept.column_names}
        words = vocabulary(self.tokenizer) if KINDS[self.task.kind].masks else None
        return Features(columns, len(examples), words, self.reading)

    def _key(self, examples: Sequence[dict[str, Any]]) -> str:
        """Under which the features are kept."""
        return hashing.key(
            "tokens",
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
