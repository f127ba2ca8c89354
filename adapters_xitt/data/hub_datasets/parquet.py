"""The hub's Parquet files into rows whose labels are words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters_xitt.data.hub_datasets.table import Part
from adapters_xitt.errors import DataError, unknown

BATCH = 2000  # rows in memory at once


def rows(path: Path, part: Part, *, code: str, where: str) -> Iterator[dict[str, Any]]:
    """The rows of a part that belong to a language, in the origin's terms; `where` is written in
    errors."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            for column in part.columns:
                if column not in schema.names:
                    raise DataError(
                        f"{where}: no column {column!r}; it has {', '.join(schema.names)}"
                    )
            names = {column: _names(schema.metadata, column) for column in part.labels}
            wanted = [*part.columns, *(column for column in part.extra if column in schema.names)]
            n = 0
            for batch in file.iter_batches(batch_size=BATCH, columns=wanted):
                for row in batch.to_pylist():
                    n += 1
                    if part.prefix and not row["id"].startswith(part.prefix.format(code=code)):
                        continue
                    for column, words in part.labels.items():
                        row[column] = _word(
                            row[column], names[column], words, where=f"{where}: row {n}: {column}"
                        )
                    try:
                        yield part.make(row)
                    except (TypeError, ValueError, KeyError, AttributeError) as error:
                        raise DataError(
                            f"{where}: row {n}: can't be read as the table of hub data sets says: "
                            f"{error!r}"
                        ) from error
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{where}: can't be read as Parquet ({error})") from error


def _names(metadata: Mapping[bytes, bytes] | None, column: str) -> Sequence[str] | None:
    """What the numbers of a column of labels are called, as `datasets` writes it into the file
    itself."""
    try:
        feature = json.loads((metadata or {})[b"huggingface"])["info"]["features"][column]
    except (KeyError, TypeError, ValueError):
        return None
    # a list of labels is said in three ways, by age of `datasets`
    while isinstance(feature, (dict, list)) and feature:
        if isinstance(feature, dict) and "names" in feature:
            return list(feature["names"])
        feature = feature.get("feature") if isinstance(feature, dict) else feature[0]
    return None


def _word(value: Any, names: Sequence[str] | None, words: Mapping[str, str], *, where: str) -> Any:
    """The origin's label for the hub's; -1 is None. A number without a name is refused: orders
    differ."""
    if isinstance(value, list):
        return [_word(one, names, words, where=where) for one in value]
    if value is None or value == -1:
        return None
    if isinstance(value, int):
        if names is None:
            raise DataError(
                f"{where}: is the number {value}, and the file doesn't say what its numbers are"
                " called; labels are never taken by their place"
            )
        if not 0 <= value < len(names):
            raise DataError(f"{where}: expected 0 to {len(names) - 1}, found {value}")
        value = names[value]
    if value not in words:
        raise DataError(f"{where}: {unknown('label', str(value), words)}")
    return words[value]
