"""Multiple choice and masked language modelling: losses and heads against definitions and the
libraries alone, and what is drawn at random."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pico
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from adapters_xitt import kinds, tasks
from adapters_xitt.data import exposure
from adapters_xitt.data.batching import collate, mask_tokens, micro_batches
from adapters_xitt.data.features import IGNORE, Features, Lengths, vocabulary
from adapters_xitt.errors import XittError
from adapters_xitt.evaluation import predict
from adapters_xitt.evaluation.predict import Inference, Scored
from adapters_xitt.kinds import KINDS, decoding, encoding, heads
from adapters_xitt.kinds.encoding import encode
from adapters_xitt.kinds.record import HeadOutputs, no_loss
from adapters_xitt.model import encoder, pretrained
from adapters_xitt.modules.formats import foreign, peft
from adapters_xitt.modules.formats.adapterhub import layout
from adapters_xitt.sharing import card_metadata, snippets
from adapters_xitt.tasks.kinds import always_labelled
from adapters_xitt.training import sampler
from adapters_xitt.training.module import ModuleInTraining
from adapters_xitt.training.settings import Settings

CLOSE = 1e-5


def tensors(batch):
    return {name: torch.from_numpy(value) for name, value in batch.items()}


def whole(features, **options):
    """All units as one batch."""
    return tensors(collate(features, range(len(features)), pad=1, **options))


# -- multiple choice


def choice_units(tokenizer, count=12, seed=3):
    rows = pico.rows("choice", count, seed=seed)
    return rows, pico.features("choice", rows, tokenizer)


def test_the_loss_is_jiants(pico_tokenizer):
    """Of equal numbers of choices: the scores as [items, choices] into CrossEntropyLoss, whose mean
    is over items."""
    rows = [
        {**row, "choices": (row["choices"] * 2)[:4], "label": row["label"] % 4}
        for row in pico.rows("choice", 9, seed=1)
    ]
    features = pico.features("choice", rows, pico_tokenizer)
    scores = torch.randn(len(features), 1)
    want = torch.nn.CrossEntropyLoss()(
        scores.view(-1, 4), torch.tensor([row["label"] for row in rows])
    )
    batch = whole(features)
    assert int(batch["weight"].sum()) == len(rows)
    assert float(KINDS["choice"].loss(scores, batch) / batch["weight"].sum()) == pytest.approx(
        float(want), rel=1e-6
    )


def test_items_of_unequal_numbers_of_choices(pico_tokenizer):
    """Each item's own softmax, with its gradient; items without a label count for nothing."""
    rows, features = choice_units(pico_tokenizer)
    assert len({len(row["choices"]) for row in rows}) > 2
    features.columns["label"][: len(rows[0]["choices"])] = [IGNORE] * len(rows[0]["choices"])
    scores = torch.randn(len(features), 1, requires_grad=True)
    order = np.random.default_rng(0).permutation(len(features))  # in whatever order the units come
    loss = KINDS["choice"].loss(scores[order], tensors(collate(features, order.tolist(), pad=1)))
    (gradient,) = torch.autograd.grad(loss, scores)
    want, slopes, at = 0.0, [], 0
    for n, row in enumerate(rows):
        own = scores.detach()[at : (at := at + len(row["choices"])), 0].double().numpy()
        shares = np.exp(own) / np.exp(own).sum()
        want -= np.log(shares[row["label"]]) if n else 0.0
        slopes.extend((shares - np.eye(len(own))[row["label"]]) * (n > 0))
    assert float(loss.detach()) == pytest.approx(want, rel=1e-6)
    assert np.allclose(gradient[:, 0].numpy(), slopes, atol=1e-6)


@pytest.mark.parametrize("kind", ["pair", "tagging", "qa", "choice", "retrieval", "mlm"])
def test_features_are_the_same_whatever_is_encoded_at_once(kind, pico_tokenizer, monkeypatch):
    rows = pico.rows(kind, 14, seed=5)
    whole = pico.features(kind, rows, pico_tokenizer)
    monkeypatch.setattr(encoding, "AT_ONCE", 4)
    parts = pico.features(kind, rows, pico_tokenizer)
    owners = whole.columns["example"].tolist()
    assert [own.tolist() for own in parts.of_examples()] == [
        [feature for feature, owner in enumerate(owners) if owner == example]
        for example in range(14)
    ]
    for name, column in whole.columns.items():
        assert column.tolist() == parts.columns[name].tolist(), name


