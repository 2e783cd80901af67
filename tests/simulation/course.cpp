#include "tests/simulation/course.hpp"

#include "instep/consumer/consumer.hpp"
#include "instep/consumer/dead_letters.hpp"
#include "instep/consumer/halt.hpp"
#include "instep/consumer/replay.hpp"
#include "instep/direct/broker.hpp"
#include "instep/log/reader.hpp"
#include "instep/replica/replica.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace instep::simulation {

namespace {

constexpr std::chrono::seconds kConvergenceMax{300};
constexpr std::chrono::milliseconds kLook{250};
constexpr std::uint32_t kTransactionsWhileVerifying = 6;

/// Holds a database still while it is looked at.
class Still {
public:
    explicit Still(SimDatabase& database) : database_(database) {
        while (!database.lock().acquire(kConvergenceMax)) {
        }
    }
    Still(const Still&) = delete;
    Still& operator=(const Still&) = delete;
    ~Still() { database_.lock().release(); }

private:
    SimDatabase& database_;
};

}  // namespace

void Course::run() {
    if (auto ready = subscribe(); !ready) {
        environment_.findings.report("setup: " + ready.error().message);
        return;
    }
    start_();
    strike();
    if (!converge("after the faults")) {
        return;
    }
    std::ranges::for_each(environment_.sites, [this](const auto& site) { expect_exact(*site); });
    for (const auto& site : environment_.sites) {
        verifications_.push_back(verify(*site, VerificationPurpose::kVerify));
        ask_for_replay(*site);
    }
    environment_.transactions_left = kTransactionsWhileVerifying;
    if (!converge("with verifications")) {
        return;
    }
    std::ranges::for_each(verifications_, [this](const auto& done) { expect_no_difference(done); });
    std::ranges::for_each(environment_.sites, [this](const auto& site) { expect_replayed(*site); });
    if (environment_.random.below(3) == 0) {
        meddle_and_repair(*environment_.sites.front());
    }
    over_ = true;
}

/// Before the first event: a broker keeps nothing for those who have not subscribed yet.
Result<void> Course::subscribe() {
    INSTEP_TRY_ASSIGN(
        ports_, ProcessPorts::open(environment_, Role::kOperator, *environment_.source, nullptr));
    SubscribeOptions options;
    options.member = "setup";
    options.subscription = environment_.requests->subscription();
    options.topic = kRequestTopic;
    INSTEP_TRY(ports_->broker().subscribe(options));
    for (const auto& site : environment_.sites) {
        if (site->effects) {
            INSTEP_TRY_ASSIGN(const auto ports, ProcessPorts::open(environment_, Role::kEffects,
                                                                   *site->database, nullptr));
            options.subscription = site->effects->subscription();
            options.topic = kTopic;
            INSTEP_TRY(ports->broker().subscribe(options));
        }
    }
    return {};
}

void Course::strike() {
    environment_.chaos.begin(environment_.options.faults);
    environment_.scheduler.rest(environment_.options.faulty_for);
    environment_.chaos.end();
    environment_.scheduler.trace("healed", "", "");
    environment_.transactions_left = 0;
    environment_.poison = 0;
    environment_.operating = false;
    environment_.scheduler.wake_all();
    std::ranges::for_each(environment_.sites, [this](const auto& site) { resume(*site); });
    if (environment_.options.poison > 0) {
        correct_poison();
    }
    if (environment_.options.group.refused > 0) {
        take_what_was_refused();
    }
}

void Course::take_what_was_refused() {
    in_transaction(*group_site(environment_).database,
                   [](Transaction& transaction) -> Result<void> {
                       INSTEP_TRY(transaction.execute("DELETE FROM refused"));
                       return {};
                   });
}

/// What holds the refused value can never be applied, a chunk least of all: it is sent again
/// once the source is right.
void Course::correct_poison() {
    in_transaction(*environment_.source, [](Transaction& transaction) -> Result<void> {
        INSTEP_TRY(
            transaction.execute("UPDATE users SET name = 'corrected' WHERE name = $1", {kPoison}));
        return {};
    });
    for (const auto& site : environment_.sites) {
        in_transaction(*site->database, [&](Transaction& transaction) -> Result<void> {
            INSTEP_TRY(request_backfill(transaction, site->definition, environment_.random));
            return {};
        });
    }
}

/// Whoever mended what they failed for does so.
void Course::retry_dead_letters_of(ReplicaSite& site) {
    const DeadLetterFilter filter{.subscription = site.effects->subscription()};
    {
        const Still still(*site.database);
        if (list_dead_letters(site.database->inspect(), filter, 1)->empty()) {
            return;
        }
    }
    in_transaction(*site.database, [&](Transaction& transaction) -> Result<void> {
        INSTEP_TRY(retry_dead_letters(transaction, filter, {"course", "mended"}));
        return {};
    });
}

