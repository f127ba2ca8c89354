"""A pico XLM-R with effects large enough to see, rows to train it on, and the same things built
without the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import method_laws
import numpy as np
import torch
from lightning_fabric import Fabric
from method_laws import LAWS
from torch import Tensor, nn

from adapters_xitt.data import mixture
from adapters_xitt.data.features import Features, Lengths
from adapters_xitt.evaluation import predict
from adapters_xitt.kinds import heads
from adapters_xitt.kinds.encoding import encode
from adapters_xitt.model import encoder, pretrained
from adapters_xitt.model.adapted import AdaptedEncoder
from adapters_xitt.model.setup import AdapterSetup, resolve
from adapters_xitt.modules import composition
from adapters_xitt.modules.low_rank_merging import plain_lora
from adapters_xitt.modules.methods import METHODS, Choice, choose
from adapters_xitt.tasks import Task
from adapters_xitt.training import loop, sampler
from adapters_xitt.training.module import ModuleInTraining
from adapters_xitt.training.run import TrainingRun
from adapters_xitt.training.settings import Settings

LAYERS, WIDTH = 4, 32
CAPS = Lengths(max_length=40, stride=8, question=8)
NOUNS = "cat dog bird tree house river stone boy girl teacher table apple".split()
ADJECTIVES = "red blue green small large old new sad".split()
VERBS = "sees finds takes likes buys helps".split()
PIECES = [
    *NOUNS,
    *ADJECTIVES,
    *VERBS,
    "the",
    "a",
    "two",
    "three",
    "und",
    "die",
    "der",
    "s",
    "ing",
    "er",
    "ed",
]
LETTERS = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?'\"-()"
    "äöüßéñçøДомкатиاللغة中文我们你好"
)


# -- the encoder on disk


def tokenizer_json() -> Any:
    """A Unigram tokenizer in XLM-R's layout: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, `<mask>`
    last."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = [(f"▁{piece}", -3.0 - 0.01 * n) for n, piece in enumerate(PIECES)]
    parts = [(piece, -6.0 - 0.01 * n) for n, piece in enumerate(PIECES) if len(piece) > 1]
    letters = [(letter, -10.0) for letter in dict.fromkeys("▁" + LETTERS)]
    first = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    found = Tokenizer(models.Unigram([*first, *words, *parts, *letters], unk_id=3))
    found.pre_tokenizer = pre_tokenizers.Metaspace()
    found.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    found.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return found


def write(folder: Path, *, seed: int = 7) -> Path:
    """The encoder's folder: config.json, model.safetensors, tokenizer.json. Weights N(0, 0.2):
    effects are visible."""
    from transformers import XLMRobertaConfig, XLMRobertaModel

    tokenizer = tokenizer_json()
    torch.manual_seed(seed)
    config = XLMRobertaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=130,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        initializer_range=0.2,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
    )
    model = XLMRobertaModel(config, add_pooling_layer=False)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:  # biases and layer norms start at constants, which hide mistakes
            parameter.data += 0.1 * torch.randn_like(parameter)
        assert torch.isfinite(parameter).all(), name
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


# -- tasks and rows


def _task(name: str, kind: str, labels: tuple[str, ...], metric: str, main_score: str) -> Task:
    return Task(
        name=name,
        kind=kind,
        group=kind,
        about="",
        languages=("en",),
        reader="",
        files={},
        labels=labels,
        metric=metric,
        main_score=main_score,
        origin=name,
        source="tests/pico.py",
    )


TASKS = {
    "pair": _task("pico-pair", "pair", ("no", "maybe", "yes"), "accuracy", "accuracy"),
    "tagging": _task("pico-tagging", "tagging", ("DET", "ADJ", "NOUN", "VERB"), "tag_f1", "f1"),
    "qa": _task("pico-qa", "qa", (), "squad", "mean"),
    "retrieval": _task("pico-retrieval", "retrieval", (), "retrieval_accuracy", "accuracy"),
    "choice": _task("pico-choice", "choice", (), "accuracy", "accuracy"),
    "mlm": _task("pico-mlm", "mlm", (), "masked_tokens", "accuracy"),
}


