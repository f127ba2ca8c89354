"""The hub's Parquet files into rows whose labels are words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters_xitt.data.hub_datasets.parts import Part
from adapters_xitt.errors import DataError, unknown

BATCH = 2000  # rows in memory at once


def rows(path: Path, part: Part, *, code: str, location: str) -> Iterator[dict[str, Any]]:
    """The rows of a part that belong to a language, in the origin's terms; `where` is written in
    errors."""
    import pyarrow
    from pyarrow import parquet

    prefix = part.prefix.format(code=code)
    try:
        with parquet.ParquetFile(path) as file:
            names = _label_names(file.schema_arrow, part, location)
            for n, record in enumerate(_records(file, part), 1):
                if prefix and not record["id"].startswith(prefix):
                    continue
                for column, words in part.labels.items():
                    column_location = f"{location}: row {n}: {column}"
                    record[column] = _word(
                        record[column], names[column], words, location=column_location
                    )
                try:
                    yield part.make(record)
                except (TypeError, ValueError, KeyError, AttributeError) as error:
                    raise DataError(
                        f"{location}: row {n}: can't be read as the table of hub data sets says:"
                        f" {error!r}"
                    ) from error
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{location}: can't be read as Parquet ({error})") from error


def _records(file: Any, part: Part) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, with the columns of the part."""
    extra = [column for column in part.extra if column in file.schema_arrow.names]
    for batch in file.iter_batches(batch_size=BATCH, columns=[*part.columns, *extra]):
        yield from batch.to_pylist()


def _label_names(schema: Any, part: Part, location: str) -> dict[str, Sequence[str] | None]:
    """Column of labels → what its numbers are called; refused where a column of the part is
    missing."""
    for column in part.columns:
        if column not in schema.names:
            raise DataError(f"{location}: no column {column!r}; it has {', '.join(schema.names)}")
    return {column: _names(schema.metadata, column) for column in part.labels}


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


def _word(
    value: Any, names: Sequence[str] | None, words: Mapping[str, str], *, location: str
) -> Any:
    """The origin's label for the hub's; -1 is None. A number without a name is refused: orders
    differ."""
    if isinstance(value, list):
        return [_word(element, names, words, location=location) for element in value]
    if value is None or value == -1:
        return None
    if isinstance(value, int):
        if names is None:
            raise DataError(
                f"{location}: is the number {value}, and the file doesn't say what its numbers are"
                " called; labels are never taken by their place"
            )
        if not 0 <= value < len(names):
            raise DataError(f"{location}: expected 0 to {len(names) - 1}, found {value}")
        value = names[value]
    if value not in words:
        raise DataError(f"{location}: {unknown('label', str(value), words)}")
    return words[value]
