"""SR-UNet (Vaccaro et al., MM 2021): what the paper claims, and its numbers."""

from experiments.frame.claims import Paper, Study

TABLE_2 = {  # SSIM, LPIPS, VMAF, and frames per second on a GTX 1080 Ti
    "sr_unet": {"ssim": 0.7190, "lpips": 0.2067, "vmaf": 84.30, "fps": 46.1},
    "unet": {"ssim": 0.7273, "lpips": 0.2193, "vmaf": 85.32, "fps": 45.4},
    "srresnet_8": {"ssim": 0.7278, "lpips": 0.2130, "vmaf": 84.24, "fps": 6.4},
    "espcn_6": {"ssim": 0.7159, "lpips": 0.2125, "vmaf": 82.29, "fps": 45.0},
    "bicubic": {"ssim": 0.7209, "lpips": 0.2821, "vmaf": 79.15},
}
TABLE_3 = {  # at 1080p: SSIM, LPIPS, VMAF, kbit/s
    "720p CRF 18 + SR-UNet": (0.7611, 0.1251, 95.3133, 11846),
    "1080p CRF 22": (0.8181, 0.1237, 94.8185, 14225),
    "720p CRF 18": (0.7987, 0.1835, 92.8792, 11846),
    "720p CRF 21 + SR-UNet": (0.7711, 0.1494, 92.864, 7585),
    "1080p CRF 24": (0.8016, 0.1440, 92.824, 10105),
    "720p CRF 21": (0.7793, 0.2024, 89.964, 7585),
    "720p CRF 23 + SR-UNet": (0.7611, 0.16790, 90.9682, 5678),
    "1080p CRF 26": (0.7836, 0.1634, 90.2208, 7290),
    "720p CRF 23": (0.7639, 0.2161, 87.33, 5678),
    "720p CRF 25 + SR-UNet": (0.7402, 0.1798, 88.174, 4243),
    "1080p CRF 28": (0.7737, 0.1834, 86.920, 5306),
    "720p CRF 25": (0.7461, 0.2312, 84.065, 4243),
}
TABLE_4 = {  # to 1080p: SSIM, LPIPS, VMAF, kbit/s
    "720p CRF 21 + SR overfitted": (0.7672, 0.1036, 94.25, 8250),
    "720p CRF 20 + SR": (0.7769, 0.1423, 93.88, 8786),
    "1080p CRF 23": (0.8099, 0.1340, 93.895, 11961),
    "720p CRF 18 + SR overfitted": (0.7840, 0.0880, 96.52, 12511),
    "1080p CRF 20": (0.8349, 0.1012, 96.27, 20617),
}
STUDY = Study(
    "Table 2",
    TABLE_2,
    measured="14 Derf clips, 540p to 1080p, GTX 1080 Ti",
    degradation="sr-unet",
    crf=23,
    way="halved, H.265 CRF 23, doubled again",
    curves="Fig. 4-5, Table 3: two thirds the size, doubled, down to the full size",
    heading="The paper's Table 3, 1080p:",
    published=TABLE_3,
)
PAPER = Paper(
    "sr_unet",
    "SR-UNet",
    "Vaccaro et al., ACM MM 2021",
    "https://doi.org/10.1145/3474085.3475683",
    "better LPIPS and VMAF than H.265 with bicubic enlargement, in real time",
    "whole: training, Tables 2 to 4, a network for one film; weights are packaged",
    STUDY,
)
