"""Write a committee of MACE models as one file for LAMMPS.

python mace_committee.py MODEL.model MODEL.model ... -o committee.pt

The models are as `mace_run_train` writes them, of the same elements and cutoff. Needs mace-torch
and the torch that alrare was built with; alrare itself is not needed here.
"""

import argparse
import json
import warnings
from pathlib import Path

import torch
from ase.data import chemical_symbols
from e3nn.util import jit
from torch import Tensor


class MaceCommittee(torch.nn.Module):
    """The contract of format version 2 (docs/model_format.md) around M MACE models.

    MACE makes its edge vectors from positions and shifts, ``x[receiver] - x[sender] + shift``.
    Here all positions are 0 and the shifts are the edge vectors, so that energies are functions of
    these. In MACE a message goes from a sender to the receiver, the center: hence the sign.
    """

    def __init__(self, models: list[torch.nn.Module]) -> None:
        super().__init__()
        self.models = torch.nn.ModuleList(jit.compile(model.eval()) for model in models)
        self.n_elements = len(models[0].atomic_numbers)

    def forward(
        self,
        vec: Tensor,
        edge_i: Tensor,
        edge_j: Tensor,
        species: Tensor,
        n_local: int,
        triples: Tensor,
        weights: Tensor,
    ) -> Tensor:
        """Return the energies (M, n_local) in eV."""
        n = species.shape[0]
        none = torch.zeros(n, 3, dtype=vec.dtype, device=vec.device)
        cell = torch.zeros(3, 3, dtype=vec.dtype, device=vec.device)
        energies: list[Tensor] = []
        for model in self.models:
            data = {
                "positions": none.clone(),
                "shifts": -vec,
                "unit_shifts": torch.zeros_like(vec),
                "cell": cell,
                "edge_index": torch.stack([edge_j, edge_i]),
                "node_attrs": torch.nn.functional.one_hot(species, self.n_elements).to(vec.dtype),
                "batch": torch.zeros_like(species),
                "ptr": torch.tensor([0, n], device=vec.device),
                "head": torch.zeros(1, dtype=torch.int64, device=vec.device),
            }
            found = model(data, compute_force=False)["node_energy"]
            assert found is not None
            energies.append(found[:n_local])
        return torch.stack(energies)


def export(models: list[torch.nn.Module], path: Path) -> None:
    """Write the committee with the metadata that the plugin reads."""
    first = models[0]
    numbers = [int(z) for z in first.atomic_numbers]
    cutoff = float(first.r_max)
    for model in models[1:]:
        if [int(z) for z in model.atomic_numbers] != numbers or float(model.r_max) != cutoff:
            raise SystemExit("the models differ in their elements or in r_max")
    double = next(first.parameters()).dtype == torch.float64
    metadata = {
        "format": "alrare-ensemble",
        "format_version": 2,
        "family": "mace",
        "elements": [chemical_symbols[z] for z in numbers],
        "members": len(models),
        "best_member": 0,
        "cutoff": cutoff,
        "angular_cutoff": 0.0,
        "receptive_field": cutoff * int(first.num_interactions),
        "dtype": "float64" if double else "float32",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(MaceCommittee(models))
        torch.jit.save(script, str(path), _extra_files={"alrare.json": json.dumps(metadata)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.model")
    parser.add_argument("-o", "--output", type=Path, default=Path("committee.pt"))
    options = parser.parse_args()
    loaded = [torch.load(path, map_location="cpu", weights_only=False) for path in options.models]
    export(loaded, options.output)
    print(f"{options.output}: {len(loaded)} members")
