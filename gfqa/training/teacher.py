"""A teacher for what keys should say: the token states of a small sentence encoder, which has read a thousand times more.

The decompressed key of a document's token is drawn, through a projection that nothing ships, towards the encoder's state of the
word piece that ends there. The encoder is a BERT of the published form (config.json, model.safetensors, tokenizer.json), such
as all-MiniLM-L6-v2 (Apache-2.0). It sees words on both sides, the reader only those before: what is learnt is what can be.
"""

from __future__ import annotations

import itertools
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from gfqa.errors import ModelError, UsageError
from gfqa.tokenizer import Tokenizer

WINDOW = 256
"""Word pieces that the encoder sees at once, [CLS] and [SEP] among them."""
TOKENS_A_WINDOW = 192
"""A row of T tokens has T / 192 windows: in code there are more word pieces than tokens, and chains leave gaps. What is over is
left out."""


class WordPieces:
    """Rows of tokens as windows of the teacher's word pieces; one chain never shares a window with another."""

    def __init__(self, folder: Path, tokenizer: Tokenizer) -> None:
        """folder: holds tokenizer.json. Raises UsageError without the package `tokenizers`, ModelError for a damaged file."""
        self._file, self._tokenizer = folder / "tokenizer.json", tokenizer

    def __getstate__(self) -> dict[str, Any]:
        # A worker process makes its own encoder.
        return {name: value for name, value in self.__dict__.items() if name.startswith("_")}

    @cached_property
    def encoder(self) -> Any:
        """The word-piece encoder."""
        try:
            from tokenizers import Tokenizer as Encoder  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            raise UsageError(
                "A teacher needs the package tokenizers.", hint="pip install 'gfqa[train]', or leave `teacher` empty."
            ) from None
        try:
            encoder = Encoder.from_file(str(self._file))
        except Exception as error:  # the package raises bare Exceptions
            raise ModelError(f"Cannot read {self._file}: {error}.") from None
        encoder.no_truncation()
        encoder.no_padding()
        return encoder

    @cached_property
    def pieces(self) -> list[bytes]:
        """The bytes of every token of our vocabulary."""
        return [self._tokenizer.piece_bytes(id) for id in range(self._tokenizer.vocab_size)]

    def windows(self, ids: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ids [T], starts bool [T] -> word pieces (0: none) and the token where each ends (-1), int32 [T / 192, 256]."""
        count = len(ids) // TOKENS_A_WINDOW
        pieces = np.zeros((count, WINDOW), dtype=np.int32)
        at = np.full((count, WINDOW), -1, dtype=np.int32)
        first, last = (self.encoder.token_to_id(name) for name in ("[CLS]", "[SEP]"))
        bounds, row = [*np.flatnonzero(starts).tolist(), len(ids)], 0
        for low, high in itertools.pairwise(bounds):
            found, ends = self._chain(ids[low:high])
            for i in range(0, len(found), WINDOW - 2):
                part = found[i : i + WINDOW - 2]
                if row == count:
                    return pieces, at
                pieces[row, : len(part) + 2] = (first, *part, last)
                at[row, 1 : len(part) + 1] = ends[i : i + WINDOW - 2] + low
                row += 1
        return pieces, at

    def _chain(self, ids: np.ndarray) -> tuple[list[int], np.ndarray]:
        """Word pieces of one chain, and the token in which each one's last character is."""
        parts = [self.pieces[id] for id in ids.tolist()]
        data = b"".join(parts)
        text = data.decode("utf-8", "replace")
        encoded = self.encoder.encode(text, add_special_tokens=False)
        if not encoded.ids:
            return [], np.zeros(0, dtype=np.int64)
        last = np.asarray(encoded.offsets)[:, 1] - 1
        if len(text) != len(data):
            sizes = np.fromiter((len(character.encode()) for character in text), dtype=np.int64, count=len(text))
            last = np.cumsum(sizes)[last] - 1
        ends = np.cumsum([len(part) for part in parts])
        return encoded.ids, np.minimum(np.searchsorted(ends, last, side="right"), len(ids) - 1)


class Encoder(nn.Module):
    """BERT, forward only: word pieces int [n, L] (0: padding) -> states [n, L, width]."""

    def __init__(self, folder: Path) -> None:
        """Raises ModelError for a folder that holds no such model."""
        super().__init__()
        try:
            config = json.loads((folder / "config.json").read_text())
            tensors = load_file(folder / "model.safetensors")
            self.heads, self.eps = int(config["num_attention_heads"]), float(config["layer_norm_eps"])
            self.layers, self.width = int(config["num_hidden_layers"]), int(config["hidden_size"])
            if config["hidden_act"] != "gelu":
                raise ModelError(f"{folder} is no encoder that can teach: its activation is {config['hidden_act']}.")
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise ModelError(f"Cannot read the teacher in {folder}: {error}.") from None
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not name.startswith("pooler"):
                self.register_buffer(name.removeprefix("bert.").replace(".", "_"), tensor.float(), persistent=False)

    @torch.no_grad()
    def forward(self, pieces: Tensor) -> Tensor:
        n, length = pieces.shape
        e = "embeddings"
        x = F.embedding(pieces, self._at(e, "word_embeddings_weight"))
        x = x + self._at(e, "position_embeddings_weight")[:length] + self._at(e, "token_type_embeddings_weight")[0]
        x = self._norm(x, e)
        # A window without pieces sees its first place: an attention over nothing would have no defined value.
        mask = (pieces != 0) | (torch.arange(length, device=pieces.device) == 0)
        mask = mask.view(n, 1, 1, length)
        for i in range(self.layers):
            layer = f"encoder_layer_{i}"
            q, k, v = (
                self._linear(x, f"{layer}_attention_self_{part}").view(n, length, self.heads, -1).transpose(1, 2)
                for part in ("query", "key", "value")
            )
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
            x = self._norm(x + self._linear(mixed, f"{layer}_attention_output_dense"), f"{layer}_attention_output")
            inner = F.gelu(self._linear(x, f"{layer}_intermediate_dense"))
            x = self._norm(x + self._linear(inner, f"{layer}_output_dense"), f"{layer}_output")
        return x

    def _at(self, where: str, name: str) -> Tensor:
        return self.get_buffer(f"{where}_{name}")

    def _linear(self, x: Tensor, where: str) -> Tensor:
        return F.linear(x, self._at(where, "weight"), self._at(where, "bias"))

    def _norm(self, x: Tensor, where: str) -> Tensor:
        return F.layer_norm(
            x, (self.width,), self._at(where, "LayerNorm_weight"), self._at(where, "LayerNorm_bias"), self.eps
        )


class Teacher:
    """The encoder and the projection [width, C] that is trained beside the model."""

    def __init__(self, folder: Path, n_embd: int, device: torch.device, dtype: torch.dtype) -> None:
        self.encoder = Encoder(folder).to(device=device, dtype=dtype).eval()
        self.projection = nn.Parameter(torch.zeros(self.encoder.width, n_embd, device=device, dtype=dtype))
        nn.init.normal_(self.projection, std=n_embd**-0.5, generator=torch.Generator(device).manual_seed(0))

    def loss(self, kappa: Tensor, pieces: Tensor, at: Tensor) -> Tensor:
        """Mean of 1 - cosine over the word pieces; kappa [B, T, C], pieces and at int [B, n, 256] of each row's tokens."""
        rows, length = kappa.shape[:2]
        states = self.encoder(pieces.flatten(0, 1)).view(*at.shape, -1)
        place = at.long().clamp(min=0) + torch.arange(rows, device=at.device).view(-1, 1, 1) * length
        said = F.linear(kappa.flatten(0, 1)[place.flatten()], self.projection).view(states.shape)
        inside = (at >= 0).float()
        near = F.cosine_similarity(said.float(), states.float(), dim=-1)
        return ((1 - near) * inside).sum() / inside.sum().clamp(min=1)
