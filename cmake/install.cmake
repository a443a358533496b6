# The installed library: headers, CMake package, pkg-config file.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/openvhd)
install(TARGETS openvhd EXPORT openvhdTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT openvhdTargets NAMESPACE openvhd:: DESTINATION ${package_dir})

# A static library hands what it links to on to its users; a shared one has linked it.
get_property(system_libraries GLOBAL PROPERTY OPENVHD_SYSTEM)
list(REMOVE_DUPLICATES system_libraries)
set(openvhd_dependencies "")
set(openvhd_requires_private "")
set(openvhd_libs_private "")
if(NOT BUILD_SHARED_LIBS)
  foreach(library ${system_libraries})
    if(library STREQUAL "Threads::Threads")
      string(APPEND openvhd_dependencies "find_dependency(Threads)\n")
      string(APPEND openvhd_libs_private " ${CMAKE_THREAD_LIBS_INIT} -pthread")
    elseif(library MATCHES "^PkgConfig::(.+)$")
      set(module ${CMAKE_MATCH_1})
      string(APPEND openvhd_dependencies
        "find_dependency(PkgConfig)\n"
        "pkg_check_modules(${module} REQUIRED QUIET IMPORTED_TARGET ${module})\n")
      list(APPEND openvhd_requires_private ${module})
    else()
      message(FATAL_ERROR "cmake/install.cmake cannot tell users of the library about ${library}")
    endif()
  endforeach()
endif()
list(JOIN openvhd_requires_private ", " openvhd_requires_private)
string(STRIP "${openvhd_libs_private}" openvhd_libs_private)

configure_package_config_file(cmake/openvhdConfig.cmake.in openvhdConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(openvhdConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  ${CMAKE_CURRENT_BINARY_DIR}/openvhdConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/openvhdConfigVersion.cmake
  DESTINATION ${package_dir})

# Relative to the .pc file, so that an installed tree can be moved.
file(RELATIVE_PATH openvhd_prefix_from_pc
  /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
string(REGEX REPLACE "/$" "" openvhd_prefix_from_pc "${openvhd_prefix_from_pc}")
configure_file(cmake/openvhd.pc.in openvhd.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/openvhd.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
