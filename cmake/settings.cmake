# What every target of this project compiles with. Tests, benchmarks and -Werror only when top level.
option(OPENVHD_BUILD_TESTS "Build the tests" ${PROJECT_IS_TOP_LEVEL})
option(OPENVHD_WERROR "Treat warnings as errors" ${PROJECT_IS_TOP_LEVEL})

find_package(PkgConfig REQUIRED)
pkg_check_modules(liburing REQUIRED IMPORTED_TARGET liburing)
find_package(Threads REQUIRED)

add_library(openvhd_settings INTERFACE)
target_compile_features(openvhd_settings INTERFACE cxx_std_20)
target_compile_options(openvhd_settings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast -Wcast-align
  $<$<BOOL:${OPENVHD_WERROR}>:-Werror>)

# One room, one target; its link line is its dependency rule.
function(openvhd_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;LINKS;SYSTEM" ${ARGN})
  add_library(openvhd_${name} STATIC ${ROOM_SOURCES})
  add_library(openvhd::${name} ALIAS openvhd_${name})
  set_target_properties(openvhd_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_include_directories(openvhd_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/lib>)
  target_link_libraries(openvhd_${name} PUBLIC openvhd_settings ${ROOM_LINKS} ${ROOM_SYSTEM})
endfunction()
