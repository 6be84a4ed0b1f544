"""Rows for the pointer: what is marked says the answer, what is not does not; and the pointer learns from them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gfqa.answer.prompt import asking_ids
from gfqa.errors import UsageError
from gfqa.model.pointer import point
from gfqa.tokenizer import load_tokenizer
from gfqa.training.asking import some_of
from gfqa.training.config import TrainConfig
from gfqa.training.data import Rows
from gfqa.training.forward import Forward, Marked, chosen
from gfqa.training.optimizer import OptimizerConfig
from gfqa.training.packs import UnitFiles
from gfqa.training.passage_parts import PassageShape
from gfqa.training.passage_rows import answer_of, passage_row
from gfqa.training.pool import Pool, unit_of
from gfqa.training.questions.units import question, unit
from gfqa.training.rows import RowShape
from gfqa.training.trainer import Trainer, marked_of
from gfqa.training.wrong_passages import _densest, _nearest, _pieces, swapped, wrong_passage

from .kit import MODEL, TOKENIZER, opened, prose

POINTER = MODEL | {"pointer_width": 8, "reread_tokens": 64}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return opened(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def pool(data: dict[str, str]) -> Pool:
    return Pool(UnitFiles(Path(data["questions"])), load_tokenizer(TOKENIZER), {"squad": 2.0}, 4096)


def rows_of(pool: Pool, shape: PassageShape, count: int) -> list[dict[str, np.ndarray]]:
    rng = random.Random(3)
    return [passage_row(pool, shape, pool.tokenizer, rng, lambda question, rng: question, None) for _ in range(count)]


def answers(pool: Pool) -> dict[str, set[str]]:
    units = [pool.unit(i) for i in range(len(pool.files.sets))]
    return {qa["q"]: set(qa["a"]) for made in units for qa in made.qas}


def test_what_is_marked_is_the_answer_and_a_wrong_passage_lacks_it(pool: Pool) -> None:
    shape = PassageShape(length=192, per_context=4, passage=96, unanswerable=0.4)
    tokenizer, known, wrong = pool.tokenizer, answers(pool), 0
    for row in rows_of(pool, shape, 25):
        assert row["ids"].shape == row["firsts"].shape == (4, 192)
        for ids, firsts, asked, n, first, last in zip(
            *(row[name] for name in ("ids", "firsts", "asked", "tokens", "first", "last")), strict=True
        ):
            question = tokenizer.decode(ids[1:asked].tolist()).strip()
            assert asking_ids(tokenizer, question) == ids[:asked].tolist()
            assert ids[asked] == tokenizer.control["doc"]
            assert (ids[n:] == 0).all()
            assert n <= 192
            said = tokenizer.decode(ids[first : last + 1].tolist()).strip(" .")
            if last:
                assert asked < first <= last < n
                assert said in known[question]
                assert firsts[first]
                assert all(asked < at < n for at in np.flatnonzero(firsts))
            else:
                wrong += 1
                assert np.flatnonzero(firsts).tolist() == [0]
                text = tokenizer.decode(ids[asked + 1 : n].tolist())
                assert question.startswith(("default", "LIMIT", "what does")) or not any(
                    a in text for a in known[question]
                )
    assert 10 < wrong < 60


def test_an_answer_in_the_path_is_marked_there(pool: Pool) -> None:
    found = next(u for u in (pool.unit(i) for i in range(len(pool.files.sets))) if u.path == "shop/pricing.py")
    asked = next(qa for qa in found.qas if qa["a"] == ["shop/pricing.py"])
    answer = answer_of(found, asked, random.Random(0))
    assert answer is not None
    assert 0 < answer.first <= answer.last < found.header
    assert pool.tokenizer.decode(found.ids[answer.first : answer.last + 1].tolist()).strip() == "shop/pricing.py"


def test_units_without_answers_in_their_text_are_refused(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gfqa.training.passage_rows.answer_of", lambda *arguments: None)
    with pytest.raises(UsageError, match="next to no question"):
        rows_of(pool, PassageShape(per_context=1), 1)


def phase(data: dict[str, str], out: Path, **changes: Any) -> TrainConfig:
    settings: dict[str, Any] = {
        "model": POINTER, "steps": 4, "language_rows": 1, "language_length": 64, "question_rows": 1, "passage_rows": 2,
        "language_share": 0.3, "passage_share": 0.4, "row_shape": RowShape(documents=192, questions=256, smallest_context=64),
        "passage_shape": PassageShape(length=192, per_context=2, passage=96), "workers": 0, "warmup_steps": 2,
        "out": str(out), "log_every": 2, "optimizer": OptimizerConfig(muon_lr=0.01),
    }  # fmt: skip
    return TrainConfig(**(settings | data | changes))


def test_the_training_pass_points_where_the_model_does(data: dict[str, str], tmp_path: Path) -> None:
    config = phase(data, tmp_path)
    trainer = Trainer(config)
    torch.nn.init.normal_(trainer.model.pointer.key.weight, std=0.1)
    torch.nn.init.normal_(trainer.model.pointer.edges.weight, std=1.0)
    batch = trainer._batches["passages"].next()
    ids, marked = batch["ids"].flatten(0, 1), marked_of(batch)
    forward = Forward(trainer.model, compiled=False, flex=False)
    overlap, same = forward.pointed(ids, marked)
    found = point(trainer.model, ids, marked.asked, marked.tokens)
    assert same.tolist() == ((found.first == marked.first) & (found.last == marked.last)).tolist()
    # Alone and without the padding, the first chain is answered as in the batch.
    n = int(marked.tokens[0])
    alone = point(trainer.model, ids[:1, :n], marked.asked[:1], marked.tokens[:1])
    assert (alone.first[0], alone.last[0]) == (found.first[0], found.last[0])
    torch.testing.assert_close(alone.answerable[0], found.answerable[0], rtol=1e-4, atol=1e-4)
    assert ((overlap >= 0) & (overlap <= 1)).all()


def test_dropout_changes_training_and_no_measurement(data: dict[str, str], tmp_path: Path) -> None:
    trainer = Trainer(phase(data, tmp_path))
    batch = trainer._batches["passages"].next()
    ids, marked = batch["ids"].flatten(0, 1), marked_of(batch)
    plain = Forward(trainer.model, compiled=False, flex=False)
    dropping = Forward(trainer.model, compiled=False, flex=False, dropout=0.3)
    expected = plain.passages(ids, marked)[0]
    assert not torch.allclose(dropping.passages(ids, marked)[0], expected, rtol=1e-4)
    with dropping.measuring():
        assert torch.allclose(dropping.passages(ids, marked)[0], expected, rtol=1e-5)


def test_a_pointer_learns_and_a_resumed_phase_is_the_same(
    data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gfqa.training.data.is_held", lambda group: group == "Rivers")
    config = phase(
        data, tmp_path / "out", steps=40, passage_rows=4, language_rows=0, question_rows=0, dropout=0.02,
        held=("squad",), held_rows=2, warmup_steps=10, optimizer=OptimizerConfig(muon_lr=0.02, adam_lr=0.01),
        set_weights={"code": 0.0},
    )  # fmt: skip
    trainer = Trainer(config)
    lines: list[dict[str, Any]] = []
    trainer.emit = lines.append
    trainer.run(until=20)
    trainer.save_state(tmp_path / "state")
    assert trainer.run()
    losses = [line["passages_loss"] for line in lines if "passages_loss" in line]
    assert losses[-1] < 0.7 * losses[0]
    again = Trainer(config, resume=tmp_path / "state")
    again.run(until=22)
    assert again._batches["passages"].position == 22


def test_held_rows_are_of_the_groups_kept_out(
    data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gfqa.training.data.is_held", lambda group: group == "Rivers")
    config = phase(data, tmp_path, held=("squad",))
    tokenizer = load_tokenizer(TOKENIZER)
    held, kept = Rows(config, "held-passages:squad", 0)[0], Rows(config, "passages", 0)[0]
    for row, inside in ((held, True), (kept, False)):
        texts = "".join(tokenizer.decode(ids.tolist()) for ids in row["ids"])
        assert ("Rivers/" in texts) == inside
    assert (held["last"] > 0).all()


def test_a_swapped_name_is_of_another_document(pool: Pool) -> None:
    units = [pool.unit(i) for i in range(len(pool.files.sets))]
    tower = next(u for u in units if u.path == "Towers/1.txt")
    asked = {"q": "When did Anna1 Berg climb 17 towers?", "a": ["never"], "kind": "span"}
    rng, put = random.Random(0), set()
    for _ in range(40):
        other = swapped(pool, tower, asked, rng)
        if other is not None:
            put.add(other)
            assert other != asked["q"]
            assert any(name in other and name not in tower.text for name in ("Anna0 Berg", "Anna2 Berg", "0", "2"))
    assert put
    assert swapped(pool, tower, {"q": "who was it?", "a": ["x"], "kind": "span"}, rng) is None


def test_a_passage_whose_path_is_the_answer_shows_what_is_asked_about(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f'"""{prose(9, 200)}"""\n\n\ndef compute(total):\n    return total\n\n\n# {prose(10, 200)}\n'
    asked = question("where is compute defined?", "shop/pricing.py", "where", names=["compute"], line=4)
    made = unit_of(unit("code", "a/shop", "shop/pricing.py", text, [asked]), pool.tokenizer)
    monkeypatch.setattr(pool, "seed", lambda rng: made)
    row = rows_of(pool, PassageShape(length=192, per_context=8, passage=64, unanswerable=0.0), 1)[0]
    passages = [pool.tokenizer.decode(ids[n:].tolist()) for ids, n in zip(row["ids"], row["asked"], strict=True)]
    assert sum("compute" in passage for passage in passages) >= 5


def test_questions_without_names_are_taken_more_often() -> None:
    qas = [{"kind": "constant"}] * 8 + [{"kind": "everyday_value"}] * 2
    rng, shape = random.Random(0), PassageShape(most_of_document=2, everyday=2.0)
    drawn = [qa["kind"] for _ in range(2000) for qa in some_of(qas, shape.most_of_document, shape.everyday, rng)]
    assert len(drawn) == 4000
    share = drawn.count("everyday_value") / 4000
    # Two of ten, twice as likely each: about a third of the first draw.
    assert 0.28 < share < 0.37
    assert len(some_of(qas[:1], shape.most_of_document, shape.everyday, rng)) == 1


def test_a_wrong_passage_is_what_a_search_would_bring(pool: Pool) -> None:
    """The document with most of a question's words, and of it the part with most of them; another part of a long one too."""
    wanted = _pieces(pool.tokenizer, "How long may the connection pool wait for a socket?")
    pieces = [pool.tokenizer.piece_bytes(int(id)).strip().lower() for id in wanted[0]]
    assert any(b"socket" in piece for piece in pieces)
    assert all(len(piece) >= 3 for piece in pieces)
    near, far = "The connection pool waits for a socket. ", prose(1, 150) + " "
    made = [
        unit_of(unit("x", "g", f"{n}.txt", t, []), pool.tokenizer) for n, t in enumerate((far, far + near, near[:12]))
    ]

    class Files:
        def tokens(self, number: int) -> np.ndarray:
            return made[number].ids

    class Three:
        files = Files()

    assert _nearest(Three(), [0, 1, 2], wanted) == 1  # type: ignore[arg-type]
    rng = random.Random(0)
    long = unit_of(unit("x", "g", "long.txt", 4 * far + near + 4 * far, []), pool.tokenizer)
    at = long.places.token(long.text.index("connection pool"))
    assert abs(_densest(long, wanted, 64, rng) - at) < 64
    assert len({_densest(made[0], _pieces(pool.tokenizer, "zzz"), 64, rng) for _ in range(9)}) > 1

    asked = question("How long may the connection pool wait for a socket?", "9 s", "span")
    text = 3 * far + "It is 9 s for each. " + 3 * far + near + far
    answering = unit_of(unit("none", "g", "a.txt", text, [asked]), pool.tokenizer)
    answer = answer_of(answering, answering.qas[0], rng)
    assert answer is not None
    shape = PassageShape(passage=64, elsewhere=1.0)
    found = [wrong_passage(pool, answering, asked, answer, [], shape, rng) for _ in range(60)]
    texts = [answering.tokenizer.decode(each[0].ids[slice(*each[1])].tolist()) for each in found if each is not None]
    assert all(each[0] is answering for each in found if each is not None and each[0].set == "none")
    assert sum("connection pool" in each for each in texts) >= 20
    assert not any("9 s" in each for each in texts)


