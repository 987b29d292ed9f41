// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_PAIR_NNP_ELEMENT_MASSES_H
#define ALRARE_PAIR_NNP_ELEMENT_MASSES_H

#include <string>
#include <vector>

namespace alrare {

/// Whether a text is the symbol of an element.
bool is_element(const std::string &text);

/// The element whose mass an atom type has although it is named another; "" if there is none.
///
/// A mass that belongs to no element of the model (of an isotope, or made heavier on purpose)
/// contradicts nothing.
/// \param element   what pair_coeff names the type
/// \param mass      of the type, g/mol
/// \param elements  those of the model
std::string element_of_mass(const std::string &element, double mass,
                            const std::vector<std::string> &elements);

} // namespace alrare

#endif
