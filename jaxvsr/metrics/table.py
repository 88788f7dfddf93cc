"""The table of metrics: what each one is called, its unit, which way is better, its source."""

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Metric:
    """Facts about a metric that its values cannot tell.

    `kind` says what it looks at: "frame" a frame and its truth, "motion" two neighbouring frames
    and their truths, "alone" a frame without any truth, "vmaf" whole clips through libvmaf.
    `higher_is_better` is None where the value nearest to 0 is best, as of a signed difference.
    `needs` is what must be installed or downloaded for it, empty for nothing.
    """

    title: str
    unit: str
    higher_is_better: bool | None
    digits: int
    kind: Literal["frame", "motion", "alone", "vmaf"]
    source: str
    needs: str = ""

    @property
    def better(self) -> str:
        """Which way is better, in words."""
        return {True: "higher", False: "lower", None: "nearer to 0"}[self.higher_is_better]

    def loss(self, values):
        """Values of this metric, so turned that lower is better."""
        if self.higher_is_better is None:
            return np.abs(values)
        return -values if self.higher_is_better else values


_WANG, _MS = "Wang et al. 2004", "Wang et al. 2003"
_LPIPS, _TECO = "Zhang et al. 2018, v0.1", "Chu et al. 2020 (TecoGAN)"
_EVH = "GAN-EVH"
METRICS = {
    "psnr": Metric("PSNR (RGB)", "dB", True, 2, "frame", ""),
    "psnr_y": Metric("PSNR (Y)", "dB", True, 2, "frame", "BT.601 luma"),
    "ssim": Metric("SSIM (RGB)", "", True, 4, "frame", _WANG),
    "ssim_y": Metric("SSIM (Y)", "", True, 4, "frame", _WANG),
    "ms_ssim": Metric("MS-SSIM (RGB)", "", True, 4, "frame", _MS),
    "ms_ssim_y": Metric("MS-SSIM (Y)", "", True, 4, "frame", _MS),
    "lpips": Metric("LPIPS (AlexNet)", "", False, 4, "frame", _LPIPS, "alex"),
    "lpips_squeeze": Metric("LPIPS (SqueezeNet)", "", False, 4, "frame", _LPIPS, "squeeze"),
    "lpips_vgg": Metric("LPIPS (VGG16)", "", False, 4, "frame", _LPIPS, "vgg"),
    "niqe": Metric("NIQE", "", False, 3, "alone", "Mittal et al. 2013", "niqe"),
    "vmaf": Metric("VMAF", "", True, 2, "vmaf", "libvmaf v0.6.1", "libvmaf"),
    "vmaf_neg": Metric("VMAF-NEG", "", True, 2, "vmaf", "libvmaf v0.6.1neg", "libvmaf"),
    "tpsnr": Metric("tPSNR", "dB", True, 2, "motion", _EVH),
    "tssim": Metric("tSSIM", "", True, 4, "motion", _EVH),
    "tof": Metric("tOF", "px", False, 3, "motion", _TECO),
    "tlp": Metric("tLP", "x100", False, 3, "motion", _TECO, "alex"),
    "mesh": Metric("mesh", "levels", False, 3, "frame", "ours, metrics.patterns"),
    "detail": Metric("finest octave", "dB", None, 2, "frame", "ours, metrics.patterns"),
    "grain": Metric("grain", "dB", None, 2, "frame", "ours, metrics.patterns"),
    "flicker": Metric("flicker", "levels", False, 3, "motion", "ours, metrics.patterns"),
    "warp_error": Metric("warping error", "x1000", False, 3, "motion", "Lai et al. 2018"),
}
