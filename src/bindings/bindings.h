// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_BINDINGS_BINDINGS_H
#define ALRARE_BINDINGS_BINDINGS_H

#include "nnp/neighborhood.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>
#include <optional>

/// What the parts of alrare._core share.
namespace alrare {

using Floats = pybind11::array_t<float, pybind11::array::c_style | pybind11::array::forcecast>;
using Doubles = pybind11::array_t<double, pybind11::array::c_style | pybind11::array::forcecast>;
using Integers =
    pybind11::array_t<std::int64_t, pybind11::array::c_style | pybind11::array::forcecast>;

/// Edges of a frame given as arrays: positions (N, 3), species (N), cell (3, 3).
///
/// \throws std::invalid_argument at a wrong shape.
Neighborhood neighbors(const Integers &species, const Doubles &positions,
                       const std::optional<Doubles> &cell, const std::array<bool, 3> &pbc,
                       double cutoff);

/// As `neighbors`, for what is going to be evaluated.
///
/// \throws std::runtime_error that names them, from 0, when two atoms are at the same place.
Neighborhood distinct_neighbors(const Integers &species, const Doubles &positions,
                                const std::optional<Doubles> &cell, const std::array<bool, 3> &pbc,
                                double cutoff);

/// Adds Descriptor to the module.
void bind_descriptor(pybind11::module_ &module);

/// Adds MatrixProduct and SoapStep to the module.
void bind_optimizer(pybind11::module_ &module);

/// Adds Selection to the module.
void bind_selection(pybind11::module_ &module);

/// Adds MemberGradient and TrainingBatch to the module.
void bind_training(pybind11::module_ &module);

} // namespace alrare

#endif
