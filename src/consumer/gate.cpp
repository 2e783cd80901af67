#include "gate.hpp"

#include "instep/telemetry/logger.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ratio>

namespace instep {

namespace {

using std::chrono::milliseconds;

/// How long somebody waits at most until a pause is honoured.
constexpr milliseconds kControlEvery{500};

std::int64_t micros(Timestamp time) { return time.time_since_epoch().count(); }
Timestamp time_of(std::int64_t micros) { return Timestamp{std::chrono::microseconds{micros}}; }

Halt paused_by(std::string_view who, std::string_view reason, Timestamp since) {
    return {HaltKind::kPaused,
            fmt::format("paused by {}{}{}", who, reason.empty() ? "" : ": ", reason), since};
}

/// The same halt, whenever it began.
bool is_same(const std::optional<Halt>& one, const std::optional<Halt>& other) {
    return one.has_value() == other.has_value() &&
           (!one || (one->kind == other->kind && one->reason == other->reason));
}

}  // namespace

Timestamp ConnectionClock::now() const {
    if (const auto now = connection_.now()) {
        last_ = std::max(last_, *now);
    }
    return last_;
}

Gate::Gate(Workplace& work) : work_(work), clock_(*work.connection) {
    if (work.options.circuit) {
        circuit_.emplace(*work.options.circuit, clock_);
        show_circuit();
    }
}

Gate::~Gate() {
    work_.instruments.halted(std::nullopt);
    if (!is_told_ || !halt_ || halt_->kind == HaltKind::kPaused) {
        return;
    }
    if (const auto cleared = write(std::nullopt); !cleared) {
        work_.logger.warn("consumer.halt_stays", {{"subscription", work_.options.subscription},
                                                  {"error", cleared.error().message}});
    }
}

Result<Passage> Gate::look() {
    rate_until_.reset();
    INSTEP_TRY(read_control());
    INSTEP_TRY_ASSIGN(std::optional<Halt> halt, find_halt());
    if (!is_same(halt, halt_)) {
        if (!halt_ || !halt || halt->kind != halt_->kind) {
            work_.instruments.halted(halt ? std::optional(halt->kind) : std::nullopt);
        }
        halt_ = std::move(halt);
        is_told_ = false;
        note();
    }
    INSTEP_TRY(tell());
    if (!halt_) {
        return Passage::kEverything;
    }
    switch (halt_->kind) {
        case HaltKind::kPaused:
            return Passage::kNothing;
        case HaltKind::kCircuitOpen:
            return circuit_->retry_in() > std::chrono::microseconds{0}
                       ? Result<Passage>(Passage::kNothing)
                       : find_probe();
        case HaltKind::kFailedEvent:
        case HaltKind::kParkedLimit:
            return Passage::kParkedOnly;
    }
    return Passage::kEverything;
}

/// The circuit hides an event at which all stops, which a probe may not pass.
Result<Passage> Gate::find_probe() {
    INSTEP_TRY_ASSIGN(const bool stands, stands_at_failed_event());
    return stands ? Passage::kParkedProbe : Passage::kProbe;
}

Result<bool> Gate::stands_at_failed_event() {
    if (!work_.policies.stops_at_any()) {
        return false;
    }
    INSTEP_TRY_ASSIGN(const auto failed, find_failed_event());
    return failed.has_value();
}

void Gate::note() const {
    if (!halt_) {
        work_.logger.info("consumer.goes_on", {{"subscription", work_.options.subscription}});
        return;
    }
    work_.logger.warn("consumer.halted", {{"subscription", work_.options.subscription},
                                          {"kind", to_string(halt_->kind)},
                                          {"reason", halt_->reason}});
}

/// One query in a while, whatever the load.
Result<void> Gate::read_control() {
    const auto now = clock_.monotonic();
    if (revision_ >= 0 && now < read_again_) {
        return {};
    }
    INSTEP_TRY_ASSIGN(
        auto rows,
        work_.connection->query(
            "SELECT revision, paused_us, paused_by, pause_reason FROM "
            "instep_subscription WHERE subscription = $1",
            std::initializer_list<ValueView>{std::string_view(work_.options.subscription)}));
    INSTEP_TRY_ASSIGN(const bool known, rows->next());
    const std::int64_t revision = known ? rows->integer(0) : 0;
    paused_.reset();
    if (known && !rows->is_null(1)) {
        paused_ = paused_by(rows->text(2), rows->text(3), time_of(rows->integer(1)));
    }
    rows.reset();
    revised_ = revised_ || (revision_ >= 0 && revision != revision_);
    if (halt_ && halt_->kind == HaltKind::kParkedLimit) {
        // Another member may have freed keys that counted here, and does not say so.
        INSTEP_TRY_ASSIGN(const ParkedTotals totals, work_.parking.count(*work_.connection));
        revised_ = revised_ || !is_full(totals.keys + totals.skipped_events, totals.bytes);
    }
    revision_ = revision;
    read_again_ = now + kControlEvery;
    return {};
}

Result<std::optional<Halt>> Gate::find_halt() {
    if (paused_) {
        return paused_;
    }
    if (circuit_ && circuit_->state() != CircuitState::kClosed) {
        return Halt{HaltKind::kCircuitOpen, circuit_error_, clock_.now()};
    }
    if (work_.policies.stops_at_any()) {
        INSTEP_TRY_ASSIGN(auto failed, find_failed_event());
        if (failed) {
            return failed;
        }
    }
    if (is_full(work_.parking.key_count(), work_.parking.bytes())) {
        return Halt{HaltKind::kParkedLimit,
                    fmt::format("as much is set aside as may be ({} keys, {} bytes); retry or "
                                "discard dead letters, or raise the limit",
                                work_.options.parked_keys_max, work_.options.parked_bytes_max),
                    clock_.now()};
    }
    return std::nullopt;
}

bool Gate::is_full(std::uint64_t keys, std::uint64_t bytes) const {
    return keys >= work_.options.parked_keys_max || bytes >= work_.options.parked_bytes_max;
}

/// Of any partition: another member may hold the one where it failed.
Result<std::optional<Halt>> Gate::find_failed_event() {
    INSTEP_TRY_ASSIGN(
        auto rows,
        work_.connection->query(
            fmt::format("SELECT key, error_message, failed_us, dead_us FROM instep_parked_key "
                        "WHERE subscription = $1 AND error_code IN ({}) "
                        "ORDER BY parked_us, key LIMIT 1",
                        work_.policies.stopping()),
            std::initializer_list<ValueView>{std::string_view(work_.options.subscription)}));
    INSTEP_TRY_ASSIGN(const bool found, rows->next());
    if (!found) {
        return std::nullopt;
    }
    const bool is_dead = !rows->is_null(3);
    return Halt{HaltKind::kFailedEvent,
                fmt::format("the event of key {} failed and {}: {}", rows->text(0),
                            is_dead ? "is to be retried, edited or discarded" : "is tried again",
                            rows->text(1)),
                time_of(rows->integer(2))};
}

/// A pause stands in the database by itself.
Result<void> Gate::tell() {
    if (is_told_) {
        return {};
    }
    INSTEP_TRY(write(halt_ && halt_->kind != HaltKind::kPaused ? halt_ : std::nullopt));
    is_told_ = true;
    return {};
}

Result<void> Gate::write(const std::optional<Halt>& halt) {
    const std::string_view subscription = work_.options.subscription;
    INSTEP_TRY_ASSIGN(auto rows, work_.connection->query(
                                     "SELECT 1 FROM instep_halt WHERE subscription = $1 LIMIT 1",
                                     std::initializer_list<ValueView>{subscription}));
    INSTEP_TRY_ASSIGN(const bool stands, rows->next());
    rows.reset();
    if (!stands && !halt) {
        return {};
    }
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(*work_.connection, TransactionMode::kWrite));
    for (const std::uint32_t partition : work_.held.partitions()) {
        INSTEP_TRY(transaction.execute(
            "DELETE FROM instep_halt WHERE subscription = $1 AND partition = $2",
            {subscription, std::int64_t{partition}}));
        if (halt) {
            INSTEP_TRY(transaction.execute(
                "INSERT INTO instep_halt (subscription, partition, kind, reason, since_us) "
                "VALUES ($1, $2, $3, $4, $5)",
                {subscription, std::int64_t{partition}, to_string(halt->kind),
                 std::string_view(halt->reason), micros(halt->since)}));
        }
    }
    return transaction.commit();
}

