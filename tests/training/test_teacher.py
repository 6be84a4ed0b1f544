"""The teacher: its encoder is BERT, its word pieces end where they say, and keys come nearer to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gfqa.errors import ModelError
from gfqa.tokenizer import load_tokenizer
from gfqa.training.teacher import TOKENS_A_WINDOW, WINDOW, Encoder, Teacher, WordPieces

from .kit import TEACHER_HEADS, TEACHER_INNER, TEACHER_WIDTH, WORD_PIECES, add_word_pieces, tiny_teacher


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_teacher(tmp_path)


def test_the_encoder_is_a_transformer_of_torch(folder: Path) -> None:
    encoder = Encoder(folder)
    pieces = torch.tensor([[2, 4, 5, 6, 3], [2, 9, 3, 0, 0]])
    x = encoder._norm(
        encoder.embeddings_word_embeddings_weight[pieces]
        + encoder.embeddings_position_embeddings_weight[:5]
        + encoder.embeddings_token_type_embeddings_weight[0],
        "embeddings",
    )
    for i in range(2):
        layer = nn.TransformerEncoderLayer(
            TEACHER_WIDTH, TEACHER_HEADS, TEACHER_INNER, 0.0, "gelu", 1e-12, batch_first=True
        )
        at = {name.removeprefix(f"encoder_layer_{i}_"): b for name, b in encoder.named_buffers() if f"_{i}_" in name}
        parts = [
            at[f"attention_self_{part}_{kind}"] for kind in ("weight", "bias") for part in ("query", "key", "value")
        ]
        state = {"self_attn.in_proj_weight": torch.cat(parts[:3]), "self_attn.in_proj_bias": torch.cat(parts[3:])}
        for theirs, ours in (
            ("self_attn.out_proj", "attention_output_dense"),
            ("linear1", "intermediate_dense"),
            ("linear2", "output_dense"),
            ("norm1", "attention_output_LayerNorm"),
            ("norm2", "output_LayerNorm"),
        ):
            state |= {f"{theirs}.{kind}": at[f"{ours}_{kind}"] for kind in ("weight", "bias")}
        layer.load_state_dict(state)
        with torch.no_grad():
            x = layer.train()(x, src_key_padding_mask=pieces == 0)
    torch.testing.assert_close(encoder(pieces)[pieces != 0], x[pieces != 0], rtol=1e-4, atol=1e-5)
    assert encoder(torch.zeros_like(pieces)).isfinite().all()


def test_word_pieces_end_in_their_tokens(folder: Path) -> None:
    tokens = load_tokenizer("bytes")
    words = WordPieces(add_word_pieces(folder), tokens)
    chains = ["The harbours of Ä.", "Port harbour"]
    ids = [tokens.encode(chain) for chain in chains]
    padding = [0] * (TOKENS_A_WINDOW * 2 - sum(map(len, ids)))
    row = np.asarray([*ids[0], *ids[1], *padding])
    starts = np.zeros(len(row), dtype=bool)
    starts[[0, len(ids[0]), len(ids[0]) + len(ids[1])]] = True
    pieces, at = words.windows(row, starts)
    assert pieces.shape == at.shape == (2, WINDOW)
    named = [[WORD_PIECES[piece] for piece in window if piece] for window in pieces]
    assert named[0] == ["[CLS]", "the", "har", "##bour", "##s", "of", "ä", ".", "[SEP]"]
    assert named[1] == ["[CLS]", "port", "har", "##bour", "[SEP]"]
    # Byte tokens: every piece ends at the byte where its last character does ("Ä" has two).
    assert at[0, :9].tolist() == [-1, 2, 6, 10, 11, 14, 17, 18, -1]
    assert at[1, :5].tolist() == [-1, *(len(ids[0]) + i for i in (3, 7, 11)), -1]


def test_keys_are_drawn_to_the_teacher(folder: Path) -> None:
    torch.manual_seed(0)
    teacher = Teacher(folder, 16, torch.device("cpu"), torch.float32)
    kappa = torch.randn(2, 10, 16, requires_grad=True)
    pieces = torch.tensor([[[2, 4, 5, 6, 3]], [[2, 9, 3, 0, 0]]])
    at = torch.tensor([[[-1, 1, 4, 5, -1]], [[-1, 7, -1, -1, -1]]])
    begin = teacher.loss(kappa, pieces, at)
    (gradient,) = torch.autograd.grad(begin, kappa)
    touched = [(0, 1), (0, 4), (0, 5), (1, 7)]
    assert [tuple(place) for place in gradient.abs().sum(-1).nonzero().tolist()] == touched
    assert teacher.loss((kappa - gradient).detach(), pieces, at) < begin
    nothing = torch.full_like(at, -1)
    assert teacher.loss(kappa, pieces, nothing) == 0


def test_a_folder_that_is_no_teacher_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Cannot read the teacher"):
        Encoder(tmp_path)
    pytest.importorskip("tokenizers")
    words = WordPieces(tmp_path, load_tokenizer("bytes"))
    starts = np.arange(TOKENS_A_WINDOW) == 0
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        words.windows(np.full(TOKENS_A_WINDOW, 65), starts)
