"""Run as a script, in a process of its own: one pickle of weights into one safetensors file.

    python -I unpickle.py FILE OUT          refusals go to stderr, exit status 3

Nothing of the package is imported here, and nothing here runs in the process that asks."""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

SECONDS = 600  # of the processor
ROOM = 16 * 2**30  # bytes of addresses beside the weights: torch alone takes several GB of them


def refuse(problem: str) -> NoReturn:
    """Ends the process with a refusal."""
    print(" ".join(problem.split())[:500], file=sys.stderr)
    sys.exit(3)


def limit(size: int) -> None:
    """Bounds the process's time, memory and files, where the platform has such limits."""
    try:
        import resource
    except ImportError:  # Windows
        return
    wanted = (
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_AS, ROOM + 8 * size),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 4 * size + 2**20),
    )
    for what, most in wanted:
        _, hard = resource.getrlimit(what)
        with contextlib.suppress(ValueError, OSError):  # macOS knows some of them by name only
            resource.setrlimit(
                what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard)
            )


def weights(path: Path) -> Any:
    """What the pickle holds, read by torch's own reader of weights, which calls nothing that a file
    names."""
    import pickle
    import zipfile

    import torch

    try:
        return torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except pickle.UnpicklingError as error:  # its own words end with advice to run the file
        names = re.findall(r"GLOBAL ([\w.]+)", str(error))
        refuse(
            f"it asks for {names[0]}, which no file of weights needs, and was not run"
            if names
            else "it holds more than tensors, or is no pickle of weights"
        )
    except Exception as error:  # whatever a broken file makes torch raise
        refuse(f"torch can't read it ({type(error).__name__}); it may be cut short")


def check_tensors(content: Any, size: int) -> dict[str, Any]:
    """The tensors of a flat dictionary; refused where there is anything else in it."""
    import torch

    if not isinstance(content, dict):
        refuse(f"it holds {type(content).__name__}, not a dictionary of tensors")
    for name, value in content.items():
        if not isinstance(name, str):
            refuse(f"one of its keys is {type(name).__name__}, not a name")
        if (
            not isinstance(value, torch.Tensor)
            or value.layout != torch.strided
            or value.is_quantized
        ):
            refuse(f"{name[:80]!a} is {type(value).__name__}, not a plain tensor")
    claimed = sum(value.numel() * value.element_size() for value in content.values())
    if claimed > 4 * size + 2**16:  # one storage seen many times over
        refuse(f"its tensors claim {claimed:,} bytes, the file has {size:,}")
    return {name: value.detach().contiguous().clone() for name, value in content.items()}


def main(path: Path, out: Path) -> None:
    """Converts one file."""
    size = path.stat().st_size
    limit(size)
    warnings.simplefilter("ignore")  # stderr is for refusals
    tensors = check_tensors(weights(path), size)
    from safetensors.torch import save_file

    save_file(tensors, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
