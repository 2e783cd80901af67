#include "demo_writer.hpp"

#include <algorithm>
#include <array>

namespace instep::cli {

namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kChangesATransaction = 5;
constexpr std::uint64_t kInsertPercent = 30;
constexpr std::uint64_t kUpdatePercent = 60;
constexpr auto kStopGrace = 10s;

/// A writer that falls further behind its rate does not try to make up for it.
constexpr std::chrono::microseconds kBehindMax = 1s;

/// What a user's row is changed by. The parameters are the id, the time and a number; every
/// one changes updated_at, which is published, so each of them is one event.
constexpr std::array<std::string_view, 5> kUpdates = {
    "UPDATE users SET position = 'Desk ' || CAST($3 AS BIGINT), updated_at = $2 WHERE id = $1",
    "UPDATE users SET phone = '+49301' || substr(CAST(100000000 + CAST($3 AS BIGINT) AS TEXT), 2), "
    "updated_at = $2 WHERE id = $1",
    "UPDATE users SET is_active = (CAST($3 AS BIGINT) % 2 = 1), updated_at = $2 WHERE id = $1",
    "UPDATE users SET is_deleted = (CAST($3 AS BIGINT) % 2 = 1), updated_at = $2 WHERE id = $1",
    "UPDATE users SET email = CASE CAST($3 AS BIGINT) % 5 WHEN 0 THEN NULL ELSE username || "
    "'@mail' || (CAST($3 AS BIGINT) % 100) || '.example.org' END, updated_at = $2 WHERE id = $1"};

}  // namespace

DemoWriter::DemoWriter(std::unique_ptr<Connection> connection, const Clock& clock, Random& random,
                       Logger& logger, DemoWriterOptions options)
    : connection_(std::move(connection)),
      clock_(clock),
      random_(random),
      options_(std::move(options)),
      inserter_(clock, random),
      next_number_(options_.first_number),
      due_(clock.monotonic()),
      loop_(
          {.name = "writer"}, [this](const std::stop_token&) { return write_if_due(); },
          [this](const std::stop_token& stop, std::chrono::milliseconds) { wait_until_due(stop); },
          clock, random, logger) {}

Result<std::unique_ptr<DemoWriter>> DemoWriter::create(Database& iam, const Clock& clock,
                                                       Random& random, Logger& logger,
                                                       DemoWriterOptions options) {
    INSTEP_TRY_ASSIGN(auto connection, iam.connect({.cache_kib = 1024}));
    return std::unique_ptr<DemoWriter>(
        new DemoWriter(std::move(connection), clock, random, logger, std::move(options)));
}

Result<void> DemoWriter::stop() {
    INSTEP_TRY(loop_.stop(kStopGrace));
    if (const auto failing = loop_.stats().failing; failing && !is_retryable(failing->code)) {
        return fail_in("the demo's writer", *failing);
    }
    return {};
}

Result<std::uint64_t> DemoWriter::write_if_due() {
    const auto now = clock_.monotonic();
    if (now < due_) {
        return 0;
    }
    const std::uint64_t changes = 1 + random_.below(kChangesATransaction);
    INSTEP_TRY_ASSIGN(const std::uint64_t written, write(changes));
    const auto done = clock_.monotonic();
    due_ = std::max(due_, now - kBehindMax) +
           std::chrono::microseconds(changes * 1'000'000 / options_.rate);
    // SQLite's write lock has no queue: it must be free for a while, or others never get it.
    due_ = std::max(due_, done + (done - now));
    return written;
}

Result<std::uint64_t> DemoWriter::write(std::uint64_t changes) {
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(*connection_, TransactionMode::kWrite));
    CommittedChange last;
    std::uint64_t written = 0;
    for (std::uint64_t i = 0; i < changes; ++i) {
        std::string now = next_time();
        INSTEP_TRY_ASSIGN(std::string key, change(transaction, now));
        if (!key.empty()) {
            last.key = std::move(key);
            last.updated_at = std::move(now);
            ++written;
        }
    }
    INSTEP_TRY(transaction.commit());
    last.committed = clock_.monotonic();
    if (options_.committed && written > 0) {
        options_.committed(last);
    }
    return written;
}

Result<std::string> DemoWriter::change(Transaction& transaction, std::string_view now) {
    const std::uint64_t chance = random_.below(100);
    if (chance < kInsertPercent) {
        return inserter_.insert(transaction, next_number_++, now);
    }
    INSTEP_TRY_ASSIGN(std::string id, pick_user(transaction));
    if (id.empty()) {
        return id;
    }
    if (chance < kInsertPercent + kUpdatePercent) {
        const auto number = static_cast<std::int64_t>(random_.below(1'000'000));
        INSTEP_TRY(transaction.execute(kUpdates[random_.below(kUpdates.size())],
                                       {std::string_view(id), now, number}));
    } else {
        INSTEP_TRY(transaction.execute("DELETE FROM users WHERE id = $1", {std::string_view(id)}));
    }
    return id;
}

/// Near a random number, so that nothing has to be remembered of the table.
Result<std::string> DemoWriter::pick_user(Transaction& transaction) {
    if (next_number_ <= kReservedUsers) {
        return std::string();
    }
    const std::string code =
        employee_code(kReservedUsers + random_.below(next_number_ - kReservedUsers));
    INSTEP_TRY_ASSIGN(
        auto row,
        transaction.query(
            "SELECT id FROM users WHERE employee_code >= $1 ORDER BY employee_code LIMIT 1",
            {std::string_view(code)}));
    INSTEP_TRY_ASSIGN(const bool found, row->next());
    return found ? std::string(row->text(0)) : std::string();
}

/// Rises with every change, also when the wall clock does not.
std::string DemoWriter::next_time() {
    last_time_ = std::max(last_time_ + 1us, clock_.now());
    return format_time(last_time_);
}

void DemoWriter::wait_until_due(const std::stop_token& stop) {
    std::unique_lock lock(waiting_);
    never_.wait_for(lock, stop, std::max(due_ - clock_.monotonic(), 0us), [] { return false; });
}

}  // namespace instep::cli
