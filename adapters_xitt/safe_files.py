"""Files of a folder that nobody vouches for: looked at before they are read, refused by name, never
run.

Sizes are capped before anything is read, no name leads out of its folder, and a safetensors header
is checked here before a library sees it. Pickles have one door: `xitt convert --trust-pickle
FILE`."""

from __future__ import annotations

import hashlib
import math
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any

from adapters_xitt.errors import Problems, XittError
from adapters_xitt.text_files import json_of

MIB = 2**20
MOST_JSON = 4 * MIB  # the largest manifest seen has 20 kB
MOST_WEIGHTS = 16 * 2**30  # a fully fine-tuned XLM-R XL has 14 GB
MOST_HEADER = 4 * MIB
MOST_TENSORS = 10_000  # a fully fine-tuned XLM-R XL has 600
MOST_FILES = 64  # that are read of one folder
MOST_ENTRIES = 1_000  # that a folder may have beside them
CAPS = {".json": MOST_JSON, ".safetensors": MOST_WEIGHTS}  # bytes

# safetensors' name of a dtype → torch's name, bytes of one value
DTYPES = {
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}

# The pickles that `adapters` and `peft` write → the safetensors file that they read in its place.
PICKLED = {
    "pytorch_adapter.bin": "adapter.safetensors",
    "pytorch_model_head.bin": "model_head.safetensors",
    "pytorch_model_adapter_fusion.bin": "model_adapter_fusion.safetensors",
    "adapter_model.bin": "adapter_model.safetensors",
}
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


@dataclass(frozen=True)
class TensorInfo:
    """A tensor as the header of its file states it."""

    dtype: str  # a key of DTYPES
    shape: tuple[int, ...]
    start: int  # its first byte in the file
    size: int  # bytes

    @property
    def count(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)


# -- folders ---------------------------------------------------------------------------------------


def list_files(folder: Path, allowed: Sequence[str]) -> dict[str, Path]:
    """The files of a folder whose names fit one of the patterns `allowed`, in order of name; the
    others are not read.

    Refused: a link that leads out of the folder, what is no plain file, one larger than its kind
    may be, and a pickle of weights that nobody has converted."""
    files, problems = scan_folder(folder, allowed)
    if len(problems) == 1:
        raise XittError(problems[0])
    Problems(str(folder), problems).raise_if_any()
    return files


