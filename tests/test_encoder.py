"""Encoders from folders and from a hub on this machine: what is read of them, what is dropped, what
is refused."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pico
import pytest
import torch
from hub_shop import Loopback
from safetensors.torch import load_file
from torch import Tensor

from adapters_xitt import hub
from adapters_xitt.errors import XittError
from adapters_xitt.kinds import heads
from adapters_xitt.model import encoder, pretrained
from adapters_xitt.modules.methods import Choice, choose, fusion_of
from adapters_xitt.study import costs
from adapters_xitt.tasks import TASKS

# What a hostile or merely foreign config.json may carry.
POISON = {
    "_attn_implementation_internal": "evil/kernels",
    "_attn_implementation": "evil/kernels",
    "attn_implementation": "evil/kernels",
    "auto_map": {"AutoModel": "evil/repo--code.Model"},
    "_name_or_path": "evil/repo",
    "architectures": ["LlamaForCausalLM"],
    "transformers_version": "99.0.0",
    "trust_remote_code": True,
    "torch_dtype": "float16",
    "is_decoder": True,
    "add_cross_attention": True,
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "output_attentions": True,
    "chunk_size_feed_forward": 1,
    "adapters": {"adapters": {}},
    "pruned_heads": {"0": [1]},
}
_STORED = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}


def write_raw(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file with its tensors in the order of `tensors`, which the library's own writer
    would sort."""
    header, blocks, at = {}, [], 0
    for name, tensor in tensors.items():
        block = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        header[name] = {
            "dtype": _STORED[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [at, at + len(block)],
        }
        blocks.append(block)
        at += len(block)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blocks))


def write_folder(
    folder: Path,
    source: Path,
    tensors: Mapping[str, Tensor],
    *,
    shards: int = 1,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """An encoder's folder like `source`, with these tensors in this order, in one file or cut into
    `shards`."""
    folder.mkdir(parents=True, exist_ok=True)
    own = json.loads((source / "config.json").read_text()) | dict(config or {})
    (folder / "config.json").write_text(json.dumps(own))
    (folder / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
    names = list(tensors)
    if shards == 1:
        write_raw(folder / "model.safetensors", tensors)
        return folder
    index, size = {}, -(-len(names) // shards)
    for n in range(shards):
        part, file = (
            names[n * size : (n + 1) * size],
            f"model-{n + 1:05}-of-{shards:05}.safetensors",
        )
        write_raw(folder / file, {name: tensors[name] for name in part})
        index |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": index})
    )
    return folder


@pytest.fixture(scope="module")
def tensors(pico_dir) -> dict[str, Tensor]:
    return load_file(pico_dir / "model.safetensors")


@pytest.fixture
def wires(monkeypatch) -> Iterator[list[str]]:
    """No way out of the process; what tried is listed, because a library may swallow the error."""
    tried: list[str] = []

    def refuse(*words: Any, **_: Any) -> None:
        tried.append(repr(words))
        raise AssertionError("no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield tried
    assert not tried


# -- what is read of a checkpoint


def test_only_the_shape_of_a_configuration_is_read(
    tmp_path, pico_dir, pico_files, pico_tokenizer, tensors, wires
):
    files = pretrained.inspect(
        str(write_folder(tmp_path / "poisoned", pico_dir, tensors, config=POISON))
    )
    assert set(files.config) <= set(pretrained.CONFIG_KEYS)
    assert (files.config, files.fingerprint) == (pico_files.config, pico_files.fingerprint)
    loaded = encoder.load(files)
    config = loaded.model.config
    assert config._attn_implementation == "sdpa"
    assert {
        "Sdpa" in type(layer.attention.self).__name__ for layer in loaded.model.encoder.layer
    } == {True}
    assert not hasattr(config, "auto_map") and not hasattr(config, "quantization_config")
    assert (config.architectures, config._name_or_path, config.is_decoder) == (None, "", False)
    assert {value.dtype for value in loaded.weights().values()} == {torch.float32}
    ids, mask = pico.batch(pico_tokenizer)
    with torch.no_grad():
        got = loaded.run(loaded.embed(ids), mask, 0, loaded.layers)
    torch.testing.assert_close(
        got * mask[..., None], pico.ran(pico.plain(pico_dir), ids, mask), rtol=1e-5, atol=1e-5
    )


def test_the_tokenizer_is_built_from_its_own_file_alone(
    tmp_path, pico_dir, pico_tokenizer, tensors, wires
):
    folder = write_folder(tmp_path / "poisoned", pico_dir, tensors)
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "Evil",
                "auto_map": {"AutoTokenizer": ["evil/repo--code.Tokenizer", None]},
                "model_max_length": 3,
                "additional_special_tokens": ["cat"],
            }
        )
    )
    (folder / "special_tokens_map.json").write_text('{"pad_token": "dog"}')
    found = pretrained.load_tokenizer(pretrained.inspect(str(folder)))
    text = [row["a"] for row in pico.rows("pair", 8)]
    assert found(text).input_ids == pico_tokenizer(text).input_ids
    assert (found.pad_token_id, found.model_max_length) == (1, 10**9)


