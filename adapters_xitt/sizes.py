"""Amounts of memory in words."""

from __future__ import annotations

import re

from adapters_xitt.errors import XittError

UNITS = {
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


def parse(text: str) -> int:
    """Bytes of a size like `4GiB`, `1.5 GiB` or `800MB`; a bare number has no unit and is
    refused."""
    found = re.fullmatch(r"\s*(\d{1,12}(?:[.,]\d{1,12})?)\s*([a-zA-Z]+)\s*", str(text))
    if not found or found[2].lower() not in UNITS:
        raise XittError(
            f"memory {str(text)[:40]!r}: a number and a unit, one of KiB MiB GiB TiB (of 1024) or"
            " KB MB GB TB (of 1000), as in 4GiB"
        )
    size = int(float(found[1].replace(",", ".")) * UNITS[found[2].lower()])
    if size < 1:
        raise XittError(f"memory {text!r}: more than nothing is needed")
    return size


def show(size: float) -> str:
    """Bytes in the unit that people read."""
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
