"""Where weights come from: a packaged name, a path, or a URL kept in a cache."""

import hashlib
import os
import sys
import tempfile
import urllib.error
import urllib.request
from importlib import resources
from pathlib import Path

from jaxvsr.errors import WeightsError, nearest
from jaxvsr.host.places import cache_folder

PACKAGED = {  # each a .safetensors of that name in weights_data, with a card; what it is for
    "sr_unet_light_x2": "small and fast, nearest to the truth; the default",
    "sr_unet_light_x2_fidelity": "small and fast, firmer, after four codecs",
    "sr_unet_light_x2_perceptual": "small and fast, sharper",
    "sr_unet_x2": "sharper, with texture that may be invented",
    "sr_unet_x2_fidelity": "nearest to the truth",
    "sr_unet_x2_collapse": "after CRF 33 to 42: takes blocks and ringing away",
    "sr_unet_x2_collapse_fidelity": "the same, nearer to the truth and softer",
}
BLOCK = 1 << 18
TIMEOUT = 10  # s without a byte
REMEDY = "go online, or download it elsewhere and give its path"


def locate(source: str) -> Path:
    """The file that a packaged name, a path or a URL (optionally `#sha256=HEX`) stands for."""
    path = Path(source)
    if source.startswith(("https://", "http://")) and not os.path.exists(source):
        return fetch(source)
    if source.startswith("~") and not path.exists():
        path = Path(os.path.expanduser(source))
    if path.is_dir():
        raise WeightsError(f"{source}: a folder; give the checkpoint file in it")
    if path.is_file() or source not in PACKAGED:
        if path.is_file() or path.with_suffix(".param").is_file():
            return path
        names = f"{', '.join(PACKAGED)}{nearest(source, [*PACKAGED, 'bicubic', 'lanczos'])}"
        raise WeightsError(f"{source}: no such weights; give a file, a URL, or one of: {names}")
    packaged = Path(str(resources.files("jaxvsr") / "weights_data" / f"{source}.safetensors"))
    if not packaged.is_file():
        raise WeightsError(f"{source}: its file {packaged.name} is not installed; reinstall jaxvsr")
    return packaged


def fetch(url: str, remedy: str = REMEDY) -> Path:
    """The cached file of `url`, downloaded at first need.

    `#sha256=HEX` behind the URL is checked. Without it, the digest of the first download is kept
    beside the file, so that later damage is noticed. `remedy` is what the error says to do where
    the address cannot be reached.
    """
    address, _, fragment = url.partition("#")
    wanted = fragment.removeprefix("sha256=").lower() if fragment.startswith("sha256=") else ""
    key = hashlib.sha256(address.encode()).hexdigest()[:8]
    path = cache_folder() / f"{key}-{address.rpartition('/')[2].partition('?')[0] or 'weights'}"
    note = path.with_name(path.name + ".sha256")
    if path.is_file() and note.is_file():
        digest = _digest(path)
        if digest == (wanted or note.read_text().strip()):
            return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = _download(address, path, wanted)
        note.write_text(digest + "\n")
    except urllib.error.HTTPError as error:
        raise WeightsError(f"{address}: the server says {error.code}; check the URL") from None
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise WeightsError(f"{address}: cannot be reached ({reason}); {remedy}") from None
    except OSError as error:
        raise WeightsError(
            f"{path.parent}: cannot keep the download ({error.strerror or error}); set JAXVSR_CACHE"
        ) from None
    return path


def _download(url: str, path: Path, wanted: str) -> str:
    """Fetches to a temporary file that takes the name only once whole and checked."""
    handle, name = tempfile.mkstemp(prefix=".download-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            digest = _copy(url, file)
        if wanted and digest != wanted:
            raise WeightsError(
                f"{url}: its sha256 is {digest}, not {wanted}; fetch it from a source you trust"
            )
        os.replace(name, path)
        return digest
    finally:
        Path(name).unlink(missing_ok=True)


def _copy(url: str, file) -> str:
    request = urllib.request.Request(url, headers={"User-Agent": "jaxvsr"})
    hashed, done = hashlib.sha256(), 0
    with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:
        total = int(reply.headers.get("Content-Length") or 0)
        while block := reply.read(BLOCK):
            file.write(block)
            hashed.update(block)
            done += len(block)
            _show(done, total)
    if total and done != total:
        raise ConnectionError(f"{done} of {total} bytes came")
    return hashed.hexdigest()


def _show(done: int, total: int) -> None:
    if not sys.stderr.isatty():
        return
    share = done / total if total else 0
    bar = f"[{'#' * int(30 * share):30}] {share:4.0%} " if total else ""
    end = "\n" if done == total else ""
    sys.stderr.write(f"\rweights {bar}{done / 1e6:.1f} MB{end}")
    sys.stderr.flush()


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
