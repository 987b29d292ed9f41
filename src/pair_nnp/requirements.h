// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_PAIR_NNP_REQUIREMENTS_H
#define ALRARE_PAIR_NNP_REQUIREMENTS_H

#include <string>
#include <vector>

namespace LAMMPS_NS {

/// Ends LAMMPS with one sentence where its settings do not fit pair_style nnp_ensemble: units,
/// newton, special_bonds.
void refuse_unfit_run(class LAMMPS *lmp);

/// Ends LAMMPS with one sentence where units are neither metal nor real.
void require_metal_or_real(class LAMMPS *lmp, const char *style);

/// Makes the shell of ghost atoms so wide that a model sees, for each owned atom, all that its
/// energy depends on.
///
/// \param receptive_field  how far that is, Å
void widen_ghost_shell(class LAMMPS *lmp, double receptive_field);

/// Warns where an atom type has the mass of another element than it is named.
///
/// \param command   which names it, for the warning: "pair_style nnp_ensemble"
/// \param keyword   likewise: "pair_coeff"
/// \param elements  those that may be meant
/// \param names     (n_types) an element or "NULL"
void warn_of_masses(class LAMMPS *lmp, const std::string &command, const std::string &keyword,
                    const std::vector<std::string> &elements,
                    const std::vector<std::string> &names);

} // namespace LAMMPS_NS

#endif
