"""The measures with answerers whose scores are known: one that knows everything, one that knows nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from gfqa.errors import UsageError
from gfqa.evaluation import bm25, lookup, measures, needle, options, squad, unanswerable
from gfqa.evaluation.answerer import Answered, Cited, Document
from gfqa.evaluation.measures import _some


class Oracle:
    """Knows the gold answer of every question, but only says it if the document is in the memory."""

    def __init__(self, gold: dict[str, str]) -> None:
        self.gold = gold

    def read(self, documents: Sequence[Document]) -> list[Document]:
        return list(documents)

    def tokens(self, text: str) -> int:
        return len(text.split())

    def find(self, memory: list[Document], question: str, count: int) -> list[Cited]:
        gold = self.gold.get(question, "")
        return [Cited(d.path, 1, 10_000) for d in memory if gold and (gold in d.text or gold == d.path)][:count]

    def attended(self, memory: list[Document], question: str, count: int) -> list[str]:
        return ["elsewhere", *(place.path for place in self.find(memory, question, count))][:count]

    def answer(self, memory: list[Document], questions: Sequence[str]) -> list[Answered]:
        answers = []
        for question in questions:
            gold = self.gold.get(question, "")
            places = [d.path for d in memory if gold and (gold in d.text or gold == d.path)]
            cited = tuple(Cited(path, 1, 10_000) for path in places)
            answers.append(Answered(gold if places else "", float(bool(places)), cited))
        return answers


@pytest.fixture
def oracle() -> Oracle:
    return Oracle({item.question: item.answers[0] for item in squad.development_set()})


def test_development_set_is_whole() -> None:
    items = squad.development_set()
    assert len(items) == 10_570
    assert len({item.document for item in items}) == 2_067
    assert all(answer in item.document.text for item in items for answer in item.answers)
    assert "rajpurkar/SQuAD-explorer" in (squad.DEV.parent / "NOTICE").read_text()


def test_squad_scores_an_oracle_full_and_silence_zero(oracle: Oracle) -> None:
    figures = squad.paragraphs(oracle, 200)
    assert figures["n"] == 200
    assert figures["f1"] > 99
    assert squad.paragraphs(Oracle({}), 50)["f1"] == 0
    said, verdict, place, expected = next(iter(figures["answers"].values()))
    assert said == expected
    assert verdict == "right"
    assert place.endswith(".txt:1")
    assert {told[1] for told in squad.paragraphs(Oracle({}), 5)["answers"].values()} == {"silent"}


def test_a_few_answers_are_shown() -> None:
    figures = {"n": 9, "repo": {"answers": {f"q{n}": ["a", "right", "", "a"] for n in range(9)}, "f1": 1.0}}
    shown = _some(figures, 4)
    assert len(shown["repo"]["answers"]) == 4
    assert list(shown["repo"]["answers"]) == sorted(shown["repo"]["answers"])
    assert shown == _some(figures, 4)
    assert _some(figures, None) == figures
    assert _some(figures, 0) == {"n": 9, "repo": {"f1": 1.0}}


def test_one_cache_counts_citations(oracle: Oracle) -> None:
    figures = squad.one_cache(oracle, 40)
    assert figures["exact_match"] > 95
    assert 0 < figures["citation_hit@1"] <= figures["citation_hit@3"] <= 100
    assert 0 < figures["find_hit@1"] <= figures["find_hit@5"] <= figures["find_hit@10"] <= 100
    silent = squad.one_cache(Oracle({}), 10)
    assert silent["find_hit@10"] == 0
    assert figures["attention_hit@1"] == 0 < figures["attention_hit@5"] <= figures["attention_hit@10"]


def test_the_baseline_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bm25, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="bm25s"):
        squad.bm25_hits(5)


def test_bm25_finds_the_paragraph_with_the_words() -> None:
    pytest.importorskip("bm25s")
    pytest.importorskip("Stemmer")
    texts = ["the retries are limited", "a harbour at night", "nothing at all"]
    assert [row[0] for row in bm25.rank(texts, ["harbours", "limiting a retry"], 2)] == [1, 0]


def test_bm25_leaves_the_gpu_alone(tmp_path: Path) -> None:
    """Its library starts jax where it is installed, and jax takes most of a GPU's memory."""
    if not bm25.installed():
        pytest.skip("needs bm25s and PyStemmer")
    (tmp_path / "jax").mkdir()
    for name in ("__init__", "lax"):
        (tmp_path / "jax" / f"{name}.py").write_text("raise SystemExit('jax was imported')")
    code = "import sys; from gfqa.evaluation.bm25 import rank; print(rank(['a cat', 'a dog'], ['dogs'], 1), 'jax' in "
    code += "sys.modules)"
    paths = os.pathsep.join([str(tmp_path), str(Path(bm25.__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert done.stdout == "[[1]] False\n", done.stderr


def test_missing_documents_separate_an_oracle(oracle: Oracle) -> None:
    figures = unanswerable.missing_document(oracle, 300)
    assert figures["auroc"] > 0.8
    assert figures["score_present"] > figures["score_absent"]
    assert unanswerable.missing_document(Oracle({}), 100)["auroc"] == 0.5


class NeedleReader(Oracle):
    """Finds the sentence that holds the key of the question and answers with the held-out value pool's match."""

    def __init__(self) -> None:
        super().__init__({})
        self.depths: list[float] = []

    def answer(self, memory: list[Document], questions: Sequence[str]) -> list[Answered]:
        whole = "\n\n".join(document.text for document in memory)
        self.depths.append(len(whole))
        return [Answered(whole, 1.0) for _ in questions]


def test_needle_lengths_and_recall() -> None:
    reader = NeedleReader()
    figures = needle.needles(reader, (300, 900), trials=1)
    assert figures["n"] == 10
    assert set(figures["cells"]) == {f"{n}@{d:.2f}" for n in (300, 900) for d in needle.DEPTHS}
    assert figures["recall_300"] == 0  # the whole haystack is no answer
    assert max(reader.depths[:5]) < min(reader.depths[5:])
    one = needle.needles(NeedleReader(), (300,), trials=1, depths=(0.25,))
    assert (one["n"], set(one["cells"])) == (1, {"300@0.25"})
    assert one["answers"].items() <= figures["answers"].items()
    assert needle.recalled("48213.", "48213")
    assert not needle.recalled("48213 and more", "48213")


def test_look_up_in_a_tree(tmp_path: Path) -> None:
    for name in ("alpha", "beta"):
        (tmp_path / f"{name}.py").write_text(
            f"{name.upper()}_LIMIT = {len(name)}7\n\n\n"
            f'def read_{name}(path, mode="{name}"):\n    """Read the {name} file at once."""\n    return path\n'
        )
    plain = Oracle({})
    units, _ = lookup.choose(tmp_path, 10_000, plain)
    knowing = Oracle({qa["q"]: qa["a"][0] for unit in units for qa in unit["qas"]})
    figures = lookup.look_up(knowing, tmp_path, 10_000)
    assert figures["accuracy"] == 100
    assert figures["n"] == sum(len(unit["qas"]) for unit in units) > 8
    assert figures["search_file"] > 50
    assert figures["find_line@5"] == 100 >= figures["find_file"] > 50
    assert lookup.look_up(plain, tmp_path, 10_000)["accuracy"] == 0
    hay = tmp_path.parent / "hay"
    hay.mkdir()
    for number in range(5):
        # The same name as in the repository: it is asked about together with its file, or not at all.
        (hay / f"m{number}.py").write_text(
            f"ALPHA_LIMIT = {number}\n\n\ndef other_{number}(a, b={number}):\n    return a\n"
        )
    with_hay = lookup.look_up(knowing, tmp_path, 70, haystack=[hay])
    assert with_hay["files"] > figures["files"]
    units, others = lookup.choose(tmp_path, 10_000, plain, haystack=[hay])
    assert [document.path.split("/")[0] for document in others] == ["hay"] * 5
    alone = [qa["q"] for unit in units for qa in unit["qas"] if "ALPHA_LIMIT" in qa["names"]]
    assert alone
    assert all("alpha.py" in q for q in alone)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no file"):
        lookup.choose(tmp_path / "empty", 10, plain)


def test_help_and_wrong_options_of_eval_wait_for_no_torch() -> None:
    code = (
        "import sys\nfrom gfqa.evaluation import options\noptions.parser()\n"
        "try:\n    options.parse(['none'])\nexcept Exception as error:\n    print(error)\n"
        "print(sorted({'torch', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "There is no measure 'none'.\n[]\n"
    assert set(options.TITLES) == set(measures.MEASURES)