def test_the_package_of_compiled_kernels_is_refused(monkeypatch, pico_files):
    monkeypatch.setattr(encoder, "find_spec", lambda name: object() if name == "kernels" else None)
    with pytest.raises(XittError, match="pip uninstall kernels"):
        encoder.load(pico_files)


def test_sizes_and_room(pico_files, tensors):
    assert (pico_files.layers, pico_files.width) == (pico.LAYERS, pico.WIDTH)
    assert pico_files.positions == 130 - 1 - 1
    assert pico_files.parameters == sum(value.numel() for value in tensors.values())


def test_the_longest_sequence_has_positions(pico_files):
    loaded = encoder.load(pico_files)
    with torch.no_grad():
        assert loaded.embed(torch.full((1, pico_files.positions), 9)).isfinite().all()
        with pytest.raises(IndexError):
            loaded.embed(torch.full((1, pico_files.positions + 1), 9))


def test_a_checkpoint_in_half_precision_runs_in_full(tmp_path, pico_dir, tensors):
    half = {name: value.half() for name, value in tensors.items()}
    loaded = encoder.load(pretrained.inspect(str(write_folder(tmp_path / "half", pico_dir, half))))
    assert pico.same(loaded.weights(), {name: value.float() for name, value in half.items()})


# -- the fingerprint

EXTRAS = {
    "lm_head.bias": torch.ones(7),
    "lm_head.dense.weight": torch.ones(3, 3),
    "classifier.weight": torch.ones(2),
}
INSIDE = {
    "pooler.dense.weight": torch.ones(2, 2),
    "embeddings.position_ids": torch.arange(130)[None],
}


@pytest.mark.parametrize("order", ["sorted", "reversed"])
@pytest.mark.parametrize("extra", [False, True], ids=["bare", "with heads"])
@pytest.mark.parametrize("prefix", ["", "roberta.", "model."], ids=["none", "roberta", "model"])
def test_a_fingerprint_is_blind_to_names_around_the_encoder_and_to_order(
    tmp_path, pico_dir, pico_files, tensors, prefix, extra, order
):
    stored = {
        prefix + name: value for name, value in {**tensors, **(INSIDE if extra else {})}.items()
    }
    stored |= EXTRAS if extra else {}
    stored = {name: stored[name] for name in sorted(stored, reverse=order == "reversed")}
    files = pretrained.inspect(str(write_folder(tmp_path / "e", pico_dir, stored)))
    assert (files.fingerprint, files.parameters) == (pico_files.fingerprint, pico_files.parameters)
    assert pico.same(encoder.load(files).weights(), tensors)


@pytest.mark.parametrize("shards", [2, 3, 9])
@pytest.mark.parametrize(
    "prefix",
    [
        "",
        pytest.param("roberta."),
    ],
    ids=["none", "roberta"],
)
def test_a_fingerprint_is_blind_to_shards(tmp_path, pico_dir, pico_files, tensors, prefix, shards):
    stored = {prefix + name: value for name, value in tensors.items()} | EXTRAS
    files = pretrained.inspect(str(write_folder(tmp_path / "e", pico_dir, stored, shards=shards)))
    assert (files.fingerprint, files.parameters) == (pico_files.fingerprint, pico_files.parameters)
    assert pico.same(encoder.load(files).weights(), tensors)


