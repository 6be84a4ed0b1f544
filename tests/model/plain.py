"""What the laws are held against: GoldFinch chain by chain in plain PyTorch, without store, batch, state or kernel."""

from __future__ import annotations

import torch

from gfqa.model.language_model import query_scale
from gfqa.model.layers import rms, rotate
from gfqa.model.state import empty_state


def shifted(x):
    return torch.cat((torch.zeros_like(x[:1]), x[:-1]))


def lower(model, ids):
    """ids [T] -> (lower half's output [T, C], compressed keys [T, key_width]) from the zero state."""
    x, _ = model.lower_half(model.embed(ids[None]), empty_state(model.config.n_layer))
    return x[0], model.w_kv_cache_a(x)[0]


def chain_keys_values(model, layer, ids, keys):
    e = model.embed(ids)
    o, kappa = rms(e), model.decompress(e, keys)
    keys, values = layer.keys(o, shifted(o), kappa, shifted(kappa)), layer.values(o, shifted(o))
    return keys.view(o.shape), values.view(o.shape)


def logits(model, documents, question, round_keys=lambda keys: keys):
    """Logits [T, V] of the question chain, whose GOLD layers see all documents [S_i] and its own tokens causally."""
    heads = (model.config.n_head, model.config.head_size)
    chains = [(ids, round_keys(lower(model, ids)[1])) for ids in documents]
    x, own = lower(model, question)
    chains.append((question, own))
    n_before, n = sum(len(ids) for ids in documents), len(question)
    visible = torch.ones(n, n_before + n, dtype=torch.bool).tril(n_before)
    for block in model.blocks[model.config.split_layer :]:
        layer = block.att
        pairs = [chain_keys_values(model, layer, ids, keys) for ids, keys in chains]
        k = torch.cat([pair[0] for pair in pairs]).unflatten(-1, heads).transpose(0, 1)
        v = torch.cat([pair[1] for pair in pairs]).unflatten(-1, heads).transpose(0, 1)
        z = block.ln1(x)
        q = layer.queries(z[None], None)[0].unflatten(-1, heads).transpose(0, 1)
        if model.config.rope is not None:
            q, k = rotate(q[None], model.config.rope, n_before)[0], rotate(k[None], model.config.rope, 0)[0]
        if model.config.length_scale is not None:
            q = q * query_scale(torch.arange(n_before + 1, n_before + n + 1), model.config.length_scale)[:, None]
        weights = (q @ k.transpose(-1, -2) * heads[1] ** -0.5).masked_fill(~visible, float("-inf")).softmax(-1)
        x = x + layer.output(layer.ln_x((weights @ v).transpose(0, 1).flatten(-2)))
        x = x + block.ffn(block.ln2(x)[None], None, None)[0][0]
    return model.logits(x)
