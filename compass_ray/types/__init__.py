"""The values that travel along the data path. Pure: no clock, no I/O, no Ray."""
