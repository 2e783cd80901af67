# Every library comes from Debian 12 and is linked privately: no public header of ours names
# one.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3>=3.40)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
find_package(simdjson REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(CLI11 REQUIRED)

# Those that whoever links Instep has to link too, as pkg-config modules.
set(INSTEP_LINK_MODULES sqlite3>=3.40 fmt libxxhash simdjson tomlplusplus)
