# One interface target carries the warnings and sanitizers of our own code; it is not exported.
add_library(instep_flags INTERFACE)
target_compile_options(instep_flags INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Wold-style-cast
    -Wswitch-enum -Woverloaded-virtual
    -Wno-restrict # false positives of g++ 12 on "literal" + std::string (GCC bug 105329)
)
if(INSTEP_WERROR)
    target_compile_options(instep_flags INTERFACE -Werror)
endif()

set(INSTEP_SANITIZE "" CACHE STRING "Sanitizers to build with: address,undefined or thread")
if(INSTEP_SANITIZE)
    target_compile_options(instep_flags INTERFACE
        -fsanitize=${INSTEP_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(instep_flags INTERFACE -fsanitize=${INSTEP_SANITIZE})
endif()
if(INSTEP_FAIL_POINTS)
    target_compile_definitions(instep_flags INTERFACE INSTEP_FAIL_POINTS=1)
endif()