def test_the_same_name_with_the_same_value_is_no_wrong_passage(pool: Pool) -> None:
    text = "LIMIT = 40\n" + prose(3, 80)
    asked = question("LIMIT?", "40", "constant", names=["LIMIT"], line=1)
    one, other = (unit_of(unit("x", "g", path, text, [asked]), pool.tokenizer) for path in ("a.py", "b.py"))
    rng, shape = random.Random(0), PassageShape(passage=64, elsewhere=0.0, near=1.0)
    answer = answer_of(one, one.qas[0], rng)
    assert answer is not None
    found = [wrong_passage(pool, one, one.qas[0], answer, [one, other], shape, rng) for _ in range(40)]
    assert sum(each is None for each in found) > 5
    for made, window in filter(None, found):
        assert "LIMIT = 40" not in made.tokenizer.decode(made.ids[slice(*window)].tolist())
    clean = unit_of(unit("x", "g", "c.py", text.replace("40", "50"), []), pool.tokenizer)
    assert all(wrong_passage(pool, one, one.qas[0], answer, [one, clean], shape, rng) for _ in range(20))


def test_a_wrong_passage_of_an_article_is_of_another_paragraph(pool: Pool) -> None:
    """The answering one has most of the question's words and is not in the way of the others."""
    tower = next(u for u in (pool.unit(i) for i in range(len(pool.files.sets))) if u.path == "Towers/1.txt")
    rng, shape = random.Random(0), PassageShape(passage=96, elsewhere=0.0, near=1.0)
    answer = answer_of(tower, tower.qas[0], rng)
    assert answer is not None
    found = [wrong_passage(pool, tower, tower.qas[0], answer, [tower], shape, rng) for _ in range(20)]
    assert {each[0].path for each in found if each is not None} <= {"Towers/0.txt", "Towers/2.txt"}
    assert sum(each is not None for each in found) == 20


