// SPDX-License-Identifier: GPL-2.0-or-later
//
// alrare._core: the native engine on numpy arrays. Arrays in, arrays out; nothing is decided here.
// The selection core is bound in selection.cpp.
#include "bindings/bindings.h"
#include "nnp/native/native_evaluator.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>

namespace py = pybind11;

namespace {

using alrare::Neighborhood;
using alrare::native::NativeEvaluator;

using alrare::Doubles;
using alrare::Integers;
using alrare::neighbors;

/// Forces and virial of one gradient, added at their places.
void add_forces(const Neighborhood &neighborhood, const std::vector<double> &gradient,
                double *forces, double *virial) {
  for (std::size_t e = 0; e < neighborhood.n_edges(); ++e) {
    double *const fi = forces + 3 * neighborhood.edge_i[e];
    double *const fj = forces + 3 * neighborhood.edge_j[e];
    const double *const g = &gradient[3 * e], *const vec = &neighborhood.vec[3 * e];
    for (int a = 0; a < 3; ++a) {
      fi[a] += g[a];
      fj[a] -= g[a];
      for (int b = 0; b < 3; ++b)
        virial[3 * a + b] -= vec[a] * g[b];
    }
  }
}

py::array_t<double> zeros(const std::vector<py::ssize_t> &shape) {
  py::array_t<double> out(shape);
  std::fill_n(out.mutable_data(), out.size(), 0.0);
  return out;
}

class Ensemble {
public:
  Ensemble(const std::string &path, const std::string &instruction_set, int threads)
      : engine_(path, {instruction_set, threads}) {}

  const alrare::Metadata &metadata() const { return engine_.metadata(); }
  std::string description() const { return engine_.description(); }

  Neighborhood find(const Integers &species, const Doubles &positions,
                    const std::optional<Doubles> &cell, const std::array<bool, 3> &pbc) const {
    return alrare::distinct_neighbors(species, positions, cell, pbc, metadata().cutoff);
  }

  py::tuple evaluate(const Integers &species, const Doubles &positions,
                     const std::optional<Doubles> &cell, const std::array<bool, 3> &pbc,
                     const std::optional<std::vector<double>> &weights) {
    const Neighborhood neighborhood = find(species, positions, cell, pbc);
    const auto members = static_cast<std::size_t>(metadata().members);
    alrare::Evaluation result;
    {
      const py::gil_scoped_release release;
      engine_.evaluate(neighborhood,
                       weights ? *weights
                               : std::vector<double>(members, 1.0 / static_cast<double>(members)),
                       result);
    }
    py::array_t<double> forces = zeros({positions.shape(0), 3}), virial = zeros({3, 3});
    add_forces(neighborhood, result.gradient, forces.mutable_data(), virial.mutable_data());
    return py::make_tuple(
        py::array_t<double>(static_cast<py::ssize_t>(members), result.member_energies.data()),
        forces, virial);
  }

  py::tuple evaluate_members(const Integers &species, const Doubles &positions,
                             const std::optional<Doubles> &cell, const std::array<bool, 3> &pbc) {
    const Neighborhood neighborhood = find(species, positions, cell, pbc);
    const auto members = static_cast<py::ssize_t>(metadata().members);
    std::vector<double> energies;
    std::vector<std::vector<double>> gradients;
    {
      const py::gil_scoped_release release;
      engine_.evaluate_members(neighborhood, -1, energies, gradients);
    }
    py::array_t<double> forces = zeros({members, positions.shape(0), 3});
    py::array_t<double> virial = zeros({members, 3, 3});
    for (py::ssize_t m = 0; m < members; ++m)
      add_forces(neighborhood, gradients[static_cast<std::size_t>(m)],
                 forces.mutable_data() + m * positions.size(), virial.mutable_data() + m * 9);
    return py::make_tuple(py::array_t<double>(members, energies.data()), forces, virial);
  }

