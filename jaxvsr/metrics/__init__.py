"""How close a video is to the truth: frames, their motion, rates; in JAX, but VMAF by libvmaf."""

from jaxvsr.metrics.fidelity import luma, ms_ssim, psnr, ssim
from jaxvsr.metrics.flow import farneback
from jaxvsr.metrics.niqe import niqe
from jaxvsr.metrics.patterns import detail, flicker, grain, grain_shares, mesh
from jaxvsr.metrics.perceptual import lpips
from jaxvsr.metrics.rate import bd_metric, bd_rate
from jaxvsr.metrics.temporal import motion_scores, tlp, tof, tpsnr, tssim, warp_error
from jaxvsr.metrics.vmaf import vmaf

__all__ = [
    "bd_metric",
    "bd_rate",
    "detail",
    "farneback",
    "flicker",
    "grain",
    "grain_shares",
    "lpips",
    "luma",
    "mesh",
    "motion_scores",
    "ms_ssim",
    "niqe",
    "psnr",
    "ssim",
    "tlp",
    "tof",
    "tpsnr",
    "tssim",
    "vmaf",
    "warp_error",
]