def scan_folder(folder: Path, allowed: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """The files that `list_files` gives, and every problem for which it refuses others; a folder
    that is none is refused here."""
    files: dict[str, Path] = {}
    problems: list[str] = []
    names = entries(folder)
    for name in names:
        if name in PICKLED and PICKLED[name] not in names:
            problems.append(str(pickle_error(folder / name)))
        if any(fnmatchcase(name, pattern) for pattern in allowed):
            try:
                path = inside(folder, name)
                checked_size(path)
                files[name] = path
            except XittError as error:
                problems.append(str(error))
    if len(files) > MOST_FILES:
        problems.append(
            f"{folder}: {len(files)} files of the names looked for, more than {MOST_FILES}; a"
            " module has a handful"
        )
    return files, problems


def entries(folder: Path) -> list[str]:
    """The names in a folder, sorted; refused where there are more than a module's folder could
    have."""
    if not folder.is_dir():
        raise XittError(
            f"{folder}: "
            + ("a file; name the folder it lies in" if folder.exists() else "no such folder")
        )
    with os.scandir(folder) as scan:
        names = [entry.name for entry in islice(scan, MOST_ENTRIES + 1)]
    if len(names) > MOST_ENTRIES:
        raise XittError(
            f"{folder}: more than {MOST_ENTRIES:,} files; give the module a folder of its own"
        )
    return sorted(names)


def inside(folder: Path, name: str) -> Path:
    """The path of a file in `folder` whose name somebody else chose; refused where it could lie
    anywhere else."""
    if (
        not name
        or name in (".", "..")
        or any(sign in name for sign in "/\\:\0")
        or not name.isprintable()
    ):
        raise XittError(
            f"{folder}: {name[:80]!r} is no name of a file in this folder; paths are not followed"
        )
    path, within = folder / name, False
    with suppress(OSError, RuntimeError):  # links in a circle
        within = path.resolve().is_relative_to(folder.resolve())
    if not within:
        raise XittError(f"{path}: a link that leads out of its folder; put the file itself there")
    return path


def checked_size(path: Path, most: int | None = None) -> int:
    """The size of a plain file in bytes, before any is read; larger than `most` or than its kind
    may be is refused."""
    if path.is_dir():
        raise XittError(f"{path}: a folder in place of a file")
    if not path.exists():
        raise XittError(f"{path}: no such file")
    if not path.is_file():  # a pipe or a device would be read for ever
        raise XittError(f"{path}: not a plain file")
    size, most = path.stat().st_size, most or CAPS.get(path.suffix, MOST_JSON)
    if size > most:
        raise XittError(
            f"{path}: {size:,} bytes, more than the {most:,} that such a file may have; not read"
        )
    return size


def pickle_error(path: Path) -> XittError:
    """What is said of a pickle."""
    return XittError(
        f"{path}: a pickle; pickles can run code and are not read. If you trust whoever made it: "
        f"xitt convert --trust-pickle {shlex.quote(str(path))}"
    )


# -- JSON ------------------------------------------------------------------------------------------


def read_json(path: Path, *, most: int = MOST_JSON) -> dict[str, Any]:
    """The object in a JSON file of at most `most` bytes; no key twice, no number that is none."""
    size = checked_size(path, most)
    with path.open("rb") as file:
        data = file.read(size)  # no more of it, should it grow meanwhile
    return _object(data, path)


def _object(data: bytes, path: Path) -> dict[str, Any]:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise XittError(f"{path}:{line}: not UTF-8 (byte 0x{data[error.start]:02x})") from None
    value = json_of(text, path, strict=True)
    if not isinstance(value, dict):
        raise XittError(f"{path}:1: expected an object, found {type(value).__name__}")
    return value


# -- safetensors -----------------------------------------------------------------------------------


def read_header(path: Path) -> dict[str, TensorInfo]:
    """The tensors that a safetensors file states, by name, in the file's order: every claim checked
    against the file's true size."""
    return _header(path)[0]


def read_metadata(path: Path) -> dict[str, str]:
    """The strings that a safetensors file carries beside its tensors."""
    return _header(path)[1]


def read_tensors(path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file, on the CPU, its header checked first."""
    from safetensors.torch import load_file

    return _load(path, load_file)


def read_arrays(path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file as NumPy's arrays, its header checked first."""
    from safetensors.numpy import load_file

    return _load(path, load_file)


def _load(path: Path, load_file: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    from safetensors import SafetensorError

    read_header(path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise XittError(f"{path}: can't be read ({error}); fetch the file again") from None


def stored_digest(path: Path) -> str:
    """`digests.tensors_digest` of a safetensors file, hashed from the file as it lies, 1 MiB at a
    time."""
    sha, header = hashlib.sha256(), read_header(path)
    with path.open("rb") as file:
        for name in sorted(header):
            info = header[name]
            sha.update(f"{name}|{DTYPES[info.dtype][0]}|{info.shape}|".encode())
            file.seek(info.start)
            left = info.size
            while left:
                block = file.read(min(left, MIB))
                if not block:
                    raise XittError(f"{path}: cut short while it was read; fetch the file again")
                sha.update(block)
                left -= len(block)
    return sha.hexdigest()


def _header(path: Path) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    if path.suffix in PICKLES:
        raise pickle_error(path)
    size = checked_size(path, MOST_WEIGHTS)
    with path.open("rb") as file:
        first = file.read(8)
        length = int.from_bytes(first, "little")
        if problem := _no_header(first + file.read(56), size, length):
            raise _not_safetensors(path, problem, first)
        file.seek(8)
        data = file.read(length)
    # before it is parsed into objects ten times its size
    if data.count(b"data_offsets") > MOST_TENSORS:
        raise XittError(f"{path}: more than {MOST_TENSORS:,} tensors; no module has so many")
    stated = _object(data, path)
    metadata = stated.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        raise XittError(f"{path}: __metadata__ must be an object of strings")
    if len(stated) > MOST_TENSORS:
        raise XittError(
            f"{path}: {len(stated):,} tensors, more than {MOST_TENSORS:,}; no module has so many"
        )
    tensors = {name: _info(path, name, entry, 8 + length) for name, entry in stated.items()}
    _contiguous(path, tensors, 8 + length, size)
    return tensors, metadata


def _no_header(first: bytes, size: int, length: int) -> str:
    """Why a file can't begin with a safetensors header; empty where it can."""
    if not size:
        return "an empty file"
    if first.startswith(b"PK\x03\x04"):
        return "a zip, as torch.save writes its pickles, under the name of a safetensors file"
    if (
        first[:1] == b"\x80"
        and first[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
        and length > size
    ):
        return "a pickle under the name of a safetensors file"
    if first.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the file it stands for; fetch it with `git lfs pull`"
    if size < 8 + 2:
        return f"{size} bytes are no safetensors file; it may be cut short"
    if length > size - 8:
        return (
            f"its header claims {length:,} bytes, the file has {size:,}; it is no safetensors file,"
            " or cut short"
        )
    if length > MOST_HEADER:
        return f"a header of {length:,} bytes, more than {MOST_HEADER:,}; not read"
    return "" if first[8:9] == b"{" else "no safetensors file: its header is no JSON object"


def _not_safetensors(path: Path, problem: str, first: bytes) -> XittError:
    """What is said of a file that begins with something else than a header."""
    if "pickle" in problem:
        return XittError(
            f"{path}: {problem}; pickles can run code and are not read. Ask whoever made it for a "
            "safetensors file; if you trust them, give it its own name (.bin) and: "
            "xitt convert --trust-pickle FILE"
        )
    return XittError(
        f"{path}: {problem}"
        + ("" if "fetch" in problem or "not read" in problem else "; fetch the file again")
    )


def _info(path: Path, name: str, entry: Any, data: int) -> TensorInfo:
    """One row of a header whose tensors begin at byte `data`."""
    location = f"{path}: tensor {name[:80]!r}"
    if not name.isprintable() or not 0 < len(name) <= 300:
        raise XittError(f"{location}: a name is made of 1 to 300 printable characters")
    if not isinstance(entry, Mapping) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise XittError(f"{location}: must have dtype, shape and data_offsets, and nothing else")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise XittError(
            f"{location}: dtype {str(dtype)[:40]!r} is not read here; one of {', '.join(DTYPES)}"
        )
    if not _sizes(shape) or len(shape) > 8:
        raise XittError(
            f"{location}: its shape must be a list of at most 8 whole numbers, not"
            f" {str(shape)[:80]}"
        )
    if not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise XittError(
            f"{location}: data_offsets must be its first byte and the one behind its last"
        )
    size = math.prod(shape) * DTYPES[dtype][1]
    if offsets[1] - offsets[0] != size:
        raise XittError(
            f"{location}: {dtype} of shape {tuple(shape)} takes {size:,} bytes, its offsets say "
            f"{offsets[1] - offsets[0]:,}"
        )
    return TensorInfo(dtype, tuple(shape), data + offsets[0], size)


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(
        type(number) is int and 0 <= number < 2**48 for number in value
    )


def _contiguous(path: Path, tensors: Mapping[str, TensorInfo], data: int, size: int) -> None:
    """Each byte behind the header belongs to one tensor: none to two, none to nobody."""
    end = data
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].size)):
        if info.start != end:
            what = "overlaps another's bytes" if info.start < end else "leaves a gap before it"
            raise XittError(
                f"{path}: tensor {name[:80]!r} {what}; the file was not written by safetensors"
            )
        end += info.size
    if end > size:
        raise XittError(
            f"{path}: its header claims {end:,} bytes, the file has {size:,}: cut short; fetch it"
            " again"
        )
    if end < size:
        raise XittError(
            f"{path}: {size - end:,} bytes behind its last tensor that belong to none; fetch it"
            " again"
        )
