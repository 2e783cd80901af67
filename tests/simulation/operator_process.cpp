#include "instep/consumer/dead_letters.hpp"
#include "instep/consumer/handler.hpp"
#include "instep/log/log.hpp"
#include "instep/replica/replica.hpp"
#include "instep/replica/verification.hpp"
#include "tests/simulation/processes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace instep::simulation {

namespace {

class OperatorProcess final : public Process {
public:
    explicit OperatorProcess(Environment& environment) : environment_(environment) {}

    Result<void> start() override {
        INSTEP_TRY_ASSIGN(ports_, ProcessPorts::open(environment_, Role::kOperator,
                                                     *environment_.source, nullptr));
        return {};
    }

    Result<std::uint64_t> work() override {
        environment_.scheduler.rest(std::chrono::milliseconds{environment_.random.below(
            2 * static_cast<std::uint64_t>(environment_.options.operations_every.count()))});
        if (!environment_.operating) {
            return 0;
        }
        ReplicaSite& site =
            *environment_.sites[environment_.random.below(environment_.sites.size())];
        if (site.effects && environment_.random.below(2) == 0) {
            return decide(site);
        }
        if (site.definition.apply == ApplyUnit::kTransaction &&
            environment_.options.group.refused > 0 && environment_.random.below(3) == 0) {
            return change_what_is_refused(site);
        }
        switch (environment_.random.below(10)) {
            case 0:
            case 1:
                return in_transaction(*site.database, [&](Transaction& transaction) {
                    return without_value(
                        request_backfill(transaction, site.definition, environment_.random));
                });
            case 2:
            case 3:
            case 4:
                return verify(site, VerificationPurpose::kVerify);
            case 5:
                return verify(site, VerificationPurpose::kRepair);
            case 6:
                return in_transaction(*environment_.source, [&](Transaction& transaction) {
                    return without_value(
                        trim_log(transaction, environment_.scheduler.clock().now(), 1000));
                });
            case 7:
                return ports_->broker().trim(environment_.scheduler.clock().now());
            case 8:
                return trim_consumer(site);
            default:
                if (environment_.sim_broker) {
                    environment_.sim_broker->restart();
                }
                return 0;
        }
    }

private:
    template <class T>
    static Result<void> without_value(Result<T> outcome) {
        INSTEP_TRY(outcome);
        return {};
    }

    template <class Run>
    static Result<std::uint64_t> in_transaction(Database& database, Run run) {
        INSTEP_TRY_ASSIGN(auto connection, database.connect({}));
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(*connection, TransactionMode::kWrite));
        INSTEP_TRY(run(transaction));
        INSTEP_TRY(transaction.commit());
        return 1;
    }

    Result<std::uint64_t> verify(ReplicaSite& site, VerificationPurpose purpose) {
        return in_transaction(*site.database, [&](Transaction& transaction) {
            return without_value(
                request_verification(transaction, site.definition, purpose, environment_.random));
        });
    }

    /// About one of the events that were set aside, as a person would whose list may be old.
    Result<std::uint64_t> decide(ReplicaSite& site) {
        INSTEP_TRY_ASSIGN(const auto ports, ProcessPorts::open(environment_, Role::kOperator,
                                                               *site.database, nullptr));
        INSTEP_TRY_ASSIGN(auto connection, ports->database().connect());
        INSTEP_TRY_ASSIGN(const std::vector<ParkedKey> keys,
                          list_parked_keys(*connection, site.effects->subscription(), 100));
        if (keys.empty()) {
            return 0;
        }
        const ParkedKey& chosen = keys[environment_.random.below(keys.size())];
        return in_transaction(ports->database(), [&](Transaction& transaction) {
            return decide(transaction, chosen);
        });
    }

    Result<void> decide(Transaction& transaction, const ParkedKey& chosen) {
        const DeadLetterFilter filter{.subscription = chosen.subscription,
                                      .key = chosen.key,
                                      .with_retried = environment_.random.below(2) == 0};
        const Operator by{"operator", "simulated"};
        switch (environment_.random.below(4)) {
            case 0:
                return without_value(discard_dead_letters(transaction, filter,
                                                          environment_.random.below(4) == 0
                                                              ? DiscardScope::kAllEvents
                                                              : DiscardScope::kOldestEvent,
                                                          by));
            case 1:
                return edit(transaction, chosen);
            default:
                return without_value(retry_dead_letters(transaction, filter, by));
        }
    }

    Result<void> edit(Transaction& transaction, const ParkedKey& chosen) {
        INSTEP_TRY_ASSIGN(
            const auto waiting,
            list_waiting_events(transaction.connection(), chosen.subscription, chosen.key, 1));
        if (waiting.empty() || waiting.front().is_discarded) {
            return {};
        }
        const std::string mark = fmt::format("{}{}", kEditMark, ++environment_.edits);
        return edit_dead_letter(transaction, waiting.front().number,
                                fmt::format(R"({{"id":"{}"}})", mark), {"operator", mark});
    }

    /// The table takes what it refused, or refuses it again; not any more once all is to end well.
    Result<std::uint64_t> change_what_is_refused(ReplicaSite& site) const {
        return in_transaction(*site.database, [&](Transaction& transaction) -> Result<void> {
            INSTEP_TRY_ASSIGN(const std::int64_t taken, transaction.execute("DELETE FROM refused"));
            if (taken == 0 && environment_.operating) {
                INSTEP_TRY(
                    transaction.execute("INSERT INTO refused VALUES ($1)", {kRefusedAmount}));
            }
            return {};
        });
    }

    /// What no broker redelivers any more, as an operator would judge: by time.
    Result<std::uint64_t> trim_consumer(ReplicaSite& site) const {
        const bool early = environment_.bug != nullptr && environment_.bug->trims_too_early;
        const Timestamp before = environment_.scheduler.clock().now() -
                                 (early ? std::chrono::seconds{0} : std::chrono::seconds{600});
        return in_transaction(*site.database, [&](Transaction& transaction) -> Result<void> {
            INSTEP_TRY(trim_inbox(transaction, before, 1000));
            INSTEP_TRY(trim_tombstones(transaction, before, 1000));
            return {};
        });
    }

    Environment& environment_;
    std::unique_ptr<ProcessPorts> ports_;
};

}  // namespace

std::unique_ptr<Process> make_operator(Environment& environment) {
    return std::make_unique<OperatorProcess>(environment);
}

}  // namespace instep::simulation