@pytest.mark.parametrize("kind", ["choice", "mlm"])
def test_micro_batches_sum_to_the_whole(kind, pico_files, pico_tokenizer):
    """Loss and gradients of the head over several micro-batches are those of all units in one
    batch."""
    adapted = pico.adapted(pico_files)
    head = pico.head(kind, above=adapted.encoder).eval()
    features = pico.features(kind, pico.rows(kind, 14, seed=5), pico_tokenizer)

    def run(parts):
        head.zero_grad()
        summed, weight = 0.0, 0
        for part in parts:
            batch = tensors(collate(features, part, pad=1, seed=11))
            hidden = adapted.encoder.run(
                adapted.encoder.embed(batch["ids"]), batch["mask"], 0, pico.LAYERS
            )
            loss = KINDS[kind].loss(head(hidden, batch), batch)
            loss.backward()
            summed, weight = summed + float(loss.detach()), weight + int(batch["weight"].sum())
        return summed, weight, [parameter.grad.clone() for parameter in head.parameters()]

    parts = micro_batches(features.lengths, range(len(features)), 90, bundles=features.bundles())
    assert len(parts) > 3
    one, many = run([list(range(len(features)))]), run(parts)
    assert one[1] == many[1]
    assert one[0] == pytest.approx(many[0], rel=CLOSE)
    # Relative to the largest of all: a bias under a softmax over items has a gradient of nothing.
    largest = max(float(value.abs().max()) for value in one[2])
    assert all(
        float((a - b).abs().max()) < CLOSE * largest for a, b in zip(one[2], many[2], strict=True)
    )


def test_choices_are_decoded_item_by_item(pico_files, pico_tokenizer):
    """What is said and decoded is each item's softmax, whatever the batches; the score is that of
    the argmax."""
    adapted = pico.adapted(pico_files)
    rows, features = choice_units(pico_tokenizer, 20)
    scored = [Scored(pico.setup(adapted, "none"), pico.head("choice"))]
    said = pico.said(adapted, scored, features, "choice")[0]
    (other,) = predict.outputs(
        scored, features, "choice", Inference(adapted, pico.fabric(), 100_000, pico.LAYERS)
    )
    assert np.allclose(np.stack(said), np.stack(other), atol=1e-5)
    found = decoding.decode(HeadOutputs(pico.TASKS["choice"], "en", rows, features, said))
    assert found.arrays["choices"].tolist() == [len(row["choices"]) for row in rows]
    parts = np.split(found.arrays["probabilities"], np.cumsum(found.arrays["choices"])[:-1])
    at = 0
    for row, item, part in zip(rows, found.items, parts, strict=True):
        scores = torch.tensor(np.concatenate(said[at : (at := at + len(part))]))
        assert np.allclose(part, scores.softmax(0).numpy(), atol=1e-6)
        assert item == {"id": row["id"], "label": int(scores.argmax()), "gold": row["label"]}
    right = [item["label"] == item["gold"] for item in found.items]
    assert found.scores == {"accuracy": pytest.approx(100 * np.mean(right))}


def test_the_commonest_index():
    row = pico.TASKS["choice"]
    found = [{"id": str(n), "label": label} for n, label in enumerate([2, 0, 2, 1, 2])]
    assert decoding.majority(row, found, found[:2]) == 50.0
    assert decoding.majority(pico.TASKS["mlm"], [], []) is None
    with pytest.raises(XittError, match="task pico-choice: item 9 has no label"):
        decoding.majority(row, [{"id": "9", "label": None}], found)


# -- what is masked


LONG = 400


@pytest.fixture
def words(pico_tokenizer):
    return vocabulary(pico_tokenizer)


def test_the_vocabulary_is_the_tokenizers(pico_tokenizer, words):
    assert words.size == len(pico_tokenizer)
    assert words.special == (0, 1, 2, 3, words.mask)
    assert pico_tokenizer.convert_ids_to_tokens(words.mask) == "<mask>"


