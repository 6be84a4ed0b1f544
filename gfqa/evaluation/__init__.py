"""Measures of a reader: comprehension, code look-up, needles, PDFs, what is not there. `gfqa eval --help`.

`run(arguments)` is the command; `measure(names, model, device, ...)` gives the results to a program.
"""

from gfqa.evaluation.run import MEASURES, Result, measure, run

__all__ = ["MEASURES", "Result", "measure", "run"]
