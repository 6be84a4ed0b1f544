"""Training of the reader: data, loop, and the question sets."""