def test_weights_beside_the_checkpoint_are_not_read(tmp_path, pico_dir, pico_files, tensors):
    folder = write_folder(tmp_path / "e", pico_dir, tensors)
    write_raw(
        folder / "model_old.safetensors", {name: value + 1 for name, value in tensors.items()}
    )
    assert pretrained.inspect(str(folder)).fingerprint == pico_files.fingerprint


def _one_value(tensors: dict[str, Tensor]) -> None:
    value = tensors["encoder.layer.3.output.dense.bias"] = tensors[
        "encoder.layer.3.output.dense.bias"
    ].clone()
    value[5] = torch.nextafter(value[5], torch.tensor(9.0))


def _dtype(tensors: dict[str, Tensor]) -> None:
    tensors.update({name: value.bfloat16() for name, value in tensors.items()})


def _swapped(tensors: dict[str, Tensor]) -> None:
    a, b = (f"encoder.layer.{n}.output.dense.weight" for n in (0, 1))
    tensors[a], tensors[b] = tensors[b], tensors[a]


def _shape(tensors: dict[str, Tensor]) -> None:
    name = "encoder.layer.0.intermediate.dense.weight"
    tensors[name] = tensors[name].reshape(pico.WIDTH, -1)


@pytest.mark.parametrize(
    "change", [_one_value, _dtype, _swapped, _shape], ids=lambda change: change.__name__[1:]
)
def test_a_fingerprint_sees_every_tensor(tmp_path, pico_dir, pico_files, tensors, change):
    stored = dict(tensors)
    change(stored)
    assert (
        pretrained.inspect(str(write_folder(tmp_path / "e", pico_dir, stored))).fingerprint
        != pico_files.fingerprint
    )


def test_a_fingerprint_sees_the_tokenizer(tmp_path, pico_dir, pico_files, tensors):
    folder = write_folder(tmp_path / "e", pico_dir, tensors)
    changed = json.loads((folder / "tokenizer.json").read_text())
    changed["model"]["vocab"][9][1] -= 0.5
    (folder / "tokenizer.json").write_text(json.dumps(changed))
    assert pretrained.inspect(str(folder)).fingerprint != pico_files.fingerprint


def test_a_fingerprint_sees_what_the_configuration_does_to_outputs(
    tmp_path, pico_dir, pico_files, tensors
):
    folder = write_folder(tmp_path / "e", pico_dir, tensors, config={"num_attention_heads": 2})
    assert pretrained.inspect(str(folder)).fingerprint != pico_files.fingerprint


# -- what is refused, by name


class _Payload:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return open, (str(self.path), "w")


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def _pickle(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(_Payload(folder / "ran")))


def _pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Payload(folder / "ran")))


def _config(text: str | bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / "config.json").write_bytes(
        text if isinstance(text, bytes) else text.encode()
    )


