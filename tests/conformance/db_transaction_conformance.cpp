#include "tests/conformance/db_conformance.hpp"

#include <gmock/gmock.h>

#include <thread>

namespace instep::test {

namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

ErrorCode code(const auto& result) { return result.error().code; }

}  // namespace

TEST_P(DbConformance, KeepsWhatWasCommitted) {
    given_items(0);
    auto transaction = begin(connection(), TransactionMode::kWrite);
    insert_item(transaction, 1).value();
    insert_item(transaction, 2).value();
    ASSERT_TRUE(transaction.commit());

    EXPECT_THAT(items(*connect()), ElementsAre(1, 2));
}

TEST_P(DbConformance, RollsBackWhatWasNotCommitted) {
    given_items(0);
    {
        auto transaction = begin(connection(), TransactionMode::kWrite);
        insert_item(transaction, 1).value();
    }

    EXPECT_THAT(items(connection()), IsEmpty());
}

TEST_P(DbSnapshotConformance, HidesWhatIsNotCommittedYet) {
    given_items(1);
    auto transaction = begin(connection(), TransactionMode::kWrite);
    insert_item(transaction, 2).value();

    EXPECT_THAT(items(*connect()), ElementsAre(1));
}

TEST_P(DbConformance, RollsBackAMovedTransactionOnce) {
    given_items(0);
    {
        auto transaction = begin(connection(), TransactionMode::kWrite);
        auto moved = std::move(transaction);
        insert_item(moved, 1).value();
        ASSERT_TRUE(moved.commit());
    }

    EXPECT_THAT(items(connection()), ElementsAre(1));
}

TEST_P(DbSnapshotConformance, ReadsOneSnapshotFromTheBeginning) {
    given_items(1);
    auto reading = begin(connection(), TransactionMode::kRead);
    const auto writer = connect();
    auto writing = begin(*writer, TransactionMode::kWrite);
    insert_item(writing, 2).value();
    ASSERT_TRUE(writing.commit());

    EXPECT_THAT(items(reading), ElementsAre(1));
    EXPECT_THAT(items(reading), ElementsAre(1));
    ASSERT_TRUE(reading.commit());
    EXPECT_THAT(items(connection()), ElementsAre(1, 2));
}

TEST_P(DbConformance, RefusesToWriteInAReadTransaction) {
    given_items(0);
    auto transaction = begin(connection(), TransactionMode::kRead);

    EXPECT_EQ(code(insert_item(transaction, 1)), ErrorCode::kInvalidArgument);
}

TEST_P(DbConformance, RefusesASecondTransactionOnTheConnection) {
    given_items(0);
    auto transaction = begin(connection(), TransactionMode::kWrite);

    EXPECT_EQ(code(Transaction::begin(connection(), TransactionMode::kWrite)),
              ErrorCode::kInvalidArgument);
    insert_item(transaction, 1).value();
    ASSERT_TRUE(transaction.commit());
    EXPECT_THAT(items(connection()), ElementsAre(1));
}

TEST_P(DbConformance, SaysBusyWhenTheLockOutlastsThePatience) {
    given_items(1);
    const auto other = connect({.lock_patience = 2ms});
    auto holding = begin(connection(), TransactionMode::kWrite);
    holding.execute("UPDATE item SET name = 'held'").value();

    const auto blocked = [&]() -> Result<void> {
        INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(*other, TransactionMode::kWrite));
        INSTEP_TRY(transaction.execute("UPDATE item SET name = 'taken'"));
        return transaction.commit();
    };
    EXPECT_EQ(code(blocked()), ErrorCode::kBusy);

    ASSERT_TRUE(holding.commit());
    EXPECT_TRUE(blocked());
}

TEST_P(DbConformance, WritesAfterReadingWhateverOthersDo) {
    given_items(1);
    const auto other = connect({.lock_patience = 0ms});
    auto transaction = begin(connection(), TransactionMode::kWrite);
    EXPECT_THAT(items(transaction), ElementsAre(1));
    {
        auto writing = Transaction::begin(*other, TransactionMode::kWrite);
        if (writing && insert_item(*writing, 2)) {
            static_cast<void>(writing->commit());
        }
    }

    EXPECT_TRUE(insert_item(transaction, 3));
    EXPECT_TRUE(transaction.commit());
}

TEST_P(DbConformance, LosesNoUpdateOfConcurrentWriters) {
    given("CREATE TABLE counter (value BIGINT)");
    given("INSERT INTO counter VALUES (0)");
    const auto count_up = [this](int times) {
        const auto own = connect({.durability = Durability::kProcess, .lock_patience = 60s});
        for (int i = 0; i < times; ++i) {
            auto transaction = begin(*own, TransactionMode::kWrite);
            transaction.execute("UPDATE counter SET value = value + 1").value();
            transaction.commit().value();
        }
    };
    std::thread first(count_up, 200);
    std::thread second(count_up, 200);
    first.join();
    second.join();

    auto transaction = begin(connection(), TransactionMode::kRead);
    EXPECT_THAT(integers(transaction, "SELECT value FROM counter"), ElementsAre(400));
}

