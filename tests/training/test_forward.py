"""Packed training rows compute what the application computes chain by chain."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import create_mask

from gfqa.model import KeyCache, LanguageModel, ModelConfig
from gfqa.model.init import init_weights
from gfqa.model.key_cache import rounded
from gfqa.training.forward import Forward
from gfqa.training.optimizer import Optimizer, OptimizerConfig, orthogonalised
from gfqa.training.spans import BLOCK, FlexMask, Places, Spans, dense_mask, shares_at

CHUNK = 64


def tiny(seed=0, **changes):
    values = {"n_embd": 64, "n_layer": 3, "head_size": 16, "vocab_size": 97, "tmix2": "gold", "layout": "independent"}
    values |= {"decay_floor": -1.0, "tie_embeddings": True, "length_scale": 512.0, "key_dtype": "int8"} | changes
    model = init_weights(LanguageModel(ModelConfig(**values)), seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * 0.05)
    return model.eval()


@pytest.mark.parametrize("round_keys", [False, True])
def test_a_question_row_is_a_decode_over_a_memory(round_keys):
    model = tiny()
    generator = torch.Generator().manual_seed(5)
    documents = [torch.randint(97, (n,), generator=generator) for n in (50, 100, 7)]
    contexts = [0, 0, 1]
    questions = [torch.randint(97, (n,), generator=generator) for n in (9, 70)]
    question_of = [0, 1]
    n_docs, n_questions = 256 + CHUNK, 192
    ids = torch.zeros(1, n_docs + n_questions, dtype=torch.long)
    starts = torch.zeros(1, n_docs + n_questions, dtype=torch.bool)
    document_mask = torch.zeros(1, n_docs, dtype=torch.bool)
    position, spans_of = 0, {}
    for document, context in zip(documents, contexts, strict=True):
        ids[0, position : position + len(document)] = document
        document_mask[0, position : position + len(document)] = True
        low, _ = spans_of.get(context, (position, 0))
        spans_of[context] = (low, position + len(document))
        starts[0, position] = True
        position += -(-len(document) // CHUNK) * CHUNK
    first_seen, seen_to = (torch.zeros(1, n_questions, dtype=torch.int32) for _ in range(2))
    chain = torch.arange(n_questions)[None] // CHUNK * CHUNK
    visible = torch.ones(1, n_questions)
    targets = torch.full((1, n_questions), -1)
    slot = 0
    for question, context in zip(questions, question_of, strict=True):
        n = len(question)
        seen = sum(len(d) for d, c in zip(documents, contexts, strict=True) if c == context)
        ids[0, n_docs + slot : n_docs + slot + n] = question
        starts[0, n_docs + slot] = True
        first_seen[0, slot : slot + n], seen_to[0, slot : slot + n] = spans_of[context]
        end = slot + -(-n // CHUNK) * CHUNK
        chain[0, slot:end] = slot
        visible[0, slot : slot + n] = seen + torch.arange(1, n + 1)
        targets[0, slot : slot + n - 1] = question[1:]
        slot = end
    forward = Forward(model, compiled=False, flex=False)
    spans = Spans(document_mask, first_seen, seen_to, chain, visible)
    last_of = torch.tensor([[len(questions[0]) - 1, CHUNK + len(questions[1]) - 1]])
    mass: list[torch.Tensor] = []
    loss, hits, _ = forward.questions(ids, starts, targets, spans, round_keys, (last_of, mass))

    expected, expected_hits = torch.zeros(()), []
    form = "int8" if round_keys else "float32"
    for number, (question, context) in enumerate(zip(questions, question_of, strict=True)):
        mine = [d for d, c in zip(documents, contexts, strict=True) if c == context]
        keys = torch.cat([rounded(model.prefill(d[None])[0][0], form) for d in mine])
        first = torch.tensor([sum(len(d) for d in mine[:i]) for i in range(len(mine))])
        memory = KeyCache(torch.cat(mine), keys, first)
        with torch.no_grad():
            attention: list[torch.Tensor] = []
            logits, _ = model.decode(question[None], None, memory, attention)
        # What the search is given: the mass from the question's last token, in the documents' order.
        begin, end = spans_of[context]
        looked = torch.stack(mass).sum(dim=0)[0, number, begin:end][document_mask[0, begin:end]]
        rough = 1e-2 if round_keys else 1e-5
        torch.testing.assert_close(looked, torch.cat(attention).sum(dim=(0, 1)), rtol=rough, atol=rough)
        expected = expected + F.cross_entropy(logits[0, :-1], question[1:], reduction="sum")
        expected_hits += (logits[0, :-1].argmax(-1) == question[1:]).tolist()
    if round_keys:
        # In training a question's own keys are rounded too; the application keeps them as they are.
        torch.testing.assert_close(loss, expected, rtol=1e-2, atol=1e-2)
        exact, _, _ = forward.questions(ids, starts, targets, spans, False)
        assert loss != exact
    else:
        torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)
        assert hits.view(targets.shape)[targets >= 0].tolist() == expected_hits


def test_a_share_of_the_mass_is_at_the_place() -> None:
    mass = torch.zeros(1, 3, 256)
    mass[0, 0, 70], mass[0, 0, 200] = 0.6, 0.2
    mass[0, 1, 10], mass[0, 1, 130] = 0.3, 0.1
    mass[0, 2] = 0.5
    places = Places(torch.tensor([[5, 6, -1]]), torch.tensor([[64, 120, -1]]), torch.tensor([[80, 140, -1]]))
    share, heaviest = shares_at(mass, places)
    torch.testing.assert_close(share[0, :2], torch.tensor([0.75, 0.25]))
    assert heaviest[0, :2].tolist() == [True, False]
    assert share.isfinite().all()


def test_the_block_mask_says_what_the_dense_mask_says():
    generator = torch.Generator().manual_seed(9)

    def spans(seed):
        at = torch.randint(0, 128, (2, 128, 2), generator=torch.Generator().manual_seed(seed)).sort(dim=-1).values
        chain = torch.arange(128).expand(2, 128) // CHUNK * CHUNK
        return Spans(torch.rand(2, 128, generator=generator) > 0.3, at[..., 0], at[..., 1], chain, torch.ones(2, 128))

    mask = FlexMask(spans(1))
    for seed in (1, 2):
        now = spans(seed)
        mask.of(now)
        said = create_mask(mask._sees, 2, None, 128, 256, device="cpu")
        assert torch.equal(said, dense_mask(now))


@pytest.mark.parametrize(("documents", "questions"), [(512, 384), (320, 192)])
def test_blocks_of_the_mask_are_those_of_the_dense_mask(documents: int, questions: int) -> None:
    generator = torch.Generator().manual_seed(3)
    at = torch.randint(0, documents + 1, (2, questions // CHUNK, 2), generator=generator).sort(dim=-1).values
    # Chains of one to four chunks, each with one run of documents; the last chunk is unused and sees no document.
    begins = torch.rand(2, questions // CHUNK, generator=generator) < 0.5
    begins[:, [0, -1]] = True
    slot = torch.where(begins, torch.arange(questions // CHUNK), 0).cummax(dim=1).values
    first, last = (at[..., i].gather(1, slot).repeat_interleave(CHUNK, dim=1) for i in (0, 1))
    first[:, -CHUNK:] = last[:, -CHUNK:] = 0
    document = torch.ones(2, documents, dtype=torch.bool)
    document[:, documents - 50 :] = False
    chain = (slot * CHUNK).repeat_interleave(CHUNK, dim=1)
    now = Spans(document, first, last, chain, torch.ones(2, questions))
    made = FlexMask(now).of(now)
    dense = dense_mask(now)
    rows, columns = -(-questions // BLOCK), -(-(documents + questions) // BLOCK)
    padded = torch.nn.functional.pad(dense, (0, columns * BLOCK - dense.shape[3], 0, rows * BLOCK - dense.shape[2]))
    tiles = padded.view(2, 1, rows, BLOCK, columns, BLOCK).transpose(3, 4).flatten(4)

    def listed(number: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        chosen = torch.arange(columns) < number.unsqueeze(-1)
        return torch.zeros(2, 1, rows, columns, dtype=torch.bool).scatter(3, places.long(), chosen)

    full = listed(made.full_kv_num_blocks, made.full_kv_indices)
    some = listed(made.kv_num_blocks, made.kv_indices)
    assert torch.equal(full, tiles.all(dim=-1))
    assert torch.equal(some, tiles.any(dim=-1) & ~tiles.all(dim=-1))
    assert some.any()
    assert bool(full.any()) == (questions % BLOCK == 0)


def test_a_language_row_is_the_forward_pass():
    model = tiny(length_scale=None)
    ids = torch.randint(97, (2, 128), generator=torch.Generator().manual_seed(1))
    starts = torch.zeros(2, 128, dtype=torch.bool)
    starts[:, 0] = True
    targets = torch.full((2, 128), -1)
    targets[:, :-1] = ids[:, 1:]
    loss, _, _ = Forward(model, compiled=False, flex=False).language(ids, starts, targets, False)
    logits, _ = model(ids)
    expected = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="sum")
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-3)


def test_a_start_hides_the_earlier_chain_from_the_recurrence():
    model = tiny()
    ids = torch.randint(97, (1, 128), generator=torch.Generator().manual_seed(2))
    starts = torch.zeros(1, 128, dtype=torch.bool)
    starts[:, ::CHUNK] = True
    forward = Forward(model, compiled=False, flex=False)
    x, _, compressed = forward._lower(ids, starts, False, None)
    alone, _ = model.prefill(ids[:, CHUNK:])
    torch.testing.assert_close(compressed[:, CHUNK:], alone, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(compressed[:, CHUNK:], model.prefill(ids)[0][:, CHUNK:], atol=1e-4)
    assert x.shape == (1, 128, 64)


def test_orthogonalised():
    update = torch.randn(3, 20, 50, generator=torch.Generator().manual_seed(0))
    singular = torch.linalg.svdvals(orthogonalised(update).float())
    assert singular.min() > 0.5
    assert singular.max() < 1.5


@pytest.mark.parametrize("use_muon", [True, False])
def test_the_loss_falls(use_muon):
    model = tiny().train().requires_grad_(True)
    optimizer = Optimizer(model, OptimizerConfig(use_muon=use_muon))
    ids = torch.randint(97, (2, 64), generator=torch.Generator().manual_seed(3))
    starts = torch.zeros(2, 64, dtype=torch.bool)
    starts[:, 0] = True
    targets = torch.cat((ids[:, 1:], torch.full((2, 1), -1)), dim=1)
    forward = Forward(model, compiled=False, flex=False)
    losses = []
    for _ in range(12):
        loss, _, _ = forward.language(ids, starts, targets, True)
        loss.backward()
        optimizer.step(1.0)
        for p in model.parameters():
            p.grad = None
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
