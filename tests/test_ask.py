"""Ask against the laws: what comes out of a store is what the plain model computes over the same documents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gfqa import prefill
from gfqa.answer.prompt import document_ids, question_ids
from gfqa.ask import ask, choose_caches, open_memory, open_model
from gfqa.cachestore import Store
from gfqa.errors import CacheError, ModelError, UsageError
from gfqa.ingest import run
from gfqa.model import KeyCache
from gfqa.model.key_cache import rounded
from gfqa.reader import Reader
from tests.conftest import make_model

TEXTS = {"a.txt": "alpha beta\n" * 3, "b/c.txt": "The port is 8080.\n", "d.txt": "x" * 70}


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    (folder / "b").mkdir(parents=True)
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    return folder


def greedy(reader: Reader, memory: KeyCache, question: str, count: int) -> tuple[list[int], list[torch.Tensor]]:
    """The plain loop: argmax over the tokens that an answer may hold."""
    control = reader.tokenizer.control
    banned = [control[name] for name in ("doc", "q", "a", "none")]
    step, state, ids, rows = question_ids(reader.tokenizer, question), None, [], []
    for _ in range(count):
        with torch.no_grad():
            logits, state = reader.model.decode(torch.tensor([step]), state, memory)
        row = logits[0, -1].clone()
        rows.append(row.clone())
        row[banned] = -torch.inf
        if not ids:
            row[control["eos"]] = -torch.inf
        token = int(row.argmax())
        if token == control["eos"]:
            break
        ids.append(token)
        step = [token]
    return ids, rows


@pytest.mark.parametrize("key_dtype", ["float32", "bfloat16", "int8"])
def test_store_law(tmp_path: Path, texts: Path, home: Path, key_dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Greedy tokens and logits over a reloaded cache equal those over the plain passes, document by document."""
    # A model that was never trained soon repeats itself, which would end the answer.
    monkeypatch.setattr("gfqa.answer.generate.CYCLES", 64)
    reader = open_model(make_model(tmp_path / "model", key_dtype=key_dtype), "cpu")
    run([texts], reader=reader, home=home)
    memory = open_memory(reader, Store.open(home), ["texts"])
    all_ids, all_keys, starts = [], [], []
    for path, text in TEXTS.items():
        ids, _ = document_ids(reader.tokenizer, path, text)
        starts.append(sum(map(len, all_ids)))
        all_ids.append(ids)
        with torch.no_grad():
            all_keys.append(rounded(reader.model.prefill(torch.tensor([ids]))[0][0], key_dtype))
    plain = KeyCache(torch.tensor([id for ids in all_ids for id in ids]), torch.cat(all_keys), torch.tensor(starts))
    question = torch.tensor([question_ids(reader.tokenizer, "Which port?")])
    with torch.no_grad():
        expected = reader.model.decode(question, None, plain)[0]
        stored = reader.model.decode(question, None, memory.cache)[0]
    torch.testing.assert_close(stored, expected, rtol=1e-4, atol=1e-4)
    ids, _ = greedy(reader, plain, "Which port?", 64)
    answer = ask(memory, "Which port?", max_tokens=64)
    assert answer.tokens["generated"] == len(ids)
    assert answer.text == reader.tokenizer.decode(ids).strip()


def test_score_is_one_minus_the_probability_of_none(tiny_model: Path, texts: Path, home: Path) -> None:
    reader = open_model(tiny_model, "cpu")
    run([texts], reader=reader, home=home)
    memory = open_memory(reader, Store.open(home), ["texts"])
    with torch.no_grad():
        logits, _ = reader.model.decode(
            torch.tensor([question_ids(reader.tokenizer, "q")]), None, memory.cache, last_only=True
        )
    none = torch.softmax(logits[0, -1], -1)[reader.tokenizer.control["none"]]
    assert ask(memory, "q", max_tokens=1).score == pytest.approx(1 - float(none), abs=1e-6)


def test_composition_law(tiny_model: Path, texts: Path, home: Path, tmp_path: Path) -> None:
    """Two caches of the halves are, bit for bit, one cache of the whole."""
    reader = open_model(tiny_model, "cpu")
    run([texts], reader=reader, home=home)
    whole = open_memory(reader, Store.open(home), ["texts"])
    halves = tmp_path / "halves"
    run([texts], reader=reader, home=halves, name="one", limits=_only("a.txt"))
    run([texts], reader=reader, home=halves, name="two", limits=_only("b", "d.txt"))
    for names in (["one", "two"], ["two", "one"], ["two", "one", "two"]):
        both = open_memory(reader, Store.open(halves), names)
        assert np.array_equal(both.ids, whole.ids)
        assert both.starts == whole.starts
        torch.testing.assert_close(both.cache.keys, whole.cache.keys, rtol=1e-4, atol=1e-5)
        assert ask(both, "q").text == ask(whole, "q").text


