"""A tiny corpus and question set, packed and opened, and the configuration of a tiny phase over them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from gfqa.training.leaks import Held
from gfqa.training.packs import open_text, open_units
from gfqa.training.questions.units import question, unit, write_jsonl
from gfqa.training.teacher import WINDOW
from gfqa.training.text_packs import pack_texts
from gfqa.training.unit_packs import pack_units

TOKENIZER = Path(__file__).parents[2] / "gfqa" / "pretrained" / "tokenizer.model"
MODEL: dict[str, Any] = {
    "n_embd": 32, "n_layer": 3, "head_size": 16, "vocab_size": 16384, "tmix": "x060c2", "tmix2": "gold",
    "layout": "independent", "key_dtype": "int8", "decay_floor": -1.0, "tie_embeddings": True, "length_scale": 512.0,
}  # fmt: skip


def prose(seed: int, words: int = 300) -> str:
    rng = random.Random(seed)
    return " ".join("".join(rng.choices("abcdefghij", k=rng.randint(2, 8))) for _ in range(words))


def repository() -> list[dict[str, Any]]:
    """Three files: one defines `compute`, one uses it, one knows nothing of it."""
    defined = (
        '"""Prices."""\n\n\ndef compute(total, percent=5):\n    """Take the percentage off."""\n    return total\n'
    )
    used = "from shop.pricing import compute\n\n\ndef test_it():\n    assert compute(100, 10) == 90\n"
    other = '"""Nothing here."""\n\nLIMIT = 40\n'
    asked = [
        question("where is compute defined?", "shop/pricing.py", "where", names=["compute"], line=4),
        question("default of percent in compute?", "5", "param_default", names=["compute", "percent"], line=4),
    ]
    return [
        unit("code", "a/shop", "shop/pricing.py", defined, asked),
        unit("code", "a/shop", "tests/test_shop.py", used, []),
        unit("code", "a/shop", "shop/other.py", other, [question("LIMIT?", "40", "constant", names=["LIMIT"], line=3)]),
    ]


def articles(groups: Sequence[str] = ("Towers", "Rivers")) -> list[dict[str, Any]]:
    """Articles of three paragraphs, one question each."""
    units = []
    for number, group in enumerate(groups):
        for i in range(3):
            seed, thing = 200 * number + i, f"{group[:-1].lower()} number {i}"
            text = f"{prose(seed)}. The {thing} was named after Anna{i} Berg. {prose(seed + 50, 40)}."
            asked = [question(f"After whom was the {thing} named?", f"Anna{i} Berg", "span")]
            units.append(unit("squad", group, f"{group}/{i}.txt", text, asked))
    return units


def opened(folder: Path, groups: Sequence[str] = ("Towers", "Rivers")) -> dict[str, str]:
    """Write, pack and open everything, articles of these names among it; the settings that name it."""
    texts = [{"source": "s", "path": f"{i}.txt", "kind": "prose", "text": prose(i, 500)} for i in range(6)]
    write_jsonl(folder / "corpus" / "shard-000.jsonl.xz", texts)
    # A test unit has no question of its own, and stays in the pool only with one.
    shop = repository()
    shop[1]["qas"] = [question("what does test_it call?", "compute", "calls", names=["test_it"], line=5)]
    write_jsonl(folder / "questions" / "code.jsonl.xz", shop)
    write_jsonl(folder / "questions" / "squad.jsonl.xz", articles(groups))
    packs = folder / "packs"
    pack_texts(folder / "corpus", TOKENIZER, Held(), packs)
    pack_units(folder / "questions", TOKENIZER, Held(), packs)
    open_text(sorted(packs.glob("text-*.pack")), folder / "tokens")
    open_units(sorted(packs.glob("units-*.pack")), folder / "units")
    return {
        "tokens": str(folder / "tokens"),
        "questions": str(folder / "units"),
        "tokenizer": str(TOKENIZER),
    }


TEACHER_WIDTH, TEACHER_HEADS, TEACHER_INNER = 24, 2, 40
WORD_PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "har", "##bour", "##s", "of", "port", "ä", "."]


def tiny_teacher(folder: Path) -> Path:
    """A tiny random sentence encoder of the published form, two layers, in `folder`."""
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> torch.Tensor:
        return 0.3 * torch.randn(shape, generator=generator)

    tensors = {
        "embeddings.word_embeddings.weight": random(len(WORD_PIECES), TEACHER_WIDTH),
        "embeddings.position_embeddings.weight": random(WINDOW, TEACHER_WIDTH),
        "embeddings.token_type_embeddings.weight": random(2, TEACHER_WIDTH),
        "embeddings.position_ids": torch.arange(WINDOW)[None],
        "pooler.dense.weight": random(TEACHER_WIDTH, TEACHER_WIDTH),
    }
    norms = ["embeddings.LayerNorm"]
    for i in range(2):
        layer = f"encoder.layer.{i}"
        for name, rows, columns in (
            *((f"attention.self.{part}", TEACHER_WIDTH, TEACHER_WIDTH) for part in ("query", "key", "value")),
            ("attention.output.dense", TEACHER_WIDTH, TEACHER_WIDTH),
            ("intermediate.dense", TEACHER_INNER, TEACHER_WIDTH),
            ("output.dense", TEACHER_WIDTH, TEACHER_INNER),
        ):
            tensors[f"{layer}.{name}.weight"], tensors[f"{layer}.{name}.bias"] = random(rows, columns), random(rows)
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for name in norms:
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = 1 + random(TEACHER_WIDTH), random(TEACHER_WIDTH)
    save_file(tensors, folder / "model.safetensors")
    config = {
        "num_attention_heads": TEACHER_HEADS,
        "layer_norm_eps": 1e-12,
        "num_hidden_layers": 2,
        "hidden_size": TEACHER_WIDTH,
    }
    (folder / "config.json").write_text(json.dumps(config | {"hidden_act": "gelu"}))
    return folder


def add_word_pieces(folder: Path) -> Path:
    """The tiny encoder's tokenizer.json; the test is skipped without the package."""
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {piece: i for i, piece in enumerate(WORD_PIECES)}
    encoder = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    encoder.normalizer = tokenizers.normalizers.Lowercase()
    encoder.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    encoder.save(str(folder / "tokenizer.json"))
    return folder
