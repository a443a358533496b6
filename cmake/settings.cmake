# What every target of this project compiles with, and the function that makes a room.
set(OPENVHD_VMM_DEFAULT OFF)
if(PROJECT_IS_TOP_LEVEL AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(OPENVHD_VMM_DEFAULT ON)
endif()
option(OPENVHD_BUILD_TESTS "Build the tests" ${PROJECT_IS_TOP_LEVEL})
option(OPENVHD_BUILD_TOOLS "Build vhdtool" ${PROJECT_IS_TOP_LEVEL})
option(OPENVHD_BUILD_VMM "Build vhdvmm (x86-64 only)" ${OPENVHD_VMM_DEFAULT})
option(OPENVHD_BUILD_BENCHMARKS "Build the benchmarks (needs Google Benchmark)" OFF)
option(OPENVHD_FUZZ "Link fuzz targets with libFuzzer (Clang only)" OFF)
option(OPENVHD_INSTALL "Make install rules" ${PROJECT_IS_TOP_LEVEL})
option(OPENVHD_WERROR "Treat warnings as errors" ${PROJECT_IS_TOP_LEVEL})
option(OPENVHD_HARDEN "Harden optimised builds against memory errors" ${PROJECT_IS_TOP_LEVEL})

include(CheckPIESupported)
include(GNUInstallDirs)
check_pie_supported(LANGUAGES CXX)

find_package(PkgConfig REQUIRED)
pkg_check_modules(liburing REQUIRED IMPORTED_TARGET liburing)
# Its header only: lib/image/convert loads the library when it is needed.
pkg_check_modules(libnbd REQUIRED libnbd)
find_package(Threads REQUIRED)

if(PROJECT_IS_TOP_LEVEL)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release, RelWithDebInfo or MinSizeRel" FORCE)
  endif()
  find_program(OPENVHD_CCACHE ccache)
  if(OPENVHD_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${OPENVHD_CCACHE})
  endif()
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
endif()

add_library(openvhd_settings INTERFACE)
target_compile_features(openvhd_settings INTERFACE cxx_std_20)
target_compile_options(openvhd_settings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast -Wcast-align
  $<$<BOOL:${OPENVHD_WERROR}>:-Werror>)
# When GCC 12 optimises, it sees overlapping copies in std::string's own code where there are
# none, and temporaries with default member initializers as uninitialized. Clang checks both.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(openvhd_settings INTERFACE -Wno-restrict -Wno-maybe-uninitialized)
endif()
# Clang judges GCC 12's std::stable_sort, which uses what C++17 deprecated.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(openvhd_settings INTERFACE -Wno-deprecated-declarations)
endif()

# Position-independent programs, as distributions build them.
set_target_properties(openvhd_settings PROPERTIES INTERFACE_POSITION_INDEPENDENT_CODE ON)

# Optimised builds only: FORTIFY needs optimisation, and sanitizers (in Debug builds) do not mix.
set(hardened "$<AND:$<BOOL:${OPENVHD_HARDEN}>,$<NOT:$<CONFIG:Debug>>>")
target_compile_options(openvhd_settings INTERFACE
  "$<${hardened}:-fstack-protector-strong;-fstack-clash-protection;-ftrivial-auto-var-init=zero>"
  "$<${hardened}:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=3;-D_GLIBCXX_ASSERTIONS>")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  target_compile_options(openvhd_settings INTERFACE "$<${hardened}:-fcf-protection>")
endif()
target_link_options(openvhd_settings INTERFACE
  "$<${hardened}:LINKER:-z,relro;LINKER:-z,now;LINKER:-z,noexecstack>")

# openvhd_room(NAME SOURCES ... LINKS rooms... SYSTEM libraries...): one room, one target; its link
# line is its dependency rule. SYSTEM takes Threads::Threads and PkgConfig:: targets: they end up
# in the package config and in openvhd.pc.
function(openvhd_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;LINKS;SYSTEM" ${ARGN})
  add_library(openvhd_${name} STATIC ${ROOM_SOURCES})
  add_library(openvhd::${name} ALIAS openvhd_${name})
  # The version script of the shared library settles what can be interposed: nothing.
  target_compile_options(openvhd_${name} PRIVATE -fno-semantic-interposition)
  target_include_directories(openvhd_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/lib>)
  target_link_libraries(openvhd_${name} PUBLIC openvhd_settings ${ROOM_LINKS} ${ROOM_SYSTEM})
  set_property(GLOBAL APPEND PROPERTY OPENVHD_ROOMS openvhd_${name})
  set_property(GLOBAL APPEND PROPERTY OPENVHD_SYSTEM ${ROOM_SYSTEM})
endfunction()
