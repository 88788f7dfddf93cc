"""Decode, encode, remux and colour: frames with their times. Imports no JAX."""
