"""Training data: clips in, aligned pairs of small and large crops out."""
