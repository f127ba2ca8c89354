"""One training step, and five, against the libraries used the plain way: loss, gradients,
weights."""

from __future__ import annotations

import pico
import pytest
import torch
from lightning_fabric import Fabric
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from adapters_xitt.data.batching import micro_batches
from adapters_xitt.model import encoder
from adapters_xitt.model.adapted import AdaptedEncoder
from adapters_xitt.model.engines import START_NAME
from adapters_xitt.modules import methods
from adapters_xitt.training.module import ModuleInTraining
from adapters_xitt.training.settings import Settings

CLOSE = 1e-5  # of the largest gradient, or weight
COUNT = 10


class Spy(Fabric):
    """Keeps the gradients as they are after the last backward of a step: summed, not yet
    clipped."""

    def backward(self, tensor, *args, model=None, **kwargs):
        super().backward(tensor, *args, model=model, **kwargs)
        self.gradients = {
            _plain(name): parameter.grad.clone()
            for name, parameter in self.row.named_parameters().items()
        }


def _plain(name):
    """`head.SPACE.out.weight` as `head.out.weight`: there is one head here."""
    first, _, rest = name.partition(".")
    return f"head.{rest.partition('.')[2]}" if first == "head" else name


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def ours(files, kind, method, data, tensors, **changes):
    """Our rig, row and head; `tensors` are the module's weights at the start."""
    adapted = pico.adapted(files)
    adapted.add("m", pico.CHOICES[method], seed=1, tensors=tensors)
    head = still(pico.head(kind, labels=len(data.task.labels)))
    row = ModuleInTraining(
        "m", "m", pico.setup(adapted, "m"), adapted.trainable("m"), {pico.space(kind): head}, 1e-3
    )
    start = {name: value.detach().clone() for name, value in head.named_parameters()}
    spy = pico.fabric(Spy)
    spy.row, callback = row, pico.Callback()
    chosen = {"tokens": 96, "dropout": 0.0, "clip": 1e9, **changes}
    total = chosen.pop("total", 1)
    pico.train(
        [row],
        [data],
        Settings(**chosen),
        adapted=adapted,
        fabric=spy,
        seed=1,
        total=total,
        checkpointer=pico.Checkpointer(),
        callback=callback,
    )
    return row, start, callback, spy


def still(head):
    head.dropout.p = 0.0
    return head


class Plain(torch.nn.Module):
    """A library's own encoder and a head of two lines; no code of the package."""

    def __init__(self, model, kind, start):
        super().__init__()
        self.model, self.kind = model, kind
        self.head = torch.nn.ParameterDict(
            {name.replace(".", "_"): value.clone() for name, value in start.items()}
        )

    def loss(self, ids, mask, columns):
        """The mean over examples, labelled tokens, or windows; one batch, padded to its longest."""
        hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        if self.kind == "pair":
            pooled = torch.tanh(
                functional.linear(
                    hidden[:, 0], self.head["pooler_weight"], self.head["pooler_bias"]
                )
            )
            logits = functional.linear(pooled, self.head["out_weight"], self.head["out_bias"])
            return functional.cross_entropy(logits, torch.tensor(columns["label"]))
        if self.kind == "choice":  # item by item: [1, choices] against its label
            pooled = torch.tanh(
                functional.linear(
                    hidden[:, 0], self.head["pooler_weight"], self.head["pooler_bias"]
                )
            )
            scores = functional.linear(pooled, self.head["out_weight"], self.head["out_bias"])[:, 0]
            items = sorted(set(columns["example"]))
            features = [
                [feature for feature, own in enumerate(columns["example"]) if own == item]
                for item in items
            ]
            return sum(
                functional.cross_entropy(
                    scores[None, own], torch.tensor([columns["label"][own[0]]])
                )
                for own in features
            ) / len(items)
        logits = functional.linear(hidden, self.head["out_weight"], self.head["out_bias"])
        if self.kind == "tagging":
            labels = pad_sequence([torch.tensor(one) for one in columns["labels"]], True, -100)
            return functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100)
        logits = logits.masked_fill(mask[..., None] == 0, float("-inf"))
        start, end = (torch.tensor(columns[name]) for name in ("start", "end"))
        return (
            functional.cross_entropy(logits[..., 0], start)
            + functional.cross_entropy(logits[..., 1], end)
        ) / 2