void Course::resume(ReplicaSite& site) {
    if (!site.effects || !environment_.options.handling.pauses) {
        return;
    }
    in_transaction(*site.database, [&](Transaction& transaction) -> Result<void> {
        INSTEP_TRY(resume_subscription(transaction, site.effects->subscription()));
        return {};
    });
}

/// Of all that there is, which has all been handled and acknowledged, or of one key of it.
void Course::ask_for_replay(ReplicaSite& site) {
    if (!site.effects || !environment_.options.handling.replays) {
        return;
    }
    site.effects->replays().expect_to_reach_all();
    ReplayRequest request;
    request.subscription = site.effects->subscription();
    request.partitions = partitions_of_effects(environment_.options);
    request.who = "course";
    const auto place = site.effects->replays().draw_place(environment_.random);
    if (place && environment_.random.below(2) == 0) {
        request.key = place->event.key;
    }
    in_transaction(*site.database, [&](Transaction& transaction) {
        return instep::ask_for_replay(transaction, request);
    });
}

/// It may be refused only by a broker that keeps nothing.
void Course::expect_replayed(const ReplicaSite& site) {
    const Options& options = environment_.options;
    if (!site.effects || (options.broker == BrokerKind::kAmqp && !options.handling.reads_log)) {
        return;
    }
    const auto& all = site.effects->replays().all();
    if (options.handling.replays && (all.empty() || all.rbegin()->second.state != "done")) {
        environment_.findings.report(
            fmt::format("the last replay of {} was not carried out", site.effects->subscription()));
    }
}

void Course::in_transaction(SimDatabase& database,
                            const std::function<Result<void>(Transaction&)>& work) {
    const auto run = [&]() -> Result<void> {
        INSTEP_TRY_ASSIGN(auto connection, database.connect({}));
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(*connection, TransactionMode::kWrite));
        INSTEP_TRY(work(transaction));
        return transaction.commit();
    };
    Result<void> done = run();
    while (!done && is_retryable(done.error().code)) {
        done = run();
    }
    if (!done) {
        environment_.findings.report("the course of the run: " + done.error().message);
    }
}

bool Course::converge(std::string_view phase) {
    const auto limit = environment_.scheduler.clock().monotonic() + kConvergenceMax;
    std::string lag = "nothing was looked at";
    while (!lag.empty()) {
        if (environment_.scheduler.clock().monotonic() > limit) {
            environment_.findings.report(fmt::format("no convergence {}: {}", phase, lag));
            return false;
        }
        environment_.scheduler.rest(kLook);
        for (const auto& site : environment_.sites) {
            if (site->effects) {
                retry_dead_letters_of(*site);
            }
        }
        lag = describe_lag();
    }
    environment_.scheduler.trace("converged", phase, "");
    return true;
}

std::string Course::describe_lag() {
    if (environment_.transactions_left + environment_.transactions_open > 0) {
        return "the writers have more to do";
    }
    std::string lag = describe_service_lag(*environment_.source, kOwner);
    for (const auto& site : environment_.sites) {
        lag = lag.empty() ? describe_lag(*site) : lag;
    }
    return lag.empty() ? describe_broker_lag() : lag;
}

std::string Course::describe_service_lag(SimDatabase& database, std::string_view name) const {
    const Still still(database);
    const auto lag = log_lag(database.inspect(), "relay");
    if (!lag || lag->events > 0) {
        return fmt::format("the relay of {} is behind", name);
    }
    const auto parked = list_parked_keys(database.inspect(), "", 100);
    for (const ParkedKey& key : *parked) {
        // A chunk that holds a refused value stays refused.
        if (environment_.options.poison == 0 || !key.key.starts_with("scan/")) {
            return fmt::format("{} has parked key {}: {}", key.subscription, key.key,
                               key.error_message);
        }
    }
    return "";
}

