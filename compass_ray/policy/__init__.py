"""Decisions as pure functions: they get `now` and chance as arguments. No I/O, no Ray."""
