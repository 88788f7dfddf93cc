"""What else a picture file holds that Pillow leaves aside: depth, further pictures, colours."""

from pathlib import Path

HEAD = 1 << 16  # bytes of a file in which its boxes are looked for
FILM_COLOURS = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}  # primaries by their code
TRANSFERS = {16: "PQ", 18: "HLG"}


def depth(path: Path, image) -> int:
    """Bits a channel of JPEG 2000, AVIF, HEIC and Pillow's deep modes; 8 of anything else."""
    if image.mode.startswith(("I", "F")):
        return 16
    if image.format == "HEIF":
        return image.info.get("bit_depth", 8)
    head = _head(path) if image.format in ("JPEG2000", "AVIF") else b""
    place = head.find(b"\xff\x4f\xff\x51")  # the codestream and its size marker
    if image.format == "JPEG2000" and place >= 0:
        return (head[place + 42] & 0x7F) + 1
    place = head.find(b"pixi")
    return head[place + 9] if image.format == "AVIF" and place >= 0 else 8


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def further(path: Path, image) -> list[str]:
    """What of the file is no part of the picture that was read, each as a short text."""
    found = []
    count = getattr(image, "n_frames", 1)
    if image.format == "MPO" or (count > 1 and image.format in ("HEIF", "PSD", "DCX", "ICNS")):
        found.append(f"{count - 1} further pictures in the file (a gain map, depths or layers)")
    info = image.info
    for key, what in (("depth_images", "a map of depths"), ("aux", "a gain map or mask")):
        if info.get(key):
            found.append(what)
    if image.format == "ICO" and len(info.get("sizes", ())) > 1:
        found.append(f"{len(info['sizes']) - 1} smaller pictures in the file")
    return found + _meant(path, image)


def _meant(path: Path, image) -> list[str]:
    """Primaries and transfer that are told by numbers, where no profile tells them."""
    if image.format not in ("AVIF", "HEIF") or image.info.get("icc_profile"):
        return []
    head = _head(path)
    place = head.find(b"colrnclx")
    if place < 0:
        return []
    primaries, transfer = (int.from_bytes(head[place + k : place + k + 2]) for k in (8, 10))
    named = [FILM_COLOURS.get(primaries), TRANSFERS.get(transfer)]
    return [f"that its colours are of {' and '.join(filter(None, named))}"] if any(named) else []