def reference(folder, kind, method, tensors, start):
    """The plain model, and its trained parameters by our names."""
    modules, methods = {"m": tensors}, {"m": pico.CHOICES[method]}
    if method in pico.NECKS:
        model = pico.with_adapters(pico.plain(folder), modules, methods, "m")
        model.train_adapter("m")
        prefix = ""
    elif method in ("lora", "rslora", "dora"):
        model, prefix = pico.with_peft(pico.plain(folder), modules, methods), "base_model.model."
    else:
        model, prefix = pico.plain(folder), ""
        model.requires_grad_(method == "full")
        if method == "full":
            model.load_state_dict(tensors, strict=False)
    plain = Plain(model, kind, start)
    named = {
        f"encoder.{name.removeprefix(prefix).replace('.m.', '.')}": parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    named |= {f"head.{name}": plain.head[name.replace(".", "_")] for name in start}
    return plain.eval(), named


def arrays(features):
    columns = {name: column.tolist() for name, column in features.columns.items()}
    ids = pad_sequence([torch.tensor(one) for one in columns["ids"]], True, 1)
    return ids, (ids != 1).long(), columns


def widest(one, two):
    """The largest difference over all tensors, relative to the largest value."""
    assert set(one) == set(two)
    return max(float((one[name] - two[name]).abs().max()) for name in one) / max(
        float(value.abs().max()) for value in two.values()
    )


@pytest.mark.parametrize("kind", ["pair", "tagging", "qa", "choice"])
@pytest.mark.parametrize("method", [method for method in pico.CHOICES if method != "pissa"])
def test_one_step(method, kind, pico_dir, pico_files, pico_tokenizer):
    """Loss and gradients of one step over several micro-batches of unequal size equal those of one
    padded batch."""
    data = pico.data(kind, pico_tokenizer, count=COUNT, batch_size=COUNT)
    # two windows, or items, and more of every kind fit
    budget = {"qa": 200, "choice": 300}.get(kind, 96)
    parts = micro_batches(
        data.train.lengths, range(len(data.train)), budget, bundles=data.train.bundles()
    )
    weights = [sum(data.train.columns["weight"][feature] for feature in part) for part in parts]
    assert len(parts) > 2 and len(set(weights)) > 1
    tensors = pico.module(pico_files, pico_tokenizer, pico.CHOICES[method], seed=4, state="random")
    _, start, callback, spy = ours(pico_files, kind, method, data, tensors, tokens=budget)
    plain, named = reference(pico_dir, kind, method, tensors, start)
    loss = plain.loss(*arrays(data.train))
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in named.items()}
    assert abs(callback.losses[0][2] - loss.item()) < CLOSE * loss.item()
    assert widest(spy.gradients, gradients) < CLOSE


def test_library_heads_agree():
    """Our pair head is XLM-R's own sequence classification head, weight for weight."""
    from transformers import XLMRobertaConfig
    from transformers.models.xlm_roberta.modeling_xlm_roberta import XLMRobertaClassificationHead

    own = still(pico.head("pair"))
    theirs = XLMRobertaClassificationHead(
        XLMRobertaConfig(hidden_size=pico.WIDTH, num_labels=3)
    ).eval()
    theirs.load_state_dict(
        {
            name.replace("pooler", "dense").replace("out.", "out_proj."): value
            for name, value in own.state_dict().items()
        }
    )
    hidden = torch.randn(4, 7, pico.WIDTH)
    assert torch.equal(own(hidden, {}), theirs(hidden))


# Of five steps with a warm-up of two: up, the top, down to a third.
SCHEDULE = [1 / 2, 1, 1, 2 / 3, 1 / 3]


@pytest.mark.parametrize("clip", [0.05, 1e9], ids=["clipped", "free"])
@pytest.mark.parametrize("method", ["seq_bn", "lora"])
def test_five_steps(method, clip, pico_dir, pico_files, pico_tokenizer):
    """AdamW, decay, schedule and clipping: five steps equal a loop written out with torch alone."""
    data = pico.data("pair", pico_tokenizer, count=COUNT, batch_size=COUNT)
    tensors = pico.module(pico_files, pico_tokenizer, pico.CHOICES[method], seed=4, state="random")
    row, start, callback, _ = ours(
        pico_files, "pair", method, data, tensors, total=5, warmup=0.4, clip=clip, weight_decay=0.1
    )
    plain, named = reference(pico_dir, "pair", method, tensors, start)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in named.values() if p.ndim > 1], "weight_decay": 0.1},
            {"params": [p for p in named.values() if p.ndim == 1], "weight_decay": 0.0},
        ],
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
    )
    norms, losses = [], []
    for share in SCHEDULE:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * share
        optimizer.zero_grad()
        loss = plain.loss(*arrays(data.train))
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(list(named.values()), clip)))
        optimizer.step()
        losses.append(loss.item())
    assert (max(norms) > clip) == (clip < 1)
    assert [step for _, step, _ in callback.losses] == [1, 2, 3, 4, 5]
    assert max(
        abs(one - two) for (_, _, one), two in zip(callback.losses, losses, strict=True)
    ) < CLOSE * max(losses)
    assert (
        widest(
            {_plain(name): value.detach() for name, value in row.named_parameters().items()},
            {name: value.detach() for name, value in named.items()},
        )
        < CLOSE
    )
    moved = {
        name: value.detach() - (start | tensors)[name.split(".", 1)[1]]
        for name, value in named.items()
    }
    assert max(float(change.abs().max()) for change in moved.values()) > 1e-3


@pytest.mark.parametrize("method", ["lora", "rslora", "dora", "pissa"])
def test_a_second_update_of_a_place_is_what_a_first_one_is(method, pico_files) -> None:
    """Places that have had an update are given another without the library's walk through the whole
    model: the same draws, the same numbers, nothing trainable, and the parameters that the walk
    finds."""
    choice = methods.choose(method, {"places": ["value", "query", "down"], "rank": 4})
    first, second = (
        AdaptedEncoder(encoder.load(pico_files)),
        AdaptedEncoder(encoder.load(pico_files)),
    )
    second.add("before", choice, seed=1)
    second.add("other", choice, seed=2, random=True)
    second.remove("before")
    ids = torch.tensor([[0, 5, 9, 7, 2]])
    states = []
    for adapted in (first, second):
        adapted.add("a", choice, seed=3, random=True)
        states.append(pico.states(adapted, pico.setup(adapted, "a"), ids, torch.ones_like(ids)))
        assert not any(parameter.requires_grad for parameter in adapted.encoder.model.parameters())
    assert torch.equal(*states)
    one, two = first.parameters("a"), second.parameters("a")
    assert list(one) == list(two) and all(torch.equal(one[name], two[name]) for name in one)
    named = second.encoder.model.named_parameters()
    walked = {id(value) for name, value in named if ".a." in name or f".a{START_NAME}." in name}
    assert walked == {id(value) for value in two.values()}