# how broken, the file named, words of the message
REFUSED: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "cut short": (_cut, "model.safetensors", "cut short"),
    "empty": (
        lambda folder: (folder / "model.safetensors").write_bytes(b""),
        "model.safetensors",
        "an empty file",
    ),
    "a pickle": (_pickle, "model.safetensors", "a pickle under the name of a safetensors file"),
    "only a pickle": (_pickle_only, "", "pickled weights are not read"),
    "another architecture": (_config('{"model_type": "llama"}'), "config.json", "'llama'"),
    "no architecture": (_config("{}"), "config.json", "None"),
    "broken JSON": (
        _config('{"model_type":\n "xlm-roberta",\n}'),
        "config.json:3",
        "expected JSON",
    ),
    "sizes missing": (
        _config('{"model_type": "xlm-roberta"}'),
        "config.json",
        "hidden_size, num_hidden_layers",
    ),
    "no tokenizer": (
        lambda folder: (folder / "tokenizer.json").unlink(),
        "",
        "tokenizer.json is missing",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_broken_folder_is_refused_by_name(tmp_path, pico_dir, tensors, name):
    change, file, words = REFUSED[name]
    folder = write_folder(tmp_path / "e", pico_dir, tensors)
    change(folder)
    with pytest.raises(XittError) as caught:
        pretrained.inspect(str(folder))
    assert str(folder / file) in str(caught.value) and words in str(caught.value)
    assert not (folder / "ran").exists()


def _without(tensors: dict[str, Tensor]) -> str:
    del tensors["encoder.layer.2.output.dense.weight"]
    return "encoder.layer.2.output.dense.weight"


def _with(tensors: dict[str, Tensor]) -> str:
    tensors["encoder.layer.4.output.dense.weight"] = torch.ones(2, 2)
    return "encoder.layer.4.output.dense.weight"


def _misshapen(tensors: dict[str, Tensor]) -> str:
    tensors["encoder.layer.2.output.dense.weight"] = torch.ones(2, 2)
    return "encoder.layer.2.output.dense.weight"


@pytest.mark.parametrize(
    "change",
    [
        _without,
        _with,
        pytest.param(_misshapen),
    ],
    ids=["missing", "too many", "another shape"],
)
def test_tensors_that_do_not_fit_are_refused_by_name(tmp_path, pico_dir, tensors, change):
    stored = dict(tensors)
    named = change(stored)
    folder = write_folder(tmp_path / "e", pico_dir, stored)
    with pytest.raises(XittError) as caught:
        encoder.load(pretrained.inspect(str(folder)))
    assert str(folder) in str(caught.value) and named in str(caught.value)


def test_a_shard_that_is_not_there_is_refused(tmp_path, pico_dir, tensors):
    folder = write_folder(tmp_path / "e", pico_dir, tensors, shards=2)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(XittError, match="missing"):
        encoder.load(pretrained.inspect(str(folder)))


TRACEBACKS: dict[str, Callable[[Path], None]] = {
    "config.json is a list": _config("[]"),
    "config.json is not UTF-8": _config(b'{"model_type": "\xff"}'),
    "tokenizer.json is broken": lambda folder: (folder / "tokenizer.json").write_text("{"),
}
VALUES = {
    "a size as text": {"hidden_size": "32"},
    "heads that don't divide": {"num_attention_heads": 5},
    "an activation nobody knows": {"hidden_act": "evil"},
    "no padding": {"pad_token_id": None},
    "another width": {"hidden_size": 64},
    "a table of a terabyte": {"vocab_size": 10**10},
    "a million layers": {"num_hidden_layers": 10**6},
    "wide layers": {"intermediate_size": 10**11},
    "a million positions": {"max_position_embeddings": 10**9},
    "a share as text": {"layer_norm_eps": "1e-5"},
    "no number": {"hidden_dropout_prob": 2},
    "true layers": {"num_hidden_layers": True},
}


@pytest.mark.parametrize("name", [*TRACEBACKS, *VALUES])
def test_broken_files_are_no_tracebacks(tmp_path, pico_dir, tensors, name):
    folder = write_folder(tmp_path / "e", pico_dir, tensors, config=VALUES.get(name))
    TRACEBACKS.get(name, lambda folder: None)(folder)
    with pytest.raises(XittError, match=str(folder)):
        files = pretrained.inspect(str(folder))
        assert files.positions > 0
        pretrained.load_tokenizer(files)
        encoder.load(files)


def test_names_below_the_folder_of_encoders(monkeypatch, tmp_path, pico_dir, pico_files, tensors):
    monkeypatch.setenv("XITT_ENCODERS", str(tmp_path))
    write_folder(tmp_path / "little-xlmr", pico_dir, tensors)
    assert pretrained.inspect("little-xlmr").fingerprint == pico_files.fingerprint
    with pytest.raises(XittError, match="did you mean 'little-xlmr'"):
        pretrained.inspect("litle-xlmr")
    monkeypatch.delenv("XITT_ENCODERS")
    with pytest.raises(XittError, match="not set"):
        pretrained.inspect("little-xlmr")


def test_a_folder_of_encoders_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("XITT_ENCODERS", str(tmp_path / "nowhere"))
    with pytest.raises(XittError, match="nowhere"):
        pretrained.inspect("little-xlmr")


# -- the hub, imitated on the loopback

REPO, SHA = "owner/pico", "0123456789abcdef0123456789abcdef01234567"
OFFERED = {
    "pytorch_model.bin": b"\x80\x04",
    "evil.py": b"raise SystemExit(7)",
    "tokenizer_config.json": b"{}",
    "sub/config.json": b"{}",
    "model.safetensors.bak": b"x",
    "README.md": b"# pico",
}
FETCH = """
import sys
from adapters_xitt import hub
from adapters_xitt.errors import XittError
try:
    print(hub.fetch_encoder(sys.argv[1]))
except XittError as error:
    sys.exit(f"refused: {error}")
"""


class Hub(Loopback):
    """The endpoints that huggingface_hub 0.36 asks for when it takes a snapshot, over `files`;
    `asked` lists requests.

    `fault`: "portal" answers with a page of its own, "short" cuts files off, "down" fails
    inside."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files, self.asked, self.fault, self.sizes = dict(files), [], "", {}
        super().__init__()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append((handler.command, handler.path))
        resolved, status, headers, body = f"/{REPO}/resolve/{SHA}/", 404, {}, b""
        if self.fault == "portal":
            status, body = 200, b"<html>please log in</html>"
        elif self.fault == "down":
            status, body = 500, b"oops"
        elif handler.path.partition("?")[0] == f"/api/models/{REPO}/revision/{SHA}":
            siblings = [
                {"rfilename": name, "size": self.sizes.get(name, len(body))}
                for name, body in self.files.items()
            ]
            status, body = (
                200,
                json.dumps(
                    {
                        "id": REPO,
                        "modelId": REPO,
                        "sha": SHA,
                        "private": False,
                        "tags": [],
                        "siblings": siblings,
                    }
                ).encode(),
            )
        elif handler.path.startswith(f"/api/models/{REPO}/"):
            headers = {"X-Error-Code": "RevisionNotFound"}
        elif handler.path.startswith("/api/models/"):
            headers = {"X-Error-Code": "RepoNotFound"}
        elif (
            handler.path.startswith(resolved) and handler.path.removeprefix(resolved) in self.files
        ):
            status, body = 200, self.files[handler.path.removeprefix(resolved)]
            headers = {"ETag": f'"{hash(body):x}"', "X-Repo-Commit": SHA}
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(
                body[: len(body) // 2] if self.fault == "short" and headers else body
            )


@pytest.fixture
def shop(pico_dir) -> Iterator[Hub]:
    own = {
        path.name: path.read_bytes()
        for path in pico_dir.iterdir()
        if path.name in hub.ENCODER_FILES
    }
    found = Hub({**own, **OFFERED})
    yield found
    found.close()


def fetch(
    shop: Hub, home: Path, reference: str = f"{REPO}@{SHA}", *, offline: bool = False
) -> subprocess.CompletedProcess[str]:
    """Fetches in a process of its own: the endpoint is read when the library is imported."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "HUGGING")) and not name.lower().endswith("_proxy")
    }
    return subprocess.run(
        [sys.executable, "-c", FETCH, reference],
        capture_output=True,
        text=True,
        timeout=60,
        env={
            **kept,
            "HF_ENDPOINT": shop.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_OFFLINE": str(int(offline)),
        },
    )


