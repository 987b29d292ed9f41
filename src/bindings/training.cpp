// SPDX-License-Identifier: GPL-2.0-or-later
//
// alrare._core, the part that trains: the gradient of the loss on numpy arrays.
#include "nnp/native/training/training.h"
#include "bindings/bindings.h"
#include "nnp/native/kernels/instruction_set.h"

#include <pybind11/stl.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace py = pybind11;

namespace {

using alrare::native::DenseLayer;
using alrare::native::DenseNetwork;
using alrare::native::LayerGradient;
using alrare::native::MemberGradient;
using alrare::native::Prediction;
using alrare::native::TrainingAtoms;
using alrare::native::TrainingBatch;
using alrare::native::TrainingLabels;

using alrare::Floats;
using alrare::Integers;
using Layers = std::vector<std::pair<Floats, Floats>>;

void require(const py::array &array, const char *name, const std::vector<py::ssize_t> &shape) {
  const auto text = [](const py::ssize_t *sizes, std::size_t n) {
    std::string out = "(";
    for (std::size_t k = 0; k < n; ++k)
      out += (k > 0 ? ", " : "") + std::to_string(sizes[k]);
    return out + ")";
  };
  const auto n = static_cast<std::size_t>(array.ndim());
  if (n != shape.size() || !std::equal(shape.begin(), shape.end(), array.shape()))
    throw std::invalid_argument(std::string(name) + " must have shape " +
                                text(shape.data(), shape.size()) + ", got " +
                                text(array.shape(), n));
}

/// The arrays of a batch, and the pointers into them.
struct HeldBatch {
  Integers species, configuration, edge_i, edge_j, short_edges;
  Floats aev, length, unit, slope, jacobian;
  TrainingBatch batch;

  HeldBatch(int n_elements, int n_configurations, Integers species_array,
            Integers configuration_array, Floats aev_array, Integers edge_i_array,
            Integers edge_j_array, Floats length_array, Floats unit_array, Floats slope_array,
            Integers short_array, Floats jacobian_array)
      : species(std::move(species_array)), configuration(std::move(configuration_array)),
        edge_i(std::move(edge_i_array)), edge_j(std::move(edge_j_array)),
        short_edges(std::move(short_array)), aev(std::move(aev_array)),
        length(std::move(length_array)), unit(std::move(unit_array)), slope(std::move(slope_array)),
        jacobian(std::move(jacobian_array)) {
    if (n_elements < 1 || slope.ndim() != 2 || jacobian.ndim() != 3)
      throw std::invalid_argument("a batch needs n_elements >= 1, slope (E, K) and jacobian "
                                  "(A, 3, S L)");
    batch.n_elements = n_elements;
    batch.radial_length = static_cast<int>(slope.shape(1));
    batch.angular_length = static_cast<int>(jacobian.shape(2)) / n_elements;
    batch.n_features = batch.count_features();
    batch.n_configurations = n_configurations;
    batch.n_atoms = species.size();
    batch.n_edges = edge_i.size();
    batch.n_short = short_edges.size();
    check_shapes();
    batch.species = species.data();
    batch.configuration = configuration.data();
    batch.aev = aev.data();
    batch.edge_i = edge_i.data();
    batch.edge_j = edge_j.data();
    batch.length = length.data();
    batch.unit = unit.data();
    batch.slope = slope.data();
    batch.short_edges = short_edges.data();
    batch.jacobian = jacobian.data();
    batch.check();
  }