def test_shares_of_what_is_masked(words):
    """Fifteen in a hundred, of those 80 to the mask, 10 to a random token, 10 as they were; never a
    special token."""
    draw = np.random.default_rng(1)
    chosen, masks, kept, count, drawn = 0, 0, 0, 0, []
    for n in range(500):
        ids = np.concatenate([[0], draw.integers(4, words.size - 1, LONG), [3, 2]])
        tokens, labels = mask_tokens(ids.tolist(), words, seed=n)
        guessed = labels != IGNORE
        assert (tokens == ids)[~guessed].all() and (labels == ids)[guessed].all()
        assert not guessed[[0, -2, -1]].any(), "<s>, <unk> and </s> are never guessed"
        turned = tokens[guessed & (tokens != words.mask) & (tokens != ids)]
        assert not np.isin(turned, words.special).any()
        drawn.extend(turned)
        chosen, count = chosen + guessed.sum(), count + LONG
        masks, kept = masks + (tokens == words.mask).sum(), kept + (guessed & (tokens == ids)).sum()
    assert chosen / count == pytest.approx(0.15, abs=0.003)  # 5 standard errors
    assert masks / chosen == pytest.approx(0.8, abs=0.012)
    assert kept / chosen == pytest.approx(0.1 + 0.1 / (words.size - 5), abs=0.009)
    # every regular token is drawn, none much more than its share
    counts = np.bincount(drawn, minlength=words.size)
    regular = np.delete(counts, words.special)
    assert (regular > 0).all() and regular.max() < 3 * regular.mean()


def test_one_token_at_least_is_guessed(words):
    for seed in range(60):
        assert (mask_tokens([0, 9, 2], words, seed=seed)[1] != IGNORE).tolist() == [
            False,
            True,
            False,
        ]
        assert (mask_tokens([0, 9, 10, 2], words, seed=seed)[1] != IGNORE).sum() >= 1
    tokens, labels = mask_tokens([0, 3, 2], words)
    assert tokens.tolist() == [0, 3, 2] and set(labels.tolist()) == {IGNORE}


def test_masks_are_drawn_from_the_seed_and_the_unit_alone(pico_tokenizer):
    """A seed draws anew; None is one drawing. Companions, order and batches change nothing."""
    features = pico.features("mlm", pico.rows("mlm", 12, seed=8), pico_tokenizer)

    def drawn(chosen, seed):
        batch = collate(features, chosen, pad=1, seed=seed)
        return {
            feature: (
                batch["ids"][at][: features.lengths[feature]].tolist(),
                batch["labels"][at].tolist()[: features.lengths[feature]],
                int(batch["weight"][at]),
            )
            for at, feature in enumerate(chosen)
        }

    everyone = list(range(len(features)))
    for seed in (None, 0, 5, 2**63 - 1):
        together = drawn(everyone, seed)
        assert together == drawn(everyone[::-1], seed)
        assert all(drawn([feature], seed)[feature] == together[feature] for feature in everyone)
        assert all(
            weight == sum(label != IGNORE for label in labels) > 0
            for _, labels, weight in together.values()
        )
    assert len({str(drawn(everyone, seed)) for seed in (None, 0, 1, 2, 3)}) == 5
    again = pico.features("mlm", pico.rows("mlm", 12, seed=8)[::-1], pico_tokenizer)
    assert (
        collate(again, [0], pad=1)["ids"].tolist() == collate(features, [11], pad=1)["ids"].tolist()
    )


def test_every_training_step_draws_anew(pico_files, pico_tokenizer):
    """At a learning rate of nothing the loss of the same examples changes from step to step, and is
    the seed's."""

    def losses(kind, seed):
        adapted, callback = pico.adapted(pico_files), pico.Callback()
        adapted.add("m", pico.CHOICES["lora"], seed=1)
        head = pico.head(kind, above=adapted.encoder)
        row = ModuleInTraining(
            "m",
            "m",
            pico.setup(adapted, "m"),
            adapted.trainable("m"),
            {pico.space(kind): head},
            0.0,
        )
        if kind == "choice":
            head.dropout.p = 0.0
        settings = Settings(dropout=0.0, tokens=64, evaluate_every=3)
        pico.train(
            [row],
            [pico.data(kind, pico_tokenizer, count=8, batch_size=8)],
            settings,
            adapted=adapted,
            fabric=pico.fabric(),
            seed=seed,
            total=3,
            checkpointer=pico.Checkpointer(),
            callback=callback,
        )
        return [loss for _, _, loss in callback.losses]

    assert max(losses("choice", 1)) == pytest.approx(min(losses("choice", 1)), rel=CLOSE)
    one = losses("mlm", 1)
    assert len(set(one)) == 3 and one == losses("mlm", 1) and one != losses("mlm", 2)


# -- the head of masked language modelling, by transformers alone


