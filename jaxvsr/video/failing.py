"""What a user can do about a file that cannot be written."""

import av

from jaxvsr.errors import DISK_FULL, OutputError, SpaceError


class failing:  # noqa: N801  (reads as a word in `with failing(path):`)
    """Turns FFmpeg's and the system's errors on a file into OutputError or SpaceError."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if not isinstance(error, (av.FFmpegError, OSError, ValueError)):
            return False
        if getattr(error, "errno", None) in DISK_FULL:
            raise SpaceError(f"{self.path}: no space left; free some and run again") from error
        if isinstance(error, PermissionError):
            raise OutputError(f"{self.path}: no permission to write; choose another") from error
        raise OutputError(f"{self.path}: cannot be written ({error}); choose another") from error
