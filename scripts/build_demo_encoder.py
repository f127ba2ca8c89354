"""Builds the demo's encoder: a small XLM-R, pre-trained on the demo world's unlabelled parallel
text.

    python scripts/build_demo_encoder.py --out adapters_xitt/demo/encoder

Four objectives over unlabelled parallel text: masked and translation language modelling; telling a
sentence's translation from that of a similar sentence; finding translations by mean pooling in the
middle layer (as InfoXLM does). Embeddings come from which pieces occur in the same parallel
sentences. No task's labels are used, and no sentence of a test file is seen."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from torch.nn import functional
from transformers import (
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
    XLMRobertaTokenizerFast,
)

from adapters_xitt.demo import LANGUAGES, encoder_dir
from adapters_xitt.demo.corpus import corpus, tokenised
from adapters_xitt.demo.render import UNSPACED, spaced
from adapters_xitt.demo.words import Token

RARE = 3  # a word seen less often is spelled
WIDTH, LAYERS, HEADS, INNER = 128, 4, 4, 512
LENGTH = 128
BATCH_TOKENS = 2000  # per step, padding included
NOISE = 0.15  # of the embeddings' length: what tells translations apart
TONGUE = 0.25  # of the embeddings' length: a direction common to a language's pieces
CONTRAST, TEMPERATURE = 64, 0.1  # sentences per contrast
MISMATCHED = 0.35  # of the pairs of single sentences
MASKED = 0.25  # of the tokens; twice XLM-R's, for the text is simple
PEAK_RATE = 1.5e-3
STEPS = 4500
SENTENCES = 25_000  # parallel tuples kept in memory
PAD, MASK_FROM = 1, 4  # padding's id; the first id that is no special token

SentenceIds = dict[str, list[int]]  # one sentence's pieces in each language


def build_tokenizer(sentences: list[dict[str, list[Token]]]) -> PreTrainedTokenizerFast:
    """A Unigram tokenizer in XLM-R's layout: four special tokens first, the mask last.

    Its pieces are the words of the text, with their frequency, and all its characters, far less
    likely. A learned vocabulary of this size splits words at odd places, and translations no longer
    match piece by piece."""
    counts = Counter(
        piece
        for sentence in sentences
        for language in LANGUAGES
        for piece in pieces(sentence[language], language)
    )
    words = [(piece, count) for piece, count in counts.most_common() if count >= RARE]
    total = sum(counts.values())
    scored = [(piece, math.log(count / total)) for piece, count in words]
    known = {piece for piece, _ in scored}
    scored += [
        (c, -20.0)
        for c in sorted({c for piece in counts for c in piece} | set("▁"))
        if c not in known
    ]
    first = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    raw = Tokenizer(models.Unigram([*first, *scored], unk_id=3))
    raw.normalizer = normalizers.NFC()
    # Whitespace is parted first, as in XLM-R, so that no piece's offsets take in the space before
    # it. Chinese words and punctuation carry no mark of a space: each is the same piece within text
    # and as a word by itself.
    bare = pre_tokenizers.Split(Regex("▁(?=[\\p{Han}\\p{P}])"), "removed")
    space = (pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace())
    raw.pre_tokenizer = pre_tokenizers.Sequence([*space, bare, pre_tokenizers.Punctuation()])
    raw.decoder = decoders.Metaspace()
    raw.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True)])
    raw.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    mask = AddedToken("<mask>", lstrip=True, special=True)
    return XLMRobertaTokenizerFast(tokenizer_object=raw, mask_token=mask, model_max_length=LENGTH)


def pieces(tokens: list[Token], language: str) -> list[str]:
    """The words as the tokenizer will meet them: with a mark for the space before, parted at
    apostrophes."""
    parts = []
    before = [True, *spaced(tokens, language)[:-1]]
    for token, space in zip(tokens, before, strict=True):
        mark = "▁" if space and language not in UNSPACED and token.upos != "PUNCT" else ""
        parts += [part for part in re.split("(')", mark + token.word) if part]
    return parts


def new_model(vocabulary: int) -> XLMRobertaForMaskedLM:
    # No dropout: the text is endless and the model small, and frozen layers can then be shared
    # between adapters.
    config = XLMRobertaConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        max_position_embeddings=LENGTH + 2,
        type_vocab_size=1,
        pad_token_id=PAD,
        bos_token_id=0,
        eos_token_id=2,
        tie_word_embeddings=False,
        layer_norm_eps=1e-5,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return XLMRobertaForMaskedLM._from_config(config, attn_implementation="sdpa")


def aligned_embeddings(ids: list[SentenceIds], vocabulary: int, *, seed: int) -> torch.Tensor:
    """Vectors (vocabulary, WIDTH) in which pieces that occur in the same parallel sentences are
    close.

    Positive pointwise mutual information of pieces over whole tuples, cut to its largest
    components; a little noise and a vector of their language keep translations apart."""
    seen = np.zeros((len(ids), vocabulary), dtype=np.float32)
    for n, sentence in enumerate(ids):
        seen[n, sorted({piece for pieces in sentence.values() for piece in pieces})] = 1
    together = seen.T @ seen
    single = np.maximum(np.diag(together), 1)
    information = np.log(np.maximum(together, 1e-9) * len(ids) / np.outer(single, single))
    values, vectors = np.linalg.eigh(np.maximum(information, 0))
    aligned = vectors[:, -WIDTH:] * np.sqrt(np.maximum(values[-WIDTH:], 0))
    aligned /= np.linalg.norm(aligned, axis=1, keepdims=True) + 1e-6
    draw = np.random.default_rng(seed)
    noise = draw.normal(size=aligned.shape) / WIDTH**0.5
    tongues = draw.normal(size=(len(LANGUAGES), WIDTH)) / WIDTH**0.5
    frequency = np.zeros((vocabulary, len(LANGUAGES)))
    for sentence in ids:
        for n, language in enumerate(LANGUAGES):
            frequency[sentence[language], n] += 1
    frequency /= np.maximum(frequency.sum(1, keepdims=True), 1)
    return torch.tensor(
        aligned + NOISE * noise + TONGUE * (frequency @ tongues), dtype=torch.float32
    )


def similar(ids: list[SentenceIds]) -> list[list[int]]:
    """For each row others with much the same English words: its neighbours in three sorted
    orders."""
    english = [sentence["en"] for sentence in ids]
    orders = (lambda n: english[n], lambda n: english[n][::-1], lambda n: sorted(english[n]))
    neighbours: list[list[int]] = [[] for _ in ids]
    for order in orders:
        ranked = sorted(range(len(ids)), key=order)
        for first, second in zip(ranked, ranked[1:], strict=False):
            if sorted(english[first]) != sorted(english[second]):
                neighbours[first].append(second)
                neighbours[second].append(first)
    return neighbours


def stream(
    ids: list[SentenceIds], near: list[list[int]], rng: random.Random
) -> Iterator[tuple[list[int], int]]:
    """Training sequences: pairs of sentences in two languages, paragraphs in one and in two.

    With each comes 1 for a pair of translations, 0 for a sentence and the translation of a similar
    one, -1 for others."""
    while True:
        kind = rng.random()
        size = 1 if kind < 0.75 else 2 if kind < 0.85 else rng.randint(3, 5)
        chosen = [rng.randrange(len(ids)) for _ in range(size)]
        if kind < 0.85:
            first, second = rng.sample(LANGUAGES, 2)
            others, match = chosen, 1 if size == 1 else -1
            if size == 1 and rng.random() < MISMATCHED and near[chosen[0]]:
                others, match = [rng.choice(near[chosen[0]])], 0
            left, right = (
                [piece for n in numbers for piece in ids[n][language]]
                for numbers, language in ((chosen, first), (others, second))
            )
            yield [0, *left, 2, 2, *right, 2][:LENGTH], match
        else:
            language = rng.choice(LANGUAGES)
            yield [0, *(piece for n in chosen for piece in ids[n][language]), 2][:LENGTH], -1


def pad(sequences: list[list[int]]) -> torch.Tensor:
    width = max(map(len, sequences))
    return torch.tensor([sequence + [PAD] * (width - len(sequence)) for sequence in sequences])


def batches(
    ids: list[SentenceIds], near: list[list[int]], rng: random.Random
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Padded batches of sequences of like length, about BATCH_TOKENS each, with their match
    labels."""
    source = stream(ids, near, rng)
    while True:
        pool = sorted(itertools.islice(source, 2000), key=lambda item: len(item[0]))
        grouped, start = [], 0
        while start < len(pool):
            size = 1
            while (
                start + size < len(pool) and len(pool[start + size][0]) * (size + 1) <= BATCH_TOKENS
            ):
                size += 1
            grouped.append(pool[start : start + size])
            start += size
        rng.shuffle(grouped)
        for items in grouped:
            yield (
                pad([sequence for sequence, _ in items]),
                torch.tensor([match for _, match in items]),
            )


