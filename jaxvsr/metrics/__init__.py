"""How close a picture is to the truth: PSNR and SSIM in JAX, VMAF by libvmaf."""

from jaxvsr.metrics.fidelity import luma, psnr, ssim
from jaxvsr.metrics.vmaf import vmaf

__all__ = ["luma", "psnr", "ssim", "vmaf"]
