// SPDX-License-Identifier: GPL-2.0-or-later
// ANI on a CUDA device: own kernels for the descriptor, libtorch for memory and for the products of
// the networks. Part of libalrare_torch.so.
#include "nnp/cuda/ani_descriptor.h"
#include "nnp/evaluator.h"
#include "nnp/file/ani_file.h"
#include "nnp/torch_device.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace alrare::cuda {

namespace {

constexpr double most_bytes_of_layers = 1e9; // what networks keep for the way back at one time
constexpr std::int64_t grain = 4096;         // edges or centers that are worth a thread

/// Memory of the CPU that is copied to or from a device, kept from step to step.
class Staging {
public:
  explicit Staging(const at::Device &device) : device_(device) {}

  template <typename T> T *reserve(std::int64_t count) {
    const auto bytes = static_cast<std::int64_t>(sizeof(T)) * count;
    if (!buffer_.defined() || buffer_.numel() < bytes)
      buffer_ = at::empty({bytes + bytes / 4 + 64},
                          at::TensorOptions().dtype(at::kByte).pinned_memory(device_.is_cuda()));
    used_ = bytes;
    return reinterpret_cast<T *>(buffer_.data_ptr<std::uint8_t>());
  }

  /// On the device: a copy, or the memory itself where that is the CPU.
  [[nodiscard]] at::Tensor there() const {
    return buffer_.narrow(0, 0, used_).to(device_, /*non_blocking=*/true);
  }

  void fetch(const at::Tensor &tensor) {
    reserve<float>(tensor.numel());
    buffer_.narrow(0, 0, used_).view(at::kFloat).copy_(tensor.reshape({-1}));
  }

  [[nodiscard]] const float *floats() const {
    return reinterpret_cast<const float *>(buffer_.data_ptr<std::uint8_t>());
  }

private:
  at::Device device_;
  at::Tensor buffer_;
  std::int64_t used_ = 0;
};

template <typename T> const T *pointer(const at::Tensor &bytes) {
  return reinterpret_cast<const T *>(bytes.const_data_ptr<std::uint8_t>());
}

/// One network: an element of one member.
struct Layers {
  std::vector<at::Tensor> weights; ///< (out, in)
  std::vector<at::Tensor> biases;  ///< (out)
};

class CudaEvaluator final : public Evaluator {
public:
  CudaEvaluator(const std::string &path, const OpenOptions &options)
      : device_(torch_device(options)), threads_(std::max(1, options.threads)), edges_(device_),
        first_(device_), order_(device_), gradients_(device_) {
    AniFile file = read_ani_file(path);
    metadata_ = file.metadata;
    self_energies_ = file.self_energies;
    gelu_ = file.gelu;
    celu_alpha_ = file.celu_alpha;
    const int n_elements = static_cast<int>(metadata_.elements.size());
    features_ = file.constants.features(n_elements);
    constants_ = kernel_constants(file.constants, n_elements);
    const c10::InferenceMode guard;
    const c10::OptionalDeviceGuard here(used_device());
    at::set_num_threads(threads_);
    for (const ElementNetworks &networks : file.networks)
      load(networks);
    descriptor_ = device_.is_cuda() ? open_cuda_descriptor(constants_, features_)
                                    : open_emulated_descriptor(constants_, features_);
  }

  const Metadata &metadata() const override { return metadata_; }

  std::string description() const override { return "native on " + device_.str(); }

  bool needs_triples() const override { return false; }

  double self_energy(int species) const override {
    return self_energies_[static_cast<std::size_t>(species)];
  }

  const std::vector<double> *center_energies() const override {
    fetch_center_energies();
    return &center_energies_;
  }

  void evaluate(const Neighborhood &hood, const std::vector<double> &weights,
                Evaluation &out) override {
    if (weights.size() != static_cast<std::size_t>(metadata_.members))
      throw std::runtime_error("expected " + std::to_string(metadata_.members) + " weights, got " +
                               std::to_string(weights.size()));
    run_weighted(hood, 0, weights, out);
  }

  void evaluate_one(const Neighborhood &hood, int member, Evaluation &out) override {
    if (member < 0 || member >= metadata_.members)
      throw std::runtime_error("member " + std::to_string(member) + " of " +
                               std::to_string(metadata_.members) + " does not exist");
    run_weighted(hood, member, {1.0}, out);
  }