def hide(
    batch: torch.Tensor, vocabulary: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """BERT's masking: the input with MASKED of its tokens hidden (80 % mask, 10 % random, 10 %
    kept), and which."""
    draws = torch.rand(batch.shape, generator=generator)
    chosen = (draws < MASKED) & (batch >= MASK_FROM)
    how = torch.rand(batch.shape, generator=generator)
    other = torch.randint(MASK_FROM, vocabulary - 1, batch.shape, generator=generator)
    hidden = torch.where(chosen & (how < 0.8), vocabulary - 1, batch)
    return torch.where(chosen & (how > 0.9), other, hidden), chosen


def sentence_vectors(model: XLMRobertaForMaskedLM, batch: torch.Tensor) -> torch.Tensor:
    """Unit vectors (rows, WIDTH): the mean over each row's tokens in the middle layer; the upper
    layers don't run."""
    mask = batch != PAD
    states = model.roberta.embeddings(batch)
    allowed = mask[:, None, None, :].expand(-1, 1, batch.shape[1], -1)
    for layer in model.roberta.encoder.layer[: LAYERS // 2]:
        states = layer(states, allowed)[0]
    weight = mask.unsqueeze(-1)
    return functional.normalize((states * weight).sum(1) / weight.sum(1), dim=-1)


def contrast(
    model: XLMRobertaForMaskedLM, ids: list[SentenceIds], near: list[list[int]], rng: random.Random
) -> torch.Tensor:
    """How badly translations are found among other sentences, half of them similar, in both
    directions."""
    chosen = [rng.randrange(len(ids)) for _ in range(CONTRAST // 2)]
    chosen += [rng.choice(near[n] or [n]) for n in chosen]
    chosen = list(dict.fromkeys(chosen))
    left, right = [], []
    for n in chosen:
        first, second = rng.sample(LANGUAGES, 2)
        left.append([0, *ids[n][first], 2])
        right.append([0, *ids[n][second], 2])
    scores = (
        sentence_vectors(model, pad(left)) @ sentence_vectors(model, pad(right)).T / TEMPERATURE
    )
    right_ones = torch.arange(len(chosen))
    return (
        functional.cross_entropy(scores, right_ones)
        + functional.cross_entropy(scores.T, right_ones)
    ) / 2


class Loss:
    """The objectives on one batch, and a moving average of each to show."""

    def __init__(self, model: XLMRobertaForMaskedLM, ids: list[SentenceIds], *, seed: int):
        self.model, self.ids, self.near = model, ids, similar(ids)
        self.judge = torch.nn.Sequential(
            torch.nn.Linear(WIDTH, WIDTH), torch.nn.Tanh(), torch.nn.Linear(WIDTH, 2)
        )
        self.generator, self.rng = torch.Generator().manual_seed(seed), random.Random(seed + 1)
        self.shown: dict[str, float] = {}

    def __call__(self, batch: torch.Tensor, match: torch.Tensor, *, step: int) -> torch.Tensor:
        hidden, chosen = hide(batch, self.model.config.vocab_size, self.generator)
        states = self.model.roberta(hidden, attention_mask=(hidden != PAD).long()).last_hidden_state
        # Only the hidden tokens are scored: over all of them the vocabulary would cost as much as a
        # layer.
        total = self.note(
            "words", functional.cross_entropy(self.model.lm_head(states[chosen]), batch[chosen])
        )
        if (match >= 0).any():
            judged = self.judge(states[match >= 0, 0])
            total = total + self.note("match", functional.cross_entropy(judged, match[match >= 0]))
        if step % 3 == 0:
            total = total + self.note(
                "contrast", contrast(self.model, self.ids, self.near, self.rng)
            )
        return total

    def note(self, name: str, loss: torch.Tensor) -> torch.Tensor:
        self.shown[name] = 0.98 * self.shown.get(name, loss.item()) + 0.02 * loss.item()
        return loss

    def __str__(self) -> str:
        return " ".join(f"{name} {value:.3f}" for name, value in self.shown.items())


def train(
    model: XLMRobertaForMaskedLM,
    ids: list[SentenceIds],
    *,
    steps: int,
    minutes: float | None,
    seed: int,
) -> None:
    """AdamW with warm-up and cosine decay, over the steps, or over the time if one is given."""
    loss_of = Loss(model, ids, seed=seed)
    trained = [p for p in (*model.parameters(), *loss_of.judge.parameters()) if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.0)
    begun = time.monotonic()
    columns = (
        TextColumn("pre-training"),
        BarColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=1.0, told="")
        for step, (batch, match) in enumerate(batches(ids, loss_of.near, random.Random(seed))):
            done = (time.monotonic() - begun) / (60 * minutes) if minutes else step / steps
            if done >= 1:
                break
            for group in optimiser.param_groups:
                group["lr"] = (
                    PEAK_RATE * min(1, (step + 1) / 200) * (0.5 + 0.5 * np.cos(np.pi * done))
                )
            loss = loss_of(batch, match, step=step)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            progress.update(bar, completed=done, told=f"step {step + 1}: {loss_of}")
            if step % 100 == 0 and not progress.console.is_terminal:
                click.echo(
                    f"step {step}: {loss_of} after {time.monotonic() - begun:.0f} s", err=True
                )


@torch.no_grad()
def measure(
    model: XLMRobertaForMaskedLM, tokenizer: PreTrainedTokenizerFast, *, seed: int, count: int = 300
) -> dict:
    """Per language, on held-out text: accuracy of the masked words, and of finding English by mean
    pooling."""
    model.eval()
    sentences = list(itertools.islice(corpus(seed, part="dev"), count))
    generator = torch.Generator().manual_seed(seed)
    vectors, accuracy = {}, {}
    for language in LANGUAGES:
        batch = tokenizer(
            [sentence[language] for sentence in sentences], padding=True, return_tensors="pt"
        )
        vectors[language] = sentence_vectors(model, batch["input_ids"])
        hidden, chosen = hide(batch["input_ids"], model.config.vocab_size, generator)
        states = model.roberta(hidden, attention_mask=batch["attention_mask"]).last_hidden_state
        right = model.lm_head(states[chosen]).argmax(-1) == batch["input_ids"][chosen]
        accuracy[language] = right.float().mean().item()
    retrieval = {}
    for language in LANGUAGES:
        closest = (vectors[language] @ vectors["en"].T).argmax(-1)
        retrieval[language] = (closest == torch.arange(count)).float().mean().item()
    return {"masked words": accuracy, "retrieval": retrieval}


def save(model: XLMRobertaForMaskedLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Half precision, for the folder is kept in git; nothing in the config that isn't XLM-R's."""
    out.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(out, safe_serialization=True)
    model.float()
    tokenizer.save_pretrained(out)
    config = json.loads((out / "config.json").read_text())
    config["dtype"] = "float32"  # what it is to be computed in; the file's halves are only for size
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (out / "generation_config.json").unlink(missing_ok=True)


@click.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=encoder_dir(),
    help="Folder to write.",
)
@click.option("--steps", type=int, default=STEPS, show_default=True, help="Steps to train for.")
@click.option("--minutes", type=float, help="Time to train for, instead of steps.")
@click.option("--seed", type=int, default=0, show_default=True)
def main(out: Path, steps: int, minutes: float | None, seed: int) -> None:
    """Build the demo's encoder."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    sentences = list(itertools.islice(corpus(seed), SENTENCES))
    tokenizer = build_tokenizer(list(itertools.islice(tokenised(seed), 6000)))
    ids = [
        {lg: tokenizer(sentence[lg], add_special_tokens=False)["input_ids"] for lg in LANGUAGES}
        for sentence in sentences
    ]
    model = new_model(len(tokenizer))
    special = torch.zeros(len(tokenizer), 1)
    special[:MASK_FROM], special[-1] = 1, 1
    vectors = aligned_embeddings(ids[:12_000], len(tokenizer), seed=seed)
    with torch.no_grad():
        words = model.roberta.embeddings.word_embeddings.weight
        words[MASK_FROM:-1] = vectors[MASK_FROM:-1]
        model.lm_head.decoder.weight[MASK_FROM:-1] = 0.5 * vectors[MASK_FROM:-1]
    # Pieces stay as they are, so that translations stay close; only the special tokens' vectors
    # learn.
    words.register_hook(lambda gradient: gradient * special)
    train(model, ids, steps=steps, minutes=minutes, seed=seed)
    save(model, tokenizer, out)
    figures = measure(model, tokenizer, seed=seed)
    table = Table("held-out text", *LANGUAGES)
    for name, by_language in figures.items():
        table.add_row(name, *(f"{100 * by_language[lg]:.1f}" for lg in LANGUAGES))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
