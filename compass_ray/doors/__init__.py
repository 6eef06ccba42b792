"""How callers may speak to Compass: one door per dialect, each a pure translation at the rim."""
