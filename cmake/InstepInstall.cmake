# The library as others link it: one archive of all modules, instep::instep, in this build and
# installed. What it needs in turn (INSTEP_LINK_MODULES) is found by pkg-config in both.
include(CMakePackageConfigHelpers)

pkg_check_modules(INSTEP_LINK REQUIRED IMPORTED_TARGET ${INSTEP_LINK_MODULES})
get_property(objects GLOBAL PROPERTY INSTEP_OBJECTS)
get_property(headers GLOBAL PROPERTY INSTEP_HEADERS)

add_library(instep_library STATIC ${objects})
add_library(instep::instep ALIAS instep_library)
set_target_properties(instep_library PROPERTIES
    OUTPUT_NAME instep EXPORT_NAME instep LINKER_LANGUAGE CXX)
target_compile_features(instep_library INTERFACE cxx_std_23)
target_link_libraries(instep_library PRIVATE PkgConfig::INSTEP_LINK Threads::Threads)
target_sources(instep_library PUBLIC FILE_SET HEADERS
    BASE_DIRS "${PROJECT_SOURCE_DIR}/include" FILES ${headers})

# Every public header has to compile alone. `all` does it in the builds that have tests.
set_target_properties(instep_library PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
if(INSTEP_BUILD_TESTS)
    add_custom_target(instep_headers_check ALL)
    add_dependencies(instep_headers_check all_verify_interface_header_sets)
endif()

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/instep")
install(TARGETS instep_library EXPORT instep
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
    FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT instep NAMESPACE instep:: FILE instep-targets.cmake DESTINATION "${package_dir}")
if(TARGET instep)
    install(TARGETS instep RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")

list(JOIN INSTEP_LINK_MODULES " " link_modules)
configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/instep-config.cmake.in"
    "${PROJECT_BINARY_DIR}/instep-config.cmake" INSTALL_DESTINATION "${package_dir}"
    NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/instep-config-version.cmake"
    COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/instep-config.cmake"
    "${PROJECT_BINARY_DIR}/instep-config-version.cmake" DESTINATION "${package_dir}")

file(RELATIVE_PATH pc_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
list(JOIN INSTEP_LINK_MODULES ", " pc_requires)
string(REGEX REPLACE "([<>=]+)" " \\1 " pc_requires "${pc_requires}")
configure_file("${CMAKE_CURRENT_LIST_DIR}/instep.pc.in" "${PROJECT_BINARY_DIR}/instep.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/instep.pc"
    DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
