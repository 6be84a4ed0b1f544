"""SentencePiece: every text comes back, control pieces never come from text, cutting changes nothing."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

import gfqa.tokenizer.sentencepiece as wrapper
from gfqa.errors import ModelError
from gfqa.tokenizer import Tokenizer, load_tokenizer
from gfqa.training.tokenizer import whitespace_pieces

SHIPPED = Path(wrapper.__file__).parents[1] / "pretrained" / "tokenizer.model"
TEXT = "the quick brown fox jumps over a lazy dog def load return self value 1234 naïve _name (path) -> None:"
WORDS = TEXT.split()
SAMPLE = [" ".join(WORDS[i % 7 :: 1 + i % 3]) + f" line {i} x = y[{i}];" for i in range(400)]
HARD_TEXTS = [
    "",
    " ",
    "a\r\nb\r\n\r\nc\rd",
    "\tif x:\n\t\treturn  1\n\n\n\n  two   three    ",
    "def f(a):\n    return {\n        'k': 1,\n    }\n",
    "<doc><q><a><none><eos><unk></s><0x41><0xE2>",
    "\u2581 \u2581\u2581a\u2581",
    "🦜🐉 👩‍👩‍👧 日本語 עברית e\u0301",
    "\0\x01\x7f\ufeff\ufffd\u2047\u2585\u2028",
    " " * 100 + "\n" * 17 + "\t" * 9,
]


def train_model(**changes: object) -> bytes:
    model = io.BytesIO()
    options = {
        "model_type": "bpe",
        "vocab_size": 520,
        "normalization_rule_name": "identity",
        "add_dummy_prefix": False,
        "remove_extra_whitespaces": False,
        "byte_fallback": True,
        "unk_id": 0,
        "bos_id": -1,
        "eos_id": -1,
        "control_symbols": ["<doc>", "<q>", "<a>", "<none>", "<eos>"],
        "user_defined_symbols": whitespace_pieces(),
        "minloglevel": 2,
        **changes,
    }
    sentencepiece.SentencePieceTrainer.Train(sentence_iterator=iter(SAMPLE), model_writer=model, **options)
    return model.getvalue()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tiny.model"
    path.write_bytes(train_model())
    return load_tokenizer(path)


@pytest.fixture(params=["tiny", "shipped"], scope="session")
def tokenizer(request: pytest.FixtureRequest, tiny: Tokenizer) -> Tokenizer:
    if request.param == "tiny":
        return tiny
    if not SHIPPED.is_file():
        pytest.skip("no shipped tokenizer here")
    return load_tokenizer(SHIPPED)


@pytest.mark.parametrize("text", HARD_TEXTS)
def test_hard_texts_come_back(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode()


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"])) | st.text("\u2581 \n\r\t<>docqa", max_size=40))
def test_every_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not set(ids) & {0, *tokenizer.control.values()}


def test_control_ids_come_first_and_have_no_bytes(tokenizer: Tokenizer) -> None:
    assert tokenizer.control == {"doc": 1, "q": 2, "a": 3, "none": 4, "eos": 5}
    assert all(tokenizer.piece_bytes(id) == b"" for id in range(6))
    assert tokenizer.decode([1, *tokenizer.encode("x"), 5]) == "x"


def test_single_bytes_decode_as_replacement(tokenizer: Tokenizer) -> None:
    first = tokenizer.encode("\u2581")[0]
    assert tokenizer.piece_bytes(first) == b"\xe2"
    assert tokenizer.decode([first]) == "\ufffd"
    assert tokenizer.decode_bytes([first]) == b"\xe2"


def test_ids_outside_the_vocabulary_are_refused(tokenizer: Tokenizer) -> None:
    for id in (-1, tokenizer.vocab_size):
        with pytest.raises(ModelError):
            tokenizer.piece_bytes(id)


def test_line_ends_and_indents_are_single_pieces(tokenizer: Tokenizer) -> None:
    for piece in ("\n", "\n\n", "\r\n", "    ", "\n        ", "\t\t"):
        assert len(tokenizer.encode(piece)) == 1


@settings(max_examples=50, deadline=None)
@given(
    lines=st.lists(st.sampled_from([*HARD_TEXTS, "", "    x = 1", "words in a row"]), max_size=60),
    chunk=st.integers(1, 90),
)
def test_cutting_long_texts_changes_no_id(tokenizer: Tokenizer, lines: list[str], chunk: int) -> None:
    text = "\n".join(lines)
    whole = tokenizer.encode(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wrapper, "_CHUNK", chunk)
        assert tokenizer.encode(text) == whole


def test_a_megabyte_is_cut_and_comes_back(tokenizer: Tokenizer) -> None:
    text = "\n".join(SAMPLE) * 40
    assert len(wrapper._chunks(text)) > 10
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_shipped_vocabulary_is_as_designed() -> None:
    if not SHIPPED.is_file():
        pytest.skip("no shipped tokenizer here")
    tokenizer = load_tokenizer(SHIPPED)
    assert tokenizer.vocab_size == 16_384
    assert len(tokenizer.encode(" 2024")) == 5
    text = (
        "def ingest(path):\n    return path\n\nThe store keeps one compressed key for every token of a document.\n" * 20
    )
    assert len(text) / len(tokenizer.encode(text)) > 3


@pytest.mark.parametrize(
    "changes", [{"byte_fallback": False}, {"add_dummy_prefix": True}, {"remove_extra_whitespaces": True}]
)
def test_lossy_models_are_refused(tmp_path: Path, changes: dict[str, bool]) -> None:
    path = tmp_path / "lossy.model"
    path.write_bytes(train_model(vocab_size=270 if "byte_fallback" in changes else 520, **changes))
    with pytest.raises(ModelError):
        load_tokenizer(path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.model"
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"damaged\.model"):
        load_tokenizer(path)