  void check_shapes() const {
    require(species, "species", {batch.n_atoms});
    require(configuration, "configuration", {batch.n_atoms});
    require(aev, "aev", {batch.n_atoms, batch.n_features});
    require(edge_i, "edge_i", {batch.n_edges});
    require(edge_j, "edge_j", {batch.n_edges});
    require(length, "length", {batch.n_edges});
    require(unit, "unit", {batch.n_edges, 3});
    require(slope, "slope", {batch.n_edges, batch.radial_length});
    require(short_edges, "short", {batch.n_short});
    require(jacobian, "jacobian",
            {batch.n_short, 3, batch.n_elements * static_cast<py::ssize_t>(batch.angular_length)});
  }
};

/// Center (F) and transform (F, F) of each element's AEV.
using Whitening = std::vector<std::pair<Floats, Floats>>;

std::vector<DenseNetwork> dense(const std::vector<Layers> &networks, const Whitening &whitening,
                                int n_features) {
  if (whitening.size() != networks.size())
    throw std::invalid_argument("expected one center and transform per network");
  std::vector<DenseNetwork> out;
  for (std::size_t k = 0; k < networks.size(); ++k) {
    const auto &[center, transform] = whitening[k];
    require(center, "center", {n_features});
    require(transform, "transform", {n_features, n_features});
    DenseNetwork network{{}, center.data(), transform.data()};
    for (const auto &[weight, bias] : networks[k]) {
      if (weight.ndim() != 2)
        throw std::invalid_argument("a weight must have shape (out, in)");
      require(bias, "bias", {weight.shape(0)});
      network.layers.push_back({static_cast<int>(weight.shape(0)),
                                static_cast<int>(weight.shape(1)), weight.data(), bias.data()});
    }
    out.push_back(std::move(network));
  }
  return out;
}

py::array_t<double> energies(MemberGradient &member, const Integers &species,
                             const Integers &configuration, const Floats &aev, int n_configurations,
                             const std::vector<Layers> &networks, const Whitening &whitening) {
  if (aev.ndim() != 2)
    throw std::invalid_argument("aev must have shape (N, F)");
  require(species, "species", {aev.shape(0)});
  require(configuration, "configuration", {aev.shape(0)});
  const TrainingAtoms atoms{static_cast<int>(networks.size()),
                            static_cast<int>(aev.shape(1)),
                            n_configurations,
                            aev.shape(0),
                            species.data(),
                            configuration.data(),
                            aev.data()};
  atoms.check_atoms();
  const std::vector<DenseNetwork> layers = dense(networks, whitening, atoms.n_features);
  std::vector<double> out;
  {
    const py::gil_scoped_release release;
    member.energies(atoms, layers, out);
  }
  return py::array_t<double>(static_cast<py::ssize_t>(out.size()), out.data());
}

py::tuple predict(MemberGradient &member, const HeldBatch &held,
                  const std::vector<Layers> &networks, const Whitening &whitening) {
  const TrainingBatch &batch = held.batch;
  const std::vector<DenseNetwork> layers = dense(networks, whitening, batch.n_features);
  Prediction out;
  {
    const py::gil_scoped_release release;
    member.predict(batch, layers, out);
  }
  return py::make_tuple(
      py::array_t<double>(batch.n_configurations, out.energies.data()),
      py::array_t<float>(std::vector<py::ssize_t>{batch.n_atoms, 3}, out.forces.data()));
}

py::array_t<double> strain_derivatives(MemberGradient &member, const HeldBatch &held,
                                       const std::vector<Layers> &networks,
                                       const Whitening &whitening) {
  const TrainingBatch &batch = held.batch;
  const std::vector<DenseNetwork> layers = dense(networks, whitening, batch.n_features);
  std::vector<double> out;
  {
    const py::gil_scoped_release release;
    member.strain_derivatives(batch, layers, out);
  }
  return py::array_t<double>(std::vector<py::ssize_t>{batch.n_configurations, 3, 3}, out.data());
}

py::tuple loss_gradient(MemberGradient &member, const HeldBatch &held,
                        const std::vector<Layers> &networks, const Whitening &whitening,
                        const Floats &energies, const Floats &forces, double force_weight,
                        const Integers &strained, const Floats &strain, double stress_weight) {
  const TrainingBatch &batch = held.batch;
  require(energies, "energies", {batch.n_configurations});
  require(forces, "forces", {batch.n_atoms, 3});
  require(strained, "strained", {strained.size()});
  require(strain, "strain", {strained.size(), 3, 3});
  const TrainingLabels labels{energies.data(), forces.data(), strained.size(), strained.data(),
                              strain.data()};
  const std::vector<DenseNetwork> layers = dense(networks, whitening, batch.n_features);
  std::vector<std::vector<LayerGradient>> gradients;
  double loss = 0.0;
  {
    const py::gil_scoped_release release;
    loss = member.loss_gradient(batch, layers, labels, {force_weight, stress_weight}, gradients);
  }
  py::list out;
  for (std::size_t k = 0; k < layers.size(); ++k) {
    py::list element;
    for (std::size_t l = 0; l < layers[k].layers.size(); ++l) {
      const DenseLayer &shape = layers[k].layers[l];
      const LayerGradient &gradient = gradients[k][l];
      element.append(py::make_tuple(
          py::array_t<float>(std::vector<py::ssize_t>{shape.out, shape.in}, gradient.weight.data()),
          py::array_t<float>(shape.out, gradient.bias.data())));
    }
    out.append(element);
  }
  return py::make_tuple(loss, out);
}

} // namespace