std::string Course::describe_lag(ReplicaSite& site) {
    if (std::string lag = describe_service_lag(*site.database, site.definition.service);
        !lag.empty()) {
        return lag;
    }
    const Still still(*site.database);
    const Still source_still(*environment_.source);
    const auto replicas = list_replicas(site.database->inspect());
    const auto replica = std::ranges::find(*replicas, site.definition.table, &ReplicaStatus::table);
    if (replica == replicas->end() || replica->state != ReplicaState::kLive) {
        return fmt::format("replica {} is not live", site.definition.table);
    }
    const auto rows = site.replica->rows();
    const auto source_rows = site.replica->source_rows(*environment_.source, site.source_table);
    if (rows != source_rows) {
        return fmt::format("replica {} holds {}, the source {}", site.definition.table, rows,
                           source_rows);
    }
    if (site.effects && !site.effects->is_complete()) {
        return fmt::format("{} misses effects", site.effects->subscription());
    }
    if (site.effects && environment_.options.handling.reads_log) {
        const std::string reader =
            fmt::format("{}{}/{}", kDirectReaderPrefix, kTopic, site.effects->subscription());
        const auto lag = log_lag(environment_.source->inspect(), reader, kTopic);
        if (!lag || lag->events > 0) {
            return fmt::format("{} has not acknowledged all", site.effects->subscription());
        }
    }
    for (const Verification& verification : verifications_) {
        if (verification.site == &site && !status_of(verification).finished) {
            return fmt::format("verification {} of {} is not finished", verification.id,
                               site.definition.table);
        }
    }
    return "";
}

std::string Course::describe_broker_lag() {
    const auto lags = ports_->broker().lag("");
    if (!lags) {
        return lags.error().message;
    }
    for (const SubscriptionLag& lag : *lags) {
        if (lag.events > 0) {
            return fmt::format("{} is {} events behind in {}/{}", lag.subscription, lag.events,
                               lag.topic, lag.partition);
        }
    }
    return "";
}

Course::Verification Course::verify(ReplicaSite& site, VerificationPurpose purpose) {
    Verification verification{&site, {}};
    bool is_live = false;
    while (!is_live) {
        in_transaction(*site.database, [&](Transaction& transaction) -> Result<void> {
            const auto asked =
                request_verification(transaction, site.definition, purpose, environment_.random);
            is_live = asked || asked.error().code != ErrorCode::kConflict;
            if (asked) {
                verification.id = *asked;
            } else if (is_live) {
                return std::unexpected(asked.error());
            }
            return {};
        });
        // The operator may have asked for all rows again since the replica was live.
        if (!is_live && !converge("before a verification")) {
            break;
        }
    }
    return verification;
}

VerificationStatus Course::status_of(const Verification& verification) {
    auto status = read_verification(verification.site->database->inspect(), verification.id);
    return status ? *status : VerificationStatus{};
}

void Course::expect_no_difference(const Verification& verification) {
    const Still still(*verification.site->database);
    const VerificationStatus status = status_of(verification);
    if (status.differences > 0 || !status.problem.empty()) {
        environment_.findings.report(
            fmt::format("a healthy replica {} was found to differ in {} rows ({})",
                        verification.site->definition.table, status.differences, status.problem));
    }
}

/// Digests are exact also while faults strike, as long as nothing is parked and no relay that
/// was replaced can publish.
void Course::expect_exact(ReplicaSite& site) {
    const Options& options = environment_.options;
    const bool fenced = options.real_broker || options.fences_publishers;
    if (!fenced || options.poison > 0 || options.group.refused > 0) {
        return;
    }
    const Still still(*site.database);
    auto rows = site.database->inspect().query("SELECT key, kind FROM instep_difference", {});
    if (*(*rows)->next()) {
        environment_.findings.report(fmt::format("a verification found key {} of {} {}, wrongly",
                                                 (*rows)->text(0), site.definition.table,
                                                 (*rows)->text(1)));
    }
}

/// Somebody changes the replica by hand; a repair must find and undo it.
void Course::meddle_and_repair(ReplicaSite& site) {
    std::size_t meddled = 0;
    {
        const Still still(*site.database);
        const auto before = site.replica->rows();
        site.replica->begin_meddling();
        const std::string key = environment_.key(1 + environment_.random.below(2));
        const std::string change =
            environment_.random.below(2) == 0
                ? fmt::format("DELETE FROM {} WHERE id = '{}'", site.definition.table, key)
                : fmt::format("UPDATE {} SET name = 'meddled' WHERE id = '{}'",
                              site.definition.table, key);
        site.database->meddle(change);
        meddled = before == site.replica->rows() ? 0 : 1;
    }
    verifications_ = {verify(site, VerificationPurpose::kRepair)};
    if (!converge("after a repair")) {
        return;
    }
    const Still still(*site.database);
    const VerificationStatus status = status_of(verifications_.front());
    // A chunk that was parked may have put the row right first; convergence says that it is.
    if (status.differences > meddled || status.repaired != status.differences) {
        environment_.findings.report(fmt::format("a repair found {} and repaired {} rows, not {}",
                                                 status.differences, status.repaired, meddled));
    }
    site.replica->end_meddling();
}

}  // namespace instep::simulation