def _only(*names: str):  # type: ignore[no-untyped-def]
    from gfqa.documents import Limits

    return Limits(include=names)


def test_a_piped_document_counts_like_a_stored_one(tiny_model: Path, texts: Path, home: Path) -> None:
    reader = open_model(tiny_model, "cpu")
    run([texts], reader=reader, home=home)
    store = Store.open(home)
    memory = open_memory(reader, store, ["texts"], b"piped text\nsecond line\n")
    assert len(memory.starts) == len(TEXTS) + 1
    assert memory.prefilled == len(document_ids(reader.tokenizer, "<stdin>", "piped text\nsecond line\n")[0])
    number = [origin.cache for origin in memory.origins].index(None)
    begin = memory.starts[number]
    ids = memory.ids[begin : begin + memory.prefilled]
    assert bytes(i for i in ids.tolist() if i < 256) == b"<stdin>\npiped text\nsecond line\n"
    assert list(memory.starts) == memory.cache.chain_starts.tolist()
    for start, origin in zip(memory.starts, memory.origins, strict=True):
        header = bytes(memory.ids[start + 1 : start + origin.entry.header_tokens].tolist())
        assert header.decode() == origin.entry.path + "\n"


@pytest.mark.parametrize("kind", ["chained", "recurrent"])
def test_chained_law(
    kind: str, request: pytest.FixtureRequest, texts: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking a chained cache is the model's own forward pass over all documents and the question."""
    reader = open_model(request.getfixturevalue(f"{kind}_model"), "cpu")
    monkeypatch.setitem(prefill.TOKENS_AT_ONCE, "cpu", 32)
    run([texts], reader=reader, home=home)
    memory = open_memory(reader, Store.open(home), ["texts"])
    corpus = [id for path in sorted(TEXTS) for id in document_ids(reader.tokenizer, path, TEXTS[path])[0]]
    assert memory.ids.tolist() == corpus
    question = question_ids(reader.tokenizer, "Which port?")
    with torch.no_grad():
        expected = reader.model(torch.tensor([corpus + question]))[0][0, -1]
        logits, _ = memory.decode(torch.tensor([question]), memory.state, [])
    exact = reader.config.key_dtype == "float32"
    torch.testing.assert_close(logits[0, -1], expected, rtol=1e-4, atol=1e-4 if exact else 0.1)
    answer = ask(memory, "Which port?", max_tokens=4)
    assert answer.located == (kind == "chained")
    assert {c.path for c in answer.citations} <= set(TEXTS)


def test_what_the_chained_layout_cannot_do(chained_model: Path, texts: Path, home: Path) -> None:
    reader = open_model(chained_model, "cpu")
    run([texts], reader=reader, home=home, name="one")
    run([texts], reader=reader, home=home, name="two")
    with pytest.raises(UsageError, match="one cache at a time"):
        open_memory(reader, Store.open(home), ["one", "two"])


def test_choosing_a_cache_skips_damaged_ones(tiny_model: Path, texts: Path, home: Path) -> None:
    reader = open_model(tiny_model, "cpu")
    run([texts], reader=reader, home=home, name="good")
    run([texts / "b"], reader=reader, home=home, name="bad")
    store = Store.open(home)
    path = store.manifest_path("bad")
    path.chmod(0o600)
    path.write_bytes(b"")
    assert choose_caches(store, [], texts / "b") == ["good"]
    with pytest.raises(CacheError):
        choose_caches(store, [], Path("/nowhere"))


def test_answers_are_deterministic(tiny_model: Path, texts: Path, home: Path) -> None:
    reader = open_model(tiny_model, "cpu")
    run([texts], reader=reader, home=home)
    memory = open_memory(reader, Store.open(home), ["texts"])
    first, second = ask(memory, "q"), ask(memory, "q")
    assert (first.text, first.score, first.citations) == (second.text, second.score, second.citations)


def test_a_memory_budget_reaches_the_model(tmp_path: Path) -> None:
    reader = open_model(make_model(tmp_path / "model"), "cpu")
    text = b"The default timeout is 4.5 seconds.\n" * 20
    with pytest.raises(ModelError, match="more than the budget"):
        ask(open_memory(reader, None, document=text, memory_budget=1000), "What is the default timeout?")
    bounded, free = (open_memory(reader, None, document=text, memory_budget=bytes) for bytes in (10**9, None))
    # One memory answers several questions; the second look must not disturb it.
    answers = [ask(memory, "What is the default timeout?") for memory in (free, bounded, bounded)]
    assert len({(answer.text, answer.score, answer.citations) for answer in answers}) == 1
