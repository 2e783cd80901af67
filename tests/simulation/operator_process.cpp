#include "instep/consumer/handler.hpp"
#include "instep/log/log.hpp"
#include "instep/replica/replica.hpp"
#include "instep/replica/verification.hpp"
#include "tests/simulation/processes.hpp"
#include "tests/simulation/subscription_operator.hpp"

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
            return SubscriptionOperator(environment_, site).act();
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
                return in_transaction(*environment_.source, [this](Transaction& transaction) {
                    return trim_source(transaction);
                });
            case 7:
                expect_trimmed();
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

    /// Not before the relay has a cursor: nobody would say what it still needs.
    Result<void> trim_source(Transaction& transaction) const {
        INSTEP_TRY_ASSIGN(const auto rows, transaction.query("SELECT count(*) FROM instep_cursor "
                                                             "WHERE reader = 'relay'"));
        INSTEP_TRY(rows->next());
        if (rows->integer(0) < environment_.options.partitions) {
            return {};
        }
        expect_trimmed();
        return without_value(trim_log(transaction, environment_.scheduler.clock().now(), 1000));
    }

    /// What is deleted now no replay can bring.
    void expect_trimmed() const {
        for (const auto& site : environment_.sites) {
            if (site->effects) {
                site->effects->replays().trimmed();
            }
        }
    }

    Result<std::uint64_t> verify(ReplicaSite& site, VerificationPurpose purpose) {
        return in_transaction(*site.database, [&](Transaction& transaction) {
            return without_value(
                request_verification(transaction, site.definition, purpose, environment_.random));
        });
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