bool Gate::try_probe() {
    const bool may = circuit_->try_acquire();
    show_circuit();
    return may;
}

void Gate::show_circuit() { work_.instruments.circuit(circuit_->state()); }

void Gate::report(Workplace::Target target, const std::string& error) {
    if (!circuit_) {
        return;
    }
    switch (target) {
        case Workplace::Target::kUnasked:
            circuit_->not_called();
            break;
        case Workplace::Target::kAnswers:
            circuit_->succeeded();
            break;
        case Workplace::Target::kDown:
            circuit_error_ = error;
            circuit_->failed();
            break;
    }
    show_circuit();
}

/// The events of the last second are paid for before the next are taken, so that a batch needs one
/// statement, and members need to know nothing of each other.
Result<bool> Gate::take(std::uint64_t events) {
    if (work_.options.rate_limit == 0 || events == 0) {
        return true;
    }
    const std::string_view subscription = work_.options.subscription;
    INSTEP_TRY_ASSIGN(const Timestamp now, work_.connection->now());
    const auto cost =
        static_cast<std::int64_t>(events * std::micro::den / work_.options.rate_limit);
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(*work_.connection, TransactionMode::kWrite));
    INSTEP_TRY_ASSIGN(
        const std::int64_t taken,
        transaction.execute(
            "INSERT INTO instep_subscription (subscription, rate_until_us) VALUES ($1, $2) "
            "ON CONFLICT (subscription) DO UPDATE SET rate_until_us = excluded.rate_until_us "
            "WHERE instep_subscription.rate_until_us <= $3",
            {subscription, micros(now) + cost, micros(now)}));
    if (taken == 0) {
        INSTEP_TRY_ASSIGN(auto rows, transaction.query("SELECT rate_until_us FROM "
                                                       "instep_subscription WHERE "
                                                       "subscription = $1",
                                                       {subscription}));
        INSTEP_TRY(rows->next());
        rate_until_ = time_of(rows->integer(0));
        rows.reset();
    }
    INSTEP_TRY(transaction.commit());
    return taken > 0;
}

std::optional<milliseconds> Gate::patience() {
    if (rate_until_) {
        return std::max(std::chrono::ceil<milliseconds>(*rate_until_ - clock_.now()),
                        milliseconds{1});
    }
    if (!halt_) {
        return std::nullopt;
    }
    if (halt_->kind != HaltKind::kCircuitOpen) {
        return kControlEvery;
    }
    const auto open_for = std::chrono::ceil<milliseconds>(circuit_->retry_in());
    // A probe only lacks an event, for which the subscriber waits.
    return open_for == milliseconds{0} ? std::nullopt
                                       : std::optional(std::min(open_for, kControlEvery));
}

bool Gate::tries_parked() const {
    return !rate_until_ && (!halt_ || halt_->kind == HaltKind::kFailedEvent ||
                            halt_->kind == HaltKind::kParkedLimit);
}

}  // namespace instep
