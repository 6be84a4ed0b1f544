"""Which words of a question are names."""

from __future__ import annotations

import pytest

from gfqa.answer.names import names


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("does it work with PostgreSQL?", ("PostgreSQL",)),
        ("Where does Tesla live? Paris or Prague?", ("Tesla", "Prague")),
        ("HTTP/2 or not, I'd say", ("HTTP",)),
        ("what does readFile do, and read_file", ("readFile", "read_file")),
        ("Who's the King of Ürümqi?", ("King", "Ürümqi")),
        ("The Limits Of The Client", ()),
        ("WHAT IS max_size HERE", ("max_size",)),
        ("Linux", ()),
        ("", ()),
    ],
)
def test_names(question: str, expected: tuple[str, ...]) -> None:
    assert names(question) == expected
