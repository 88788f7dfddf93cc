"""Losses: each returns one scalar, unweighted. Weights belong to an experiment's phases.

Images are [..., H, W, C] in [0, 1], clips [N, T, H, W, C]; scores are whatever a critic returns.
Every mean runs over all that is given, so in one program over the global batch it is global.
"""

from jaxvsr.losses.adversarial import (
    critic_layers,
    critic_lead,
    hinge_critic,
    hinge_generator,
    least_squares_critic,
    least_squares_generator,
    logistic_critic,
    non_saturating_generator,
    r1_penalty,
    relativistic_critic,
    relativistic_generator,
    saturating_generator,
)
from jaxvsr.losses.distillation import distil_attention, distil_features, distil_output
from jaxvsr.losses.mesh import mesh
from jaxvsr.losses.perceptual import feature_cosine, feature_distance, lpips
from jaxvsr.losses.pixels import charbonnier, cvegan, l1, ms_ssim, mse, ssim
from jaxvsr.losses.temporal import (
    flow_change,
    flow_smoothness,
    palindrome,
    photometric,
    ping_pong,
    ping_pong_palindrome,
    ping_pong_window,
    warp_consistency,
)

__all__ = [
    "charbonnier",
    "critic_layers",
    "critic_lead",
    "cvegan",
    "distil_attention",
    "distil_features",
    "distil_output",
    "feature_cosine",
    "feature_distance",
    "flow_change",
    "flow_smoothness",
    "hinge_critic",
    "hinge_generator",
    "l1",
    "least_squares_critic",
    "least_squares_generator",
    "logistic_critic",
    "lpips",
    "mesh",
    "ms_ssim",
    "mse",
    "non_saturating_generator",
    "palindrome",
    "photometric",
    "ping_pong",
    "ping_pong_palindrome",
    "ping_pong_window",
    "r1_penalty",
    "relativistic_critic",
    "relativistic_generator",
    "saturating_generator",
    "ssim",
    "warp_consistency",
]