TEST_P(DbConformance, GoesBackToASavepoint) {
    given_items(0);
    auto transaction = begin(connection(), TransactionMode::kWrite);
    insert_item(transaction, 1).value();
    ASSERT_TRUE(transaction.set_savepoint());
    insert_item(transaction, 2).value();
    ASSERT_TRUE(transaction.rollback_to_savepoint());
    insert_item(transaction, 3).value();
    ASSERT_TRUE(transaction.release_savepoint());
    ASSERT_TRUE(transaction.commit());

    EXPECT_THAT(items(connection()), ElementsAre(1, 3));
}

TEST_P(DbConformance, GoesOnFromASavepointAfterAnError) {
    given_items(1);
    auto transaction = begin(connection(), TransactionMode::kWrite);
    ASSERT_TRUE(transaction.set_savepoint());
    EXPECT_EQ(code(insert_item(transaction, 1)), ErrorCode::kRejected);
    ASSERT_TRUE(transaction.rollback_to_savepoint());
    insert_item(transaction, 2).value();
    ASSERT_TRUE(transaction.commit());

    EXPECT_THAT(items(connection()), ElementsAre(1, 2));
}

TEST_P(DbConformance, LeavesAJoinedTransactionToItsOwner) {
    given_items(0);
    const auto write = [&](std::int64_t id) {
        connection().execute("BEGIN", {}).value();
        auto joined = Transaction::join(connection());
        insert_item(joined, id).value();
        EXPECT_TRUE(joined.commit());
    };

    write(1);
    connection().execute("ROLLBACK", {}).value();
    EXPECT_THAT(items(connection()), IsEmpty());
    write(2);
    connection().execute("COMMIT", {}).value();
    EXPECT_THAT(items(connection()), ElementsAre(2));
}

TEST_P(DbConformance, KeepsNothingOfACommitThatFails) {
    given_items(0);
    given("CREATE TABLE part (item BIGINT REFERENCES item (id) DEFERRABLE INITIALLY DEFERRED)");
    auto transaction = begin(connection(), TransactionMode::kWrite);
    insert_item(transaction, 1).value();
    transaction.execute("INSERT INTO part VALUES (2)").value();

    EXPECT_EQ(code(transaction.commit()), ErrorCode::kRejected);
    EXPECT_THAT(items(connection()), IsEmpty());
}

TEST_P(DbConformance, CommitsBehindALastStatement) {
    given_items(2);
    auto transaction = begin(connection(), TransactionMode::kWrite);
    EXPECT_EQ(transaction.commit_behind("DELETE FROM item WHERE id <= $1", {std::int64_t{2}}), 2);
    EXPECT_THAT(items(*connect()), IsEmpty());

    auto another = begin(connection(), TransactionMode::kWrite);
    insert_item(another, 3).value();
    EXPECT_EQ(another.commit_behind("DELETE FROM item WHERE id = $1", {std::int64_t{9}}), 0);
    EXPECT_THAT(items(*connect()), ElementsAre(3));
}

TEST_P(DbConformance, KeepsNothingOfALastStatementOrCommitThatFails) {
    given_items(1);
    given("CREATE TABLE part (item BIGINT REFERENCES item (id) DEFERRABLE INITIALLY DEFERRED)");
    for (const char* last :
         {"INSERT INTO item VALUES ($1, 'again')", "INSERT INTO part VALUES ($1 + 6)"}) {
        auto transaction = begin(connection(), TransactionMode::kWrite);
        insert_item(transaction, 2).value();
        EXPECT_EQ(code(transaction.commit_behind(last, {std::int64_t{1}})), ErrorCode::kRejected);
        EXPECT_THAT(items(*connect()), ElementsAre(1));
    }

    auto transaction = begin(connection(), TransactionMode::kWrite);
    insert_item(transaction, 2).value();
    ASSERT_TRUE(transaction.commit());
    EXPECT_THAT(items(connection()), ElementsAre(1, 2));
}

TEST_P(DbConformance, IsOfUseAfterAFailedTransaction) {
    given_items(1);
    {
        auto transaction = begin(connection(), TransactionMode::kWrite);
        EXPECT_EQ(code(insert_item(transaction, 1)), ErrorCode::kRejected);
    }

    auto transaction = begin(connection(), TransactionMode::kWrite);
    insert_item(transaction, 2).value();
    ASSERT_TRUE(transaction.commit());
    EXPECT_THAT(items(connection()), ElementsAre(1, 2));
}

TEST_P(DbConformance, ChangesTheTokenWhenAnotherConnectionCommits) {
    given_items(0);
    const auto writer = connect();
    auto token = connection().change_token().value();
    for (std::int64_t id = 1; id <= 3; ++id) {
        auto transaction = begin(*writer, TransactionMode::kWrite);
        insert_item(transaction, id).value();
        ASSERT_TRUE(transaction.commit());

        const auto next = connection().change_token().value();
        EXPECT_NE(next, token);
        token = next;
    }
}

TEST_P(DbConformance, TellsATimeThatDoesNotGoBack) {
    const Timestamp first = connection().now().value();

    EXPECT_GE(connection().now().value(), first);
}

}  // namespace instep::test
