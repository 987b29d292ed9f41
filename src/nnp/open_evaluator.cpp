// SPDX-License-Identifier: GPL-2.0-or-later
#include "evaluator.h"

#include <dlfcn.h>

#include <fstream>
#include <stdexcept>

namespace alrare {

namespace {

constexpr const char *torch_library = "libalrare_torch.so";

/// The folder of the shared object (or program) this code was linked into, with a slash at its end.
std::string own_folder() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void *>(&own_folder), &info) == 0 || info.dli_fname == nullptr)
    return "";
  const std::string file = info.dli_fname;
  const auto slash = file.rfind('/');
  return slash == std::string::npos ? "" : file.substr(0, slash + 1);
}

EvaluatorFactory *torch_factory() {
  const std::string library = own_folder() + torch_library;
  // never closed: libtorch does not survive being unloaded
  void *const handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) {
    const char *const why = dlerror();
    throw std::runtime_error(std::string("the TorchScript engine could not be opened: ") +
                             (why != nullptr ? why : library.c_str()) +
                             " (is the torch it was built with installed?)");
  }
  void *const symbol = dlsym(handle, torch_factory_name);
  if (symbol == nullptr)
    throw std::runtime_error("the TorchScript engine " + library + " lacks " + torch_factory_name +
                             ": it belongs to another alrare");
  return reinterpret_cast<EvaluatorFactory *>(symbol);
}

bool ends_with(const std::string &text, const std::string &tail) {
  return text.size() >= tail.size() &&
         text.compare(text.size() - tail.size(), tail.size(), tail) == 0;
}

} // namespace

std::unique_ptr<Evaluator> open_evaluator(const std::string &path, const OpenOptions &options) {
  if (!std::ifstream(path).good())
    throw std::runtime_error("model file '" + path + "' does not exist or cannot be read");
  if (ends_with(path, ".safetensors"))
    throw std::runtime_error("model file '" + path +
                             "': no engine here reads .safetensors; give the ensemble.pt that "
                             "lies beside it");
  if (options.engine != "auto" && options.engine != "torchscript")
    throw std::runtime_error("unknown engine '" + options.engine +
                             "' (expected auto or torchscript)");
  return std::unique_ptr<Evaluator>(torch_factory()(path.c_str(), &options));
}

} // namespace alrare
