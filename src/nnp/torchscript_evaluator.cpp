// SPDX-License-Identifier: GPL-2.0-or-later
// TorchScript: part of libalrare_torch.so, whose files alone include torch.
#include "nnp/evaluator.h"
#include "nnp/file/zip_checksums.h"
#include "nnp/torch_device.h"

#include <ATen/Parallel.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/jit/python/update_graph_executor_opt.h>
#include <torch/script.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace alrare {

namespace {

constexpr const char *members_method = "forward_members"; // optional, docs/model_format.md
constexpr std::size_t n_arguments = 8; // of the contract's forward, self included

/// A view of host memory as a tensor on the device (no copy when that is the CPU).
template <typename T>
torch::Tensor view(const std::vector<T> &data, at::IntArrayRef shape, torch::ScalarType type,
                   const torch::Device &device) {
  if (data.empty())
    return torch::empty(shape, torch::TensorOptions().dtype(type).device(device));
  // from_blob wants a mutable pointer; the contract forbids the model to write to its arguments
  return torch::from_blob(const_cast<T *>(data.data()), shape, type).to(device);
}

/// What a model returned, which must be float32 or float64: another type would lose digits, or an
/// imaginary part.
std::vector<double> to_doubles(const torch::Tensor &tensor, const std::string &what) {
  if (tensor.scalar_type() != torch::kFloat32 && tensor.scalar_type() != torch::kFloat64)
    throw std::runtime_error(what + " must be float32 or float64, got " +
                             torch::toString(tensor.scalar_type()));
  const torch::Tensor host = tensor.to(torch::kCPU, torch::kFloat64).contiguous();
  const double *const data = host.data_ptr<double>();
  std::vector<double> out(data, data + host.numel());
  if (!std::all_of(out.begin(), out.end(), [](double value) { return std::isfinite(value); }))
    throw std::runtime_error(what + " are not all finite");
  return out;
}

struct Damaged : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// libtorch reads an archive without comparing what is in it with the checksums that are there too.
void check_not_damaged(const std::string &path) {
  caffe2::serialize::PyTorchStreamReader archive(path);
  std::map<std::string, std::uint32_t> sums;
  for (const auto &[name, sum] : zip_checksums(path)) // names begin with that of the archive
    sums[name.substr(name.find('/') + 1)] = sum;
  for (const std::string &name : archive.getAllRecords()) {
    const auto [content, size] = archive.getRecord(name);
    const auto sum = sums.find(name);
    if (sum == sums.end() || sum->second != crc32(content.get(), size))
      throw Damaged("damaged: '" + name +
                    "' in it is not as it was written; copy the file again, or export the model "
                    "again");
  }
}

/// Errors of the interpreter carry the model's stack; what went wrong is their last line.
std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n')
    text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

class TorchScriptEvaluator final : public Evaluator {
public:
  TorchScriptEvaluator(const std::string &path, const OpenOptions &options)
      : device_(torch_device(options)), threads_(std::max(1, options.threads)) {
    // the profiling executor costs seconds of warm-up and gains nothing afterwards
    torch::jit::setGraphExecutorOptimize(false);
    at::set_num_threads(threads_);
    torch::jit::ExtraFilesMap extra{{"alrare.json", ""}};
    load(path, extra);
    if (extra["alrare.json"].empty())
      throw std::runtime_error("it is a TorchScript file without alrare.json inside, so not an "
                               "alrare ensemble");
    metadata_ = parse_metadata(extra["alrare.json"]);
    module_.eval();
    has_members_ = module_.find_method(members_method).has_value();
    for (const torch::Tensor &parameter : module_.parameters())
      parameter.set_requires_grad(false); // only the edge vectors are differentiated
    if (module_.get_method("forward").function().getSchema().arguments().size() != n_arguments)
      throw std::runtime_error("its forward does not take the arguments of format version " +
                               std::to_string(metadata_.format_version));
  }

  const Metadata &metadata() const override { return metadata_; }

  std::string description() const override { return "TorchScript on " + device_.str(); }

  void evaluate(const Neighborhood &hood, const std::vector<double> &weights,
                Evaluation &out) override {
    const auto members = static_cast<std::size_t>(metadata_.members);
    if (weights.size() != members)
      throw std::runtime_error("expected " + std::to_string(members) + " weights, got " +
                               std::to_string(weights.size()));
    if (hood.n_local == 0) { // a rank without atoms asks nothing of the model
      out.member_energies.assign(members, 0.0);
      out.gradient.clear();
      return;
    }
    with_clean_errors([&] {
      if (sums_only())
        run(hood, weights, out);
      else
        run_and_differentiate(hood, weights, out);
    });
    if (out.member_energies.size() != members || out.gradient.size() != hood.vec.size())
      throw std::runtime_error("the model returned " + std::to_string(out.member_energies.size()) +
                               " energies and " + std::to_string(out.gradient.size()) +
                               " gradient components, expected " + std::to_string(members) +
                               " and " + std::to_string(hood.vec.size()));
  }

