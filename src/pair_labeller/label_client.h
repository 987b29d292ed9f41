// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_PAIR_LABELLER_LABEL_CLIENT_H
#define ALRARE_PAIR_LABELLER_LABEL_CLIENT_H

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace alrare {

/// What is labelled: all atoms, in the order of their IDs; eV and Å.
struct LabelRequest {
  std::int64_t step = 0;
  std::array<bool, 3> periodic{};
  std::array<double, 9> cell{};      ///< rows are vectors
  std::vector<std::string> elements; ///< (N)
  std::vector<double> positions;     ///< (N, 3)
};

/// Energy, (N, 3) forces and, unless the labeller gives none, 6 components of the stress, as
/// label_protocol.h has them.
using LabelValues = std::vector<double>;

/// The connection to a label server: see label_protocol.h.
class LabelClient {
public:
  /// \throws std::runtime_error when nobody listens there.
  explicit LabelClient(std::string socket);
  ~LabelClient();
  LabelClient(const LabelClient &) = delete;
  LabelClient &operator=(const LabelClient &) = delete;

  /// Returns whether the run is to end after this step.
  /// \throws std::runtime_error with the server's reason when it has no label, or when it is gone.
  bool label(const LabelRequest &request, LabelValues &values);

private:
  void begin(const LabelRequest &request);
  void send(const void *data, std::size_t size);
  void receive(void *data, std::size_t size);
  std::size_t receive_head(bool &last);
  [[noreturn]] void gone(const std::string &how) const;

  std::string socket_;
  int descriptor_ = -1;
  std::vector<std::string> elements_; // as told to the server
  std::array<bool, 3> periodic_{};
};

} // namespace alrare

#endif
