"""How close a picture is to the truth: PSNR, SSIM and LPIPS in JAX, VMAF by libvmaf."""

from jaxvsr.metrics.fidelity import luma, ms_ssim, psnr, ssim
from jaxvsr.metrics.perceptual import lpips
from jaxvsr.metrics.vmaf import vmaf

__all__ = ["lpips", "luma", "ms_ssim", "psnr", "ssim", "vmaf"]
