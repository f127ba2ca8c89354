"""Hostile or foolish input costs nothing: each is refused within a second or so and little memory,
and told whole."""

from __future__ import annotations

import gzip
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hub_shop import Loopback

from adapters_xitt import text_files
from adapters_xitt.errors import DataError, XittError
from adapters_xitt.hub import bounds
from adapters_xitt.model import pretrained
from adapters_xitt.modules import composition
from adapters_xitt.report import submission
from adapters_xitt.study import recipe

# of a shared machine; what was refused too late took minutes and gigabytes
SECONDS, GROWTH = 5.0, 300 * 2**20
HEAD = (
    "encoder: demo\nmethods: [lora]\nintermediates: []\ntargets: [demo-pairs]\ndata: {root: demo}\n"
)


@contextmanager
def bounded() -> Iterator[None]:
    """Fails where the block takes long, or raises the most memory that this process ever held."""
    began, held = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - began < SECONDS
    assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) < GROWTH


def problems(path: Path, text: str, *overrides: str) -> str:
    path.write_text(text)
    with bounded(), pytest.raises(XittError) as told:
        recipe.load(path, overrides)
    assert len(str(told.value)) < 60_000
    return str(told.value)


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LAUGHS, ":1: not YAML (anchors (&) and aliases (*) are not read"),
        ("tasks: &a {demo-pairs: *a}\n", ":1: not YAML (anchors"),
        (
            HEAD + "seeds: " + "[" * 10_000 + "]" * 10_000,
            ":6: not YAML (more than 16 lists or mappings",
        ),
        (HEAD + "tasks: " + "{a: " * 10_000, ":6: not YAML (more than 16"),
        (HEAD + "x: !!python/object/apply:os.system [true]\n", ":6: not YAML (the tag"),
        (HEAD + "---\nencoder: demo\n", ":6: not YAML (a second document"),
        (HEAD + "".join(f"key{n}: {n}\n" for n in range(10_000)), "10,000 problems\n"),
        (HEAD + "#" * 2**19, "not YAML (more than 262,144 characters"),
        ("[a, list]\n", "a recipe is a mapping of keys"),
    ],
    ids=[
        "aliases",
        "self-reference",
        "brackets",
        "braces",
        "tag",
        "documents",
        "keys",
        "size",
        "list",
    ],
)
def test_a_recipe_that_grows_when_it_is_read_is_refused(
    text: str, told: str, tmp_path: Path
) -> None:
    assert told in problems(tmp_path / "recipe.yaml", text)


def test_every_foolish_value_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    told = problems(
        tmp_path / "recipe.yaml",
        f"name: {'n' * 300}\n"
        + HEAD
        + f"""seeds: [1, 2, 1, {2**63}]
modes: [none]
modes: [none, sum]
sweep: [0.5, 0.5]
memory: {"9" * 400}GiB
fusion_rate: .inf
training:
  epochs: 1e400
  max_steps: {10**30}
  epochs: 2
tasks: {{demo-pos: {{files: {{test: /dev/zero}}}}, demo-nli: {{files: {{test: {"f" * 300}}}}}}}
intermediates: [{{name: {"m" * 300}, tasks: [demo-nli]}}]
""",
        "training.clip=.nan",
    )
    for part in (
        "line 1: name: string should have at most 100",
        "line 7: seeds: 1 stands there twice",
        "line 7: seeds.3: input should be less than 9223372036854775808",
        "line 8: the key modes is written more than once, on lines 8, 9",
        "line 10: sweep: 0.5 stands there twice",
        "line 11: memory '99",
        "line 12: fusion_rate: input should",
        "line 14: the key training.epochs is written more than once, on lines 14, 16",
        "line 14: training.epochs: input should be a valid number, not '1e400'",
        "line 15: training.max_steps: input should be less than",
        "the key intermediates is written more than once, on lines 4, 18",
        "command line, training.clip=.nan: training.clip: input should be a valid number",
    ):
        assert part in told, part


def test_a_mixture_has_a_name_of_its_own(tmp_path: Path) -> None:
    mixture = "intermediates: [{name: demo-pos, tasks: [demo-nli, demo-qa]}]"
    text = HEAD.replace("intermediates: []", mixture)
    told = problems(tmp_path / "recipe.yaml", text)
    assert "'demo-pos' is the name of a task, and a mixture needs its own: demo-pos-mix" in told


