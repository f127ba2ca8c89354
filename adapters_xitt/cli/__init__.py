"""The console script: each command parses, calls one function and prints."""

from __future__ import annotations

from adapters_xitt.cli.main import main

__all__ = ["main"]
