# Every library comes from Debian 12 and is linked privately: no public header of ours names
# one.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3>=3.40)
pkg_check_modules(POSTGRES REQUIRED IMPORTED_TARGET libpq>=14)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl>=3)
pkg_check_modules(RABBITMQ REQUIRED IMPORTED_TARGET librabbitmq>=0.11)
pkg_check_modules(RDKAFKA REQUIRED IMPORTED_TARGET rdkafka>=2.0)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl>=7.85)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
find_package(Boost 1.74 REQUIRED)
find_package(simdjson REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(CLI11 REQUIRED)

# Those that whoever links Instep has to link too, as pkg-config modules.
set(INSTEP_LINK_MODULES sqlite3>=3.40 libpq>=14 openssl>=3 librabbitmq>=0.11 rdkafka>=2.0
    libcurl>=7.85 fmt libxxhash simdjson tomlplusplus)
