"""Pictures as files."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

# dots per inch, lowered where the longer side of a very large grid would have more pixels
DPI, MOST_PIXELS = 150, 12_000


def save_picture(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG: the same bytes whichever version of the library drew it."""
    figure.savefig(
        path,
        format="png",
        dpi=min(DPI, MOST_PIXELS / max(figure.get_size_inches())),
        metadata={"Software": None},
        facecolor="white",
    )
