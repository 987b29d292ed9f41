"""Write small MACE models with random weights, to try the export without training.

python random_mace.py 3        # random_0.model, random_1.model, random_2.model
"""

import sys

import numpy as np
import torch
from e3nn import o3
from mace import modules

ISOLATED_ATOMS = np.array([-13.6, -1030.0])  # H, C, eV

for number in range(int(sys.argv[1])):
    torch.manual_seed(number)
    torch.set_default_dtype(torch.float64)
    model = modules.ScaleShiftMACE(
        r_max=4.0,
        num_bessel=6,
        num_polynomial_cutoff=5,
        max_ell=2,
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        num_interactions=2,
        num_elements=2,
        hidden_irreps=o3.Irreps("8x0e + 8x1o"),
        MLP_irreps=o3.Irreps("8x0e"),
        atomic_energies=ISOLATED_ATOMS,
        avg_num_neighbors=8.0,
        atomic_numbers=[1, 6],
        correlation=2,
        gate=torch.nn.functional.silu,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )
    torch.save(model, f"random_{number}.model")
