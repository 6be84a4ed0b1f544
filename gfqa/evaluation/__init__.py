"""Measures of a reader: comprehension, code look-up, needles, PDFs, what is not there. `gfqa eval --help`.

`measures.measure(names, model, device, ...)` gives the results to a program; `measures.run(options.parse(arguments))` is the
command.
"""
