"""A tiny corpus and question set, packed and opened, and the configuration of a tiny phase over them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from gfqa.training.leaks import Held
from gfqa.training.packs import open_text, open_units
from gfqa.training.questions.units import question, unit, write_jsonl
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


def articles() -> list[dict[str, Any]]:
    """Two articles of three paragraphs, one question each."""
    units = []
    for number, group in enumerate(("Towers", "Rivers")):
        for i in range(3):
            seed, thing = 200 * number + i, f"{group[:-1].lower()} number {i}"
            text = f"{prose(seed)}. The {thing} was named after Anna{i} Berg. {prose(seed + 50, 40)}."
            asked = [question(f"After whom was the {thing} named?", f"Anna{i} Berg", "span")]
            units.append(unit("squad", group, f"{group}/{i}.txt", text, asked))
    return units


def opened(folder: Path) -> dict[str, str]:
    """Write, pack and open everything; the settings that name it."""
    texts = [{"source": "s", "path": f"{i}.txt", "kind": "prose", "text": prose(i, 500)} for i in range(6)]
    write_jsonl(folder / "corpus" / "shard-000.jsonl.xz", texts)
    # A test unit has no question of its own, and stays in the pool only with one.
    shop = repository()
    shop[1]["qas"] = [question("what does test_it call?", "compute", "calls", names=["test_it"], line=5)]
    write_jsonl(folder / "questions" / "code.jsonl.xz", shop)
    write_jsonl(folder / "questions" / "squad.jsonl.xz", articles())
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