def refused(ran: subprocess.CompletedProcess[str]) -> str:
    assert ran.returncode == 1 and "refused: " in ran.stderr and "Traceback" not in ran.stderr, (
        ran.stderr[-2000:]
    )
    return ran.stderr


def test_of_a_hub_only_named_files_are_fetched_and_the_cache_serves_them(
    shop, tmp_path, pico_files, tensors
):
    ran = fetch(shop, tmp_path)
    assert ran.returncode == 0, ran.stderr[-2000:]
    folder = Path(ran.stdout.strip())
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "tokenizer.json",
        "model.safetensors",
    }
    resolved = f"/{REPO}/resolve/{SHA}/"
    assert {path.removeprefix(resolved) for _, path in shop.asked if path.startswith(resolved)} == {
        "config.json",
        "tokenizer.json",
        "model.safetensors",
    }
    assert {path.partition("?")[0] for _, path in shop.asked if not path.startswith(resolved)} == {
        f"/api/models/{REPO}/revision/{SHA}"
    }
    files = pretrained.inspect(str(folder))
    assert files.fingerprint == pico_files.fingerprint
    assert pico.same(encoder.load(files).weights(), tensors)

    asked = len(shop.asked)
    again = fetch(shop, tmp_path, offline=True)
    assert (again.returncode, Path(again.stdout.strip()), len(shop.asked)) == (0, folder, asked)
    shop.close()
    dead = fetch(shop, tmp_path)  # not offline by word, but in fact
    assert (dead.returncode, Path(dead.stdout.strip())) == (0, folder)


