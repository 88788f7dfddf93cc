"""A batch, dealt out evenly."""

from jaxvsr.errors import UsageError


def check_batch(rows: int, parts: int, of: str = "") -> None:
    """Raises UsageError unless so many rows divide by `parts`: devices, or what `of` calls them."""
    if rows % parts:
        near = {rows // parts * parts, -(-rows // parts) * parts} - {0}
        use = " or ".join(map(str, sorted(near)))
        raise UsageError(f"batch {rows} does not divide by {of or f'{parts} devices'}; use {use}")
