// SPDX-License-Identifier: GPL-2.0-or-later
//
// alrare._core, descriptors and their Jacobian without a model file.
#include "bindings/bindings.h"
#include "nnp/native/descriptor/frame_descriptor.h"

#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <vector>

namespace py = pybind11;

namespace {

using alrare::AevConstants;
using alrare::Doubles;
using alrare::Integers;
using alrare::Neighborhood;
using alrare::native::FrameDescriptor;
using alrare::native::SparseDescriptors;

template <class T>
py::array_t<T> array(const std::vector<T> &values, const std::vector<py::ssize_t> &shape) {
  return py::array_t<T>(shape, values.data());
}

py::dict compute(FrameDescriptor &descriptor, const Integers &species, const Doubles &positions,
                 const std::optional<Doubles> &cell, const std::array<bool, 3> &pbc) {
  const Neighborhood neighborhood =
      alrare::distinct_neighbors(species, positions, cell, pbc, descriptor.cutoff());
  SparseDescriptors found;
  {
    const py::gil_scoped_release release;
    descriptor.compute(neighborhood, found);
  }
  const auto n_edges = static_cast<py::ssize_t>(neighborhood.n_edges());
  const auto n_short = static_cast<py::ssize_t>(found.short_edges.size());
  py::dict out;
  out["aev"] = array(found.aev, {positions.shape(0), descriptor.n_features()});
  out["edge_i"] = array(neighborhood.edge_i, {n_edges});
  out["edge_j"] = array(neighborhood.edge_j, {n_edges});
  out["length"] = array(found.length, {n_edges});
  out["unit"] = array(found.unit, {n_edges, 3});
  out["slope"] = array(found.slope, {n_edges, descriptor.radial_length()});
  out["short"] = array(found.short_edges, {n_short});
  out["jacobian"] =
      array(found.jacobian, {n_short, 3, descriptor.n_elements() * descriptor.angular_length()});
  return out;
}

} // namespace

void alrare::bind_descriptor(py::module_ &module) {
  py::class_<FrameDescriptor>(
      module, "Descriptor",
      "Atomic environment vectors and their Jacobian, as alrare.Descriptor computes them\n"
      "(alrare.model.aev holds formulas and constants).\n\n"
      "Keeps its memory between calls; not for two threads at a time.")
      .def(py::init([](int n_elements, double radial_cutoff, double angular_cutoff,
                       double radial_eta, const std::vector<double> &radial_shifts,
                       double angular_eta, double zeta, const std::vector<double> &angular_shifts,
                       const std::vector<double> &angle_sections,
                       const std::string &instruction_set) {
             return std::make_unique<FrameDescriptor>(
                 AevConstants{radial_cutoff, angular_cutoff, radial_eta, angular_eta, zeta,
                              radial_shifts, angular_shifts, angle_sections},
                 n_elements, instruction_set);
           }),
           py::kw_only(), py::arg("n_elements"), py::arg("radial_cutoff"),
           py::arg("angular_cutoff"), py::arg("radial_eta"), py::arg("radial_shifts"),
           py::arg("angular_eta"), py::arg("zeta"), py::arg("angular_shifts"),
           py::arg("angle_sections"), py::arg("instruction_set") = "auto")
      .def(
          "compute", &compute, py::arg("species"), py::arg("positions"),
          py::arg("cell") = py::none(), py::arg("pbc") = std::array<bool, 3>{false, false, false},
          "A dict of arrays for N atoms, E edges, A of them within the angular cutoff, F features\n"
          "of S elements (S blocks of K radial ones, then pairs of species in blocks of L):\n"
          "aev (N, F); edge_i, edge_j (E,); length (E,), Å, of the edge vector from edge_i to\n"
          "edge_j; unit (E, 3), the edge vector over its length;\n"
          "slope (E, K), 1/Å, derivatives of the radial features of edge_j's species by the\n"
          "length; short (A,), the edges within the angular cutoff; jacobian (A, 3, S L), 1/Å,\n"
          "derivatives of the angular features of the pairs (s, 0) ... (s, S-1), s being edge_j's\n"
          "species, by the edge vector. Every other derivative is zero; that by the center's own\n"
          "position is minus the sum over its edges.");
}
