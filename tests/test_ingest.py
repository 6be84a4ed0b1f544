"""Ingest as a use case: batches and slices change nothing, an interrupted chain resumes, names and roots."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gfqa import prefill
from gfqa.answer.prompt import document_ids
from gfqa.cachestore import Store, chain_keys
from gfqa.errors import NothingToRead, UsageError
from gfqa.ingest import default_name, open_model, run
from gfqa.prefill import Counter, prefill_chain
from gfqa.reader import Reader, resolve_device


@pytest.fixture
def reader(tiny_model: Path) -> Reader:
    return open_model(tiny_model, "cpu")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02}.txt").write_text(f"document {number}\n" + "words and more words\n" * number)
    return folder


def plain_keys(reader: Reader, path: str, text: str) -> torch.Tensor:
    """What a chain's keys must be: one prefill over the document alone."""
    ids, _ = document_ids(reader.tokenizer, path, text)
    with torch.no_grad():
        return reader.model.prefill(torch.tensor([ids]))[0][0]


def silent() -> Counter:
    return Counter(0, lambda phase, done, total: None)


def test_batches_change_no_key(reader: Reader, texts: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(prefill.TOKENS_AT_ONCE, "cpu", 100)  # so that long documents go through slice by slice
    run([texts], reader=reader, home=home)
    store = Store.open(home)
    manifest = store.manifest("texts")
    assert len(manifest.documents) == 12
    for entry in manifest.documents:
        stored = torch.from_numpy(store.load_chain(manifest, entry.chain).keys.copy())
        expected = plain_keys(reader, entry.path, (texts / entry.path).read_text())
        assert stored.shape == expected.shape
        torch.testing.assert_close(stored, expected, rtol=1e-5, atol=1e-5)


def test_progress_counts_every_token_once(reader: Reader, texts: Path, home: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    report = run([texts], reader=reader, home=home, on_progress=lambda *event: seen.append(event))
    tokens = [done for phase, done, _ in seen if phase == "pre-filling"]
    assert tokens == sorted(tokens)
    assert tokens[0] == 0
    assert tokens[-1] == report.prefilled == seen[-1][2]
    assert ("reading", 12, 12) in seen


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> int:
    """Segments of 64 tokens, so that a small text is a long document."""
    for module in ("gfqa.prefill", "gfqa.cachestore.keys", "gfqa.cachestore.segment"):
        monkeypatch.setattr(f"{module}.SEGMENT_TOKENS", 64)
    return 64


@pytest.mark.parametrize("chained", [False, True])
def test_an_interrupted_long_chain_resumes_from_its_last_segment(
    reader: Reader, chained_model: Path, home: Path, short_segments: int, chained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(prefill.TOKENS_AT_ONCE, "cpu", 16)
    opened = open_model(chained_model, "cpu") if chained else reader
    ids = prefill.id_array(document_ids(opened.tokenizer, "long.txt", "some words here. " * 30)[0], 261)
    keys = chain_keys(opened.identity, ids)
    assert len(keys) == -(-len(ids) // 64) > 4
    store = Store.open(home, create=True)

    class Stop(Exception):
        pass

    def stop_at(tokens: int) -> Callable[[str, int, int], None]:
        def progress(phase: str, done: int, total: int) -> None:
            if done >= tokens:
                raise Stop

        return progress

    with pytest.raises(Stop), store.writer("long", opened.identity) as writer:
        prefill_chain(opened, writer, ids, Counter(len(ids), stop_at(3 * 64 + 20)))
    with store.writer("long", opened.identity) as writer:
        count = silent()
        prefill_chain(opened, writer, ids, count)
        assert count.done == len(ids) - 3 * 64
        assert writer.has(keys[-1])
        assert (writer.snapshot(keys[-1]) is not None) == chained
        writer.checkpoint()
        assert all(writer.snapshot(key) is None for key in keys[:-1]), "temporary snapshots are given up"
        writer.commit(["/s"], [_entry(keys[-1], len(ids))])
    manifest = store.manifest("long")
    chain = store.load_chain(manifest, keys[-1])
    assert np.array_equal(chain.ids, ids)
    with torch.no_grad():
        expected = opened.model.prefill(torch.from_numpy(ids.astype(np.int64))[None])[0][0]
    stored = torch.from_numpy(chain.keys.copy())
    torch.testing.assert_close(stored, expected, rtol=1e-4, atol=1e-5)


def _entry(chain: str, n_tokens: int) -> Any:
    from gfqa.cachestore import DocumentEntry

    return DocumentEntry("/s", "long.txt", "0" * 64, 1, 1, chain, n_tokens, 10)


def test_what_is_short_is_kept_when_something_long_is_interrupted(reader: Reader, texts: Path, home: Path) -> None:
    (texts / "00-long.txt").write_text("long lines of words\n" * 4000)
    total = sum(len((texts / f"{number:02}.txt").read_text()) for number in range(12))

    def interrupt(phase: str, done: int, whole: int) -> None:
        if phase == "pre-filling" and done > total + 2000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([texts], reader=reader, home=home, on_progress=interrupt)
    (texts / "00-long.txt").unlink()
    report = run([texts], reader=reader, home=home)
    assert (report.ingested, report.prefilled) == (12, 0)


def test_a_file_written_just_now_is_read_again_next_time(reader: Reader, texts: Path, home: Path) -> None:
    """Its time stamp may not move with the next change; an old one is trusted."""
    os.utime(texts / "00.txt", (1, 1))
    run([texts], reader=reader, home=home)
    times = {entry.path: entry.mtime_ns for entry in Store.open(home).manifest("texts").documents}
    assert times["00.txt"] == 10**9
    assert times["01.txt"] == 0


def test_a_trusted_file_is_not_even_opened(
    reader: Reader, texts: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in texts.iterdir():
        os.utime(path, (1, 1))
    run([texts], reader=reader, home=home)
    monkeypatch.setattr("gfqa.documents.source.Source.read", lambda *_: pytest.fail("a file was read"))
    assert run([texts], reader=reader, home=home).unchanged == 12


def test_roots_are_counted_once_however_they_are_named(reader: Reader, texts: Path, home: Path) -> None:
    report = run([texts, texts / ".", str(texts) + "/"], reader=reader, home=home)
    assert report.ingested == 12
    assert Store.open(home).manifest("texts").sources == (str(texts),)


def test_nothing_is_created_for_nothing(reader: Reader, tmp_path: Path, home: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingToRead):
        run([tmp_path / "empty"], reader=reader, home=home)
    with pytest.raises(UsageError):
        run([tmp_path / "missing"], reader=reader, home=home)
    assert not list(home.iterdir())


def test_default_names() -> None:
    assert default_name(Path("/a/My Project (2)")) == "My-Project-2"
    assert default_name(Path("/a/.config")) == "config"
    assert default_name(Path("/")) == "documents"
    assert default_name(Path("/a/漢字")) == "documents"
    assert default_name(Path("/a/paper.v2.pdf"), is_file=True) == "paper.v2"


def test_every_default_name_is_a_possible_name() -> None:
    from gfqa.cachestore import check_name

    for name in ("-x", "..", "a" * 300, "é", "a b", "_x", "x\n", "~"):
        check_name(default_name(Path("/") / name))


def test_devices() -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") in ("cpu", "cuda")
    for name in ("gpu", "cuda:", "cuda:x", "cpu:0", ""):
        with pytest.raises(UsageError):
            resolve_device(name)
