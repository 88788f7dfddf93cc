"""Triton kernels, each with its definition in plain JAX; never imports jaxvsr."""
