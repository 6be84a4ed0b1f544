"""Question data for the reader: published sets, questions generated from code and documentation, synthetic look-ups.

`sets` writes the sets made ahead (units.py has the format); `synthetic` makes units on the fly and `vary` roughens a
question, both while rows are packed.
"""

from gfqa.training.questions.units import BACKWARD_KINDS, Question, Unit, read_jsonl
from gfqa.training.questions.vary import vary

__all__ = ["BACKWARD_KINDS", "Question", "Unit", "read_jsonl", "vary"]