  void evaluate_members(const Neighborhood &hood, std::vector<double> &member_energies,
                        std::vector<std::vector<double>> &gradients) override {
    with_clean_errors([&] {
      const int members = metadata_.members;
      const at::Tensor rows = begin(hood, members);
      const at::Tensor by_rows = at::zeros({members, n_, features_}, floats());
      for (int m = 0; m < members; ++m)
        run_member(rows, m, m, 1.0F, by_rows[m]);
      const at::Tensor by_edges = differentiate(by_rows);
      sum_energies(hood, member_energies);
      gradients_.fetch(by_edges);
      gradients.resize(static_cast<std::size_t>(members));
      const std::size_t size = hood.vec.size();
      for (std::size_t m = 0; m < gradients.size(); ++m)
        widen(gradients_.floats() + m * size, size, gradients[m]);
    });
  }

private:
  [[nodiscard]] c10::optional<c10::Device> used_device() const {
    return device_.is_cuda() ? c10::optional<c10::Device>(device_) : c10::nullopt;
  }

  [[nodiscard]] at::TensorOptions floats() const {
    return at::TensorOptions().dtype(at::kFloat).device(device_);
  }

  template <typename Action> void with_clean_errors(const Action &action) {
    const c10::InferenceMode guard;
    const c10::OptionalDeviceGuard here(used_device());
    if (at::get_num_threads() != threads_)
      at::set_num_threads(threads_);
    try {
      action();
    } catch (const c10::Error &error) {
      const std::string text = error.what_without_backtrace();
      throw std::runtime_error("the GPU: " + text.substr(0, text.find('\n')));
    }
  }

  void load(const ElementNetworks &networks) {
    networks_.emplace_back();
    std::int64_t kept = 0;
    for (int m = 0; m < metadata_.members; ++m) {
      Layers layers;
      for (std::size_t l = 0; l < networks.n_layers(); ++l) {
        const std::int64_t in = networks.sizes[l], out = networks.sizes[l + 1];
        const float *const weight = networks.weights[l].data() + m * in * out;
        const float *const bias = networks.biases[l].data() + m * out;
        layers.weights.push_back(copied(weight, {out, in}));
        layers.biases.push_back(copied(bias, {out}));
        kept += m == 0 ? out : 0;
      }
      networks_.back().push_back(std::move(layers));
    }
    widths_ = std::max(widths_, kept);
  }

  [[nodiscard]] at::Tensor copied(const float *data, at::IntArrayRef shape) const {
    return at::from_blob(const_cast<float *>(data), shape, at::kFloat).clone().to(device_);
  }

  /// Brings the edges to the device, centers sorted by element; returns the descriptors (n, F).
  at::Tensor begin(const Neighborhood &hood, int members) {
    n_ = hood.n_local;
    n_edges_ = static_cast<std::int64_t>(hood.n_edges());
    if (n_edges_ > std::numeric_limits<int>::max() - 64)
      throw std::runtime_error("more than 2^31 neighbors for one GPU: use more ranks");
    sort_centers(hood);
    stage_edges(hood);
    const at::Tensor rows = at::empty({n_, features_}, floats());
    energies_ = at::empty({members, n_}, floats());
    center_energies_known_ = false;
    descriptor_->forward(staged(), rows.data_ptr<float>());
    return rows;
  }

  /// Where each element's rows begin, and the center of each row.
  void sort_centers(const Neighborhood &hood) {
    block_.assign(self_energies_.size() + 1, 0);
    for (int i = 0; i < n_; ++i)
      ++block_.at(static_cast<std::size_t>(species_of(hood, i)) + 1);
    for (std::size_t s = 1; s < block_.size(); ++s)
      block_[s] += block_[s - 1];
    std::vector<std::int64_t> next(block_.begin(), block_.end() - 1);
    order_of_rows_ = order_.reserve<int>(n_);
    for (int i = 0; i < n_; ++i)
      order_of_rows_[next[static_cast<std::size_t>(species_of(hood, i))]++] = i;
    order_there_ = order_.there();
  }

  [[nodiscard]] int species_of(const Neighborhood &hood, std::int64_t row) const {
    const std::int64_t species = hood.species[static_cast<std::size_t>(row)];
    if (species < 0 || species >= static_cast<std::int64_t>(self_energies_.size()))
      throw std::runtime_error("species " + std::to_string(species) + " is unknown to a model of " +
                               std::to_string(self_energies_.size()) + " elements");
    return static_cast<int>(species);
  }

