#include "tests/conformance/db_conformance.hpp"

#include <ostream>

namespace instep::test {

void PrintTo(const DatabaseCase& database, std::ostream* out) { *out << database.name; }

void DbConformance::SetUp() {
    backend_ = GetParam().make();
    ASSERT_NE(backend_, nullptr) << "no " << GetParam().name << " to test with";
    connection_ = connect();
}

std::unique_ptr<Connection> DbConformance::connect(ConnectOptions options) {
    return backend_->database().connect(options).value();
}

void DbConformance::given(std::string_view script) { connection().execute_script(script).value(); }

void DbConformance::given_items(std::int64_t rows) {
    given("CREATE TABLE item (id BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL)");
    auto transaction = begin(connection(), TransactionMode::kWrite);
    for (std::int64_t id = 1; id <= rows; ++id) {
        insert_item(transaction, id, "item " + std::to_string(id)).value();
    }
    transaction.commit().value();
}

Transaction DbConformance::begin(Connection& connection, TransactionMode mode) {
    return Transaction::begin(connection, mode).value();
}

Result<std::int64_t> DbConformance::insert_item(Transaction& transaction, std::int64_t id,
                                                std::string_view name) {
    return transaction.execute(kInsertItem, {id, name});
}

std::vector<std::int64_t> DbConformance::items(Transaction& transaction) {
    return integers(transaction, "SELECT id FROM item ORDER BY id");
}

std::vector<std::int64_t> DbConformance::items(Connection& connection) {
    auto transaction = begin(connection, TransactionMode::kRead);
    return items(transaction);
}

std::vector<std::int64_t> DbConformance::integers(Transaction& transaction, std::string_view sql) {
    std::vector<std::int64_t> found;
    const auto rows = transaction.query(sql).value();
    while (rows->next().value()) {
        found.push_back(rows->integer(0));
    }
    return found;
}

}  // namespace instep::test
