"""What encoders can be told of quality and speed, by their FFmpeg names, and what is refused."""

from jaxvsr.errors import UsageError, choices, nearest

WORST = {"libx264": 51, "libx265": 51, "libvpx-vp9": 63, "libsvtav1": 63}  # CRF, from 0
NAMED = ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"]
NAMED += ["slower", "veryslow", "placebo"]
PRESETS = {
    "libx264": NAMED,
    "libx265": NAMED,
    "libvpx-vp9": [str(speed) for speed in range(-8, 9)],  # its cpu-used
    "libsvtav1": [str(speed) for speed in range(-1, 14)],
}
SPEEDS = f"{', '.join(NAMED)} (H.264, H.265), -8 to 8 (VP9), -1 to 13 (AV1)"


def check_crf(codec: str, crf: float | None) -> None:
    """Raises UsageError for a CRF that the encoder does not have."""
    if crf is None:
        return
    if codec not in WORST:
        raise UsageError(f"{codec} has no quality setting; leave --crf away")
    if not 0 <= crf <= WORST[codec]:
        raise UsageError(f"crf {crf:g}: is out of range; {codec} takes 0 (best) to {WORST[codec]}")


def check_preset(codec: str | None, preset: str | None) -> None:
    """Raises UsageError for a speed that the encoder, or without one no encoder, knows."""
    if preset is None:
        return
    if codec is None:
        names = [name for known in PRESETS.values() for name in known]
        if str(preset) not in names:
            meant = nearest(preset, NAMED)
            raise UsageError(f"preset {preset}: is no encoder's speed; choose from {SPEEDS}{meant}")
    elif codec not in PRESETS:
        raise UsageError(f"{codec} has no presets; leave --preset away")
    elif str(preset) not in PRESETS[codec]:
        raise UsageError(
            f"preset {preset}: is none of {codec}'s; {choices(preset, PRESETS[codec])}"
        )
