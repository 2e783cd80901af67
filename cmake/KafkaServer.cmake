# instep_kafka_server(<target>)
# A Kafka server for a target that compiles tests/support/kafka_server.cpp. It comes as jars, by
# Maven, into the build folder.
set(INSTEP_KAFKA_FOLDER "${PROJECT_BINARY_DIR}/kafka")

function(instep_kafka_server target)
    if(NOT TARGET instep_kafka_jars)
        set(support "${PROJECT_SOURCE_DIR}/tests/support/kafka")
        add_custom_command(OUTPUT "${INSTEP_KAFKA_FOLDER}/server.jsa"
            COMMAND "${support}/prepare.py" "${INSTEP_KAFKA_FOLDER}"
            DEPENDS "${support}/pom.xml" "${support}/prepare.py"
            COMMENT "Fetching the Kafka server of the tests"
            VERBATIM)
        add_custom_target(instep_kafka_jars DEPENDS "${INSTEP_KAFKA_FOLDER}/server.jsa")
    endif()
    target_compile_definitions(${target} PRIVATE INSTEP_KAFKA_FOLDER="${INSTEP_KAFKA_FOLDER}")
    add_dependencies(${target} instep_kafka_jars)
endfunction()