void alrare::bind_training(py::module_ &module) {
  py::class_<HeldBatch>(module, "TrainingBatch",
                        "C configurations with their descriptors, joined; keeps the arrays.\n\n"
                        "The arrays are those of `Batch` in alrare.training.descriptor_cache.")
      .def(py::init<int, int, Integers, Integers, Floats, Integers, Integers, Floats, Floats,
                    Floats, Integers, Floats>(),
           py::kw_only(), py::arg("n_elements"), py::arg("n_configurations"), py::arg("species"),
           py::arg("configuration"), py::arg("aev"), py::arg("edge_i"), py::arg("edge_j"),
           py::arg("length"), py::arg("unit"), py::arg("slope"), py::arg("short"),
           py::arg("jacobian"));
  py::class_<MemberGradient>(
      module, "MemberGradient",
      "Energies, forces and the gradient of the loss (eq. 3) of one member on a batch.\n\n"
      "networks: by element and layer (weight (out, in), bias (out,)), GELU between the layers;\n"
      "whitening: by element center (F,) and transform (F, F); the networks take (AEV - center)\n"
      "times the transform. instruction_set: auto, avx512, avx2 or portable. Keeps its memory "
      "between calls; not for two threads at a time.")
      .def(py::init<const std::string &>(), py::kw_only(), py::arg("instruction_set") = "auto")
      .def("energies", &energies, py::arg("species"), py::arg("configuration"), py::arg("aev"),
           py::arg("n_configurations"), py::arg("networks"), py::arg("whitening"),
           "Energies (C,) in eV, without self energies.")
      .def("predict", &predict, py::arg("batch"), py::arg("networks"), py::arg("whitening"),
           "Energies (C,) in eV without self energies, and forces (N, 3) in eV/Å.")
      .def("strain_derivatives", &strain_derivatives, py::arg("batch"), py::arg("networks"),
           py::arg("whitening"), "Derivatives of the energies by the strain (C, 3, 3), eV.")
      .def("loss_gradient", &loss_gradient, py::arg("batch"), py::arg("networks"),
           py::arg("whitening"), py::arg("energies"), py::arg("forces"), py::arg("force_weight"),
           py::arg("strained"), py::arg("strain"), py::arg("stress_weight"),
           "The loss, and by element and layer its (weight gradient, bias gradient). strained "
           "(K,):\n"
           "configurations with a stress, ascending; strain (K, 3, 3): theirs times the volume, "
           "eV.");
  module.def(
      "instruction_set", [] { return std::string(alrare::native::find_kernels("auto").name); },
      "The best instruction set of this machine: avx512, avx2 or portable.");
}
