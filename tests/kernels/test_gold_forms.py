"""The compact forms of a GOLD layer's memory against keys and values held in full, and against float64 arithmetic."""

from __future__ import annotations

import pytest
import torch

from gfqa.kernels.gold_attention import gold_attention, quantised
from gfqa.kernels.gold_attention.quantised import QuantisedMemory, quantise_rows
from gfqa.kernels.gold_attention.scan import LANES, Bigrams, padded
from gfqa.model import KeyCache, LanguageModel, ModelConfig
from gfqa.model import gold_memory as gold_memory_module
from gfqa.model.config import LoraSizes
from gfqa.model.gold_memory import Tokens, bigram_tables, latent_memory, raw_keys, tables
from gfqa.model.gold_tables import tanh_of_half
from gfqa.model.init import init_weights

VOCABULARY = 23
STARTS = torch.tensor([0, 40, 41, 130])


def random_model(dtype=torch.float32, **changes):
    values = {"n_embd": 64, "n_layer": 6, "head_size": 16, "vocab_size": VOCABULARY, "tmix2": "gold"}
    values |= {"layout": "independent", "length_scale": 64.0, "lora": LoraSizes(key_value=8, gold=24)}
    model = init_weights(LanguageModel(ModelConfig(**(values | changes))), 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * 0.1)
    return model.to(dtype).requires_grad_(False).eval()


def memory(model, n=203, dtype=torch.float32, **options):
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(VOCABULARY, (n,), generator=generator)
    keys = torch.randn(n, model.config.key_width, generator=generator, dtype=torch.float64).to(dtype)
    return KeyCache(ids, keys, STARTS[n > STARTS], **options)


def shifted(x, starts):
    before = torch.cat((torch.zeros_like(x[:1]), x[:-1]))
    before[starts] = 0
    return before


def plain_keys_values(model, cache):
    """Every layer's keys and values [S, C] as the formulas say, in the model's own dtype."""

    def rms(x):
        return x / (x.norm(dim=-1, keepdim=True) * x.shape[-1] ** -0.5 + 1e-8)

    e = model.embed(cache.ids)
    o, kappa = rms(e), rms(model.w_kv_cache_b(torch.cat((e, cache.keys), dim=-1)))
    o_before, kappa_before = shifted(o, cache.chain_starts), shifted(kappa, cache.chain_starts)
    return [
        (layer.keys(o, o_before, kappa, kappa_before).view(o.shape), layer.values(o, o_before).view(o.shape))
        for layer in model.gold_layers()
    ]


def heads(x, model):
    return x.unflatten(-1, (model.config.n_head, -1)).transpose(0, 1)