def test_a_question_is_asked_of_several_passages_of_which_one_answers(pool: Pool) -> None:
    shape = PassageShape(length=192, per_context=8, passage=96, unanswerable=0.2, compared=0.8, rivals=2)
    sizes: list[int] = []
    for row in rows_of(pool, shape, 20):
        for number in np.unique(row["question"]):
            chains = np.flatnonzero(row["question"] == number)
            assert chains.tolist() == list(range(chains[0], chains[-1] + 1))
            asked = [row["ids"][i, : row["asked"][i]].tolist() for i in chains]
            assert all(ids == asked[0] for ids in asked)
            assert (row["last"][chains] > 0).tolist() == [row["last"][chains[0]] > 0] + [False] * (len(chains) - 1)
            passages = [tuple(row["ids"][i, row["asked"][i] : row["tokens"][i]]) for i in chains]
            assert len(set(passages)) == len(passages)
            sizes.append(len(chains))
    assert {1, 2, 3} >= set(sizes) > {1}


def test_the_choice_is_between_the_passages_of_a_question() -> None:
    """Three chains of one question, of which the first answers; one alone; two of a question that none of them answers."""
    last = torch.tensor([3, 0, 0, 3, 0, 0])
    marked = Marked(*[last] * 4, torch.zeros(6, 4), torch.tensor([1, 1, 1, 2, 3, 3]))
    odds = torch.tensor([0.5, 2.0, -1.0, -9.0, 1.0, 3.0], requires_grad=True)
    logits = torch.stack((torch.zeros(6), odds, torch.full((6,), -torch.inf)), dim=1)
    choice = chosen(logits, marked)
    torch.testing.assert_close(choice.loss, -odds[:3].log_softmax(dim=0)[0])
    assert (int(choice.count), int(choice.hits)) == (1, 0)
    choice.loss.backward()
    assert odds.grad is not None
    assert odds.grad[0] < 0 < odds.grad[1]
    assert (odds.grad[3:] == 0).all()
    assert int(chosen(logits + torch.tensor([[0.0, 2.0, 0.0]] + [[0.0] * 3] * 5), marked).hits) == 1


def test_choosing_is_learned(data: dict[str, str], tmp_path: Path) -> None:
    """The loss of choosing alone, in a phase that weighs it, falls."""
    shape = PassageShape(length=192, per_context=4, passage=96, unanswerable=0.0, compared=1.0)
    config = phase(
        data, tmp_path / "out", steps=40, passage_rows=4, language_rows=0, question_rows=0, passage_shape=shape,
        choice_weight=1.0, warmup_steps=10, optimizer=OptimizerConfig(muon_lr=0.02, adam_lr=0.01), log_every=10,
    )  # fmt: skip
    lines: list[dict[str, Any]] = []
    assert Trainer(config, lines.append).run()
    losses = [line["choice_loss"] for line in lines if "choice_loss" in line]
    assert losses[-1] < 0.8 * losses[0]