def language_model(folder, pico_dir, *, tied=True):
    """The pico encoder with a random head, as transformers saves it; its decoder the word table or
    one of its own."""
    from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM

    torch.manual_seed(3)
    made = XLMRobertaForMaskedLM(
        XLMRobertaConfig.from_pretrained(pico_dir, tie_word_embeddings=tied)
    )
    made.roberta.load_state_dict(pico.plain(pico_dir).state_dict())
    with torch.no_grad():
        for parameter in made.lm_head.parameters():
            if parameter is not made.roberta.embeddings.word_embeddings.weight:
                parameter.add_(0.3 * torch.randn_like(parameter))
    made.save_pretrained(folder)
    shutil.copy(pico_dir / "tokenizer.json", folder)
    return folder


@pytest.fixture(params=["pico", "untied", "lab"])
def spoken(request, tmp_path, pico_dir):
    """An encoder's folder with a masked-language-model head, and texts that it can read."""
    if request.param != "lab":
        made = language_model(tmp_path / "lm", pico_dir, tied=request.param == "pico")
        return made, [row["text"] for row in pico.rows("mlm", 9, seed=2)]
    folder = request.getfixturevalue("encoders_dir") / "lab-xlmr"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder, [
        "And God said, Let there be light: and there was light.",
        "Das Volk ging in die Stadt.",
        "Two men stand in front of a house.",
        "En el principio",
    ]


def test_loss_and_gradients_are_transformers(spoken):
    """The same units, masked by us: XLMRobertaForMaskedLM's mean loss, and its gradients in dense
    and layer norm."""
    from transformers import XLMRobertaForMaskedLM

    folder, texts = spoken
    files = pretrained.inspect(str(folder))
    ours, tokenizer = encoder.load(files), pretrained.load_tokenizer(files)
    features = pico.features("mlm", [{"text": text} for text in texts], tokenizer)
    batch = whole(features, seed=4)
    head = heads.build("mlm", ours, 0, seed=1)
    hidden = ours.run(ours.embed(batch["ids"]), batch["mask"], 0, ours.layers)
    logits = head(hidden, batch)
    assert logits.shape == (
        int(batch["weight"].sum()),
        files.config["vocab_size"],
    ), "only where a token is guessed"
    loss = KINDS["mlm"].loss(logits, batch) / batch["weight"].sum()
    theirs = XLMRobertaForMaskedLM.from_pretrained(
        folder, attn_implementation="sdpa", dtype=torch.float32
    ).eval()
    want = theirs(input_ids=batch["ids"], attention_mask=batch["mask"], labels=batch["labels"])
    assert float(loss.detach()) == pytest.approx(want.loss.item(), rel=CLOSE)
    assert pico.gap(logits.detach(), want.logits.detach()[batch["labels"] != IGNORE]) < CLOSE
    loss.backward()
    want.loss.backward()
    for name, parameter in head.named_parameters():
        assert pico.gap(parameter.grad, theirs.lm_head.get_parameter(name).grad) < 1e-4, name
    assert not any(parameter.requires_grad for parameter in ours.model.parameters())
    # and what is said of each guessed token
    said = KINDS["mlm"].predict(logits.detach(), batch)
    assert [len(one) for one in said] == batch["weight"].tolist()
    log, token, gold = np.concatenate(said).T
    assert -log.mean() == pytest.approx(want.loss.item(), rel=CLOSE)
    assert gold.tolist() == batch["labels"][batch["labels"] != IGNORE].tolist()
    assert token.tolist() == want.logits[batch["labels"] != IGNORE].argmax(-1).tolist()


@pytest.mark.parametrize("prefix", ["", "model.", "roberta."])
def test_the_checkpoints_head_is_found_under_its_prefix(prefix, tmp_path, pico_dir):
    folder = language_model(tmp_path / "lm", pico_dir)
    stored = load_file(folder / "model.safetensors")
    head = {name: value for name, value in stored.items() if name.startswith("lm_head.")}
    assert "lm_head.dense.weight" in head and "lm_head.bias" in head
    renamed = {prefix + name if name in head else name: value for name, value in stored.items()}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    loaded = encoder.load(pretrained.inspect(str(folder)))
    found = heads.build("mlm", loaded, 0, seed=1).state_dict()
    assert found and all(
        torch.equal(value, head[f"lm_head.{name}"]) for name, value in found.items()
    )
    assert torch.equal(loaded.lm_bias, head["lm_head.bias"])


def test_a_checkpoint_without_a_head_starts_fresh(pico_files):
    loaded = encoder.load(pico_files)
    one, same, other = (heads.build("mlm", loaded, 0, seed=seed).state_dict() for seed in (1, 1, 2))
    assert (
        loaded.lm_head == {}
        and not loaded.lm_bias.any()
        and len(loaded.lm_bias) == pico_files.config["vocab_size"]
    )
    assert pico.same(one, same) and not torch.equal(one["dense.weight"], other["dense.weight"])


