"""SR-UNet (Vaccaro et al., MM 2021), Table 2: 540p to 1080p after H.265 CRF 23, 14 Derf clips.

python -m experiments.sr_unet --accelerator gpu       # 102,400 steps; paper: 24 h on a Titan Xp
python -m experiments.sr_unet --smoke                 # under a minute, made-up scenes, no files
python -m experiments.sr_unet --network unet          # another row of Table 2, by the same recipe
python -m experiments.sr_unet --use x2                # weights for a use instead of the paper's
python -m experiments.sr_unet table RUN...            # Table 2 and the rate-distortion curves
python -m experiments.sr_unet overfit CLIP            # Table 4: a network of its own for one film
python -m experiments.sr_unet pack FILE.zip           # coded clips for a machine without them
python -m experiments.sr_unet light --run runs/light  # the light network by L1 alone

Uses: paper (H.265 at CRF 23), x2 (CRF 18-28, H.264 H.265 VP9 AV1), x2_collapse (CRF 33-42),
light_x2 (as x2, the light network). Networks: sr_unet, sr_unet_light, unet, srresnet_8, espcn_6.
Claim: better LPIPS and VMAF than H.265 with bicubic enlargement, in real time. The same command
continues a run that was stopped; one for the paper ends with its row of Table 2, paper | ours.
"""

from experiments.frame.entry import start
from experiments.sr_unet.recipe import SR_UNET
from jaxvsr.commands.reading import read


def overfit(args: list[str], prog: str) -> object:
    """The command for one film; its modules are loaded when it is asked for."""
    from experiments.sr_unet.overfit import Overfit

    return read(Overfit, args, prog=prog).run()


def light(args: list[str], prog: str) -> None:
    """The plainer run that the light network was trained by first."""
    from experiments.sr_unet.light import Light, main

    print(main(read(Light, args, prog=prog)))


if __name__ == "__main__":
    start(SR_UNET, __doc__, {"overfit": overfit, "light": light})