def test_an_encoder_larger_than_any_is_not_downloaded(shop, tmp_path):
    shop.sizes["model.safetensors"] = 100 * 2**30
    told = refused(fetch(shop, tmp_path))
    assert "107,374," in told and "nothing was downloaded" in told
    assert not [path for _, path in shop.asked if "/resolve/" in path]


@pytest.mark.parametrize(
    "reference",
    [
        f"{REPO}@main",
        f"{REPO}@{SHA[:39]}",
        f"{REPO}@{SHA.upper()}",
        f"{REPO}@{SHA}0",
        f"{REPO}@",
        f"a/b/c@{SHA}",
        f"{REPO}@{SHA}\n",
        f"@{SHA}",
        REPO,
    ],
)
def test_a_revision_is_a_whole_commit(reference):
    with pytest.raises(XittError, match="40-digit commit"):
        hub.encoder_reference(reference)


def test_a_branch_is_refused_before_anything_is_asked(shop, tmp_path, wires):
    with pytest.raises(XittError, match="40-digit commit"):
        pretrained.inspect(f"{REPO}@main")
    assert "40-digit commit" in refused(fetch(shop, tmp_path, f"{REPO}@main"))
    assert not shop.asked


@pytest.mark.parametrize(
    ("reference", "fault"),
    [(f"{REPO}@{'f' * 40}", ""), (f"owner/none@{SHA}", ""), (f"{REPO}@{SHA}", "down")],
    ids=["unknown revision", "unknown repository", "failing server"],
)
def test_what_a_hub_does_not_have_is_said(shop, tmp_path, reference, fault):
    shop.fault = fault
    assert reference in refused(fetch(shop, tmp_path, reference))


@pytest.mark.parametrize("offline", [False, True], ids=["dead server", "offline"])
def test_a_hub_that_is_not_there_is_said(shop, tmp_path, offline):
    shop.close()
    assert f"{REPO}@{SHA}" in refused(fetch(shop, tmp_path, offline=offline))


@pytest.mark.parametrize(
    ("reference", "fault"),
    [(f"{REPO}@{SHA}", "short"), (f"{REPO}@{SHA}", "portal"), (f"owner/a--b@{SHA}", "")],
    ids=["file cut off", "a page instead", "not a repository's name"],
)
def test_a_hub_that_answers_badly_is_said(shop, tmp_path, reference, fault):
    shop.fault = fault
    assert reference in refused(fetch(shop, tmp_path, reference))


# -- parameters, counted before anything is built


def _choice(name: str, **options: Any) -> Any:
    shown = [f"{key}={value}" for key, value in options.items()]
    return pytest.param(choose(name, options), id=" ".join([name, *shown]))


CHOICES = [
    *(_choice("seq_bn", reduction=reduction) for reduction in (1, 2, 3, 16, 32)),
    *(
        _choice("seq_bn", reduction=4, leave_out=left)
        for left in ([], [0], [0, 1, 2], [3, 1], [1, 1, 9])
    ),
    *(_choice("lora", rank=rank, alpha=alpha) for rank, alpha in ((1, 1), (4, 8), (40, 3))),
    *(
        _choice("lora", places=places)
        for places in (["query"], ["value", "key"], ["query", "key", "value"])
    ),
    *(
        _choice("lora", places=["key"], leave_out=left)
        for left in ([0], [0, 1, 2], [3, 1], [1, 1, 9])
    ),
    *(
        _choice("lora", places=places)
        for places in (["attention"], ["up", "down"], ["query", "up"])
    ),
    *(_choice(name, rank=3, places=["value", "down"]) for name in ("rslora", "dora", "pissa")),
    *(
        _choice(name, reduction=reduction, leave_out=[1])
        for reduction in (2, 5)
        for name in ("double_seq_bn", "par_bn", "seq_bn_inv")
    ),
    *(
        _choice("compacter", reduction=reduction, factors=factors)
        for reduction, factors in ((2, 4), (4, 2), (8, 1))
    ),
    _choice("ia3"),
    _choice("ia3", leave_out=[0, 3]),
    _choice("full"),
    _choice("head"),
]