def test_a_head_of_another_width_is_told(tmp_path, pico_dir):
    folder = language_model(tmp_path / "lm", pico_dir)
    stored = load_file(folder / "model.safetensors")
    stored["lm_head.dense.bias"] = torch.zeros(7)
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(XittError, match=r"lm_head\.dense\.bias is \(7,\), not \(32,\)"):
        heads.build("mlm", encoder.load(pretrained.inspect(str(folder))), 0, seed=1)


def test_the_decoder_is_the_encoders_and_no_part_of_the_module(pico_files, pico_tokenizer):
    adapted = pico.adapted(pico_files)
    head = pico.head("mlm", above=adapted.encoder)
    assert set(head.state_dict()) == {
        "dense.weight",
        "dense.bias",
        "layer_norm.weight",
        "layer_norm.bias",
    }
    batch = whole(pico.features("mlm", pico.rows("mlm", 3), pico_tokenizer))
    hidden = torch.randn(*batch["ids"].shape, pico.WIDTH)
    adapted.encoder.unembed = lambda states: states[:, :5] + 1  # wherever the encoder has its table
    assert torch.equal(
        head(hidden, batch),
        head.layer_norm(functional.gelu(head.dense(hidden[batch["labels"] != IGNORE])))[:, :5] + 1,
    )


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("labels", [2, 17])
def test_sizes_are_counted_as_heads_are_built(kind, labels, pico_files):
    head = heads.build(kind, encoder.load(pico_files), labels, seed=1)
    assert KINDS[kind].size(pico_files.width, labels) == sum(
        value.numel() for value in head.parameters()
    )


# files of `kinds/` that several kinds share
SHARED = {"record", "encoding", "decoding", "heads", "vectors", "nearest", "softmax"}
# kinds whose head has no form in a library, by the table that would have it
NO_FORM: dict[str, tuple[str, ...]] = {}


def test_a_kind_is_a_row_and_a_file():
    files = {path.stem for path in Path(kinds.__file__).parent.glob("*.py")} - {"__init__"}
    for name in sorted(files - SHARED):
        assert name in tasks.KINDS, f"kinds/{name}.py is there, its row in tasks/kinds.py is not"
    for name in tasks.KINDS:
        assert name in files, f"tasks/kinds.py has a row {name}, kinds/{name}.py is not there"
        assert KINDS[name].name == name, f"kinds/{name}.py: its KIND is called {KINDS[name].name}"
    assert SHARED <= files
    used = {row.kind for row in tasks.TASKS.values()}
    assert used == set(tasks.KINDS), f"no task in tasks/ is of kind {set(tasks.KINDS) - used}"


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_kind_says_all_that_it_needs(name):
    """What a record can't demand by itself: pieces that belong together, and those elsewhere."""
    kind, facts, file = KINDS[name], tasks.KINDS[name], f"kinds/{name}.py"
    assert facts.trains == (kind.loss is not no_loss), f"{file}: it trains with a loss, or neither"
    assert (kind.size(32, 3) > 0) == facts.trains, f"{file}: a head that trains has parameters"
    assert kind.scoring != "plain" or len(facts.conventions) == 1, f"{file}: scoring"
    assert set(kind.caps(kind.lengths)) <= set(Lengths().record()), f"{file}: caps"
    assert facts.labelled is always_labelled or kind.columns, f"{file}: columns"
    if facts.trains:
        assert name in pico.TASKS, f"tests/pico.py: TASKS and rows() have nothing of kind {name}"
        lacking = set(kind.columns) - set(pico.rows(name, 1)[0])
        assert not lacking, f"tests/pico.py: rows() of kind {name} lack {sorted(lacking)}"
        tables = {
            "modules/formats/adapterhub/layout.py: HEADS": [
                row[0] for row in layout.HEADS.values()
            ],
            "modules/formats/peft.py: _OVER": peft._OVER,
            "modules/formats/foreign.py: STATIC": [row[0] for row in foreign.STATIC.values()],
            "sharing/card_metadata.py: PIPELINES": card_metadata.PIPELINES,
            "sharing/snippets.py: _CLASSES": snippets._CLASSES,
        }
        without = [place for place, table in tables.items() if name not in table]
        assert set(without) == set(NO_FORM.get(name, ())), (
            f"kind {name} is not in {', '.join(without) or 'NO_FORM alone'}: add it there, or to"
            " NO_FORM of tests/test_kinds.py where the library has no such head"
        )


