// SPDX-License-Identifier: GPL-2.0-or-later
#include "loader/running_lammps.h"

#include <dlfcn.h>
#include <link.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string_view>

namespace alrare {

namespace {

struct Search {
  std::uintptr_t code; // lies in the program or library that is looked for
  LammpsBuild found;
};

bool is_readable_text(const ElfW(Phdr) & segment) {
  return segment.p_type == PT_LOAD && (segment.p_flags & PF_R) != 0 &&
         (segment.p_flags & PF_W) == 0;
}

int look_into(dl_phdr_info *object, std::size_t /*size*/, void *data) {
  auto &search = *static_cast<Search *>(data);
  bool is_it = false;
  for (int k = 0; k < object->dlpi_phnum; ++k) {
    const auto begin = object->dlpi_addr + object->dlpi_phdr[k].p_vaddr;
    is_it = is_it || (object->dlpi_phdr[k].p_type == PT_LOAD && search.code >= begin &&
                      search.code < begin + object->dlpi_phdr[k].p_memsz);
  }
  for (int k = 0; is_it && k < object->dlpi_phnum; ++k) {
    const ElfW(Phdr) &segment = object->dlpi_phdr[k];
    if (!is_readable_text(segment))
      continue;
    const auto *const bytes = reinterpret_cast<const char *>(object->dlpi_addr + segment.p_vaddr);
    const LammpsBuild here = read_lammps_build(std::string_view(bytes, segment.p_filesz));
    if (!here.version.empty())
      search.found.version = here.version;
    if (!here.sizes.empty())
      search.found.sizes = here.sizes;
  }
  return is_it ? 1 : 0; // 1 ends the search
}

/// A function of LAMMPS by its symbol; null where this LAMMPS has none.
template <typename Function> Function *find(const char *symbol) {
  return reinterpret_cast<Function *>(dlsym(RTLD_DEFAULT, symbol));
}

} // namespace

LammpsBuild running_lammps(const void *code) {
  Search search{reinterpret_cast<std::uintptr_t>(code), {}};
  dl_iterate_phdr(&look_into, &search);
  auto *const has_git = find<bool()>("_ZN9LAMMPS_NS6LAMMPS12has_git_infoEv");
  auto *const describe_git = find<const char *()>("_ZN9LAMMPS_NS6LAMMPS14git_descriptorEv");
  if (has_git != nullptr && describe_git != nullptr && has_git())
    search.found.git = describe_git();
  return search.found;
}

void warn(void *lmp, const std::string &text) {
  constexpr int warning = 0; // LMP_ERROR_WARNING of LAMMPS's library.h
  auto *const setting = find<int(void *, const char *)>("lammps_extract_setting");
  if (setting != nullptr && setting(lmp, "world_rank") > 0)
    return; // once is enough
  auto *const print = find<void(void *, int, const char *)>("lammps_error");
  if (print != nullptr)
    print(lmp, warning, text.c_str());
  else
    std::fprintf(stderr, "WARNING: %s\n", text.c_str());
}

} // namespace alrare
