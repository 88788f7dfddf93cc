"""How close a picture is to the truth: PSNR, SSIM and LPIPS in JAX, VMAF by libvmaf."""

from jaxvsr.metrics.fidelity import luma, ms_ssim, psnr, ssim
from jaxvsr.metrics.niqe import niqe
from jaxvsr.metrics.perceptual import lpips
from jaxvsr.metrics.rate import bd_metric, bd_rate
from jaxvsr.metrics.vmaf import vmaf

__all__ = ["bd_metric", "bd_rate", "lpips", "luma", "ms_ssim", "niqe", "psnr", "ssim", "vmaf"]
