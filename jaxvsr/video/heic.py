"""HEIC through pillow-heif, which is imported only when a file asks for it."""

from jaxvsr.errors import UsageError


def library(path):
    """The module, made known to Pillow. Raises UsageError where it is not installed."""
    try:
        import pillow_heif
    except ImportError:
        raise UsageError(f"{path}: HEIC needs pillow-heif; pip install pillow-heif") from None
    pillow_heif.register_heif_opener()
    return pillow_heif


def is_heic(head: bytes) -> bool:
    """Whether a file that begins so is of the family."""
    return head[4:8] == b"ftyp"
