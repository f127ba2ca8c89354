"""Pictures as files."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure

# dots per inch, lowered where the longer side of a very large grid would have more pixels
DPI, MOST_PIXELS = 150, 12_000
COLOURS = 256  # of a picture: a third of the bytes, each colour within 14 of 255 of its own


def save_picture(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG: the same bytes whichever version of the library drew it."""
    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(
        drawn,
        format="png",
        dpi=min(DPI, MOST_PIXELS / max(figure.get_size_inches())),
        facecolor="white",
    )
    with Image.open(drawn) as picture:
        few = picture.convert("RGB").quantize(
            COLOURS, method=Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE
        )
    few.save(path, format="png", optimize=True)
