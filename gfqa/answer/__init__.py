"""From a question to an answer with citations: the prompt forms, the decode loop, and the place each answer came from.

`prompt` and `citations` are torch-free; `generate` runs the model. Import the submodules directly.
"""
