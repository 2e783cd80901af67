# instep_embed(<target> <symbol> <file>...)
# Compiles text files into <target>. The generated header "<symbol>.hpp" declares
# instep::embedded::<symbol>(): the files' names (without folder) and texts, in the order given.
function(instep_embed target symbol)
    set(files ${ARGN})
    set(out "${CMAKE_CURRENT_BINARY_DIR}/embedded")
    set(entries "")
    foreach(file IN LISTS files)
        get_filename_component(path "${file}" ABSOLUTE)
        get_filename_component(name "${file}" NAME)
        file(READ "${path}" text)
        string(APPEND entries "        {\"${name}\", R\"instep~(${text})instep~\"},\n")
        set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${path}")
    endforeach()
    file(CONFIGURE OUTPUT "${out}/${symbol}.hpp" @ONLY CONTENT "#pragma once

#include <span>
#include <string_view>

namespace instep::embedded {

struct @symbol@_file {
    std::string_view name;
    std::string_view text;
};

std::span<const @symbol@_file> @symbol@();

}  // namespace instep::embedded
")
    file(CONFIGURE OUTPUT "${out}/${symbol}.cpp" @ONLY CONTENT "#include \"@symbol@.hpp\"

namespace instep::embedded {

std::span<const @symbol@_file> @symbol@() {
    static constexpr @symbol@_file kFiles[] = {
@entries@    };
    return kFiles;
}

}  // namespace instep::embedded
")
    target_sources(${target} PRIVATE "${out}/${symbol}.cpp")
    target_include_directories(${target} PRIVATE "${out}")
endfunction()
