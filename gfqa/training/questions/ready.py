"""Units from published question sets: SQuAD, FairytaleQA, COVID-QA, ConditionalQA, QAMR, tldr, MedQuAD.

Input: {"title", "paragraphs": [{"context", "qas": [{"question", "answers", ...}]}]}, one document a line. Only questions
whose answer can be copied from the text are kept.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from gfqa.training.questions.units import Question, Unit, question, read_jsonl, unit

_STYLES = (
    "{title}/{i:03}.txt", "{slug}/p{i}.md", "wiki/{slug}-{i:02}.txt", "notes/{words} {i}.txt", "{slug}/section_{i}.rst",
    "{title}.d/{i}.txt", "articles/{title}/{i:04}", "docs/{slug}/{i:02}.md", "{words} ({i}).txt", "corpus/{number:06}.txt",
    "data/{letter}/{number}-{i}.txt", "text/{number:05}/{i:03}.md",
)  # fmt: skip


def document_path(title: str, index: int, rng: random.Random) -> str:
    """A plausible relative path for paragraph `index` of a document; the style comes from `rng`, so seed it per document."""
    words = re.sub(r"[^\w.,'-]+", " ", title.replace("_", " ")).strip() or "untitled"
    slug = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") or "untitled"
    number = rng.randrange(100_000)
    style = _STYLES[rng.randrange(len(_STYLES))]
    return style.format(
        title=words.replace(" ", "_"), slug=slug, words=words, i=index, letter=slug[0], number=number + index
    )


def find_verbatim(answer: str, text: str) -> str | None:
    """`answer` as spelled in `text` (case may differ, outer punctuation may go), or None."""
    for candidate in (answer.strip(), answer.strip().strip(".\"'")):
        if not candidate:
            continue
        if candidate in text:
            return candidate
        at = text.lower().find(candidate.lower())
        if at >= 0 and len(text.lower()) == len(text):
            return text[at : at + len(candidate)]
    return None


def passages(text: str, size: int) -> list[str]:
    """Cut `text` at paragraph, line or sentence ends into runs of about `size` characters; joined they give the text."""
    cuts, start = [], 0
    while len(text) - start > size * 1.4:
        window = text[start : start + int(size * 1.3)]
        for mark in ("\n\n", "\n", ". ", " "):
            at = window.rfind(mark, size // 2)
            if at > 0:
                break
        else:
            at, mark = len(window), ""
        cuts.append(window[: at + len(mark)])
        start += at + len(mark)
    return [*cuts, text[start:]]


def first_sentence(text: str, longest: int = 300) -> str | None:
    """The first sentence of `text`, verbatim, or None when it is too short to say anything or too long to copy."""
    match = re.match(r"\s*(.+?[.!?])(?=\s|$)", text, re.DOTALL)
    sentence = (match.group(1) if match else text).strip()
    while match and re.search(r"\b(e\.g|i\.e|vs|etc|approx|Dr|St|No)\.$", sentence):
        rest = re.match(r".+?[.!?](?=\s|$)", text[match.start(1) + len(sentence) :], re.DOTALL)
        if not rest:
            break
        sentence += rest.group(0)
    return sentence if 12 <= len(sentence) <= longest else None


def _documents(path: Path) -> Iterator[tuple[dict[str, Any], random.Random]]:
    for document in read_jsonl(path):
        yield document, random.Random(f"{path.name}:{document['title']}")


def squad(path: Path) -> Iterator[Unit]:
    """Every paragraph one unit, all its questions, the distinct gold answers."""
    for document, rng in _documents(path):
        style_seed = rng.random()
        for i, paragraph in enumerate(document["paragraphs"]):
            qas = [question(qa["question"].strip(), qa["answers"], "span") for qa in paragraph["qas"] if qa["answers"]]
            where = document_path(document["title"], i, random.Random(style_seed))
            yield unit("squad", document["title"], where, paragraph["context"], qas)


def split_documents(path: Path, set_name: str, size: int, longest: int, keep_empty: float) -> Iterator[Unit]:
    """Long documents cut in passages; each question goes to the passage that holds its answer and most of its words."""
    for document, rng in _documents(path):
        style_seed, number = rng.random(), 0
        for paragraph in document["paragraphs"]:
            pieces = passages(paragraph["context"], size)
            asked: list[list[Question]] = [[] for _ in pieces]
            for qa in paragraph["qas"]:
                if not qa.get("explicit", True):
                    continue
                words = set(re.findall(r"\w{4,}", qa["question"].lower()))
                options = []
                for at, piece in enumerate(pieces):
                    answers = [found for answer in qa["answers"] if (found := find_verbatim(answer, piece))]
                    if answers and len(answers[0]) <= longest:
                        overlap = len(words & set(re.findall(r"\w{4,}", piece.lower())))
                        options.append((overlap, -at, answers))
                if options:
                    _, minus_at, answers = max(options)
                    asked[-minus_at].append(question(qa["question"].strip(), answers, "span"))
            for piece, qas in zip(pieces, asked):
                if qas or rng.random() < keep_empty:
                    where = document_path(document["title"], number, random.Random(style_seed))
                    yield unit(set_name, document["title"], where, piece, qas)
                number += 1


def conditionalqa(path: Path) -> Iterator[Unit]:
    """Government guidance; only questions with a short verbatim answer (yes and no are not in the text)."""
    merged: dict[tuple[str, str], list[Question]] = {}
    for document, _ in _documents(path):
        for paragraph in document["paragraphs"]:
            for qa in paragraph["qas"]:
                answers = [found for answer in qa["answers"] if (found := find_verbatim(answer, paragraph["context"]))]
                if answers and answers[0].lower() not in ("yes", "no") and len(answers[0]) <= 200:
                    qas = merged.setdefault((document["title"], paragraph["context"]), [])
                    qas.append(question(qa["question"].strip(), answers, "span"))
    for number, ((title, text), qas) in enumerate(merged.items()):
        slug = title.rstrip("/").rsplit("/", 1)[-1]
        yield unit("conditionalqa", slug, f"gov/{slug}/{number}.md", text, qas)


def qamr(path: Path) -> Iterator[Unit]:
    """Single sentences with many questions each; the group is the article the sentence comes from."""
    for document, _ in _documents(path):
        parts = document["title"].split(":")
        for paragraph in document["paragraphs"]:
            qas = [question(qa["question"].strip(), qa["answers"], "span") for qa in paragraph["qas"] if qa["answers"]]
            path_name = f"{parts[1]}/{'-'.join(parts[2:])}.txt"
            yield unit("qamr", parts[2], path_name, paragraph["context"], qas)


_TLDR_FORMS = (
    "{d}", "{tool}: {d}", "how do I {l} with {tool}?", "{l} using {tool}",
    "which {tool} command does this: {d}", "How can I {l} with `{tool}`?",
    "{tool} {l}", "what's the command to {l} with {tool}?", "Give me the {tool} command to {l}.",
    "command line for: {l} ({tool})", "how to {l} in {tool}",
)  # fmt: skip


def tldr(path: Path, cap: int) -> Iterator[Unit]:
    """Command pages: description to command. Whole pages until `cap` questions; mostly with the tool's name, as people ask."""
    pages = list(_documents(path))
    random.Random(7).shuffle(pages)
    count = 0
    for document, rng in pages:
        folder, _, name = document["title"].rpartition("/")
        tool = name.removesuffix(".md")
        for paragraph in document["paragraphs"]:
            qas = []
            for qa in paragraph["qas"]:
                description = re.sub(r"\[(\w+)\]", r"\1", qa["question"]).strip().rstrip(":.")
                text = rng.choice(_TLDR_FORMS[1:] if rng.random() < 0.8 else _TLDR_FORMS)
                lowered = description[:1].lower() + description[1:]
                qas.append(question(text.format(d=description, l=lowered, tool=tool), qa["answers"], "command"))
            count += len(qas)
            yield unit("tldr", folder, document["title"], paragraph["context"], qas)
        if count >= cap:
            return


