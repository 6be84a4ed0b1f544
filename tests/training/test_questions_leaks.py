"""The leak check finds a copy, a shifted and a partly edited copy, and leaves strangers alone."""

from __future__ import annotations

import random
from pathlib import Path

from gfqa.training.leaks import Held, check, held_out, shingles
from gfqa.training.questions.units import unit, write_jsonl


def prose(seed: int, words: int = 300) -> str:
    rng = random.Random(seed)
    return " ".join("".join(rng.choices("abcdefghij", k=rng.randint(2, 8))) for _ in range(words))


def test_copies_are_found_and_strangers_are_not() -> None:
    held, text = Held(), prose(1)
    held.add_document("dev", text)
    words = text.split()
    edited = " ".join(word if i % 40 else "changed" for i, word in enumerate(words))
    assert held.matches(text) == ["dev"]
    assert held.matches(prose(2) + " " + text.upper() + " tail") == ["dev"]
    assert held.matches(edited) == ["dev"]
    assert held.matches(" ".join(words[5:200])) == ["dev"]
    assert held.matches(prose(3)) == []
    assert held.matches(" ".join(words[:30])) == []


def test_shingles_need_twelve_words() -> None:
    assert list(shingles("one two three")) == []
    assert len(list(shingles(prose(1, 20)))) == 9


def test_boilerplate_does_not_count() -> None:
    held = Held()
    for i in range(3):
        held.add_document(f"file{i}", prose(9, 120))
    assert held.matches(prose(9, 120)) == []


def test_report_counts_questions_and_texts(tmp_path: Path) -> None:
    text, question = prose(4), "When did the last of the seven towers fall?"
    ready, train, repos = tmp_path / "ready", tmp_path / "train", tmp_path / "repos"
    document = {"title": "T", "paragraphs": [{"context": text, "qas": [{"question": question, "answers": ["x"]}]}]}
    write_jsonl(ready / "squad-1.1-dev.jsonl.xz", [document])
    (repos / "held").mkdir(parents=True)
    (repos / "held" / "a.py").write_text(prose(5))
    (repos / "held" / "LICENSE.md").write_text(prose(6))
    units = [
        unit("s", "g", "a", prose(6), [{"q": question.lower(), "a": ["x"], "kind": "span"}]),
        unit("s", "g", "b", prose(5), []),
    ]
    write_jsonl(train / "units.jsonl.xz", units)
    report = check(held_out(ready, repos), [train / "units.jsonl.xz"])
    assert (report["texts"], report["questions"], report["held_documents"]) == (2, 1, 2)
    assert (report["leaked_documents"], report["leaked_questions"]) == (1, 1)
