# `make install` and `make deb`.
include(GNUInstallDirs)
install(FILES docs/blockd.md docs/stoad.md docs/api.md docs/access.md docs/networks.md
        DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs/guide DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES docs/howto/stoa-pool.md DESTINATION ${CMAKE_INSTALL_DOCDIR}/howto)
install(FILES docs/format/pool.md DESTINATION ${CMAKE_INSTALL_DOCDIR}/format)
# Debian has the license in one place for all, and wants these files instead.
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT license)
install(FILES packaging/copyright DESTINATION ${CMAKE_INSTALL_DOCDIR}
        COMPONENT debian EXCLUDE_FROM_ALL)
file(STRINGS packaging/changelog newest LIMIT_COUNT 1)
if(NOT newest MATCHES "^stoa \\(${PROJECT_VERSION}\\) ")
    message(FATAL_ERROR "stoa: packaging/changelog does not begin with version ${PROJECT_VERSION}")
endif()
find_program(STOA_GZIP gzip REQUIRED)
execute_process(
    COMMAND "${STOA_GZIP}" -9nc "${CMAKE_SOURCE_DIR}/packaging/changelog"
    OUTPUT_FILE "${CMAKE_BINARY_DIR}/changelog.gz" COMMAND_ERROR_IS_FATAL ANY)
install(FILES "${CMAKE_BINARY_DIR}/changelog.gz" DESTINATION ${CMAKE_INSTALL_DOCDIR}
        COMPONENT debian EXCLUDE_FROM_ALL)
install(FILES packaging/stoa-blockd.service packaging/stoad.service DESTINATION lib/systemd/system)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME stoa)
set(CPACK_PACKAGE_VENDOR "the Stoa authors")
set(CPACK_PACKAGE_CONTACT "the Stoa authors <stoa@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "storage pools with checksums, snapshots and clones, served over NBD")
set(CPACK_PACKAGE_DESCRIPTION_FILE "${CMAKE_SOURCE_DIR}/packaging/description.txt")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_COMPONENTS_ALL Unspecified debian)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
include(CPack)
