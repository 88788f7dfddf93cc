"""The subcommands of `python -m jaxvsr`: each a dataclass of its options that runs itself."""