def test_files_that_are_none_are_told_with_the_recipe(tmp_path: Path) -> None:
    told = problems(
        tmp_path / "recipe.yaml",
        HEAD.replace("root: demo", f"root: {tmp_path}")
        + f"""tasks:
  demo-pos: {{files: {{test: /dev/zero}}}}
  demo-nli: {{files: {{test: {"f" * 300}}}}}
""",
    )
    assert "line 7: /dev/zero: expected a file, found a device or a pipe" in told
    assert f"line 8: {tmp_path}/{'f' * 300}: no such file" in told


@pytest.mark.parametrize(
    "override",
    [
        "seeds=" + "[" * 10_000,
        "seeds=&a [*a]",
        "training={epochs: 1, epochs: 2}",
        ".".join("a" * 5000) + "=1",
        "seeds=[1",
        "seeds",
    ],
)
def test_overrides_are_read_like_recipes(override: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(HEAD)
    with bounded(), pytest.raises(XittError) as told:
        recipe.load(path, [override])
    assert len(str(told.value)) < 1000


def test_scalars_mean_what_yaml_1_2_says(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(HEAD + "fusion_rate: 1e-3\nseeds: [010]\ntraining: {learning_rate: 5E-4}\n")
    found = recipe.load(path, ["training.clip=1e1"])
    assert (found.fusion_rate, found.seeds, found.training.learning_rate, found.training.clip) == (
        1e-3,
        [10],
        5e-4,
        10,
    )
    assert recipe.read_value("[no, on, yes, 1_000, 12:30, null, ~, true, '1']") == [
        "no",
        "on",
        "yes",
        "1_000",
        "12:30",
        None,
        None,
        True,
        "1",
    ]


def test_numbers_of_methods_on_the_command_line_are_read_alike() -> None:
    from adapters_xitt.api.common import method_of

    assert method_of("lora(rank=4, learning_rate=1e-3)")[1] == 1e-3


@pytest.mark.parametrize(
    "text",
    [
        "1e200*(1e200*a)",
        "1e308*(-1e308*a + b)",
        "1e31*a",
        "2*mean(a, 1e30*(1e30*b))",
        "+".join(["a"] * 9_999),
    ],
)
def test_expressions_stay_among_numbers(text: str) -> None:
    with bounded(), pytest.raises(XittError) as told:
        composition.parse(text)
    assert len(str(told.value)) < 2000


# -- files -----------------------------------------------------------------------------------------


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_devices_and_pipes_are_not_read(pipe: Path) -> None:
    code = """if True:
        import sys
        from pathlib import Path
        from adapters_xitt.study import recipe
        from adapters_xitt.errors import XittError
        from adapters_xitt.text_files import text_of
        for path in sys.argv[1:]:
            for read in (recipe.load, text_of):
                try:
                    read(Path(path))
                except XittError as error:
                    print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", code, "/dev/zero", "/dev/stdin", str(pipe)],
        timeout=60,
        check=True,
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
    )
    assert done.stdout.count("expected a file, found a device or a pipe") == 6, done.stdout


@pytest.fixture(scope="module")
def bomb(tmp_path_factory) -> Path:
    """A gzip file of 1 MB that holds a gigabyte."""
    path = tmp_path_factory.mktemp("bomb") / "bomb.gz"
    once = gzip.compress(bytes(2**26))
    path.write_bytes(once * 16)
    return path


def test_an_archive_unpacks_to_so_much_and_no_more(bomb: Path, tmp_path: Path) -> None:
    with bounded(), pytest.raises(DataError, match="unpack to more than the 2"):
        text_files.text_of(bomb)
    plain = tmp_path / "text.gz"
    plain.write_bytes(gzip.compress(b"a line\n" * 10**6))
    assert len(text_files.lines_of(plain)) == 10**6


def test_a_file_that_is_larger_than_memory_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tsv"
    with path.open("wb") as file:
        file.truncate(2**42)
    with (
        bounded(),
        pytest.raises(DataError, match="more than the 4,294,967,296 that such a file may have"),
    ):
        text_files.text_of(path)


def test_a_submission_of_pipes_is_refused(tmp_path: Path) -> None:
    for name in ("said", "gold"):
        (tmp_path / name / "xnli").mkdir(parents=True)
        os.mkfifo(tmp_path / name / "xnli" / "test-en.tsv")
    with bounded(), pytest.raises(DataError, match="a device or a pipe"):
        submission.score(tmp_path / "said", tmp_path / "gold", submission.benchmark("xtreme"))


# -- encoders --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"num_attention_heads": 0}, "num_attention_heads is '0'; expected a whole number from 1"),
        ({"num_attention_heads": 5}, "must be a multiple of the heads"),
        ({"hidden_size": -4, "num_hidden_layers": 0, "intermediate_size": 2.5}, "3 problems"),
        ({"num_hidden_layers": True}, "num_hidden_layers is 'True'"),
        ({"max_position_embeddings": 4}, "no sequence of 8 tokens fits"),
        ({"pad_token_id": 10**6}, "beyond the"),
        ({"hidden_act": "geloo"}, "Did you mean 'gelu'?"),
        ({"position_embedding_type": "rotary"}, "Choices: absolute"),
        (
            {"hidden_dropout_prob": 1.5},
            "hidden_dropout_prob is '1.5'; expected a number from 0 to 1",
        ),
    ],
)
def test_encoders_that_none_could_be_are_refused(
    changed: dict[str, Any], told: str, pico_dir: Path, tmp_path: Path
) -> None:
    import json

    for path in pico_dir.iterdir():
        (tmp_path / path.name).symlink_to(path)
    config = {**json.loads((pico_dir / "config.json").read_text()), **changed}
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(config))
    with bounded(), pytest.raises(XittError) as error:
        pretrained.inspect(str(tmp_path))
    assert told in str(error.value)


def test_a_name_too_long_for_a_disk_is_a_name_that_is_not_there(tmp_path: Path) -> None:
    for name in ("e" * 300, "e/" * 3000):
        with pytest.raises(XittError, match="no such folder"):
            pretrained.inspect(name)
        with pytest.raises(XittError, match="unknown recipe"):
            recipe.load(tmp_path / name)


# -- hubs ------------------------------------------------------------------------------------------


class Endless(Loopback):
    """A hub that answers for ever: as fast as it can (/fast), a byte now and then (/slow), or in a
    circle."""

    def _answer(self, handler: Any) -> None:
        handler.send_response(302 if handler.path == "/circle" else 200)
        if handler.path == "/circle":
            handler.send_header("Location", "/circle")
        if handler.path == "/vast":
            handler.send_header("Content-Length", str(10**13))
        handler.end_headers()
        block = b" " * 2**16 if handler.path in ("/fast", "/vast") else b" "
        try:
            while handler.path != "/circle":
                handler.wfile.write(block)
                time.sleep(0 if len(block) > 1 else 0.05)
        except OSError:
            pass


@pytest.fixture(scope="module")
def endless() -> Iterator[Endless]:
    server = Endless()
    yield server
    server.close()


@pytest.mark.parametrize(
    ("path", "stream", "told"),
    [
        ("fast", False, "sends more than the 1,048,576 bytes"),
        ("fast", True, "sends more than the 1,048,576 bytes"),
        ("vast", False, "sends 10,000,000,000,000 bytes where"),
        ("vast", True, "sends 10,000,000,000,000 bytes where"),
        ("slow", False, "took longer than"),
        ("slow", True, "took longer than"),
    ],
)
def test_a_hub_that_answers_for_ever_is_left(
    path: str, stream: bool, told: str, endless: Endless, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub.utils import get_session

    bounds.install()
    monkeypatch.setattr(bounds, "MOST_ANSWER", 2**20)
    monkeypatch.setattr(bounds, "LONGEST_ANSWER", 0.5)
    began = time.monotonic()
    with bounded(), pytest.raises(XittError, match=told):
        for _ in get_session().get(f"{endless.endpoint}/{path}", stream=stream).iter_content(10**7):
            pass
    assert time.monotonic() - began < 20


def test_a_hub_that_sends_in_a_circle_is_left(endless: Endless) -> None:
    from huggingface_hub import get_hf_file_metadata

    from adapters_xitt.hub import readable_errors

    with bounded(), pytest.raises(XittError, match="in a circle"), readable_errors("owner/name"):
        get_hf_file_metadata(f"{endless.endpoint}/circle")
