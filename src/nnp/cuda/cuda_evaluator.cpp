// SPDX-License-Identifier: GPL-2.0-or-later
// ANI on a CUDA device: own kernels for the descriptor, libtorch for memory and for the products of
// the networks. Part of libalrare_torch.so.
#include "nnp/cuda/ani_descriptor.h"
#include "nnp/evaluator.h"
#include "nnp/file/ani_file.h"
#include "nnp/torch_device.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace alrare::cuda {

namespace {

constexpr double most_bytes_of_layers = 1e9; // what networks keep for the way back at one time
constexpr std::int64_t grain = 4096;         // edges or centers that are worth a thread

/// Sets for this scope what a program around this one may have chosen otherwise: the device, the
/// default stream, which the kernels are on, and products in whole float32 (no TF32, no autocast).
class OnDevice {
public:
  explicit OnDevice(const at::Device &device)
      : stream_(device.is_cuda()
                    ? std::optional<c10::Stream>(c10::Stream(c10::Stream::DEFAULT, device))
                    : std::nullopt),
        allowed_tf32_(device.is_cuda() && at::globalContext().allowTF32CuBLAS()) {
    if (allowed_tf32_)
      at::globalContext().setAllowTF32CuBLAS(false);
  }
  ~OnDevice() {
    if (allowed_tf32_)
      at::globalContext().setAllowTF32CuBLAS(true);
  }
  OnDevice(const OnDevice &) = delete;
  OnDevice &operator=(const OnDevice &) = delete;

private:
  c10::InferenceMode inference_;
  c10::OptionalStreamGuard stream_;
  c10::impl::ExcludeDispatchKeyGuard no_autocast_{c10::autocast_dispatch_keyset};
  at::NoTF32Guard no_tf32_;
  bool allowed_tf32_;
};

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
    used_ = tensor.numel() * static_cast<std::int64_t>(tensor.element_size());
    reserve<std::uint8_t>(used_);
    buffer_.narrow(0, 0, used_).view(tensor.scalar_type()).copy_(tensor.reshape({-1}));
  }

  template <typename T> [[nodiscard]] const T *data() const {
    return reinterpret_cast<const T *>(buffer_.const_data_ptr<std::uint8_t>());
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

class CudaEvaluator final : public Evaluator, public ListEvaluator {
public:
  CudaEvaluator(const std::string &path, const OpenOptions &options)
      : device_(torch_device(options)), threads_(std::max(1, options.threads)), atoms_(device_),
        centers_(device_), counts_(device_), edges_(device_), first_(device_), forces_(device_),
        gradient_(device_), list_(device_), order_(device_) {
    AniFile file = read_ani_file(path);
    metadata_ = file.metadata;
    self_energies_ = file.self_energies;
    gelu_ = file.gelu;
    celu_alpha_ = file.celu_alpha;
    const int n_elements = static_cast<int>(metadata_.elements.size());
    features_ = file.constants.features(n_elements);
    constants_ = kernel_constants(file.constants, n_elements);
    const OnDevice here(device_);
    at::set_num_threads(threads_);
    for (const ElementNetworks &networks : file.networks)
      load(networks);
    descriptor_ = device_.is_cuda() ? open_cuda_descriptor(constants_, features_)
                                    : open_emulated_descriptor(constants_, features_);
  }

  const Metadata &metadata() const override { return metadata_; }

  std::string description() const override {
    return device_.is_cuda() ? "native on " + device_.str() : "native, CUDA emulated";
  }

  bool needs_triples() const override { return false; }

  double self_energy(int species) const override {
    return self_energies_[static_cast<std::size_t>(species)];
  }

  const std::vector<double> *center_energies() const override {
    with_clean_errors([&] { fetch_center_energies(); });
    return &center_energies_;
  }

  bool has_center_energies() const override { return true; }

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

  void evaluate_members(const Neighborhood &hood, int /*driver*/,
                        std::vector<double> &member_energies,
                        std::vector<std::vector<double>> &gradients) override {
    with_clean_errors([&] {
      const auto members = static_cast<std::size_t>(metadata_.members);
      bring_edges(hood);
      const at::Tensor rows = describe(members);
      gradients.resize(members);
      for (std::size_t m = 0; m < members; ++m)
        fetch_gradient(differentiate(run_members(rows, static_cast<int>(m), m, {1.0})),
                       gradients[m]);
      sum_energies(hood, member_energies);
    });
  }

  ListEvaluator *list_evaluator(bool /*each*/) override { return this; }

  void evaluate_list(const NeighborList &list, bool new_list, int first,
                     const std::vector<double> &weights, bool each, ListEvaluation &out) override {
    with_clean_errors([&] {
      find_centers(list, centers_of_list_);
      out.centers = &centers_of_list_;
      bring_list(list, new_list, centers_of_list_);
      const at::Tensor rows = describe(weights.size());
      out.forces.resize(each ? weights.size() : 1);
      for (std::size_t f = 0; f < out.forces.size(); ++f) {
        const at::Tensor by_rows = each ? run_members(rows, first + static_cast<int>(f), f, {1.0})
                                        : run_members(rows, first, 0, weights);
        sum_forces(differentiate(by_rows), list.n_all, out.forces[f]);
      }
      sum_energies(centers_of_list_, out.member_energies);
      check_status(list);
    });
  }

private:
  [[nodiscard]] at::TensorOptions floats() const {
    return at::TensorOptions().dtype(at::kFloat).device(device_);
  }

  [[nodiscard]] at::TensorOptions bytes() const { return floats().dtype(at::kByte); }

  template <typename Action> void with_clean_errors(const Action &action) const {
    if (at::get_num_threads() != threads_)
      at::set_num_threads(threads_);
    try {
      const OnDevice here(device_);
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

  /// The descriptors (n, F) of what was brought to the device, for so many members.
  at::Tensor describe(std::size_t members) {
    const at::Tensor rows = at::empty({n_, features_}, floats());
    energies_ = at::empty({static_cast<std::int64_t>(members), n_}, floats());
    center_energies_known_ = false;
    descriptor_->forward(there_, rows.data_ptr<float>());
    return rows;
  }

  /// Brings the edges of a neighborhood to the device, centers sorted by element.
  void bring_edges(const Neighborhood &hood) {
    listed_.clear(); // what is on the device is not a list any more
    n_slots_ = static_cast<std::int64_t>(hood.n_edges());
    check_slots();
    sort_centers(hood);
    stage_edges(hood);
  }

  /// Edges are counted with 32 bits there.
  void check_slots() const {
    if (n_slots_ > std::numeric_limits<int>::max() - 64)
      throw std::runtime_error("more than 2^31 neighbors for one GPU: use more ranks");
  }

  static void find_centers(const NeighborList &list, Neighborhood &out) {
    out.atom.clear();
    out.species.clear();
    for (int c = 0; c < list.n_centers; ++c) {
      const int i = list.centers[c];
      const int species = list.species_of_type[list.type[i]];
      if (species < 0)
        continue;
      out.atom.push_back(i);
      out.species.push_back(species);
    }
    out.n_local = static_cast<int>(out.atom.size());
  }

  /// Brings positions to the device, and the list if it is another one; finds the edges there.
  void bring_list(const NeighborList &list, bool new_list, const Neighborhood &centers) {
    sort_centers(centers);
    if (new_list || !list_there_.defined() || centers.atom != listed_)
      stage_list(list, centers);
    AniAtom *const atoms = atoms_.reserve<AniAtom>(list.n_all);
    for (int i = 0; i < list.n_all; ++i) {
      const double *const x = list.positions[i];
      atoms[i] = {x[0], x[1], x[2], list.species_of_type[list.type[i]]};
    }
    atoms_there_ = atoms_.there();
    edges_there_ = at::empty({n_slots_ * static_cast<std::int64_t>(sizeof(AniEdge))}, bytes());
    neighbors_there_ = at::empty({n_slots_}, bytes().dtype(at::kInt));
    end_there_ = at::empty({n_}, bytes().dtype(at::kInt));
    status_ = at::zeros({2}, bytes().dtype(at::kInt));
    descriptor_->find(
        {pointer<AniAtom>(atoms_there_), pointer<int>(centers_there_), pointer<int>(counts_there_),
         pointer<int>(list_there_), stride_, n_, metadata_.cutoff, metadata_.angular_cutoff},
        {reinterpret_cast<AniEdge *>(edges_there_.data_ptr<std::uint8_t>()),
         neighbors_there_.data_ptr<int>(), end_there_.data_ptr<int>(), status_.data_ptr<int>()});
    const int most_near = check_status(list);
    there_ = {pointer<AniEdge>(edges_there_),
              pointer<int>(begin_there_),
              end_there_.const_data_ptr<int>(),
              pointer<int>(order_there_),
              n_,
              most_near};
  }

  /// The list as a table, and where the edges of each center begin.
  void stage_list(const NeighborList &list, const Neighborhood &centers) {
    listed_.clear(); // should this throw
    stride_ = 1;
    for (const int i : centers.atom)
      stride_ = std::max(stride_, list.n_neighbors[i]);
    n_slots_ = static_cast<std::int64_t>(n_) * stride_;
    check_slots();
    int *const center = centers_.reserve<int>(n_), *const count = counts_.reserve<int>(n_);
    int *const begin = first_.reserve<int>(n_), *const table = list_.reserve<int>(n_slots_);
    at::parallel_for(0, n_, grain / 32, [&](std::int64_t from, std::int64_t to) {
      for (std::int64_t k = from; k < to; ++k) {
        const int i = center[k] = centers.atom[static_cast<std::size_t>(k)];
        begin[k] = static_cast<int>(k) * stride_;
        count[k] = list.n_neighbors[i];
        for (int e = 0; e < count[k]; ++e)
          table[begin[k] + e] = list.neighbors[i][e] & list.neighbor_mask;
      }
    });
    centers_there_ = centers_.there();
    counts_there_ = counts_.there();
    begin_there_ = first_.there();
    list_there_ = list_.there();
    listed_ = centers.atom;
  }

  /// Throws what the kernels found wrong; returns the most near neighbors of a center.
  int check_status(const NeighborList &list) const {
    const at::Tensor found = status_.cpu();
    const int *const status = found.const_data_ptr<int>();
    if (status[1] != 0) {
      NeighborhoodBuilder(metadata_.cutoff, 0.0).build(list); // names the atoms
      throw std::runtime_error(
          "two atoms are nearly at the same place, or a force is not a number, "
          "or beyond 1e6 eV/Angstrom");
    }
    return status[0];
  }

  /// Forces (n_atoms, 3) on the caller's atoms from the gradient by the edges.
  void sum_forces(const at::Tensor &by_edges, int n_atoms, std::vector<double> &out) {
    at::Tensor sums = at::zeros({n_atoms, 3}, bytes().dtype(at::kLong));
    descriptor_->add_forces(there_, by_edges.const_data_ptr<float>(),
                            {neighbors_there_.const_data_ptr<int>(), pointer<int>(centers_there_),
                             reinterpret_cast<unsigned long long *>(sums.data_ptr<std::int64_t>()),
                             status_.data_ptr<int>()});
    forces_.fetch(sums.to(at::kDouble).mul_(force_unit));
    const double *const found = forces_.data<double>();
    out.assign(found, found + 3 * static_cast<std::ptrdiff_t>(n_atoms));
  }

  /// Where each element's rows begin, and the center of each row.
  void sort_centers(const Neighborhood &hood) {
    n_ = hood.n_local;
    energies_ = at::Tensor(); // those of before have other rows
    center_energies_.clear();
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
    AniEdge *const edges = edges_.reserve<AniEdge>(n_slots_);
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
    begin_there_ = first_.there();
    edges_there_ = edges_.there();
    const int *const begin = pointer<int>(begin_there_);
    there_ = {pointer<AniEdge>(edges_there_), begin, begin + 1,
              pointer<int>(order_there_),     n_,    most.load()};
  }

  void run_weighted(const Neighborhood &hood, int first, const std::vector<double> &weights,
                    Evaluation &out) {
    with_clean_errors([&] {
      bring_edges(hood);
      const at::Tensor rows = describe(weights.size());
      fetch_gradient(differentiate(run_members(rows, first, 0, weights)), out.gradient);
      sum_energies(hood, out.member_energies);
    });
  }

  /// The derivative by the descriptors (n, F) of the weighted sum of the members first, first + 1,
  /// ...; their energies are rows of energies_ from `row` on.
  at::Tensor run_members(const at::Tensor &rows, int first, std::size_t row,
                         const std::vector<double> &weights) {
    at::Tensor out = at::zeros({n_, features_}, floats());
    for (std::size_t m = 0; m < weights.size(); ++m)
      run_member(rows, first + static_cast<int>(m), static_cast<std::int64_t>(row + m),
                 static_cast<float>(weights[m]), out);
    return out;
  }

  /// Energies of a member into row `row` of energies_; adds its weighted derivative to `gradient`.
  ///
  /// One member after the other: what it gives must not depend on how many there are.
  void run_member(const at::Tensor &rows, int member, std::int64_t row, float weight,
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
                   float weight, const at::Tensor &gradient) const {
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

  /// The derivative (n_slots, 3) by the edges from that by the descriptors (n, F).
  at::Tensor differentiate(const at::Tensor &by_rows) {
    at::Tensor by_edges = at::empty({n_slots_, 3}, floats());
    descriptor_->backward(there_, by_rows.const_data_ptr<float>(), by_edges.data_ptr<float>());
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

  void fetch_gradient(const at::Tensor &by_edges, std::vector<double> &to) {
    gradient_.fetch(by_edges);
    const float *const from = gradient_.data<float>();
    to.resize(static_cast<std::size_t>(by_edges.numel()));
    std::atomic<bool> finite{true};
    at::parallel_for(0, by_edges.numel(), 8 * grain, [&](std::int64_t begin, std::int64_t end) {
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
  int n_ = 0;
  std::int64_t n_slots_ = 0; // places for edges
  AniEdges there_{};         // on the device
  Staging atoms_, centers_, counts_, edges_, first_, forces_, gradient_, list_, order_;
  at::Tensor atoms_there_, centers_there_, counts_there_, edges_there_, begin_there_, end_there_,
      list_there_, neighbors_there_, order_there_, status_;
  Neighborhood centers_of_list_;
  std::vector<int> listed_; // the atoms whose neighbors are on the device
  int stride_ = 0;
  int *order_of_rows_ = nullptr;    // (n) the center of each row
  std::vector<std::int64_t> block_; // rows of each element
  at::Tensor energies_;             // (members, n) by row, eV, without self energies
  mutable std::vector<double> center_energies_;
  mutable bool center_energies_known_ = false;
};

} // namespace

} // namespace alrare::cuda

/// Opens an `ensemble.safetensors` on a CUDA device; see alrare::EvaluatorFactory. With device
/// emulated the kernels run on the CPU, which is for tests.
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
