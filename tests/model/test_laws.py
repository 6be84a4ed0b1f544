"""The prefix, composition and tail laws, and decode over a key cache, against the plain function chain by chain."""

from __future__ import annotations

import pytest
import torch

from gfqa.errors import NotCacheable
from gfqa.model import KeyCache, LanguageModel, ModelConfig
from gfqa.model import key_cache as key_cache_module
from gfqa.model.config import Rope
from gfqa.model.init import init_weights
from gfqa.model.key_cache import dequantise_keys, quantise_keys, rounded
from tests.model import plain


def random_model(seed=0, **changes):
    values = {"n_embd": 64, "n_layer": 6, "head_size": 16, "vocab_size": 97, "tmix2": "gold", "layout": "independent"}
    model = init_weights(LanguageModel(ModelConfig(**(values | changes))), seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * 0.1)
    return model.requires_grad_(False).eval()


def tokens(n, seed):
    return torch.randint(97, (n,), generator=torch.Generator().manual_seed(seed))


def cache_of(model, documents, form="float32"):
    keys = [rounded(model.prefill(d[None])[0][0], form) for d in documents]
    starts = torch.tensor([sum(map(len, documents[:i])) for i in range(len(documents))])
    return KeyCache(torch.cat(documents), torch.cat(keys), starts)


SHAPES = {
    "plain": {},
    "bounded": {"decay_floor": -1.0, "length_scale": 64.0, "tie_embeddings": True},
    "ratio2": {"inv_other_layer_ratio": 2.0},
}


@pytest.fixture(params=SHAPES, ids=str)
def model(request):
    return random_model(**SHAPES[request.param])


def test_prefix_law(model):
    ids = tokens(150, 3)[None]
    whole, after = model.prefill(ids)
    for split in [*range(0, 150, 13), 64, 128, 149, 150]:
        first, state = model.prefill(ids[:, :split])
        second, end = model.prefill(ids[:, split:], state)
        both = torch.cat((first, second), dim=1)
        assert (both - whole).norm() / whole.norm() < 1e-5, split
        for a, b in zip(after.blocks, end.blocks, strict=True):
            if a.wkv is not None:
                assert (a.wkv - b.wkv).norm() / a.wkv.norm() < 1e-5, split


def test_right_padding_is_harmless(model):
    ids = tokens(70, 4)[None]
    alone, _ = model.prefill(ids[:, :40])
    padded, _ = model.prefill(ids)
    torch.testing.assert_close(padded[:, :40], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["float32", "bfloat16", "int8"])
def test_decode_over_a_cache_is_the_plain_pass(model, form):
    documents, question = [tokens(n, n) for n in (40, 1, 90)], tokens(12, 7)
    expected = plain.logits(model, documents, question, lambda keys: rounded(keys, form))
    memory = cache_of(model, documents, form)
    got, _ = model.decode(question[None], None, memory)
    torch.testing.assert_close(got[0], expected, rtol=1e-4, atol=1e-4)
    # One token at a time, and in uneven pieces, through the state.
    rows, state = [], None
    for piece in question[None].split([5, 1, 1, 3, 2], dim=1):
        part, state = model.decode(piece, state, memory)
        rows.append(part[0])
    torch.testing.assert_close(torch.cat(rows), expected, rtol=1e-4, atol=1e-4)


def test_preparing_in_chunks_changes_nothing(model, monkeypatch):
    documents, question = [tokens(n, n) for n in (33, 20, 47)], tokens(6, 7)
    expected = model.decode(question[None], None, cache_of(model, documents))[0]
    monkeypatch.setattr(key_cache_module, "PREPARE_CHUNK", 20)
    got = model.decode(question[None], None, cache_of(model, documents))[0]
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_attention_mass(model):
    documents, question = [tokens(n, n) for n in (33, 20)], tokens(6, 7)
    attention = []
    model.decode(question[None], None, cache_of(model, documents), attention=attention)
    assert len(attention) == model.config.n_gold
    for mass in attention:
        assert mass.shape == (1, model.config.n_head, 53)
        assert (mass >= 0).all()
        assert (mass.sum(-1) < 1).all()


