"""The kernels against XLA and PyTorch: `python -m kernels.bench`."""