def _mounted(files: pretrained.EncoderFiles, choice: Choice) -> int:
    adapted = pico.adapted(files)
    adapted.add("m", choice, seed=1)
    return sum(parameter.numel() for parameter in adapted.trainable("m").values())


@pytest.mark.parametrize("choice", CHOICES)
def test_parameters_are_counted_as_they_are_built(pico_files, choice):
    files = pico_files
    assert choice.parameters(files.width, files.wide, files.layers, files.parameters) == _mounted(
        files, choice
    )


# measured on the libraries' own modules, in millions
@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("lora", {}, 0.786),
        ("dora", {}, 0.836),
        ("seq_bn", {}, 3.172),
        ("double_seq_bn", {}, 6.344),
        ("par_bn", {}, 25.216),
        ("ia3", {}, 0.147),
        ("lora", {"rank": 16, "places": ["query", "key", "value", "up", "down"]}, 6.291),
    ],
)
def test_parameters_at_the_size_of_xlm_r_large(name, options, count):
    assert choose(name, options).parameters(1024, 4096, 24, 0) == pytest.approx(
        count * 1e6, rel=5e-3
    )


def test_a_fusion_is_counted_as_it_is_built(pico_files):
    for name, made in (("seq_bn", "fusion"), ("double_seq_bn", "fusion"), ("lora", "weights")):
        adapted, own = pico.adapted(pico_files), choose(name, {})
        for part in "ab":
            adapted.add(part, own, seed=1)
        choice = fusion_of(own, 2)
        assert choice.name == made
        adapted.add("f", choice, seed=1, over=("a", "b"))
        counted = choice.parameters(
            pico_files.width, pico_files.wide, pico_files.layers, pico_files.parameters
        )
        assert counted == sum(parameter.numel() for parameter in adapted.parameters("f").values())
    assert fusion_of(choose("seq_bn", {}), 9).parameters(1024, 4096, 24, 0) == pytest.approx(
        75.5e6, rel=1e-3
    )


def test_factors_that_do_not_divide_are_told(pico_files):
    with pytest.raises(XittError, match="factors must divide"):
        pico.adapted(pico_files).add(
            "m", choose("compacter", {"reduction": 4, "factors": 3}), seed=1
        )


def test_a_reduction_over_the_width_is_counted_as_it_is_built(pico_files):
    choice = choose("seq_bn", {"reduction": 2 * pico.WIDTH})
    files = pico_files
    assert choice.parameters(files.width, files.wide, files.layers, files.parameters) == _mounted(
        files, choice
    )


def test_a_place_is_named_once():
    with pytest.raises(XittError, match="places: "):
        choose("lora", {"places": ["query", "query"]})


@pytest.mark.parametrize(
    "choice",
    [
        _choice("seq_bn", leave_out=[0, 1, 2, 3]),
        pytest.param(choose("lora", {"leave_out": [0, 1, 2, 3]}), id="lora"),
    ],
)
def test_a_method_that_adapts_no_layer_is_refused(pico_files, choice):
    assert (
        choice.parameters(
            pico_files.width, pico_files.wide, pico_files.layers, pico_files.parameters
        )
        == 0
    )
    with pytest.raises(XittError, match="no parameter"):
        _mounted(pico_files, choice)


@pytest.mark.parametrize(
    "name", [name for name, task in TASKS.items() if task.kind in ("pair", "tagging", "qa")]
)
def test_a_plan_counts_heads_as_they_are_built(pico_files, name):
    row, choice = TASKS[name], choose("lora", {})
    labels = row.labels or (("A", "B", "C") if row.kind == "tagging" else ())
    part = SimpleNamespace(record=SimpleNamespace(kind=row.kind, labels=labels))
    # one space, one head
    job = SimpleNamespace(mixture=SimpleNamespace(portions=[part, part]), method=choice)
    head = heads.build(row.kind, pico_files, len(labels), seed=1)
    own = choice.parameters(
        pico_files.width, pico_files.wide, pico_files.layers, pico_files.parameters
    )
    inputs = SimpleNamespace(files=pico_files)
    assert costs.module_parameters(job, inputs) - own == sum(
        parameter.numel() for parameter in head.parameters()
    )
