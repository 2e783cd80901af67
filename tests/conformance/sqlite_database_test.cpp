#include "instep/base/clock.hpp"
#include "instep/db/sqlite/database.hpp"
#include "tests/conformance/db_conformance.hpp"
#include "tests/support/temp_dir.hpp"

namespace instep::test {

namespace {

class FileBackend final : public DatabaseBackend {
public:
    Database& database() override { return *database_; }
    [[nodiscard]] bool text_holds_zero() const override { return true; }
    [[nodiscard]] bool keeps_negative_zero() const override { return false; }

private:
    TempDir dir_;
    SystemClock clock_;
    std::unique_ptr<Database> database_ = open_sqlite(dir_.file("test.db"), clock_).value();
};

class MemoryBackend final : public DatabaseBackend {
public:
    Database& database() override { return *database_; }
    [[nodiscard]] bool text_holds_zero() const override { return true; }
    [[nodiscard]] bool keeps_negative_zero() const override { return false; }

private:
    SystemClock clock_;
    std::unique_ptr<Database> database_ = open_sqlite_in_memory(clock_).value();
};

template <class Backend>
std::unique_ptr<DatabaseBackend> make() {
    return std::make_unique<Backend>();
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Sqlite, DbConformance,
                         ::testing::Values(DatabaseCase{"file", &make<FileBackend>},
                                           DatabaseCase{"memory", &make<MemoryBackend>}),
                         [](const auto& database) { return database.param.name; });

INSTANTIATE_TEST_SUITE_P(Sqlite, DbSnapshotConformance,
                         ::testing::Values(DatabaseCase{"file", &make<FileBackend>}),
                         [](const auto& database) { return database.param.name; });

}  // namespace instep::test