def rows(kind: str, count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """`count` rows of very unequal lengths."""
    draw = np.random.default_rng([seed, count])

    def clause() -> tuple[list[str], list[int]]:
        words = [
            "the",
            str(draw.choice(ADJECTIVES)),
            str(draw.choice(NOUNS)),
            str(draw.choice(VERBS)),
            "a",
            str(draw.choice(NOUNS)),
        ]
        return words, [0, 1, 2, 3, 0, 2]

    def text(most: int) -> list[str]:
        return [word for _ in range(draw.integers(1, most + 1)) for word in clause()[0]]

    found = []
    for n in range(count):
        row: dict[str, Any] = {"id": f"{kind}/{n}", "group": str(n)}
        if kind == "pair":
            a, b = text(3), text(2)
            found.append(
                row | {"a": " ".join(a), "b": " ".join(b), "label": (a[1] == b[1]) + (a[2] in b)}
            )
        elif kind == "tagging":
            # the longest need several windows
            parts = [clause() for _ in range(draw.integers(1, 11))]
            found.append(
                row
                | {
                    "words": [word for words, _ in parts for word in words],
                    "tags": [tag for _, tags in parts for tag in tags],
                }
            )
        elif kind == "qa":
            words = text(12)
            at = int(draw.integers(0, len(words) - 2))
            start, answer = len(" ".join(words[:at])) + (at > 0), " ".join(words[at : at + 2])
            found.append(
                row
                | {
                    "question": f"what {draw.choice(VERBS)} {answer}",
                    "context": " ".join(words),
                    "answers": [{"text": answer, "start": start}],
                }
            )
        elif kind == "choice":  # two to five choices, the right one repeats the noun of the prompt
            prompt, choices = text(3), [text(2) for _ in range(draw.integers(2, 6))]
            label = int(draw.integers(len(choices)))
            choices[label][2] = prompt[2]
            found.append(
                row
                | {
                    "prompt": " ".join(prompt),
                    "choices": [" ".join(words) for words in choices],
                    "label": label,
                }
            )
        elif kind == "mlm":
            found.append(row | {"text": " ".join(text(5))})
        else:
            found.append(
                row | {"query": " ".join(text(2)), "candidate": " ".join(text(2)), "gold": n}
            )
    return found


def features(kind: str, found: list[dict[str, Any]], tokenizer: Any) -> Features:
    return encode(kind, found, tokenizer=tokenizer, lengths=CAPS)


def data(kind: str, tokenizer: Any, *, count: int = 20, batch_size: int = 32) -> sampler.Data:
    chosen, selection = rows(kind, count, seed=1), rows(kind, 6, seed=2)
    return sampler.Data(
        kind,
        TASKS[kind],
        features(kind, chosen, tokenizer),
        features(kind, selection, tokenizer),
        selection,
        batch_size,
    )


# -- methods, modules, rigs

SMALL = {"reduction": 4, "factors": 2, "rank": 4, "alpha": 8}  # options that are sizes
CHOICES: dict[str, Choice] = {
    name: choose(name, {size: SMALL[size] for size in row.options if size in SMALL})
    for name, row in METHODS.items()
}
NECKS = method_laws.names(alone="bottleneck")  # of the engine adapters
LOW = method_laws.names(adds_up=True)  # whose updates add up
RATES = {name: law.lr for name, law in LAWS.items()}


def fabric(kind: type[Fabric] = Fabric) -> Fabric:
    return kind(accelerator="cpu", devices=1, precision="32-true")


def adapted(files: pretrained.EncoderFiles) -> AdaptedEncoder:
    return AdaptedEncoder(encoder.load(files))


def head(kind: str, *, seed: int = 5, labels: int | None = None, above: Any = None) -> nn.Module:
    """A head whose weights are large enough for probabilities to differ; that of `mlm` stands
    `above` an encoder."""
    found = heads.build(
        kind,
        above or SimpleNamespace(width=WIDTH),
        len(TASKS[kind].labels) if labels is None else labels,
        seed=seed,
    )
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.mul_(10)
    return found


def randomise(parameters: Mapping[str, Tensor], method: str, *, seed: int) -> None:
    """Seeded normal values; a fully fine-tuned encoder is moved a little from where it was."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in sorted(parameters):
            noise = torch.randn(parameters[name].shape, generator=draw)
            if method == "full" or ".start." in name:
                parameters[name].add_(0.05 * noise)
            elif method in ("ia3", "pissa") or "magnitude" in name or "phm_rule" in name:
                parameters[name].add_(0.2 * noise)  # where a module starts decides what it is
            else:
                parameters[name].copy_(0.2 * noise)


def module(
    files: pretrained.EncoderFiles, tokenizer: Any, method: Choice, *, seed: int, state: str
) -> dict[str, Tensor]:
    """The tensors of a module: `fresh`, with `random` values, or `trained` for a few steps."""
    made = adapted(files)
    made.add("made", method, seed=seed)
    own = made.parameters("made")
    if state == "random":
        randomise(own, method.name, seed=seed)
    elif state == "trained":
        row = ModuleInTraining(
            "made",
            "made",
            setup(made, "made"),
            made.trainable("made"),
            {space("pair"): head("pair", seed=seed)},
            RATES[method.name],
        )
        settings = Settings(evaluate_every=4, warmup=0.0)
        train(
            [row],
            [data("pair", tokenizer, batch_size=8)],
            settings,
            adapted=made,
            fabric=fabric(),
            seed=seed,
            total=4,
            checkpointer=Checkpointer(),
            callback=Callback(),
        )
    return {name: value.detach().clone() for name, value in own.items()}


def space(kind: str) -> str:
    """The name of the head of a kind."""
    return mixture.space(TASKS[kind])


def setup(made: AdaptedEncoder, text: str) -> AdapterSetup:
    return resolve(composition.parse(text), made.methods, made.encoder.layers)


def states(made: AdaptedEncoder, form: AdapterSetup, ids: Tensor, mask: Tensor) -> Tensor:
    """The hidden states at the top, padding zeroed."""
    made.activate(form)
    found = made.encoder_of(form)
    with torch.no_grad():
        hidden = found.run(found.embed(ids), mask, 0, found.layers)
    return hidden * mask[..., None]


def batch(tokenizer: Any, *, count: int = 6) -> tuple[Tensor, Tensor]:
    """Ids and mask of sentences of unequal length."""
    texts = [row["a"] for row in rows("pair", count, seed=3)]
    found = tokenizer(texts, padding=True, return_tensors="pt")
    return found["input_ids"], found["attention_mask"]


def same(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> bool:
    """Whether two sets of tensors have the same names and the same bits."""
    return set(one) == set(two) and all(torch.equal(one[name], two[name]) for name in one)


def gap(one: Tensor, two: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((one - two).abs().max() / two.abs().max().clamp_min(1e-12))


# -- what a training run talks to


class Checkpointer:
    """Progress in memory; `states` maps a key to its tensors and state."""

    def __init__(self) -> None:
        self.states: dict[str, tuple[dict[str, Tensor], dict[str, Any]]] = {}

    def load(self, key: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        if key not in self.states:
            return None
        tensors, state = self.states[key]
        return {name: value.clone() for name, value in tensors.items()}, dict(state)

    def save(self, key: str, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        kept = {**state, "history": list(state["history"])}
        self.states[key] = ({name: value.detach().clone() for name, value in tensors.items()}, kept)


class Stopped(Exception):
    """The process is killed here."""


class Clock:
    """Time that passes with the steps: a second each, so that `keep_every` of 0 keeps every one."""

    now = 0.0

    @classmethod
    def monotonic(cls) -> float:
        return cls.now


def train(
    modules: Any,
    data: Any,
    settings: Settings,
    *,
    seed: int,
    total: int,
    keep_every: float = 60.0,
    **rest: Any,
) -> Any:
    """Trains modules; `rest`: the encoder, the fabric, the checkpointer and the callback."""
    run = TrainingRun(
        settings=settings, seed=seed, steps=total, checkpoint_every=keep_every, **rest
    )
    return loop.train(modules, data, run)


class Callback:
    """Counts; raises `Stopped` after step `stop` of row `key`."""

    def __init__(self, stop: int | None = None, key: str | None = None) -> None:
        self.stop, self.key, self.losses = stop, key, []

    def on_step(self, key: str, *, step: int, loss: float, tokens: int) -> None:
        self.losses.append((key, step, loss))
        Clock.now += 1.0
        if step == self.stop and self.key in (None, key):
            raise Stopped

    def on_validation(self, key: str, *, step: int, scores: dict[str, float]) -> None:
        pass

    def on_tokens(self, tokens: int) -> None:
        pass

    def on_message(self, text: str) -> None:
        self.said = [*getattr(self, "said", []), text]


# -- the same things by the libraries alone


def plain(folder: Path) -> Any:
    """The encoder as transformers loads it from its folder."""
    from transformers import XLMRobertaModel

    return XLMRobertaModel.from_pretrained(
        folder, add_pooling_layer=False, attn_implementation="sdpa"
    ).eval()


def fill(
    model: nn.Module, name: str, tensors: Mapping[str, Tensor], *, prefix: str = ""
) -> dict[str, nn.Parameter]:
    """Copies a module's tensors into a library's own, found by name; gives them by our names."""
    own = {
        full.removeprefix(prefix).replace(f".{name}.", "."): parameter
        for full, parameter in model.named_parameters()
        if f".{name}." in full
    }
    assert set(own) == set(tensors)
    with torch.no_grad():
        for short, parameter in own.items():
            parameter.copy_(tensors[short])
    return own


def config_of_library(method: Choice) -> Any:
    """The configuration of `adapters`, in the words of the table of laws."""
    import adapters

    config, fields = LAWS[method.name].config
    size = dict(method.options).get("reduction")
    return getattr(adapters, config)(
        leave_out=list(method["leave_out"]),
        **({"reduction_factor": size} if size else {}),
        **fields,
    )


def with_adapters(
    model: Any,
    modules: Mapping[str, Mapping[str, Tensor]],
    methods: Mapping[str, Choice],
    active: Any,
) -> Any:
    """`adapters` alone: modules added, filled and activated by its documented calls."""
    import adapters

    adapters.init(model)
    for name, tensors in modules.items():
        model.add_adapter(name, config=config_of_library(methods[name]))
        fill(model, name, tensors)
    model.set_active_adapters(active)
    return model.eval()


def lora_config(method: Choice) -> Any:
    """peft's configuration, written by hand."""
    from peft import LoraConfig

    return LoraConfig(
        r=method["rank"],
        lora_alpha=method["alpha"],
        lora_dropout=0.0,
        target_modules=list(method["places"]),
        **LAWS[method.name].config[1],
    )


def plainly(
    modules: Mapping[str, Mapping[str, Tensor]], methods: Mapping[str, Choice]
) -> tuple[dict, dict]:
    """The modules with every PiSSA as the plain LoRA it is shared as."""
    found = {
        name: (
            plain_lora(tensors, methods[name])
            if methods[name].name == "pissa"
            else (tensors, methods[name])
        )
        for name, tensors in modules.items()
    }
    return {name: pair[0] for name, pair in found.items()}, {
        name: pair[1] for name, pair in found.items()
    }


def with_peft(
    model: Any, modules: Mapping[str, Mapping[str, Tensor]], methods: Mapping[str, Choice]
) -> Any:
    """`peft` alone: every update added, filled, and all of them active."""
    from peft import get_peft_model

    found = None
    modules, methods = plainly(modules, methods)
    for name, tensors in modules.items():
        if found is None:
            found = get_peft_model(model, lora_config(methods[name]), adapter_name=name)
        else:
            found.add_adapter(name, lora_config(methods[name]))
        fill(found, name, tensors, prefix="base_model.model.")
    found.base_model.set_adapter(list(modules))
    return found.eval()


def by_hand(
    model: Any,
    modules: Mapping[str, Mapping[str, Tensor]],
    methods: Mapping[str, Choice],
    weights: Mapping[str, float] | None = None,
) -> Any:
    """W + Σ weight·scaling·B·A written into plain weights."""
    modules, methods = plainly(modules, methods)
    with torch.no_grad():
        for name, tensors in modules.items():
            root = methods[name]["rank"] ** (0.5 if methods[name].name == "rslora" else 1)
            scaling = methods[name]["alpha"] / root * (weights or {}).get(name, 1.0)
            for a in [short for short in tensors if ".lora_A." in short]:
                place = model.get_submodule(a.split(".lora_A.")[0])
                place.weight += scaling * tensors[a.replace("lora_A", "lora_B")] @ tensors[a]
    return model


def ran(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """The model's ordinary forward, padding zeroed."""
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask).last_hidden_state * mask[..., None]


def said(
    made: AdaptedEncoder,
    scored: list[predict.Scored],
    found: Features,
    kind: str,
    *,
    stop: int = LAYERS,
) -> list[list]:
    """What a cohort says."""
    return predict.outputs(scored, found, kind, predict.Inference(made, fabric(), 160, stop))
