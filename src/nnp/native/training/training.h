// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_NATIVE_TRAINING_TRAINING_H
#define ALRARE_NNP_NATIVE_TRAINING_TRAINING_H

#include "nnp/native/aligned_buffer.h"
#include "nnp/native/kernels/kernels.h"
#include "nnp/native/training/matrix_product.h"

#include <cstdint>
#include <string>
#include <vector>

namespace alrare::native {

/// C configurations of N atoms of S elements, with descriptors of F features.
struct TrainingAtoms {
  int n_elements = 0; ///< S
  int n_features = 0; ///< F
  long n_configurations = 0, n_atoms = 0;
  const std::int64_t *species = nullptr;       ///< (N)
  const std::int64_t *configuration = nullptr; ///< (N) ascending
  const float *aev = nullptr;                  ///< (N, F)

  /// \throws std::runtime_error at an index that is out of range or out of order.
  void check_atoms() const;
};

/// The same with what moves the descriptors, as `Batch` joins it
/// (alrare.training.descriptor_cache).
///
/// E edges, A of them within the angular cutoff. The features are S blocks of K radial ones, then
/// S (S + 1) / 2 blocks of L angular ones.
struct TrainingBatch : TrainingAtoms {
  int radial_length = 0;  ///< K
  int angular_length = 0; ///< L
  long n_edges = 0, n_short = 0;
  const std::int64_t *edge_i = nullptr;      ///< (E) atoms, configuration by configuration
  const std::int64_t *edge_j = nullptr;      ///< (E)
  const float *length = nullptr;             ///< (E), Å
  const float *unit = nullptr;               ///< (E, 3)
  const float *slope = nullptr;              ///< (E, K), 1/Å
  const std::int64_t *short_edges = nullptr; ///< (A) edges, ascending
  const float *jacobian = nullptr;           ///< (A, 3, S L), 1/Å

  /// F, as the lengths of the blocks make it.
  int count_features() const {
    return n_elements * radial_length + n_elements * (n_elements + 1) / 2 * angular_length;
  }
  /// \throws std::runtime_error at an index that is out of range or out of order.
  void check() const;
};

/// A layer as it is trained: weight (out, in), bias (out).
struct DenseLayer {
  int out, in;
  const float *weight;
  const float *bias;
};

/// The network of one element: GELU between the layers, the last has out = 1.
///
/// Its input is the whitened AEV, (AEV - center) times the transform; see
/// python/alrare/training/whitening.py.
struct DenseNetwork {
  std::vector<DenseLayer> layers;
  const float *center;    ///< (F)
  const float *transform; ///< (F, F)
};

/// Energies (C) in eV without self energies, and forces (N, 3) in eV/Å.
struct Prediction {
  std::vector<double> energies;
  std::vector<float> forces;
};

/// Reference energies (C) without self energies, forces (N, 3), and stress of K configurations.
struct TrainingLabels {
  const float *energies;
  const float *forces;
  long n_strained = 0;                    ///< K
  const std::int64_t *strained = nullptr; ///< (K) configurations, ascending
  const float *strain = nullptr;          ///< (K, 3, 3) their stress times the volume, eV

  /// \throws std::runtime_error at a configuration that is out of range or out of order.
  void check(const TrainingBatch &batch) const;
};

/// Weights of the forces (Å²) and of the stress (no unit) in the loss.
struct LossWeights {
  double force = 0.0, stress = 0.0;
};

/// Gradient of a layer, shaped like it.
struct LayerGradient {
  std::vector<float> weight, bias;
};

/// Energies, forces and the gradient of the loss of one member on a batch (eq. 3 of Jung et al.
/// 2024; the derivation is in python/alrare/training/gradients.py).
///
/// Atoms of one element go through in tiles, twice: once for energies and dE/dAEV, and, when the
/// forces of every configuration are there, once along the adjoint of dE/dAEV. The transform of
/// the whitening is multiplied into the first layer, and its transpose into the gradient of that.
/// float32; energies and the loss are summed in float64. Keeps its memory between calls.
class MemberGradient {
public:
  explicit MemberGradient(const std::string &instruction_set = "auto");

  /// Energies (C) in eV, without self energies.
  void energies(const TrainingAtoms &atoms, const std::vector<DenseNetwork> &networks,
                std::vector<double> &out);

  void predict(const TrainingBatch &batch, const std::vector<DenseNetwork> &networks,
               Prediction &out);

  /// Derivatives of the energies by the strain (C, 3, 3), eV.
  void strain_derivatives(const TrainingBatch &batch, const std::vector<DenseNetwork> &networks,
                          std::vector<double> &out);

  /// Returns the loss; `out` holds the gradients by element and layer.
  double loss_gradient(const TrainingBatch &batch, const std::vector<DenseNetwork> &networks,
                       const TrainingLabels &labels, const LossWeights &weights,
                       std::vector<std::vector<LayerGradient>> &out);

private:
  struct Element {
    std::vector<TrainingLayer> hidden;
    TrainingNetwork network;
    int n_atoms; ///< not padded
    int n_rows;  ///< padded
  };
  /// Sorts the atoms by element, packs the weights and loads the AEVs.
  void prepare(const TrainingAtoms &atoms, const std::vector<DenseNetwork> &networks);
  void place_atoms(const TrainingAtoms &atoms);
  void lay_out(Arena &arena, const std::vector<DenseNetwork> &networks);
  void pack(const DenseNetwork &from, Element &to);
  void load_inputs(const TrainingAtoms &atoms, const std::vector<DenseNetwork> &networks);
  void add_energies(const TrainingAtoms &atoms, std::vector<double> &out) const;
  /// Calls work(terms of its edges, its first atom, its end) for each configuration.
  template <class Work> void for_configurations(const TrainingBatch &batch, const Work &work);
  void clear_gradients();
  void unpack(const std::vector<DenseNetwork> &networks,
              std::vector<std::vector<LayerGradient>> &out);

  const Kernels &kernels_;
  MatrixProduct product_;
  std::vector<float> first_weight_; ///< of a first layer, the transform multiplied in
  AlignedBuffer memory_;
  std::vector<Element> elements_;
  std::vector<int> pair_feature_;
  std::vector<int> place_; ///< row of each atom in its element's matrices
  std::vector<long> row_;  ///< where its features start in `gradient_` and `direction_`
  float *gradient_ = nullptr;
  float *direction_ = nullptr;
};

} // namespace alrare::native

#endif
