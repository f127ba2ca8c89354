"""`python -m adapters_xitt.cli`."""

from __future__ import annotations

from adapters_xitt.cli.main import main

main()