  py::array_t<double> atomic_energies(const Integers &species, const Doubles &positions,
                                      const std::optional<Doubles> &cell,
                                      const std::array<bool, 3> &pbc) {
    alrare::Evaluation result;
    engine_.evaluate(find(species, positions, cell, pbc),
                     std::vector<double>(static_cast<std::size_t>(metadata().members), 0.0),
                     result);
    const std::vector<double> &values = engine_.atomic_energies();
    py::array_t<double> out({static_cast<py::ssize_t>(metadata().members), positions.shape(0)});
    std::copy(values.begin(), values.end(), out.mutable_data());
    return out;
  }

  py::array_t<float> descriptors(const Integers &species, const Doubles &positions,
                                 const std::optional<Doubles> &cell,
                                 const std::array<bool, 3> &pbc) {
    std::vector<float> values;
    engine_.descriptors(find(species, positions, cell, pbc), values);
    py::array_t<float> out({positions.shape(0), static_cast<py::ssize_t>(engine_.n_features())});
    std::copy(values.begin(), values.end(), out.mutable_data());
    return out;
  }

private:
  NativeEvaluator engine_;
};

} // namespace

PYBIND11_MODULE(_core, module) {
  module.doc() = "The native CPU engine of alrare on numpy arrays. Units: eV, Å.";
  const auto species = py::arg("species"), positions = py::arg("positions");
  const auto cell = py::arg("cell") = py::none();
  const auto pbc = py::arg("pbc") = std::array<bool, 3>{false, false, false};

  py::class_<Ensemble>(module, "Ensemble",
                       "An `ensemble.safetensors` ready to be evaluated.\n\n"
                       "instruction_set: auto, avx512, avx2 or portable.")
      .def(py::init<const std::string &, const std::string &, int>(), py::arg("path"),
           py::kw_only(), py::arg("instruction_set") = "auto", py::arg("threads") = 1)
      .def_property_readonly("elements", [](const Ensemble &e) { return e.metadata().elements; })
      .def_property_readonly("members", [](const Ensemble &e) { return e.metadata().members; })
      .def_property_readonly("best_member",
                             [](const Ensemble &e) { return e.metadata().best_member; })
      .def_property_readonly("cutoff", [](const Ensemble &e) { return e.metadata().cutoff; })
      .def_property_readonly("description", &Ensemble::description)
      .def("evaluate", &Ensemble::evaluate, species, positions, cell, pbc,
           py::arg("weights") = py::none(),
           "Energies (M,) in eV, and the forces (N, 3) and virial (3, 3) of the weighted sum of\n"
           "the members (their mean unless weights are given).")
      .def("evaluate_members", &Ensemble::evaluate_members, species, positions, cell, pbc,
           "Energies (M,), forces (M, N, 3) and virials (M, 3, 3) of every member.")
      .def("atomic_energies", &Ensemble::atomic_energies, species, positions, cell, pbc,
           "Energies (M, N) of every member and atom without self energies, eV.")
      .def("descriptors", &Ensemble::descriptors, species, positions, cell, pbc,
           "Atomic environment vectors (N, F), float32.");
  alrare::bind_selection(module);
  module.def(
      "neighbors",
      [](const Integers &kinds, const Doubles &where, double cutoff,
         const std::optional<Doubles> &box, const std::array<bool, 3> &periodic) {
        const Neighborhood out = neighbors(kinds, where, box, periodic, cutoff);
        const auto n = static_cast<py::ssize_t>(out.n_edges());
        return py::make_tuple(py::array_t<std::int64_t>(n, out.edge_i.data()),
                              py::array_t<std::int64_t>(n, out.edge_j.data()),
                              py::array_t<double>(std::vector<py::ssize_t>{n, 3}, out.vec.data()));
      },
      species, positions, py::arg("cutoff"), cell, pbc,
      "Edges within the cutoff: edge_i (E,), edge_j (E,), vec (E, 3) = r_j - r_i in Å.");
  alrare::bind_descriptor(module);
  alrare::bind_optimizer(module);
  alrare::bind_training(module);
}
