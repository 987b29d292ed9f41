// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_NATIVE_TRAINING_SOAP_H
#define ALRARE_NNP_NATIVE_TRAINING_SOAP_H

#include "nnp/native/training/matrix_product.h"
#include "nnp/native/training/orthogonalize.h"

#include <array>
#include <string>
#include <vector>

namespace alrare::native {

/// What SOAP changes: weights (rows, columns), row-major. Matrices of one row or one column are
/// taken as vectors, by Adam and without decay.
struct SoapParameter {
  int rows, columns;
  float *weight;
  const float *goal; ///< what the weights decay toward; null: zero

  bool is_matrix() const { return rows > 1 && columns > 1; }
};

/// Settings of SOAP and of Adam (Kingma and Ba 2015).
struct SoapSettings {
  std::array<double, 2> decays; ///< of the moments; the running means decay with the second
  double weight_decay;          ///< of the matrices
  int refresh;                  ///< steps between two refreshments of the bases
  int statistics;               ///< the running means take the gradient of every so many steps
  double clip; ///< a gradient longer than this many usual lengths is shortened to that
};

/// The numbers of step `step`, from 1, of Adam.
AdamFactors adam_factors(const std::array<double, 2> &decays, int step);

/// SOAP (Vyas et al. 2024, arXiv:2409.11321) with the changes that
/// python/alrare/training/optimizer.py tells, where it is written in plain torch as the reference.
class Soap {
public:
  /// The arrays of the parameters must stay.
  Soap(const std::vector<SoapParameter> &parameters, const SoapSettings &settings,
       const std::string &instruction_set = "auto");

  /// Sets the first bases of a parameter that is a matrix, by its number: rows (rows, rows) and
  /// (columns, columns) of eigenvectors of G G^T and G^T G, that of the largest value first.
  void begin(std::size_t parameter, const float *left, const float *right);

  /// Takes one step by the gradients, in the order and of the shapes of the parameters. The first
  /// one leaves the matrices: their bases come from that gradient.
  ///
  /// \throws std::runtime_error if a matrix has no bases.
  void step(const std::vector<const float *> &gradients, double rate);

  const std::vector<SoapParameter> &parameters() const { return parameters_; }

private:
  /// What is kept of a parameter (m, n); of a vector the moments alone.
  struct State {
    std::vector<float> first, second;         ///< (m, n) moments, of a matrix in the bases
    std::vector<float> left, right;           ///< (m, m), (n, n): running means of G G^T, G^T G
    std::vector<float> base_left, base_right; ///< (m, m), (n, n): rows are their eigenvectors
  };

  /// Returns what to multiply the gradients by: 1 unless they are far longer than usual.
  float shortening(const std::vector<const float *> &gradients);
  void step_vector(const SoapParameter &parameter, State &state, const float *gradient, float rate);
  void step_matrix(const SoapParameter &parameter, State &state, const float *gradient, float rate);
  /// Adds the gradient to the running means, with a share of it.
  void take_statistics(const SoapParameter &parameter, State &state, const float *gradient,
                       float share);
  /// Makes one orthogonal iteration of both bases, and moves the moments to the new ones.
  void refresh(const SoapParameter &parameter, State &state);
  /// Replaces a base (n, n) by that after an orthogonal iteration: row r comes from the old row
  /// order_[r], and turn_ (n, n) takes components in the old base to those in the new one.
  void turn(const std::vector<float> &mean, std::vector<float> &base, int n);

  const Kernels &kernels_;
  MatrixProduct product_;
  Orthogonalizer orthogonalizer_;
  std::vector<SoapParameter> parameters_;
  SoapSettings settings_;
  std::vector<State> states_; // of the parameters
  int steps_ = 0;
  double usual_ = 0.0; ///< length of a gradient
  std::vector<float> gradient_, half_, rotated_, direction_, turn_;
  std::vector<long> order_;
};

} // namespace alrare::native

#endif
