// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_TRIAL_H
#define ALRARE_NNP_TRIAL_H

#include "nnp/evaluator.h"

namespace alrare {

/// Tries a model that comes from elsewhere on a few atoms, before a simulation relies on it.
///
/// Forces are whatever it says the gradient is, and ranks give each other only as many atoms as its
/// receptive field says: where either is not so, every number would be wrong without a word.
///
/// \throws std::runtime_error with one sentence when an energy or a gradient is not finite, when
/// the gradient of a member is not that of its energy, when the gradient of the mean is not the
/// mean of gradients, when an energy depends on edges beyond the receptive field, or when ranks
/// that own one atom each would give other energies or forces than one rank.
void try_model(Evaluator &model);

/// Compares an engine with one that is known to be right, on a few atoms and within rounding: a
/// device, its driver and its compiler come from elsewhere, too.
///
/// \throws std::runtime_error with one sentence when energies or forces differ.
void compare_engines(Evaluator &model, Evaluator &trusted);

} // namespace alrare

#endif