def medquad(path: Path, cap: int, longest: int = 8_000) -> Iterator[Unit]:
    """Health pages; answers cut to their first sentence, pages cut at `longest` characters."""
    pages = list(_documents(path))
    random.Random(11).shuffle(pages)
    count = 0
    for document, rng in pages:
        for paragraph in document["paragraphs"]:
            text = "".join(passages(paragraph["context"], longest)[:1])
            qas, heads = [], set()
            for qa in paragraph["qas"]:
                # Some answers open with the question again, some with a list of key points.
                opening = re.compile(r"^(?:Key Points\s*-?\s*|[^.!?]{0,200}\?\s+)+")
                answer = first_sentence(opening.sub("", qa["answers"][0])) if qa["answers"] else None
                if (
                    answer
                    and not re.search(r" - |following list", answer)
                    and answer in text
                    and qa["question"] not in heads
                ):
                    heads.add(qa["question"])
                    tidy = re.sub(r"[\s?]+$", "?", qa["question"]).replace("(are) ", "")
                    qas.append(question(tidy, answer, "sentence"))
            if qas:
                count += len(qas)
                yield unit("medquad", document["title"], document_path(document["title"], 0, rng), text, qas)
        if count >= cap:
            return


SETS: dict[str, tuple[str, Callable[[Path], Iterable[Unit]]]] = {
    "squad": ("squad-1.1-train", squad),
    "fairytaleqa": ("fairytaleqa-train", lambda path: split_documents(path, "fairytaleqa", 2_000, 200, 0.5)),
    "covidqa": ("covid-qa-train", lambda path: split_documents(path, "covidqa", 3_000, 300, 0.1)),
    "conditionalqa": ("conditionalqa-train", conditionalqa),
    "qamr": ("qamr-capped", qamr),
    "tldr": ("tldr", lambda path: tldr(path, 12_000)),
    "medquad": ("medquad", lambda path: medquad(path, 6_000)),
}