def test_the_absorbed_query_gives_the_keys_logits_in_float64():
    model = random_model(torch.float64)
    cache = memory(model, dtype=torch.float64)
    query = torch.randn(3, 4, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    forms = latent_memory(model, Tokens.of(cache.ids, cache.chain_starts, VOCABULARY), cache.keys)
    for form, (keys, values) in zip(forms, plain_keys_values(model, cache), strict=True):
        expected = torch.einsum("rhn,hsn->shr", query, heads(keys, model)).flatten(1)
        assert (form.logits(query)[:203] - expected).abs().max() < 1e-12
        spread = form.bigrams.values[form.shared.bigram]
        assert (spread - values[form.bigrams.order]).abs().max() < 1e-12


@pytest.mark.parametrize("form", ["float32", "latent", "latent16", "int8", "materialised"])
@pytest.mark.parametrize("n", [1, 15, 16, 17, 203])
def test_every_form_attends_as_the_plain_softmax(form, n):
    model = random_model()
    cache = memory(model, n, form=form)
    generator = torch.Generator().manual_seed(4)
    q, own_k, own_v = (torch.randn(2, 4, t, 16, generator=generator) for t in (11, 13, 13))
    # The worst of int8's elements is 0.0200 on one processor and 0.0217 on another; their mean is what must hold.
    tolerance = {"int8": 3e-2, "latent16": 2e-2}.get(form, 1e-5)
    for layer, (keys, values) in zip(cache.layers(model), plain_keys_values(model, cache), strict=True):
        out, mass = gold_attention(q, own_k, own_v, layer, want_mass=True)
        k = torch.cat((heads(keys, model).expand(2, -1, -1, -1), own_k), dim=2)
        v = torch.cat((heads(values, model).expand(2, -1, -1, -1), own_v), dim=2)
        visible = torch.ones(11, n + 13, dtype=torch.bool).tril(n + 2)
        weights = (q @ k.transpose(2, 3) / 4).masked_fill(~visible, -torch.inf).softmax(-1)
        torch.testing.assert_close(out, weights @ v, rtol=tolerance, atol=tolerance)
        assert (out - weights @ v).square().mean().sqrt() < tolerance / 5
        assert mass.shape == (2, 4, n)
        torch.testing.assert_close(mass, weights[:, :, -1, :n], rtol=10 * tolerance, atol=tolerance)
        without, nothing = gold_attention(q, own_k, own_v, layer)
        assert nothing is None
        assert torch.equal(without, out)


@pytest.mark.parametrize("form", ["float32", "latent"])
def test_an_exact_form_decodes_the_same_tokens(form):
    model = random_model()
    produced = {}
    for name in ("materialised", form):
        cache, state, piece, rows = memory(model, form=name), None, torch.arange(7)[None], []
        for _ in range(40):
            logits, state = model.decode(piece, state, cache, last_only=True)
            piece = logits[:, -1].argmax(-1, keepdim=True)
            rows.append(logits[0, -1])
        produced[name] = torch.stack(rows)
    torch.testing.assert_close(produced[form], produced["materialised"], rtol=1e-4, atol=1e-4)
    assert produced[form].argmax(-1).tolist() == produced["materialised"].argmax(-1).tolist()


@pytest.mark.parametrize("tile", [16, 48])
def test_tiles_of_any_size_give_the_same_memory(tile, monkeypatch):
    model = random_model()
    whole = [memory(model, form=form).layers(model) for form in ("float32", "int8", "latent")]
    monkeypatch.setattr(gold_memory_module, "TILE", tile)
    for form, layers in zip(("float32", "int8", "latent"), whole, strict=True):
        for one, other in zip(memory(model, form=form).layers(model), layers, strict=True):
            held = "tau" if form == "latent" else "keys"
            one_held, other_held = getattr(one, held).float(), getattr(other, held).float()
            # A rounding can fall the other way; a token of overlap forgotten would move whole keys.
            torch.testing.assert_close(one_held, other_held, rtol=0, atol=1.0 if form == "int8" else 1e-5)
            torch.testing.assert_close(one.bigrams.values, other.bigrams.values, rtol=1e-2, atol=1e-2)


def test_tokens_are_sorted_out():
    ids, starts = torch.tensor([5, 7, 5, 7, 5, 9]), torch.tensor([0, 3])
    tokens = Tokens.of(ids, starts, VOCABULARY)
    assert tokens.used.tolist() == [5, 7, 9]
    ends = [*tokens.offsets.tolist()[1:], 6]
    found = {}
    for b, (first, second) in enumerate(zip(tokens.first.tolist(), tokens.second.tolist(), strict=True)):
        found[first, second] = tokens.order[tokens.offsets[b] : ends[b]].tolist()
        assert (tokens.bigram[found[first, second]] == b).all()
    assert found == {(3, 0): [0], (0, 1): [1], (1, 0): [2, 4], (3, 1): [3], (0, 2): [5]}


def test_int8_keys_are_as_close_as_their_step():
    keys = torch.randn(70, 64, generator=torch.Generator().manual_seed(0))
    keys[5] *= 30
    codes, scale = torch.empty(padded(70), 64, dtype=torch.int8), torch.empty(padded(70) // LANES, 1)
    quantise_rows(keys.clone(), codes, scale)
    back = codes.float() * scale.repeat_interleave(LANES, 0)
    assert ((back[:70] - keys).abs() <= 0.501 * scale.repeat_interleave(LANES, 0)[:70]).all()
    assert not codes[70:].any()


@pytest.mark.parametrize("rows", [1, 2, 3, 8])
def test_integer_products_are_those_of_the_rounded_keys(rows):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(-127, 128, (48, 64), dtype=torch.int8, generator=generator)
    scale = torch.rand(3, 1, generator=generator)
    form = QuantisedMemory(codes, scale, Bigrams(torch.arange(48), torch.arange(48), torch.zeros(48, 64)))
    query = torch.randn(rows, 4, 16, generator=generator) * torch.tensor([1e-3, 1.0, 5.0, 0.0])[:, None]
    keys = (codes.double() * scale.double().repeat_interleave(LANES, 0)).unflatten(-1, (4, 16))
    expected = torch.einsum("rhn,shn->shr", query.double(), keys).flatten(1)
    # Sixteen bits of the largest query's size, on sixteen keys of up to 127.
    assert (form.logits(query) - expected).abs().max() < 16 * 127 * 5 * 2**-15


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_spans_and_tiles_change_no_product(rows, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(-127, 128, (112, 64), dtype=torch.int8, generator=generator)
    form = QuantisedMemory(codes, torch.rand(7, 1, generator=generator), Bigrams(*torch.zeros(3, 0)))
    query = torch.randn(rows, 4, 16, generator=generator)
    whole, threads = form.logits(query), torch.get_num_threads()
    monkeypatch.setattr(quantised, "TILE", 48)
    monkeypatch.setattr(quantised, "SMALL_TILE", 32)
    torch.set_num_threads(2)
    try:
        assert torch.equal(form.logits(query), whole)
    finally:
        torch.set_num_threads(threads)


def test_keys_made_in_bfloat16_stay_within_what_int8_rounds(monkeypatch):
    model, errors = random_model(), {}
    for products in (torch.float32, torch.bfloat16):
        monkeypatch.setattr(gold_memory_module, "products_type", lambda _, products=products: products)
        for number, layer in enumerate(memory(model, form="int8").layers(model)):
            keys, values = plain_keys_values(model, memory(model))[number]
            back = layer.keys.float() * layer.scale.repeat_interleave(LANES, 0)
            errors.setdefault(products, []).append((back[:203] - keys).pow(2).mean().sqrt())
            spread = torch.zeros_like(values)
            ends = [*layer.bigrams.offsets.tolist()[1:], 203]
            for row, start, end in zip(layer.bigrams.values, layer.bigrams.offsets.tolist(), ends, strict=True):
                spread[layer.bigrams.order[start:end]] = row.float()
            assert (spread - values).abs().max() < 4e-2
    for exact, rounded in zip(errors[torch.float32], errors[torch.bfloat16], strict=True):
        assert rounded < 1.1 * exact


def test_the_quick_tanh_is_tanh():
    x = torch.linspace(-30, 30, 4001)
    assert (tanh_of_half(2 * x) - torch.tanh(x)).abs().max() < 3e-7


def test_a_key_before_its_norm_is_the_formula_s():
    model = random_model(torch.float64)
    cache = memory(model, dtype=torch.float64)
    tokens = Tokens.of(cache.ids, cache.chain_starts, VOCABULARY)
    got = [torch.zeros(203, 64, dtype=torch.float64) for _ in model.gold_layers()]
    known = tables(model, tokens)
    z_keys, _ = bigram_tables(model, tokens, known, torch.float64)
    for tile, number, key, _, _ in raw_keys(model, tokens, known, z_keys, cache.keys, slice(0, 203)):
        got[number][tile] = model.gold_layers()[number].ln_k(key)
    for key, (expected, _) in zip(got, plain_keys_values(model, cache), strict=True):
        assert (key - expected).abs().max() < 1e-12


@pytest.mark.parametrize(("form", "close"), [("float32", 1e-5), ("int8", 5e-3), ("latent", 1e-5)])
def test_rows_of_a_batch_share_the_scan(form, close):
    # int8: the rows share the step of their queries, and the mass meets bfloat16 values in bfloat16.
    model = random_model()
    layer = memory(model, form=form).layers(model)[0]
    generator = torch.Generator().manual_seed(7)
    q, own_k, own_v = (torch.randn(11, 4, t, 16, generator=generator) for t in (1, 5, 5))
    out, mass = gold_attention(q, own_k, own_v, layer, want_mass=True)
    for row in range(len(q)):
        alone, its_mass = gold_attention(
            q[row : row + 1], own_k[row : row + 1], own_v[row : row + 1], layer, want_mass=True
        )
        assert torch.allclose(out[row], alone[0], atol=close)
        assert torch.allclose(mass[row], its_mass[0], atol=close / 10)
