// What goes wrong at a replica: a row that its table refuses, a copy that is out of date.

#include "demo_break.hpp"
#include "demo_directory.hpp"
#include "demo_writer.hpp"
#include "instep/db/dialect.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::cli {

namespace {

/// The place of processing among the replicas, which is the one that is broken.
constexpr std::size_t kProcessing = 1;

/// Changes the second of the reserved users.
Result<void> change_user(Connection& iam, std::string_view assignment) {
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(iam, TransactionMode::kWrite));
    INSTEP_TRY(transaction.execute(fmt::format("UPDATE users SET {} WHERE employee_code = '{}'",
                                               assignment, employee_code(kReservedUsers - 1))));
    return transaction.commit();
}

std::uint64_t parked_elsewhere(const SystemLook& look) {
    std::uint64_t keys = 0;
    for (std::size_t i = 0; i < look.replicas.size(); ++i) {
        keys += i == kProcessing ? 0 : look.replicas[i].parked_keys;
    }
    return keys;
}

/// Without the statement that the message ends with.
Result<std::string> parked_because(Connection& connection) {
    INSTEP_TRY_ASSIGN(const auto parked, list_parked_keys(connection, "", 1));
    const std::string message = parked.empty() ? std::string() : parked.front().error_message;
    return printable(message.substr(0, message.find(" (in \"")));
}

/// Notes in the replica's own database, without a look at any version, each row that goes back
/// in time and each that returns after it was deleted. The writer never uses an id twice, and
/// its updated_at only rises.
constexpr std::string_view kWitnessTables = R"(
CREATE TABLE demo_deleted (id TEXT NOT NULL PRIMARY KEY);
CREATE TABLE demo_fault (id TEXT NOT NULL, what TEXT NOT NULL);
)";

constexpr std::string_view kSqliteWitness = R"(
CREATE TRIGGER demo_on_delete AFTER DELETE ON lookup_users BEGIN
    INSERT OR IGNORE INTO demo_deleted VALUES (OLD.id);
END;
CREATE TRIGGER demo_on_insert AFTER INSERT ON lookup_users
WHEN EXISTS (SELECT 1 FROM demo_deleted WHERE id = NEW.id) BEGIN
    INSERT INTO demo_fault VALUES (NEW.id, 'returned');
END;
CREATE TRIGGER demo_on_update AFTER UPDATE ON lookup_users
WHEN NEW.updated_at < OLD.updated_at BEGIN
    INSERT INTO demo_fault VALUES (NEW.id, 'went back');
END;
)";

constexpr std::string_view kPostgresWitness = R"(
CREATE FUNCTION demo_note() RETURNS trigger LANGUAGE plpgsql AS $note$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO demo_deleted VALUES (OLD.id) ON CONFLICT DO NOTHING;
    ELSIF TG_OP = 'INSERT' AND EXISTS (SELECT 1 FROM demo_deleted WHERE id = NEW.id::text) THEN
        INSERT INTO demo_fault VALUES (NEW.id, 'returned');
    ELSIF TG_OP = 'UPDATE' AND NEW.updated_at < OLD.updated_at THEN
        INSERT INTO demo_fault VALUES (NEW.id, 'went back');
    END IF;
    RETURN NULL;
END
$note$;
CREATE TRIGGER demo_witness AFTER INSERT OR UPDATE OR DELETE ON lookup_users
FOR EACH ROW EXECUTE FUNCTION demo_note();
)";

Result<void> call_witness(Connection& connection) {
    INSTEP_TRY(connection.execute_script(kWitnessTables));
    return connection.execute_script(connection.dialect().name() == "postgres" ? kPostgresWitness
                                                                               : kSqliteWitness);
}

struct Witnessed {
    std::uint64_t deleted = 0;
    std::uint64_t returned = 0;
    std::uint64_t went_back = 0;
};

Result<Witnessed> ask_witness(Connection& connection) {
    INSTEP_TRY_ASSIGN(auto row,
                      connection.query("SELECT (SELECT count(*) FROM demo_deleted), "
                                       "(SELECT count(*) FROM demo_fault WHERE what = 'returned'), "
                                       "(SELECT count(*) FROM demo_fault WHERE what = 'went back')",
                                       {}));
    INSTEP_TRY(row->next());
    return Witnessed{static_cast<std::uint64_t>(row->integer(0)),
                     static_cast<std::uint64_t>(row->integer(1)),
                     static_cast<std::uint64_t>(row->integer(2))};
}

Result<void> request_backfills(DemoSystem& system) {
    for (const DemoReplica& replica : system.replicas()) {
        INSTEP_TRY_ASSIGN(auto transaction,
                          Transaction::begin(*replica.connection, TransactionMode::kWrite));
        INSTEP_TRY(request_backfill(transaction, replica.definition, system.context().random));
        INSTEP_TRY(transaction.commit());
    }
    return {};
}

}  // namespace

