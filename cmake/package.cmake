# A Debian package of everything that is installed: cpack in a build tree of the preset "package".
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME openvhd)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "VHD and VHDX disk images: tool, library, NBD and FUSE")
set(CPACK_PACKAGE_DESCRIPTION
  "vhdtool creates, inspects, checks, repairs, converts, mounts and serves VHD and VHDX\
 disk images, crash-safely.
libopenvhd is the library below it, in C++ and C. A plugin for nbdkit serves images over NBD.")
set(CPACK_PACKAGE_CONTACT "OpenVHD developers <openvhd@localhost>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION utils)
# What programs are linked with is found out; what is loaded or started when it is needed is not.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR}/lib)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "nbdkit, fuse3, libnbd0")
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY "=")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/openvhd
        RENAME copyright)
include(CPack)