  void stage_edges(const Neighborhood &hood) {
    int *const first = first_.reserve<int>(n_ + 1);
    std::fill_n(first, n_ + 1, 0);
    for (const std::int64_t i : hood.edge_i)
      ++first[i + 1];
    for (int i = 0; i < n_; ++i)
      first[i + 1] += first[i];
    AniEdge *const edges = edges_.reserve<AniEdge>(n_edges_);
    // with room for what rounds otherwise there
    const auto limit = static_cast<float>(constants_.angular_cutoff) * (1.0F + 1e-6F);
    std::atomic<int> most{0};
    at::parallel_for(0, n_, grain / 32, [&](std::int64_t from, std::int64_t to) {
      int most_here = 0;
      for (std::int64_t i = from; i < to; ++i) {
        int near = 0;
        for (int e = first[i]; e < first[i + 1]; ++e) {
          const double *const v = &hood.vec[3 * static_cast<std::size_t>(e)];
          const auto x = static_cast<float>(v[0]), y = static_cast<float>(v[1]),
                     z = static_cast<float>(v[2]);
          edges[e] = {x, y, z, species_of(hood, hood.edge_j[static_cast<std::size_t>(e)])};
          near += x * x + y * y + z * z < limit * limit ? 1 : 0;
        }
        most_here = std::max(most_here, near);
      }
      int seen = most.load();
      while (seen < most_here && !most.compare_exchange_weak(seen, most_here)) {
      }
    });
    capacity_ = most.load();
    first_there_ = first_.there();
    edges_there_ = edges_.there();
  }

  [[nodiscard]] AniEdges staged() const {
    return {pointer<AniEdge>(edges_there_), pointer<int>(first_there_), pointer<int>(order_there_),
            n_, capacity_};
  }

  void run_weighted(const Neighborhood &hood, int first_member, const std::vector<double> &weights,
                    Evaluation &out) {
    with_clean_errors([&] {
      const int members = static_cast<int>(weights.size());
      const at::Tensor rows = begin(hood, members);
      const at::Tensor by_rows = at::zeros({1, n_, features_}, floats());
      for (int m = 0; m < members; ++m)
        run_member(rows, first_member + m, m,
                   static_cast<float>(weights[static_cast<std::size_t>(m)]), by_rows[0]);
      const at::Tensor by_edges = differentiate(by_rows);
      sum_energies(hood, out.member_energies);
      gradients_.fetch(by_edges);
      widen(gradients_.floats(), hood.vec.size(), out.gradient);
    });
  }

  /// Energies of a member into row `row` of energies_; adds its weighted derivative to `gradient`.
  ///
  /// One member after the other: what it gives must not depend on how many there are.
  void run_member(const at::Tensor &rows, int member, int row, float weight,
                  const at::Tensor &gradient) {
    const auto bytes_of_row = 8.0 * static_cast<double>(widths_ + features_);
    const auto most =
        std::max<std::int64_t>(1, static_cast<std::int64_t>(most_bytes_of_layers / bytes_of_row));
    for (std::size_t element = 0; element + 1 < block_.size(); ++element)
      for (std::int64_t from = block_[element]; from < block_[element + 1]; from += most) {
        const std::int64_t count = std::min(most, block_[element + 1] - from);
        run_network(networks_[element][static_cast<std::size_t>(member)],
                    rows.narrow(0, from, count), energies_[row].narrow(0, from, count), weight,
                    gradient.narrow(0, from, count));
      }
  }

  void run_network(const Layers &network, const at::Tensor &rows, const at::Tensor &energies,
                   float weight, at::Tensor gradient) const {
    const std::size_t last = network.weights.size() - 1;
    std::vector<at::Tensor> inputs; // of the activations
    at::Tensor x = rows;
    for (std::size_t l = 0; l < last; ++l) {
      inputs.push_back(at::addmm(network.biases[l], x, network.weights[l].t()));
      x = gelu_ ? at::gelu(inputs.back())
                : at::elu(inputs.back(), celu_alpha_, 1.0, 1.0 / celu_alpha_);
    }
    energies.copy_(at::addmm(network.biases[last], x, network.weights[last].t()).squeeze(1));
    if (weight == 0.0F)
      return;
    at::Tensor back = (network.weights[last] * weight).expand({rows.size(0), -1});
    for (std::size_t l = last; l-- > 0;) {
      back = gelu_ ? at::gelu_backward(back, inputs[l])
                   : at::elu_backward(back, celu_alpha_, 1.0, 1.0 / celu_alpha_, false, inputs[l]);
      if (l > 0)
        back = at::mm(back, network.weights[l]);
      else
        gradient.addmm_(back, network.weights[0]);
    }
    if (last == 0)
      gradient.add_(back);
  }

