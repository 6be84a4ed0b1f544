"""The commands, one file a subject: parse flags, call one use case, hand the result to the console. `gfqa.cli` joins them."""