def test_composition_law(model):
    documents, question = [tokens(n, n) for n in (33, 20, 47)], tokens(6, 7)
    expected = model.decode(question[None], None, cache_of(model, documents))[0]
    got = model.decode(question[None], None, cache_of(model, documents[::-1]))[0]
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_greedy_tokens_are_the_plain_pass_s(model):
    documents, ids = [tokens(n, n) for n in (40, 90)], tokens(8, 9)
    memory, state, piece, produced = cache_of(model, documents), None, ids, []
    for _ in range(64):
        out, state = model.decode(piece[None], state, memory, last_only=True)
        piece = out[0, -1].argmax(-1, keepdim=True)
        produced.append(int(piece))
    whole = torch.cat((ids, torch.tensor(produced)))
    expected = plain.logits(model, documents, whole[:-1])[len(ids) - 1 :]
    assert expected.argmax(-1).tolist() == produced


@pytest.mark.parametrize("rope", [None, Rope()], ids=["no rope", "rope"])
def test_tail_law(rope):
    model = random_model(layout="chained", rope=rope)
    corpus, question = tokens(80, 1), tokens(9, 2)
    expected = model(torch.cat((corpus, question))[None])[0][0, 80:]
    keys, snapshot = model.prefill_chained(corpus[None, :50])
    more, snapshot = model.prefill_chained(corpus[None, 50:], snapshot)
    cache = KeyCache(corpus, torch.cat((keys, more)), torch.zeros(1, dtype=torch.long))
    assert len(snapshot["tail"]) == 2 * model.config.n_gold
    state, memory = model.resume(cache, snapshot)
    got, _ = model.decode(question[None], state, memory)
    torch.testing.assert_close(got[0], expected, rtol=1e-4, atol=1e-4)
    # A tail one position shorter no longer holds what the last GOLD block reaches back to.
    short, memory = model._resume_tail(cache, model._state_of(snapshot), snapshot["tail"][1:])
    wrong, _ = model.decode(question[None], short, memory)
    assert (wrong[0] - expected).abs().max() > 3e-4


def test_tail_law_for_a_corpus_shorter_than_the_tail():
    model = random_model(layout="chained")
    corpus, question = tokens(3, 1), tokens(9, 2)
    keys, snapshot = model.prefill_chained(corpus[None, :1])
    more, snapshot = model.prefill_chained(corpus[None, 1:], snapshot)
    cache = KeyCache(corpus, torch.cat((keys, more)), torch.zeros(1, dtype=torch.long))
    state, memory = model.resume(cache, snapshot)
    got, _ = model.decode(question[None], state, memory)
    expected = model(torch.cat((corpus, question))[None])[0][0, 3:]
    torch.testing.assert_close(got[0], expected, rtol=1e-4, atol=1e-4)


def test_models_without_gold():
    finch = random_model(tmix="x060", tmix2="", layout="chained")
    corpus, question = tokens(80, 1), tokens(9, 2)
    keys, snapshot = finch.prefill_chained(corpus[None])
    assert keys.shape == (80, 0)
    state, _ = finch.resume(KeyCache(corpus, keys, torch.zeros(1, dtype=torch.long)), snapshot)
    expected = finch(torch.cat((corpus, question))[None])[0][0, 80:]
    torch.testing.assert_close(finch(question[None], state)[0][0], expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(NotCacheable):
        finch.prefill(corpus[None])
    with pytest.raises(NotCacheable):
        random_model(tmix="llama", cmix="llama", tmix2="", layout="chained").prefill_chained(corpus[None])


def test_int8_keys():
    keys = torch.randn(50, 28, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 3, 50)[:, None]
    keys[7] = 0
    codes, scale = quantise_keys(keys)
    assert codes.dtype == torch.int8
    assert scale.dtype == torch.float16
    error = (dequantise_keys(codes, scale) - keys).abs().amax(-1)
    assert (error <= 0.51 * scale.float() + 1e-3 * keys.abs().amax(-1)).all()
    assert torch.equal(rounded(rounded(keys[20:], "int8"), "int8"), rounded(keys[20:], "int8"))


@pytest.mark.parametrize("length", [1, 4, 5, 6, 12])
def test_the_last_token_alone_is_the_last_of_all(model, length):
    documents, question, step = [tokens(n, n) for n in (33, 20)], tokens(length, 7), tokens(1, 8)
    memory, whole, alone = cache_of(model, documents), [], []
    logits, state = model.decode(question[None], None, memory, attention=whole)
    last, last_state = model.decode(question[None], None, memory, attention=alone, last_only=True)
    torch.testing.assert_close(last[:, 0], logits[:, -1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.stack(alone), torch.stack(whole), rtol=1e-5, atol=1e-6)
    # The state after it holds everything the next token needs.
    expected, _ = model.decode(step[None], state, memory)
    got, _ = model.decode(step[None], last_state, memory)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
