// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_PAIR_NNP_REQUIREMENTS_H
#define ALRARE_PAIR_NNP_REQUIREMENTS_H

namespace LAMMPS_NS {

/// Ends LAMMPS with one sentence where its settings do not fit pair_style nnp_ensemble: units,
/// newton, special_bonds.
void refuse_unfit_run(class LAMMPS *lmp);

} // namespace LAMMPS_NS

#endif
