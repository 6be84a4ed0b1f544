"""Questions from phrases that recur: the answer is left in the text, the sentence that asks is not."""

from __future__ import annotations

import random

import numpy as np
import pytest

from gfqa.tokenizer import load_tokenizer
from gfqa.training.packs import CHUNK
from gfqa.training.questions.recurring import REMOVED, recurring
from gfqa.training.synthetic_units import StreamUnits

TEXT = """The harbour of Port Ellery was built by Agnes Morrow in 1874 after the great storm had taken the old pier. Fishermen
from the northern islands used it every winter until the railway came to the valley.

When the council opened its archive, a letter of Agnes Morrow about the harbour lay between two maps of the coast.
It says that the stones were cut in the quarry of Dunmore and carried over the hills by forty horses. Nobody had
counted them before.

The quarry of Dunmore, whose stones are grey, belongs to the council and is shown to visitors on the first Sunday of
every month. In 1874 the harbour was not built by the council, which had three members and met in the back room of
an inn near the market square.
"""


@pytest.mark.parametrize("seed", range(20))
def test_answers_are_left_and_sentences_are_gone(seed: int) -> None:
    left, qas = recurring(TEXT, 4, random.Random(seed))
    assert len(left) >= (1 - REMOVED) * len(TEXT) - 1
    for qa in qas:
        assert qa["a"][0] in left
        assert qa["a"][0].lower() not in qa["q"].lower()
        assert TEXT.count(qa["a"][0]) >= 2
        assert len(qa["q"].split()) >= 4
    assert (left, qas) == recurring(TEXT, 4, random.Random(seed))


def test_every_question_takes_its_sentence_out() -> None:
    sentences, asked = TEXT.count("."), 0
    for seed in range(20):
        left, qas = recurring(TEXT, 4, random.Random(seed))
        assert sentences - left.count(".") >= len(qas)
        asked += len(qas)
    assert asked > 10


def test_a_question_shares_a_word_with_a_place_of_its_answer() -> None:
    """Of two sentences about 1874 neither says anything of the other; a third word in common makes a question."""
    filler = "Rain fell upon quiet meadows while distant shepherds slept beside their fires. " * 6
    for ending, asked in (("quarrelling bankers founded railways", 0), ("patient masons finished towers", 1)):
        text = f"Many patient masons began work there in 1874 without plans.\n\n{filler}\n\nDuring 1874 {ending} with money."
        found = [qa for seed in range(30) for qa in recurring(text, 6, random.Random(seed))[1] if qa["a"] == ["1874"]]
        assert bool(found) == bool(asked), (ending, found)


def test_text_without_repetition_is_left_alone() -> None:
    text = "Nothing here comes twice, so there is no question to be made from it at all. Short."
    assert recurring(text, 5, random.Random(1)) == (text, [])


def test_windows_of_the_stream_hold_their_answers() -> None:
    tokens = load_tokenizer("bytes")
    documents = [f"{path}\n{TEXT}" for path in ("guide/history.md", "src/main.py", "notes.txt")]
    chains = [tokens.encode(document)[: len(document) // CHUNK * CHUNK] for document in documents]
    begins = np.zeros(sum(len(chain) for chain in chains) // CHUNK, dtype=bool)
    begins[np.cumsum([0, *(len(chain) // CHUNK for chain in chains[:-1])])] = True
    maker = StreamUnits(np.asarray([id for chain in chains for id in chain], dtype=np.uint16), begins, tokens)
    paths = set()
    for seed in range(40):
        for made in maker(random.Random(seed)):
            paths.add(made.path.rsplit(".", 1)[0] if made.path[-1].isdigit() else made.path)
            assert made.set == "recurring"
            assert all(qa["a"][0] in made.text and qa["at"] >= made.header for qa in made.qas)
    assert paths == {"guide/history.md", "notes.txt"}
