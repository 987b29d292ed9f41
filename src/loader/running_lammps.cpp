// SPDX-License-Identifier: GPL-2.0-or-later
#include "loader/running_lammps.h"

#include "loader/host_function.h"

#include <link.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string_view>

namespace alrare {

namespace {

struct Search {
  const char *code; // lies in the program or library that is looked for
  LammpsBuild found;
};

bool is_readable_text(const ElfW(Phdr) & segment) {
  return segment.p_type == PT_LOAD && (segment.p_flags & PF_R) != 0 &&
         (segment.p_flags & PF_W) == 0;
}

int look_into(dl_phdr_info *object, std::size_t /*size*/, void *data) {
  auto &search = *static_cast<Search *>(data);
  // of the code, from where the object was loaded, as the segments count
  const auto place = reinterpret_cast<std::uintptr_t>(search.code) - object->dlpi_addr;
  const ElfW(Phdr) *const begin = object->dlpi_phdr, *const end = begin + object->dlpi_phnum;
  const bool is_it = std::any_of(begin, end, [&](const ElfW(Phdr) &segment) {
    return segment.p_type == PT_LOAD && place >= segment.p_vaddr &&
           place < segment.p_vaddr + segment.p_memsz;
  });
  if (!is_it)
    return 0;
  for (const ElfW(Phdr) *segment = begin; segment != end; ++segment) {
    if (!is_readable_text(*segment))
      continue;
    const char *const bytes = search.code - place + segment->p_vaddr;
    const LammpsBuild here = read_lammps_build(std::string_view(bytes, segment->p_filesz));
    if (!here.version.empty())
      search.found.version = here.version;
    if (!here.sizes.empty())
      search.found.sizes = here.sizes;
  }
  return 1; // the end of the search
}

} // namespace

LammpsBuild running_lammps(const void *code) {
  Search search{static_cast<const char *>(code), {}};
  dl_iterate_phdr(&look_into, &search);
  auto *const has_git = find_host_function<bool()>("_ZN9LAMMPS_NS6LAMMPS12has_git_infoEv");
  auto *const describe_git =
      find_host_function<const char *()>("_ZN9LAMMPS_NS6LAMMPS14git_descriptorEv");
  if (has_git != nullptr && describe_git != nullptr && has_git())
    search.found.git = describe_git();
  return search.found;
}

void warn(void *lmp, const std::string &text) {
  constexpr int warning = 0; // LMP_ERROR_WARNING of LAMMPS's library.h
  auto *const setting = find_host_function<int(void *, const char *)>("lammps_extract_setting");
  if (setting != nullptr && setting(lmp, "world_rank") > 0)
    return; // once is enough
  auto *const print = find_host_function<void(void *, int, const char *)>("lammps_error");
  if (print != nullptr)
    print(lmp, warning, text.c_str());
  else
    std::fprintf(stderr, "WARNING: %s\n", text.c_str());
}

} // namespace alrare
