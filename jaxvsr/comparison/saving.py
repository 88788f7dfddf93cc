"""Writing a finished file, or saying in one line why it cannot be."""

import io
from pathlib import Path

from PIL import Image

from jaxvsr.errors import OutputError


def save(path: str | Path, data: bytes) -> Path:
    """Writes the file and returns its path; OutputError where the system does not let it."""
    path = Path(path)
    try:
        path.write_bytes(data)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}; choose another output") from error
    return path


def save_picture(path: str | Path, picture: Image.Image) -> Path:
    """Writes a picture as PNG."""
    data = io.BytesIO()
    picture.save(data, "PNG")
    return save(path, data.getvalue())
