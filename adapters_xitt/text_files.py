"""Files into text, lines, cells and JSON values; whatever is wrong with one is a DataError that
says where."""

from __future__ import annotations

import csv
import gzip
import json
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from adapters_xitt.errors import DataError, nearest

MIB = 2**20
MOST_BYTES = 4 * 2**30  # of a file, unpacked; read whole, it takes several times that
# bytes that a byte of a .gz may stand for: text packs to a tenth, a bomb to a thousandth
MOST_UNPACKED = 200
KINDS = {str: "a string", int: "an integer", list: "a list", dict: "an object"}


def lines_of(path: Path) -> list[str]:
    """A file's lines without their ends and without blank lines after the last; there is at least
    one."""
    lines = [line.removesuffix("\r") for line in text_of(path).split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise DataError(f"{path}:1: expected data, found an empty file; fetch the file again")
    return lines


def text_of(path: Path, *, most: int = MOST_BYTES) -> str:
    """The text of a file, `.gz` or not, of at most `most` bytes."""
    data = bytes_of(path, most=most)
    nuls = sorted((data[::2].count(0), data[1::2].count(0)))
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or (
        nuls[1] > len(data) // 4 and nuls[0] < len(data) // 50
    ):
        raise DataError(f"{path}:1: expected UTF-8, found UTF-16; convert the file to UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        bad = error.object[error.start]
        raise DataError(
            f"{path}:{line}: expected UTF-8, found byte 0x{bad:02x}; convert the file to UTF-8"
        ) from error


def bytes_of(path: Path, *, most: int = MOST_BYTES) -> bytes:
    """The bytes of a plain file, at most `most`, unzipped where its name ends in .gz; a `DataError`
    that says why there are none. No more is read than is allowed, however much a device, a pipe or
    an archive would give."""
    path = Path(path)
    if problem := unreadable(path):
        raise DataError(f"{path}: {problem}")
    try:
        size = path.stat().st_size
        if size > most:
            raise DataError(
                f"{path}: {size:,} bytes, more than the {most:,} that such a file may have; not"
                " read"
            )
        with path.open("rb") as file:
            return _unpack(file, path, most, size) if path.suffix == ".gz" else file.read(size)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: can't be read ({error}); fetch the file again") from error


def unreadable(path: Path) -> str:
    """Why a path is no plain file that can be opened; empty where it is one."""
    if os.path.isdir(path):
        near = ", ".join(sorted(child.name for child in islice(path.iterdir(), 1000))[:5])
        return f"expected a file, found a folder; name a file in it ({near or 'it is empty'})"
    if os.path.isfile(path):
        return ""
    if os.path.exists(path):  # reading would wait, or never end
        return "expected a file, found a device or a pipe; write what it gives into a file"
    if not os.path.isdir(path.parent):
        return f"no such file, and no folder {path.parent}"
    name = nearest(path.name, sorted(child.name for child in path.parent.iterdir()))
    return "no such file" + (f"; did you mean {path.parent / name}?" if name else "")


def _unpack(file: BinaryIO, path: Path, most: int, size: int) -> bytes:
    """What a gzip file holds, a block at a time."""
    blocks, count, most = [], 0, min(most, max(MOST_UNPACKED * size, 64 * MIB))
    with gzip.GzipFile(fileobj=file) as archive:
        while block := archive.read(MIB):
            blocks.append(block)
            count += len(block)
            if count > most:
                raise DataError(
                    f"{path}: its {size:,} bytes unpack to more than the {most:,} that such a file"
                    " may have; unpack it and look"
                )
    return b"".join(blocks)


def blocks_of(lines: Sequence[str]) -> list[list[tuple[int, str]]]:
    """The lines, each with its number from 1, in the groups that blank lines part."""
    blocks: list[list[tuple[int, str]]] = [[]]
    for n, line in enumerate(lines, 1):
        if line:
            blocks[-1].append((n, line))
        elif blocks[-1]:
            blocks.append([])
    return blocks


def csv_rows(
    path: Path, lines: Sequence[str], *, delimiter: str = "\t"
) -> list[tuple[int, list[str]]]:
    """Rows as (line on which the row starts, cells)."""
    rows, start = [], 1
    limit = csv.field_size_limit(2**31 - 1)  # the limit is the process's: set for this file only
    try:
        reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True)
        for cells in reader:
            rows.append((start, cells))
            start = reader.line_num + 1
    except csv.Error as error:
        hint = (
            "; if quotes are plain text here, read it with quoting=False"
            if delimiter == "\t"
            else ""
        )
        raise DataError(
            f"{path}:{start}: expected quotes as csv writes them, found a row with: {error}{hint}"
        ) from error
    finally:
        csv.field_size_limit(limit)
    return rows


def json_of(text: str, path: Path, *, first: int = 1, strict: bool = False) -> Any:
    """The JSON value of a text that starts on line `first` of the file. `strict` refuses what
    another reader may take otherwise: a key written twice, and numbers that are none (NaN,
    1e999)."""
    try:
        if strict:
            value = json.loads(
                text, object_pairs_hook=_unique, parse_constant=_finite, parse_float=_finite
            )
        else:
            value = json.loads(text)
        # half of a pair of \uD8xx\uDCxx is no character and can't be written again
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except json.JSONDecodeError as error:
        line = first + error.lineno - 1
        raise DataError(
            f"{path}:{line}: expected JSON, found at column {error.colno}: {error.msg}; the file"
            " may be cut short"
        ) from error
    except UnicodeEncodeError as error:
        raise DataError(
            f"{path}:{first}: expected characters, found half of one in \\u escapes"
        ) from error
    except (ValueError, RecursionError) as error:  # a number too long for int, brackets too deep
        raise DataError(f"{path}:{first}: expected JSON, found {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"the key {next(name for name in names if names.count(name) > 1)[:80]!r} twice"
        )
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]}")
    return value


def get(node: Any, key: str, *, kind: type, location: str) -> Any:
    """`node[key]` where it is of that type; `where` is written before the key in an error."""
    if not isinstance(node, dict):
        actual = f"a {type(node).__name__} where an object should be"
    elif key not in node:
        actual = f"only {', '.join(node) or 'an empty object'}"
    elif not isinstance(node[key], kind):
        actual = repr(node[key])[:40]
    else:
        return node[key]
    raise DataError(f"{location}{key}: expected {KINDS[kind]}, found {actual}")


def whole(text: str, *, below: int) -> int | None:
    """The number that a text writes in digits, where it is below `below`; else None."""
    # int() refuses thousands of digits
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        return None
    return int(text) if int(text) < below else None


def objects(path: Path) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """The objects of a JSON-lines file: number from 0, "file:line: ", object."""
    for n, line in enumerate(lines_of(path)):
        value = json_of(line, path, first=n + 1)
        if not isinstance(value, dict):
            raise DataError(f"{path}:{n + 1}: expected an object, found a {type(value).__name__}")
        yield n, f"{path}:{n + 1}: ", value


def check_counts(
    path: Path, count: int, *, other: Path, wanted: int, what: str, line: int | None = None
) -> None:
    """Raise a DataError unless both files have as many lines, rows or sentences (`what`); `line` is
    where they part."""
    if count != wanted:
        raise DataError(
            f"{path}:{line or min(count, wanted) + 1}: expected {wanted} {what}s, as in {other},"
            f" found {count}; the two files belong to different data"
        )
