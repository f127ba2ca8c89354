"""Builds the demo's encoder: a small XLM-R, pre-trained on the demo world's unlabelled parallel text.

    python scripts/build_demo_encoder.py --out adapters_xitt/demo/encoder

Masked and translation language modelling; embeddings start from which pieces occur in the same parallel sentences.
No task's labels are used, and no sentence of a test file is seen.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForMaskedLM, XLMRobertaTokenizerFast

from adapters_xitt.demo import LANGUAGES, encoder_dir
from adapters_xitt.demo.corpus import corpus, tokenised
from adapters_xitt.demo.render import UNSPACED, text
from adapters_xitt.demo.words import Token

VOCABULARY = 2600
WIDTH, LAYERS, HEADS, INNER = 128, 4, 4, 512
LENGTH = 128
BATCH_TOKENS = 3000  # per step, padding included
MASKED = 0.25  # of the tokens; twice XLM-R's, for the text is simple
PEAK_RATE = 1.5e-3
STEPS = 3000
SENTENCES = 40_000  # parallel tuples kept in memory
SEAM = "\u200b"  # zero-width space, only while the vocabulary is learned
PAD, MASK_FROM = 1, 4  # padding's id; the first id that is no special token


def build_tokenizer(rows: list[dict[str, list[Token]]]) -> PreTrainedTokenizerFast:
    """A Unigram tokenizer in XLM-R's layout: four special tokens first, the mask last."""
    raw = Tokenizer(models.Unigram())
    raw.normalizer = normalizers.NFC()
    raw.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Metaspace(),
        pre_tokenizers.Split(Regex("▁(?=\\p{Han})"), "isolated"),
        pre_tokenizers.Split(SEAM, "removed"),
        pre_tokenizers.Punctuation(),
    ])  # fmt: skip
    raw.decoder = decoders.Metaspace()
    first = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=VOCABULARY - 1, special_tokens=first, unk_token="<unk>", max_piece_length=16, show_progress=False
    )
    raw.train_from_iterator((seamed(row[language], language) for row in rows for language in LANGUAGES), trainer)
    raw.add_special_tokens(["<mask>"])
    raw.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return XLMRobertaTokenizerFast(tokenizer_object=raw, model_max_length=LENGTH)


def seamed(found: list[Token], language: str) -> str:
    """Text with a mark between words where a language writes none, so that no piece grows over two words."""
    return SEAM.join(token.word for token in found) if language in UNSPACED else text(found, language)


