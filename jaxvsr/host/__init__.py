"""What runs on the host beside JAX: threads, cores, folders, places of files."""