  /// (count, E, 3) from (count, n, F).
  at::Tensor differentiate(const at::Tensor &by_rows) {
    const std::int64_t count = by_rows.size(0);
    at::Tensor by_edges = at::empty({count, n_edges_, 3}, floats());
    descriptor_->backward(staged(), by_rows.const_data_ptr<float>(), static_cast<int>(count),
                          by_edges.data_ptr<float>());
    return by_edges;
  }

  void sum_energies(const Neighborhood &hood, std::vector<double> &out) const {
    double self = 0.0;
    for (int i = 0; i < n_; ++i)
      self += self_energies_[static_cast<std::size_t>(hood.species[static_cast<std::size_t>(i)])];
    const at::Tensor sums = energies_.to(at::kDouble).sum(1).cpu();
    const double *const sum = sums.const_data_ptr<double>();
    out.assign(sum, sum + sums.numel());
    for (double &energy : out) {
      energy += self;
      if (!std::isfinite(energy))
        throw std::runtime_error("the energy is not finite");
    }
  }

  void widen(const float *from, std::size_t size, std::vector<double> &to) const {
    to.resize(size);
    std::atomic<bool> finite{true};
    at::parallel_for(0, static_cast<std::int64_t>(size), 8 * grain,
                     [&](std::int64_t begin, std::int64_t end) {
                       float sum = 0.0F; // times zero: not a number where one is not finite
                       for (std::int64_t k = begin; k < end; ++k) {
                         to[static_cast<std::size_t>(k)] = static_cast<double>(from[k]);
                         sum += from[k] * 0.0F;
                       }
                       if (sum != 0.0F)
                         finite = false;
                     });
    if (!finite)
      throw std::runtime_error("the gradient is not finite");
  }

  void fetch_center_energies() const {
    if (center_energies_known_ || !energies_.defined())
      return;
    const at::Tensor found = energies_.cpu();
    const float *energy = found.const_data_ptr<float>();
    center_energies_.resize(static_cast<std::size_t>(found.numel()));
    for (std::int64_t m = 0; m < found.size(0); ++m)
      for (int k = 0; k < n_; ++k)
        center_energies_[static_cast<std::size_t>(m * n_ + order_of_rows_[k])] =
            static_cast<double>(*energy++);
    center_energies_known_ = true;
  }

  at::Device device_;
  int threads_;
  Metadata metadata_;
  AniConstants constants_{};
  int features_ = 0;
  std::vector<double> self_energies_;
  bool gelu_ = true;
  double celu_alpha_ = 0.1;
  std::vector<std::vector<Layers>> networks_; // by element and member
  std::int64_t widths_ = 0;                   // of all layers together, of the largest element
  std::unique_ptr<AniDescriptor> descriptor_;

  // of the last evaluation
  int n_ = 0, capacity_ = 0;
  std::int64_t n_edges_ = 0;
  Staging edges_, first_, order_, gradients_;
  at::Tensor edges_there_, first_there_, order_there_;
  int *order_of_rows_ = nullptr;    // (n) the center of each row
  std::vector<std::int64_t> block_; // rows of each element
  at::Tensor energies_;             // (members, n) by row, eV, without self energies
  mutable std::vector<double> center_energies_;
  mutable bool center_energies_known_ = false;
};

} // namespace

} // namespace alrare::cuda

/// Opens an `ensemble.safetensors` on a CUDA device; see alrare::EvaluatorFactory. With device cpu
/// the kernels are emulated, which is for tests.
extern "C" __attribute__((visibility("default"))) alrare::Evaluator *
alrare_open_cuda(const char *path, const alrare::OpenOptions *options) {
  alrare::check_torch();
  try {
    return new alrare::cuda::CudaEvaluator(path, *options);
  } catch (const c10::Error &error) {
    const std::string text = error.what_without_backtrace();
    throw std::runtime_error("model file '" + std::string(path) +
                             "': " + text.substr(0, text.find('\n')));
  } catch (const std::exception &error) {
    const std::string why = error.what();
    throw std::runtime_error(
        why.rfind("model file", 0) == 0 ? why : "model file '" + std::string(path) + "': " + why);
  }
}