def new_model(vocabulary: int) -> XLMRobertaForMaskedLM:
    # No dropout: the text is endless and the model small, and frozen layers can then be shared between adapters.
    config = XLMRobertaConfig(
        vocab_size=vocabulary, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        intermediate_size=INNER, max_position_embeddings=LENGTH + 2, type_vocab_size=1, pad_token_id=PAD,
        bos_token_id=0, eos_token_id=2, layer_norm_eps=1e-5, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return XLMRobertaForMaskedLM._from_config(config, attn_implementation="sdpa")


def aligned_embeddings(ids: list[dict[str, list[int]]], vocabulary: int, *, seed: int) -> torch.Tensor:
    """Vectors (vocabulary, WIDTH) in which pieces that occur in the same parallel sentences are close.

    Positive pointwise mutual information of pieces over whole tuples, cut to its largest components; a little noise
    keeps translations apart.
    """
    seen = np.zeros((len(ids), vocabulary), dtype=np.float32)
    for n, row in enumerate(ids):
        seen[n, sorted({piece for pieces in row.values() for piece in pieces})] = 1
    together = seen.T @ seen
    single = np.maximum(np.diag(together), 1)
    information = np.log(np.maximum(together, 1e-9) * len(ids) / np.outer(single, single))
    values, vectors = np.linalg.eigh(np.maximum(information, 0))
    found = vectors[:, -WIDTH:] * np.sqrt(np.maximum(values[-WIDTH:], 0))
    found /= np.linalg.norm(found, axis=1, keepdims=True) + 1e-6
    noise = np.random.default_rng(seed).normal(size=found.shape) / WIDTH**0.5
    return torch.tensor((found + 0.5 * noise) * 0.6, dtype=torch.float32)


def stream(ids: list[dict[str, list[int]]], rng: random.Random) -> Iterator[list[int]]:
    """Training sequences: translation pairs of one or two sentences, and paragraphs in one language."""
    while True:
        kind = rng.random()
        size = 1 if kind < 0.7 else 2 if kind < 0.85 else rng.randint(3, 5)
        rows = rng.sample(ids, size)
        if kind < 0.85:
            one, two = rng.sample(LANGUAGES, 2)
            left, right = ([piece for row in rows for piece in row[language]] for language in (one, two))
            yield [0, *left, 2, 2, *right, 2][:LENGTH]
        else:
            language = rng.choice(LANGUAGES)
            yield [0, *(piece for row in rows for piece in row[language]), 2][:LENGTH]


def batches(ids: list[dict[str, list[int]]], rng: random.Random) -> Iterator[torch.Tensor]:
    """Padded batches of sequences of like length, about BATCH_TOKENS each."""
    source = stream(ids, rng)
    while True:
        pool = sorted(itertools.islice(source, 2000), key=len)
        found, start = [], 0
        while start < len(pool):
            size = 1
            while start + size < len(pool) and len(pool[start + size]) * (size + 1) <= BATCH_TOKENS:
                size += 1
            found.append(pool[start : start + size])
            start += size
        rng.shuffle(found)
        for rows in found:
            width = max(map(len, rows))
            yield torch.tensor([row + [PAD] * (width - len(row)) for row in rows])


def hide(batch: torch.Tensor, vocabulary: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """BERT's masking: the input with MASKED of its tokens hidden (80 % mask, 10 % random, 10 % kept), and which."""
    draws = torch.rand(batch.shape, generator=generator)
    chosen = (draws < MASKED) & (batch >= MASK_FROM)
    how = torch.rand(batch.shape, generator=generator)
    other = torch.randint(MASK_FROM, vocabulary - 1, batch.shape, generator=generator)
    hidden = torch.where(chosen & (how < 0.8), vocabulary - 1, batch)
    return torch.where(chosen & (how > 0.9), other, hidden), chosen


def guess(model: XLMRobertaForMaskedLM, hidden: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Scores for the hidden tokens only: over all of them the vocabulary would cost as much as a layer."""
    states = model.roberta(hidden, attention_mask=(hidden != PAD).long()).last_hidden_state
    return model.lm_head(states[chosen])


def train(model: XLMRobertaForMaskedLM, ids: list, *, steps: int, minutes: float | None, seed: int) -> None:
    """AdamW with warm-up and cosine decay, over the time or the steps given, whichever is said."""
    vocabulary = model.config.vocab_size
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    generator = torch.Generator().manual_seed(seed)
    begun, smooth = time.monotonic(), None
    columns = (TextColumn("pre-training"), BarColumn(), TextColumn("{task.fields[told]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=1.0, told="")
        for step, batch in enumerate(batches(ids, random.Random(seed))):
            done = (time.monotonic() - begun) / (60 * minutes) if minutes else step / steps
            if done >= 1:
                break
            rate = PEAK_RATE * min(1, (step + 1) / 200) * (0.5 + 0.5 * np.cos(np.pi * done))
            for group in optimiser.param_groups:
                group["lr"] = rate
            hidden, chosen = hide(batch, vocabulary, generator)
            loss = torch.nn.functional.cross_entropy(guess(model, hidden, chosen), batch[chosen])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
            progress.update(bar, completed=done, told=f"step {step + 1} loss {smooth:.3f}")
            if step % 100 == 0 and not progress.console.is_terminal:
                click.echo(f"step {step} loss {smooth:.3f} after {time.monotonic() - begun:.0f} s", err=True)


@torch.no_grad()
def measure(model: XLMRobertaForMaskedLM, tokenizer: PreTrainedTokenizerFast, *, seed: int, count: int = 300) -> dict:
    """Per language, on held-out text: accuracy of the masked words, and of finding English by mean pooling."""
    model.eval()
    rows = list(itertools.islice(corpus(seed, part="dev"), count))
    generator = torch.Generator().manual_seed(seed)
    vectors, accuracy = {}, {}
    for language in LANGUAGES:
        batch = tokenizer([row[language] for row in rows], padding=True, return_tensors="pt")
        states = model.roberta(**batch, output_hidden_states=True).hidden_states[LAYERS // 2]
        weight = batch["attention_mask"].unsqueeze(-1)
        vectors[language] = torch.nn.functional.normalize((states * weight).sum(1) / weight.sum(1), dim=-1)
        hidden, chosen = hide(batch["input_ids"], model.config.vocab_size, generator)
        right = guess(model, hidden, chosen).argmax(-1) == batch["input_ids"][chosen]
        accuracy[language] = right.float().mean().item()
    found = {}
    for language in LANGUAGES:
        closest = (vectors[language] @ vectors["en"].T).argmax(-1)
        found[language] = (closest == torch.arange(count)).float().mean().item()
    return {"masked words": accuracy, "retrieval": found}


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
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=encoder_dir(), help="Folder to write.")
@click.option("--steps", type=int, default=STEPS, show_default=True, help="Steps to train for.")
@click.option("--minutes", type=float, help="Time to train for, instead of steps.")
@click.option("--seed", type=int, default=0, show_default=True)
def main(out: Path, steps: int, minutes: float | None, seed: int) -> None:
    """Build the demo's encoder."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rows = list(itertools.islice(corpus(seed), SENTENCES))
    tokenizer = build_tokenizer(list(itertools.islice(tokenised(seed), 8000)))
    ids = [{lg: tokenizer(row[lg], add_special_tokens=False)["input_ids"] for lg in LANGUAGES} for row in rows]
    model = new_model(len(tokenizer))
    vectors = aligned_embeddings(ids[:20_000], len(tokenizer), seed=seed)
    with torch.no_grad():
        model.roberta.embeddings.word_embeddings.weight[MASK_FROM:-1] = vectors[MASK_FROM:-1]
    train(model, ids, steps=steps, minutes=minutes, seed=seed)
    save(model, tokenizer, out)
    figures = measure(model, tokenizer, seed=seed)
    table = Table("held-out text", *LANGUAGES)
    for name, by_language in figures.items():
        table.add_row(name, *(f"{100 * by_language[lg]:.1f}" for lg in LANGUAGES))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
