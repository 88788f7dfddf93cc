"""Pictures side by side, to see what a network does to a frame."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP, LABEL = 8, 28  # pixels between pictures, and height of a label


def side_by_side(columns: dict[str, np.ndarray], *, width: int = 640) -> np.ndarray:
    """One picture [H, W, 3] uint8 of labelled columns: the whole frame above a zoomed crop.

    `columns` maps labels to frames of one size, uint8 [h, w, 3]. The whole frames are reduced
    to `width` pixels; the crop is the most detailed spot of the last frame, enlarged so that
    its pixels can be seen.
    """
    frames = list(columns.values())
    y, x, side = detailed_spot(frames[-1])
    height = round(frames[0].shape[0] * width / frames[0].shape[1])
    rows = [
        [_resized(f, width, height, Image.Resampling.LANCZOS) for f in frames],
        [
            _resized(f[y : y + side, x : x + side], width, width, Image.Resampling.NEAREST)
            for f in frames
        ],
    ]
    sheet = Image.new("RGB", (len(frames) * (width + GAP) - GAP, LABEL + height + GAP + width))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(18)
    for i, label in enumerate(columns):
        left = i * (width + GAP)
        draw.text((left + 4, 3), label, fill="white", font=font)
        sheet.paste(rows[0][i], (left, LABEL))
        sheet.paste(rows[1][i], (left, LABEL + height + GAP))
    return np.asarray(sheet)


def detailed_spot(frame: np.ndarray) -> tuple[int, int, int]:
    """(top, left, side) of the square with the strongest gradients, a quarter of the frame high."""
    height, width = frame.shape[:2]
    side = max(min(height, width) // 4, min(height, width, 16))
    luma = frame.astype(np.float32).mean(axis=-1)
    detail = np.zeros_like(luma)
    detail[:, 1:] += np.abs(np.diff(luma, axis=1))
    detail[1:] += np.abs(np.diff(luma, axis=0))
    total = np.pad(detail, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    step = max(side // 4, 1)
    y, x = np.unravel_index(np.argmax(sums[::step, ::step]), sums[::step, ::step].shape)
    return int(y) * step, int(x) * step, side


def _resized(frame: np.ndarray, width: int, height: int, how) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(frame)).resize((width, height), how)
