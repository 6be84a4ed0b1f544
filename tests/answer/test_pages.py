"""Which questions ask for a page, and what they are about."""

from __future__ import annotations

import pytest

from gfqa.answer.pages import beside_the_page


@pytest.mark.parametrize(
    ("question", "about"),
    [
        ("On which page is the warranty described?", "is the warranty ?"),
        ("which page mentions sick leave", "sick leave"),
        ("What page is the travel budget on?", "is the travel budget on?"),
        ("what is the page number of the glossary?", "the glossary?"),
        ("page about tides", "tides"),
        ("at what page does chapter three begin?", "does chapter three begin?"),
        ("in which pages is it explained?", "is it explained?"),
        ("On which page is the treatment described?", "is the treatment ?"),
        ("which page lists the standard rates?", "lists the standard rates?"),
    ],
)
def test_what_a_question_for_a_page_is_about(question: str, about: str) -> None:
    assert beside_the_page(question) == about


@pytest.mark.parametrize(
    "question",
    [
        "How many pages does the handbook have?",
        "What does the landing page show?",
        "Which function renders a page?",
        "what is the default page size?",
        "On which page?",
        "On which page is it?",
        "page",
        "",
    ],
)
def test_other_questions(question: str) -> None:
    assert beside_the_page(question) is None
