"""HDR side data: the mastering display and the content light level, read and written.

SMPTE ST 2086 and CTA-861.3. FFmpeg hands both out as C structures on a frame; encoders take them as
text in their own options.
"""

import struct

CARRIERS = ("libx264", "libx265", "libsvtav1")  # encoders that write both into the stream
# Dynamic metadata describes the source's own pixels, frame by frame, and no encoder here takes it.
DYNAMIC = {
    "DYNAMIC_HDR_PLUS": "HDR10+ dynamic metadata",
    "DOVI_RPU_BUFFER": "Dolby Vision metadata",
    "DOVI_METADATA": "Dolby Vision metadata",
    "DYNAMIC_HDR_VIVID": "HDR Vivid metadata",
}


def read(frame) -> dict:
    """{"mastering": {...}, "light": (MaxCLL, MaxFALL), "dynamic": [names]}, what there is of it.

    Mastering: "red", "green", "blue", "white" as CIE (x, y) and "luminance" as (min, max) in cd/m2.
    """
    found, dynamic = {}, set()
    for data in frame.side_data:
        name = data.type.name
        if name == "MASTERING_DISPLAY_METADATA":
            found["mastering"] = _mastering(bytes(data))
        elif name == "CONTENT_LIGHT_LEVEL":
            found["light"] = struct.unpack("2I", bytes(data)[:8])
        elif name in DYNAMIC:
            dynamic.add(DYNAMIC[name])
    if dynamic:
        found["dynamic"] = sorted(dynamic)
    return {key: value for key, value in found.items() if value}


def _mastering(data: bytes) -> dict | None:
    """AVMasteringDisplayMetadata: ten rationals, then whether the chromaticities and range hold."""
    *numbers, has_primaries, has_luminance = struct.unpack("22i", data[:88])
    values = [a / b if b else 0.0 for a, b in zip(numbers[::2], numbers[1::2], strict=True)]
    if not (has_primaries and has_luminance):
        return None
    points = [tuple(values[i : i + 2]) for i in range(0, 8, 2)]
    names = ("red", "green", "blue", "white")
    return dict(zip(names, points, strict=True)) | {"luminance": tuple(values[8:10])}


def options(codec: str, hdr: dict) -> list[str]:
    """`key=value` parts for x264-params, x265-params or svtav1-params."""
    parts = []
    if mastering := hdr.get("mastering"):
        text = _svt(mastering) if codec == "libsvtav1" else _x26x(mastering)
        key = {"libx265": "master-display"}.get(codec, "mastering-display")
        parts.append(f"{key}={text}")
    if light := hdr.get("light"):
        key = {"libx265": "max-cll", "libx264": "cll"}.get(codec, "content-light")
        parts.append(f"{key}={light[0]},{light[1]}")
    return parts


def _x26x(mastering: dict) -> str:
    """In units of 0.00002 and 0.0001 cd/m2, as the bit stream has it."""
    return _display(mastering, lambda x: f"{round(x * 5e4)}", lambda cd: f"{round(cd * 1e4)}")


def _svt(mastering: dict) -> str:
    return _display(mastering, lambda x: f"{x:.5f}", lambda cd: f"{cd:.4f}")


def _display(mastering: dict, place, light) -> str:
    """Chromaticities, green first, and luminance; `place` and `light` write one number each."""
    order = {"G": "green", "B": "blue", "R": "red", "WP": "white"}
    points = [(label, mastering[name]) for label, name in order.items()]
    text = "".join(f"{label}({place(x)},{place(y)})" for label, (x, y) in points)
    low, high = mastering["luminance"]
    return f"{text}L({light(high)},{light(low)})"
