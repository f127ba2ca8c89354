"""Amounts of memory in words."""

from __future__ import annotations

import re
from collections.abc import Mapping

from adapters_xitt.errors import XittError

BYTES_OF_UNIT = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
# What people leave out of a file's size: 1.5G, 500M, 2000000.
BYTES_OF_SHORT_UNIT = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SIZE = re.compile(r"\s*(\d{1,12}(?:[.,]\d{1,12})?)\s*([a-zA-Z]*)\s*")


def parse(text: str) -> int:
    """Bytes of a size like `4GiB`, `1.5 GiB` or `800MB`; a bare number has no unit and is
    refused."""
    size = _bytes(text, BYTES_OF_UNIT)
    if size is None:
        raise XittError(
            f"memory {str(text)[:40]!r}: a number and a unit, one of KiB MiB GiB TiB (of 1024) or"
            " KB MB GB TB (of 1000), as in 4GiB"
        )
    if size < 1:
        raise XittError(f"memory {text!r}: more than nothing is needed")
    return size


def parse_file_size(text: str) -> int:
    """Bytes of a size like `2GB`, `500 MB`, `1.5G` or a number."""
    size = _bytes(text, BYTES_OF_UNIT | BYTES_OF_SHORT_UNIT)
    if size is None:
        raise XittError(f"size {text!r}: write 2GB, 500MB or a number of bytes")
    return size


def _bytes(text: str, bytes_of_unit: Mapping[str, int]) -> int | None:
    """The bytes that a number and a unit stand for; None where the text is no such thing."""
    match = _SIZE.fullmatch(str(text))
    if not match or match[2].lower() not in bytes_of_unit:
        return None
    return int(float(match[1].replace(",", ".")) * bytes_of_unit[match[2].lower()])


def show(size: float) -> str:
    """Bytes in the unit that people read."""
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
