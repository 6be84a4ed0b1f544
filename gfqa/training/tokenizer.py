"""Trains the shipped SentencePiece vocabulary on a representative sample of the text corpus.

Identity normalisation, byte fallback, no dummy prefix, no folded spaces, digits split; runs of spaces, tabs, line ends and
line ends with an indent are pieces; words never join with punctuation, so a name has the same ids wherever it stands.
`measure` gives bytes per token and encode speed on `heldout/heldout.jsonl.xz` of the corpus.
"""

from __future__ import annotations

import io
import json
import lzma
import time
from collections.abc import Iterator
from pathlib import Path

import sentencepiece

from gfqa.errors import UsageError
from gfqa.tokenizer import load_tokenizer
from gfqa.tokenizer.pieces import CONTROL_NAMES

VOCABULARY = 16_384
SHARE = {"code": 0.32, "docs": 0.40, "prose": 0.28}
_LONGEST_PART = 40_000
_LONGEST_LINE = 4_000
_SPACE = "\u2581"


def whitespace_pieces() -> list[str]:
    """Runs of spaces, tabs and line ends that are always one piece, spaces written as U+2581."""
    spaces = [_SPACE * count for count in (*range(2, 17), 20, 24, 28, 32)]
    indents = ["\n" + _SPACE * count for count in (2, 3, 4, 6, 8, 10, 12, 14, 16, 20, 24)]
    blank_indents = ["\n\n" + _SPACE * count for count in (2, 4, 8)]
    tabs = ["\t" * count for count in range(1, 5)] + ["\n" + "\t" * count for count in range(1, 5)]
    return [*spaces, "\n", "\n\n", "\n\n\n", *indents, *blank_indents, *tabs, "\r\n", "\r\n\r\n"]


def read_documents(path: Path) -> Iterator[dict[str, str]]:
    """The documents of one JSONL.xz shard."""
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def sample_lines(corpus: Path, sample_mb: float) -> Iterator[str]:
    """Lines of about `sample_mb` of text in the shares of SHARE, from shards at even distances; parts of long documents."""
    shards = sorted(corpus.glob("shard-*.jsonl.xz"))
    if not shards:
        raise UsageError(f"{corpus} has no shard-*.jsonl.xz.", hint="Make the corpus first: gfqa train data corpus.")
    chosen = shards[:: max(1, len(shards) // 6)]
    for shard in chosen:
        room = {kind: share * sample_mb * 1e6 / len(chosen) for kind, share in SHARE.items()}
        for number, document in enumerate(read_documents(shard)):
            text = document["text"]
            start = number * 7919 % max(1, len(text) - _LONGEST_PART) if len(text) > _LONGEST_PART else 0
            part = text[start : start + _LONGEST_PART]
            if room[document["kind"]] <= 0:
                continue
            room[document["kind"]] -= len(part.encode())
            for line in part.split("\n"):
                for at in range(0, len(line), _LONGEST_LINE):
                    # The trainer reserves U+2585 and cannot hold NUL.
                    yield line[at : at + _LONGEST_LINE].replace("\0", "").replace("\u2585", "")


def train(corpus: Path, out: Path, kind: str, sample_mb: float) -> None:
    """Trains and writes the model file."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=(line for line in sample_lines(corpus, sample_mb) if line.strip()),
        model_writer=model,
        model_type=kind,
        vocab_size=VOCABULARY,
        character_coverage=0.9996,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        split_digits=True,
        byte_fallback=True,
        allow_whitespace_only_pieces=True,
        max_sentence_length=16 * _LONGEST_LINE,
        max_sentencepiece_length=18,
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        control_symbols=[f"<{name}>" for name in CONTROL_NAMES],
        user_defined_symbols=whitespace_pieces(),
        num_threads=2,
        minloglevel=1,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(model.getvalue())


def measure(corpus: Path, model: Path) -> dict[str, float]:
    """Bytes per token by kind on the held-out documents, and encode speed in MB/s; checks the round trip of each."""
    tokenizer = load_tokenizer(model)
    size: dict[str, int] = {}
    tokens: dict[str, int] = {}
    seconds = 0.0
    for document in read_documents(corpus / "heldout" / "heldout.jsonl.xz"):
        kind, text = document["kind"], document["text"]
        start = time.perf_counter()
        ids = tokenizer.encode(text)
        seconds += time.perf_counter() - start
        if tokenizer.decode(ids) != text:
            raise UsageError(f"{model} does not give back {document['source']} {document['path']}.")
        size[kind] = size.get(kind, 0) + len(text.encode())
        tokens[kind] = tokens.get(kind, 0) + len(ids)
    result = {f"bytes_per_token_{kind}": round(size[kind] / tokens[kind], 3) for kind in sorted(size)}
    result["encode_mb_per_s"] = round(sum(size.values()) / 1e6 / seconds, 1)
    return result