Result<void> break_by_poison(Breakage& breakage) {
    DemoSystem& system = breakage.system();
    INSTEP_TRY(system.start_all());
    INSTEP_TRY(breakage.wait_until("the replicas are filled", &SystemLook::is_live));
    INSTEP_TRY_ASSIGN(const auto writer, system.make_writer({.rate = 200, .committed = {}}));
    writer->start();
    INSTEP_TRY(breakage.note_before());
    Connection& processing = *system.replicas()[kProcessing].connection;
    INSTEP_TRY(processing.execute(
        "CREATE UNIQUE INDEX one_row_a_username ON lookup_users (username)", {}));
    breakage.tell(
        "Somebody gave processing's lookup_users a unique index on username, which iam "
        "does not have.");
    INSTEP_TRY(change_user(system.iam(), fmt::format("username = '{}'", kFirstUsername)));
    INSTEP_TRY(breakage.wait_until("the row is refused", [](const SystemLook& look) {
        return look.replicas[kProcessing].parked_keys == 1;
    }));
    INSTEP_TRY_ASSIGN(const std::string reason, parked_because(processing));
    breakage.tell(
        fmt::format("iam now has the username {} twice. processing refused the second "
                    "({}), and parked that one key.",
                    kFirstUsername, reason));
    INSTEP_TRY(change_user(system.iam(), "position = 'Inventor of the compiler'"));
    INSTEP_TRY_ASSIGN(
        const SystemLook parked,
        breakage.wait_until("its next change waits behind it", [](const SystemLook& look) {
            return look.replicas[kProcessing].parked_events >= 2;
        }));
    const std::uint64_t applied = parked.replicas[kProcessing].counts.applied;
    INSTEP_TRY_ASSIGN(const SystemLook later,
                      breakage.wait_until("300 other changes flow", [&](const SystemLook& look) {
                          return look.replicas[kProcessing].counts.applied >= applied + 300;
                      }));
    breakage.tell(
        fmt::format("A second change of that user waits behind the first. Meanwhile {} "
                    "changes of other users went into processing.",
                    grouped(later.replicas[kProcessing].counts.applied - applied)));
    breakage.promise("Only that one key was parked, and only at processing.",
                     later.replicas[kProcessing].parked_keys == 1 && parked_elsewhere(later) == 0);
    INSTEP_TRY_ASSIGN(const auto differences, verify_replicas(system));
    breakage.tell(fmt::format("instep verify finds {} in processing.",
                              counted(differences[kProcessing], "difference")));
    breakage.promise("verify found exactly the parked row.",
                     differences[kProcessing] == 1 &&
                         std::ranges::count(differences, 0U) == std::ssize(differences) - 1);
    INSTEP_TRY(processing.execute("DROP INDEX one_row_a_username", {}));
    INSTEP_TRY(breakage.wait_until("the key is tried again", [](const SystemLook& look) {
        return look.replicas[kProcessing].parked_keys == 0;
    }));
    breakage.tell("The index is gone; the key was tried again by itself, both changes in order.");
    INSTEP_TRY(writer->stop());
    return breakage.finish();
}

Result<void> break_by_stale_backfill(Breakage& breakage) {
    constexpr int kBackfills = 3;
    constexpr std::uint64_t kChanges = 1000;
    constexpr std::size_t kAll = 1'000'000;
    DemoSystem& system = breakage.system();
    INSTEP_TRY(system.start(kConsumers));
    INSTEP_TRY(system.start(kOwner));
    INSTEP_TRY(breakage.wait_until("the replicas are filled", &SystemLook::is_live));
    for (const DemoReplica& replica : system.replicas()) {
        INSTEP_TRY(call_witness(*replica.connection));
    }
    INSTEP_TRY(breakage.note_before());
    INSTEP_TRY_ASSIGN(const auto writer, system.make_writer({.rate = kChanges, .committed = {}}));
    writer->start();
    breakage.tell(
        fmt::format("{} changes a second. Triggers in each replica's database watch for "
                    "rows that go back or return.",
                    grouped(kChanges)));
    for (std::uint64_t i = 1; i <= kBackfills; ++i) {
        INSTEP_TRY(breakage.wait_until("changes are made", [i](const SystemLook& look) {
            return look.published >= i * kChanges;
        }));
        INSTEP_TRY(request_backfills(system));
        INSTEP_TRY_ASSIGN(const SystemLook filled,
                          breakage.wait_until("the backfill is done", &SystemLook::is_live));
        INSTEP_TRY(breakage.publish_again(kAll));
        breakage.tell(
            fmt::format("Backfill {} of {} brought {} rows to {} while they changed. "
                        "Then all {} changes so far were published again.",
                        i, kBackfills, grouped(filled.replicas.front().filled_rows),
                        filled.replicas.front().name, grouped(filled.committed)));
    }
    INSTEP_TRY(writer->stop());
    INSTEP_TRY_ASSIGN(const SystemLook after, system.wait_until_caught_up());
    for (std::size_t i = 0; i < after.replicas.size(); ++i) {
        const ReplicaLook& replica = after.replicas[i];
        INSTEP_TRY_ASSIGN(const Witnessed witnessed, ask_witness(*system.replicas()[i].connection));
        breakage.tell(
            fmt::format("{}: {} deleted, {} of them returned; {} events were older than "
                        "what they met, {} rows went back.",
                        replica.name, counted(witnessed.deleted, "row"), witnessed.returned,
                        grouped(replica.counts.stale_ignored), witnessed.went_back));
        breakage.promise(fmt::format("In {} no row went back and none returned.", replica.name),
                         witnessed.deleted > 0 && replica.counts.stale_ignored > 0 &&
                             witnessed.returned == 0 && witnessed.went_back == 0);
    }
    return breakage.finish();
}

}  // namespace instep::cli
