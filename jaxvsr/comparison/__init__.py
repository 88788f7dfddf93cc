"""Candidates against a reference: pair their frames, score them, tell the result."""