  void evaluate_one(const Neighborhood &hood, int member, Evaluation &out) override {
    Evaluator::evaluate_one(hood, member, out);
    if (sums_only() || center_energies_.empty())
      return;
    const auto n = static_cast<std::ptrdiff_t>(hood.n_local);
    center_energies_ = {center_energies_.begin() + member * n,
                        center_energies_.begin() + (member + 1) * n};
  }

  void evaluate_members(const Neighborhood &hood, int driver, std::vector<double> &member_energies,
                        std::vector<std::vector<double>> &gradients) override {
    if (hood.n_local == 0 || (sums_only() && !has_members_)) {
      Evaluator::evaluate_members(hood, driver, member_energies, gradients);
      return;
    }
    with_clean_errors([&] {
      if (sums_only())
        run_members(hood, member_energies, gradients);
      else
        differentiate_members(hood, member_energies, gradients);
    });
  }

  const std::vector<double> *center_energies() const override {
    return sums_only() ? nullptr : &center_energies_;
  }

private:
  /// In version 1 forward returns sums over the centers and their gradient; in version 2 an energy
  /// by member and center, which is differentiated here.
  bool sums_only() const { return metadata_.format_version == 1; }

  template <typename Action> static void with_clean_errors(const Action &action) {
    try {
      action();
    } catch (const c10::Error &e) {
      throw std::runtime_error("the model failed: " + last_line(e.what_without_backtrace()));
    } catch (const std::exception &e) {
      throw std::runtime_error("the model failed: " + last_line(e.what()));
    }
  }

  void load(const std::string &path, torch::jit::ExtraFilesMap &extra) {
    try {
      check_not_damaged(path); // first: what is damaged may ask for gigabytes
      module_ = torch::jit::load(path, device_, extra);
    } catch (const Damaged &) {
      throw;
    } catch (const std::exception &) { // torch speaks of zip archives and its own source lines
      throw std::runtime_error("this is not a TorchScript file that this torch can read");
    }
  }

  /// What forward returns for these edge vectors and the rest of the neighborhood.
  torch::jit::IValue call(const torch::Tensor &vec, const Neighborhood &hood,
                          const std::vector<double> &weights) {
    std::vector<torch::jit::IValue> in = arguments(vec, hood);
    in.emplace_back(
        view(weights, {static_cast<std::int64_t>(weights.size())}, torch::kFloat64, device_));
    return module_.forward(std::move(in));
  }

  /// The arguments of forward but the weights; sets what torch keeps by thread.
  std::vector<torch::jit::IValue> arguments(const torch::Tensor &vec, const Neighborhood &hood) {
    torch::jit::setGraphExecutorOptimize(false); // a per-thread setting
    if (at::get_num_threads() != threads_)
      at::set_num_threads(threads_);
    const auto n_edges = static_cast<std::int64_t>(hood.n_edges());
    const auto n_rows = static_cast<std::int64_t>(hood.species.size());
    const auto n_triples = static_cast<std::int64_t>(hood.n_triples());

    std::vector<torch::jit::IValue> in;
    in.reserve(n_arguments - 1);
    in.emplace_back(vec);
    in.emplace_back(view(hood.edge_i, {n_edges}, torch::kInt64, device_));
    in.emplace_back(view(hood.edge_j, {n_edges}, torch::kInt64, device_));
    in.emplace_back(view(hood.species, {n_rows}, torch::kInt64, device_));
    in.emplace_back(static_cast<std::int64_t>(hood.n_local));
    in.emplace_back(view(hood.triples, {n_triples, 2}, torch::kInt64, device_));
    return in;
  }

  torch::Tensor edge_vectors(const Neighborhood &hood) const {
    const auto n_edges = static_cast<std::int64_t>(hood.n_edges());
    const auto dtype = metadata_.double_precision ? torch::kFloat64 : torch::kFloat32;
    return view(hood.vec, {n_edges, 3}, torch::kFloat64, device_).to(dtype);
  }

  void run(const Neighborhood &hood, const std::vector<double> &weights, Evaluation &out) {
    const c10::InferenceMode guard;
    const auto [energies, gradient] =
        two_tensors(call(edge_vectors(hood), hood, weights), "forward", "(energies, gradient)");
    out.member_energies = to_doubles(energies, "energies of forward");
    out.gradient = to_doubles(gradient, "the gradient of forward");
  }

