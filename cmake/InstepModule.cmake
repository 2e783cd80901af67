# instep_module(<name>
#     HEADERS  <x.hpp>...        public, below include/instep/<name>/
#     SOURCES  <x.cpp>...        below the calling folder
#     TESTS    <x_test.cpp>...   beside their sources; one ctest case a GoogleTest case
#     PUBLIC   <target>...       what the headers need
#     PRIVATE  <target>...       what only the sources need
#     TEST_LIBRARIES <target>... what only the tests need)
#
# <name> may hold a slash ("db/sqlite"); the target is then instep_db_sqlite. Inside the build
# a module links the modules it uses; outside there is one library, instep::instep, which
# InstepInstall makes of all of them.
function(instep_module name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" ""
        "HEADERS;SOURCES;TESTS;PUBLIC;PRIVATE;TEST_LIBRARIES")
    if(arg_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "instep_module(${name}): unknown ${arg_UNPARSED_ARGUMENTS}")
    endif()
    string(REPLACE "/" "_" id "${name}")
    set(target "instep_${id}")
    list(TRANSFORM arg_HEADERS PREPEND "${PROJECT_SOURCE_DIR}/include/instep/${name}/")

    if(arg_SOURCES)
        add_library(${target} STATIC ${arg_SOURCES})
        set(scope PUBLIC)
        target_link_libraries(${target} PRIVATE instep_flags ${arg_PRIVATE})
        set_property(GLOBAL APPEND PROPERTY INSTEP_OBJECTS $<TARGET_OBJECTS:${target}>)
    else()
        add_library(${target} INTERFACE)
        set(scope INTERFACE)
    endif()
    target_link_libraries(${target} ${scope} ${arg_PUBLIC})
    target_include_directories(${target} ${scope} "${PROJECT_SOURCE_DIR}/include")
    target_sources(${target} ${scope} FILE_SET HEADERS
        BASE_DIRS "${PROJECT_SOURCE_DIR}/include" FILES ${arg_HEADERS})
    set_property(GLOBAL APPEND PROPERTY INSTEP_HEADERS ${arg_HEADERS})

    if(INSTEP_BUILD_TESTS AND arg_TESTS)
        instep_test(${target}_test
            SOURCES ${arg_TESTS}
            LIBRARIES ${target} ${arg_PRIVATE} ${arg_TEST_LIBRARIES})
    endif()
endfunction()

# instep_test(<target> SOURCES <x_test.cpp>... LIBRARIES <target>...
#             [LABEL <label>] [TIMEOUT <seconds>] [SHARDS <number>])
# Every GoogleTest case becomes a ctest case of its own, so none can depend on another. With
# SHARDS the cases are spread over that many ctest cases, each one process: for tests that share
# a server which takes seconds to start. They are then run in another order each time.
function(instep_test target)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "LABEL;TIMEOUT;SHARDS;COST" "SOURCES;LIBRARIES")
    if(NOT arg_LABEL)
        set(arg_LABEL unit)
    endif()
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 600)
    endif()
    # Long ones first, so that none is left alone at the end.
    if(NOT arg_COST)
        set(arg_COST 0)
        if(arg_SHARDS)
            set(arg_COST 50)
        endif()
    endif()
    add_executable(${target} ${arg_SOURCES})
    target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}")
    target_link_libraries(${target} PRIVATE instep_flags ${arg_LIBRARIES} GTest::gmock_main)
    if(arg_SHARDS)
        math(EXPR last "${arg_SHARDS} - 1")
        foreach(shard RANGE ${last})
            add_test(NAME ${target}.${shard}
                COMMAND ${target} --gtest_shuffle --gtest_brief=1)
            set_tests_properties(${target}.${shard} PROPERTIES
                LABELS ${arg_LABEL} TIMEOUT ${arg_TIMEOUT} COST ${arg_COST}
                ENVIRONMENT "GTEST_TOTAL_SHARDS=${arg_SHARDS};GTEST_SHARD_INDEX=${shard}")
        endforeach()
        return()
    endif()
    gtest_discover_tests(${target} DISCOVERY_TIMEOUT 300
        PROPERTIES LABELS ${arg_LABEL} TIMEOUT ${arg_TIMEOUT} COST ${arg_COST})
endfunction()
