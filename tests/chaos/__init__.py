"""Random work and random faults against a real Compass, and what must hold all the same.

`generator` makes operations and `nemesis` makes faults, both from a seed; `load` plays the
operations and writes a `history`; `evidence` is what the books, the provider and the logs say;
`checkers` compare them. `python -m tests.chaos --seconds 1800 --seed 7` is the long form.
"""