  void run_members(const Neighborhood &hood, std::vector<double> &member_energies,
                   std::vector<std::vector<double>> &gradients) {
    const c10::InferenceMode guard;
    const auto [energies, found] =
        two_tensors(module_.get_method(members_method)(arguments(edge_vectors(hood), hood)),
                    members_method, "(energies, gradients)");
    const std::vector<std::int64_t> expected = {metadata_.members,
                                                static_cast<std::int64_t>(hood.n_edges()), 3};
    if (energies.numel() != expected[0] || found.sizes() != expected)
      throw std::runtime_error("forward_members must return energies (members) and gradients "
                               "(members, edges, 3)");
    member_energies = to_doubles(energies, "energies of forward_members");
    gradients.resize(static_cast<std::size_t>(metadata_.members));
    for (std::size_t m = 0; m < gradients.size(); ++m)
      gradients[m] =
          to_doubles(found[static_cast<std::int64_t>(m)], "gradients of forward_members");
  }

  static std::pair<torch::Tensor, torch::Tensor> two_tensors(const torch::jit::IValue &result,
                                                             const std::string &method,
                                                             const std::string &expected) {
    if (!result.isTuple() || result.toTupleRef().elements().size() != 2)
      throw std::runtime_error(method + " must return " + expected);
    const auto &parts = result.toTupleRef().elements();
    return {parts[0].toTensor(), parts[1].toTensor()};
  }

  /// Energies by member and center (M, n_local), part of a graph that begins at `vec`.
  torch::Tensor energies_of(const torch::Tensor &vec, const Neighborhood &hood,
                            const std::vector<double> &weights) {
    const torch::jit::IValue result = call(vec, hood, weights);
    if (!result.isTensor())
      throw std::runtime_error("forward must return one tensor of energies");
    const torch::Tensor &energies = result.toTensor();
    const std::vector<std::int64_t> expected = {metadata_.members, hood.n_local};
    if (energies.sizes() != expected)
      throw std::runtime_error("forward must return energies of shape (members, n_local) = (" +
                               std::to_string(expected[0]) + ", " + std::to_string(expected[1]) +
                               ")");
    center_energies_ = to_doubles(energies.detach(), "energies of forward");
    return energies.to(torch::kFloat64).sum(1);
  }

  /// Gradient of a sum by the edge vectors; zeros where it does not depend on them.
  static std::vector<double> gradient_of(const torch::Tensor &sum, const torch::Tensor &vec,
                                         bool keep_graph) {
    if (!sum.requires_grad())
      return std::vector<double>(static_cast<std::size_t>(vec.numel()), 0.0);
    const torch::Tensor found =
        torch::autograd::grad({sum}, {vec}, {}, keep_graph, false, true).at(0);
    return found.defined() ? to_doubles(found, "derivatives of forward's energies")
                           : std::vector<double>(static_cast<std::size_t>(vec.numel()), 0.0);
  }

  void run_and_differentiate(const Neighborhood &hood, const std::vector<double> &weights,
                             Evaluation &out) {
    const torch::AutoGradMode grad(true);
    const torch::Tensor vec = edge_vectors(hood).detach().requires_grad_(true);
    const torch::Tensor energies = energies_of(vec, hood, weights);
    const torch::Tensor factors = view(weights, {energies.size(0)}, torch::kFloat64, device_);
    out.gradient = gradient_of(torch::dot(factors, energies), vec, false);
    out.member_energies = to_doubles(energies.detach(), "energies");
  }

  /// One forward pass, and one pass back for each member.
  void differentiate_members(const Neighborhood &hood, std::vector<double> &member_energies,
                             std::vector<std::vector<double>> &gradients) {
    const torch::AutoGradMode grad(true);
    const auto members = static_cast<std::size_t>(metadata_.members);
    const torch::Tensor vec = edge_vectors(hood).detach().requires_grad_(true);
    const torch::Tensor energies =
        energies_of(vec, hood, std::vector<double>(members, 1.0 / metadata_.members));
    gradients.resize(members);
    for (std::size_t m = 0; m < members; ++m)
      gradients[m] = gradient_of(energies[static_cast<std::int64_t>(m)], vec, m + 1 < members);
    member_energies = to_doubles(energies.detach(), "energies");
  }

  torch::Device device_;
  int threads_;
  torch::jit::Module module_;
  bool has_members_ = false;
  Metadata metadata_;
  std::vector<double> center_energies_; // (M, n_local), eV; version 2 only
};

} // namespace

} // namespace alrare

/// The one symbol of this library: see alrare::EvaluatorFactory.
extern "C" __attribute__((visibility("default"))) alrare::Evaluator *
alrare_open_torchscript(const char *path, const alrare::OpenOptions *options) {
  const std::string where = std::string("model file '") + path + "': ";
  alrare::check_torch();
  try {
    return new alrare::TorchScriptEvaluator(path, *options);
  } catch (const std::exception &e) {
    throw std::runtime_error(where + e.what());
  }
}
