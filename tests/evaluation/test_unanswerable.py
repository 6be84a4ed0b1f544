"""E3 with answerers whose knowledge is known: one that knows all answers, one that answers everything."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gfqa.errors import UsageError
from gfqa.evaluation import squad, unanswerable
from gfqa.evaluation.answerer import Answered, Document
from tests.evaluation.test_measures import Oracle


class Guesser(Oracle):
    """Always answers; the score is constant."""

    def answer(self, memory: list[Document], questions: Sequence[str]) -> list[Answered]:
        return [Answered(self.gold.get(question, "something"), 0.5) for question in questions]


@pytest.fixture(scope="module")
def gold() -> dict[str, str]:
    return {item.question: item.answers[0] for item in unanswerable.adversarial_set() if item.answers}


def test_the_adversarial_set_is_squad_2() -> None:
    items = unanswerable.adversarial_set()
    assert len(items) == 11_873
    assert sum(not item.answers for item in items) == 5_945
    assert len({item.document for item in items}) == 1_204
    assert len({item.article for item in items}) == 35
    assert "SQuAD 2.0" in (unanswerable.UNANSWERABLE.parent / "NOTICE").read_text()


def test_adversarial_scores_an_oracle_and_a_guesser(gold: dict[str, str]) -> None:
    oracle = unanswerable.adversarial(Oracle(gold), 300)
    assert oracle["n"] == 300
    assert oracle["auroc"] > 0.98
    assert oracle["f1"] > 98
    assert oracle["unanswerable_found"] < 2
    guesser = unanswerable.adversarial(Guesser(gold), 300)
    assert guesser["auroc"] == 0.5
    assert guesser["answerable_found"] == guesser["unanswerable_found"] == 100
    # Holding everything back or giving everything is all that a constant score allows.
    assert guesser["best_f1"] == pytest.approx(max(guesser["f1"], guesser["never_answering_f1"]))


def test_half_of_the_articles_are_absent() -> None:
    figures = unanswerable.absent_article(Oracle({i.question: i.answers[0] for i in squad.development_set()}), 400)
    assert figures["articles_kept"] == 24
    # The oracle knows an answer and says so where any document holds its words, so the short ones mislead it.
    assert figures["auroc"] > 0.75
    assert figures["present_found"] == 100 > figures["absent_found"]
    silent = unanswerable.absent_article(Oracle({}), 50, articles=2)
    assert (silent["auroc"], silent["n"], silent["articles_kept"]) == (0.5, 50, 2)
    with pytest.raises(UsageError, match="48 of 48"):
        unanswerable.absent_article(Oracle({}), 50, articles=48)
