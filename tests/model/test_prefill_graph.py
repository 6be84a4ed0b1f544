"""Prefill by segments: the same keys and states as plain calls, one chain or many in one stream."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gfqa.errors import NotCacheable
from gfqa.model import LanguageModel, load_model
from gfqa.model.key_cache import quantise_keys
from gfqa.model.prefill_graph import SegmentReader, segment_tokens
from tests.conftest import make_model

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module", params=["tiny_model", "chained_model", "recurrent_model"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return load_model(request.getfixturevalue(request.param), DEVICE, torch.float32)


def ids_of(length: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 261, (length,), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("length", [1, 63, 64, 65, 500])
@torch.inference_mode()
def test_one_chain_in_pieces_is_one_call(model: LanguageModel, length: int) -> None:
    ids = ids_of(length)
    expected, after = model.prefill_chained(ids[None].to(DEVICE))
    reader = SegmentReader(model, 128)
    parts = [reader.read(piece)[0].clone() for piece in ids.split(128)]
    torch.testing.assert_close(torch.cat(parts), expected, **CLOSE)
    found = reader.snapshot()
    assert found.keys() == after.keys()
    for name, tensor in after.items():
        torch.testing.assert_close(found[name], tensor, **CLOSE)


@torch.inference_mode()
def test_a_snapshot_goes_on_anywhere(model: LanguageModel) -> None:
    ids = ids_of(300)
    expected, _ = model.prefill_chained(ids[None].to(DEVICE))
    for cut in (1, 2, 70, 256):
        reader = SegmentReader(model, 64)
        for piece in ids[:cut].split(64):
            reader.read(piece)
        snapshot = reader.snapshot()
        reader.read(ids_of(64, 5))  # something else; the snapshot is a copy
        reader.restore(snapshot)
        parts = [reader.read(piece)[0].clone() for piece in ids[cut:].split(64)]
        torch.testing.assert_close(torch.cat(parts), expected[cut:], **CLOSE)
        reader.restore(None)
        torch.testing.assert_close(reader.read(ids[:64])[0], expected[:64], **CLOSE)


@torch.inference_mode()
def test_many_chains_in_one_stream(tiny_model: Path) -> None:
    """Documents padded to multiples of 64, cut anywhere into segments: each as if read alone."""
    model = load_model(tiny_model, DEVICE, torch.float32)
    documents = [ids_of(length, length) for length in (1, 64, 200, 65, 500, 3)]
    stream, starts, places = [], [], []
    for ids in documents:
        places.append(sum(map(len, stream)))
        room = -(-len(ids) // 64) * 64
        stream.append(torch.cat((ids, torch.zeros(room - len(ids), dtype=torch.long))))
        starts.append(torch.arange(room) == 0)
    reader = SegmentReader(model, 192)
    pieces = zip(torch.cat(stream).split(192), torch.cat(starts).split(192), strict=True)
    keys = torch.cat([reader.read(piece, begins)[0].clone() for piece, begins in pieces])
    for ids, place in zip(documents, places, strict=True):
        alone = model.prefill(ids[None].to(DEVICE))[0][0]
        torch.testing.assert_close(keys[place : place + len(ids)], alone, **CLOSE)


@torch.inference_mode()
def test_finish_works_on_the_device(tiny_model: Path) -> None:
    model = load_model(tiny_model, DEVICE, torch.float32)
    ids = ids_of(100)
    codes, scales = SegmentReader(model, 128, quantise_keys).read(ids)
    assert (codes.dtype, scales.dtype) == (torch.int8, torch.float16)
    expected = quantise_keys(model.prefill(ids[None].to(DEVICE))[0][0])
    # The last bit of a sum may differ, and with it a rounding.
    assert (codes.int() - expected[0].int()).abs().max() <= 1


def test_what_cannot_be_read_is_refused(attention_model: Path, tiny_model: Path) -> None:
    with pytest.raises(NotCacheable):
        SegmentReader(load_model(attention_model), 64)
    with pytest.raises(ValueError, match="multiple of 64"):
        SegmentReader(load_model(tiny_model), 100)


def test_segments_fit_the_cache() -> None:
    assert [segment_tokens(width) for width in (64, 448, 512, 768, 2048, 8192)] == [
        32768,
        16384,
        16384,
        8192,
        4096,
        4096,
    ]


@pytest.mark.gpu
@torch.inference_mode()
def test_the_graph_gives_what_plain_calls_give(tmp_path: Path) -> None:
    model = load_model(make_model(tmp_path / "wide", n_embd=128, head_size=64), "cuda", torch.bfloat16)
    ids = ids_of(64 * 40)
    reader, plain = SegmentReader(model, 512), SegmentReader(model, 4096)
    parts = [reader.read(piece)[0].clone() for piece in ids.split(512)]
    assert reader._graph is not None
    [expected] = plain.read(ids)
    difference = (torch.cat(parts) - expected).square().mean().sqrt() / expected.square().mean().sqrt()
    assert difference < 2e-2