def test_an_example_without_a_column_is_told(pico_tokenizer):
    with pytest.raises(XittError, match="kind 'pair' reads a, b, label of an example; it has no b"):
        encode("pair", [{"a": "x", "label": 0}], tokenizer=pico_tokenizer, lengths=Lengths())


# -- whole evaluations, and training that learns


def test_masked_tokens_are_scored_alike_in_any_batches(pico_files, pico_tokenizer):
    adapted = pico.adapted(pico_files)
    rows = pico.rows("mlm", 15, seed=6)
    features = pico.features("mlm", rows, pico_tokenizer)
    scored = [Scored(pico.setup(adapted, "none"), pico.head("mlm", above=adapted.encoder))]
    said = pico.said(adapted, scored, features, "mlm")[0]
    (other,) = predict.outputs(
        scored, features, "mlm", Inference(adapted, pico.fabric(), 100_000, pico.LAYERS)
    )
    assert all(np.allclose(a, b, atol=1e-4) for a, b in zip(said, other, strict=True))
    found = decoding.decode(HeadOutputs(pico.TASKS["mlm"], "en", rows, features, said))
    table = np.concatenate(said)
    assert found.scores == pytest.approx(
        {
            "accuracy": 100 * np.mean(table[:, 1] == table[:, 2]),
            "perplexity": np.exp(-table[:, 0].mean()),
        }
    )
    assert found.arrays["tokens"].sum() == len(table) == sum(item["tokens"] for item in found.items)
    assert found.arrays["hits"].sum() == sum(item["hits"] for item in found.items)
    assert sum(item["log_likelihood"] for item in found.items) == pytest.approx(table[:, 0].sum())
    assert [item["id"] for item in found.items] == [row["id"] for row in rows]


@pytest.mark.parametrize("kind", ["choice", "mlm"])
def test_training_learns(kind, pico_files, pico_tokenizer):
    """A module for each kind, trained and scored through the ordinary loop, beats what it starts
    from."""
    adapted = pico.adapted(pico_files)
    adapted.add("m", pico.CHOICES["seq_bn"], seed=1)
    head = heads.build(kind, adapted.encoder, 0, seed=1)
    rows = pico.rows(kind, 24, seed=1)
    features = pico.features(kind, rows, pico_tokenizer)
    row = ModuleInTraining(
        "m", "m", pico.setup(adapted, "m"), adapted.trainable("m"), {pico.space(kind): head}, 1e-2
    )
    settings = Settings(dropout=0.0, evaluate_every=15)
    (trained,) = pico.train(
        [row],
        [sampler.Data(kind, pico.TASKS[kind], features, features, rows, batch_size=8)],
        settings,
        adapted=adapted,
        fabric=pico.fabric(),
        seed=1,
        total=60,
        checkpointer=pico.Checkpointer(),
        callback=pico.Callback(),
    )
    assert not trained.failed
    scores = [look["accuracy"] for look in trained.metrics["history"]]
    start = {"choice": 100 / 3, "mlm": 100 / len(pico_tokenizer)}[kind]
    assert max(scores) > start + 25


# -- lineage


def test_texts_of_the_new_kinds():
    assert exposure.texts({"prompt": "p", "choices": ["a", "b"], "label": 1}) == ("p", "a", "b")
    assert exposure.texts({"text": "t"}) == ("t",)


def test_xcopas_items_are_copas(data_dir):
    """COPA's test reached a module: every translation of it is known by its ids; COPA's train
    reaches none."""
    from adapters_xitt.data.dataset import Sources

    sources = Sources(data_dir)
    copa, xcopa = tasks.task("copa"), tasks.task("xcopa")
    test, seen = sources.test(xcopa, "sw").data_set(), sources.test(copa, "en").data_set()
    assert test.ids <= seen.ids
    assert not test.ids & sources.train(copa, "en").data_set().ids
    assert not test.ids & sources.select(copa, "en", most=None).data_set().ids


def test_units_know_what_masking_needs(pico_tokenizer):
    """Also when they are read again from their columns."""
    features = pico.features("mlm", pico.rows("mlm", 4), pico_tokenizer)
    again = Features(features.columns, features.examples, vocabulary(pico_tokenizer))
    assert all(
        np.array_equal(one, collate(again, [0, 1], pad=1)[name])
        for name, one in collate(features, [0, 1], pad=1).items()
    )
