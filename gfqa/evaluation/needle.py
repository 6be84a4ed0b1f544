"""E5: one fact in a long haystack, or one pair in a long list, by length and depth.

The haystack is the development paragraphs in random order, one document of the asked length. Names, values and key formats
come from the half that training never draws from; `needle-wording` also takes relations and wordings from there, among them
forms whose value stands before its key.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from gfqa.evaluation.answerer import Answerer, Document, told
from gfqa.evaluation.options import DEPTHS
from gfqa.evaluation.scoring import f1, same_code
from gfqa.evaluation.squad import development_set
from gfqa.training.questions.synthetic import RELATIONS, insert_at_depth, kv_units, needle
from gfqa.training.questions.vocabulary import Words, distinct, split_templates


def needles(
    answerer: Answerer,
    lengths: Sequence[int] = (4_096, 16_384),
    trials: int = 4,
    many: bool = False,
    new_wording: bool = False,
    depths: Sequence[float] = DEPTHS,
) -> dict[str, Any]:
    """Recall of single needles at each length (tokens) and depth (0..1), `trials` each. A needle depends on its own length,
    depth and number alone, so that the depths of a long measurement may be processes of their own.

    many: the haystack as documents of one paragraph each instead of one long document. new_wording: relations, statements
    and questions in wordings that training never saw. Figures: recall in percent by
    length, `cells`, "length@depth" to recall, and answers as `told`, by question and needle.
    """
    cells: dict[str, float] = {}
    figures: dict[str, Any] = {}
    said: dict[str, list[str]] = {}
    # A long haystack has the same paragraphs many times over.
    tokens = cache(answerer.tokens)
    n = 0
    for length in lengths:
        row = []
        for depth in depths:
            right = 0
            for trial in range(trials):
                rng = random.Random(f"{length}:{depth}:{trial}")
                about, answer = _one(answerer, tokens, rng, length, depth, many, new_wording)
                said[about] = answer
                right += answer[1] == "right"
            cells[f"{length}@{depth:.2f}"] = 100 * right / trials
            row.append(100 * right / trials)
            n += trials
        figures[f"recall_{length}"] = sum(row) / len(row)
    return {**figures, "cells": cells, "n": n, "answers": said}


def _one(
    answerer: Answerer,
    tokens: Callable[[str], int],
    rng: random.Random,
    length: int,
    depth: float,
    many: bool,
    new_wording: bool,
) -> tuple[str, list[str]]:
    """One needle: what was asked, with the needle and where it is; and what was said to it, as `told`."""
    words = Words(held_out=True)
    key, value = distinct(words.key, rng, 1)[0], words.value(rng)
    relation = rng.choice(split_templates(RELATIONS, new_wording))
    line, qa = needle(rng, key, value, relation, held_out=new_wording, reversed_share=0.0)
    texts = haystack(tokens, rng, length)
    if many:
        at = min(round(depth * len(texts)), len(texts) - 1)
        texts[at] = insert_at_depth(texts[at], line, rng.random())
        documents = [Document(f"haystack/{i:05}.txt", text) for i, text in enumerate(texts)]
    else:
        documents = [Document("haystack.txt", insert_at_depth("\n\n".join(texts), line, depth))]
    [answer] = answerer.answer(answerer.read(documents), [qa["q"]])
    about = f"{qa['q']} ({line}, at {depth:.2f} of {length})"
    return about, told(answer.text, recalled(answer.text, value), answer.citations, [value])


def recalled(answer: str, value: str) -> bool:
    """Whether the value was given: exactly, or as the whole of the answer's words."""
    return same_code(answer, [value]) or f1(answer, [value]) == 1.0


def haystack(tokens: Callable[[str], int], rng: random.Random, length: int) -> list[str]:
    """Development paragraphs in random order, about `length` tokens in all; repeated only when they run out."""
    texts = list(dict.fromkeys(item.document.text for item in development_set()))
    chosen: list[str] = []
    total = 0
    while total < length:
        for text in rng.sample(texts, len(texts)):
            if total >= length:
                break
            chosen.append(text)
            total += tokens(text)
    return chosen


def pairs(answerer: Answerer, lengths: tuple[int, ...] = (4_096, 16_384), questions: int = 24) -> dict[str, Any]:
    """Key-value lists of about each length in tokens, `questions` keys asked. Figures: recall in percent by length."""
    figures: dict[str, Any] = {}
    for length in lengths:
        rng = random.Random(length)
        probe = kv_units(random.Random(0), 1, pairs=(100, 100), held_out=True)[0]
        per_pair = answerer.tokens(probe["text"]) / 100
        [unit] = kv_units(rng, 1, pairs=(int(length / per_pair),) * 2, held_out=True)
        asked = rng.sample(unit["qas"], min(questions, len(unit["qas"])))
        answers = answerer.answer(answerer.read([Document(unit["path"], unit["text"])]), [qa["q"] for qa in asked])
        right = sum(recalled(answer.text, qa["a"][0]) for answer, qa in zip(answers, asked, strict=True))
        figures[f"recall_{length}"] = 100 * right / len(asked)
    return {**figures, "n": questions * len(lengths)}
