#include "tests/simulation/orders_workload.hpp"
#include "tests/simulation/processes.hpp"

#include <fmt/format.h>

namespace instep::simulation {

namespace {

class WriterProcess final : public Process {
public:
    explicit WriterProcess(Environment& environment) : environment_(environment) {}

    Result<void> start() override {
        INSTEP_TRY_ASSIGN(
            ports_, ProcessPorts::open(environment_, Role::kWriter, *environment_.source, nullptr));
        INSTEP_TRY_ASSIGN(connection_, ports_->database().connect());
        return {};
    }

    Result<std::uint64_t> work() override {
        if (environment_.transactions_left == 0) {
            return 0;
        }
        --environment_.transactions_left;
        {
            const Writing writing(environment_);
            INSTEP_TRY(write_transaction());
        }
        const Options& options = environment_.options;
        const auto mean = std::chrono::microseconds{options.faulty_for} / options.transactions;
        environment_.scheduler.rest(
            std::chrono::microseconds{draw(2 * static_cast<std::uint64_t>(mean.count()))});
        return 1;
    }

private:
    /// Until it ends, however it ends, the writers are not done.
    class Writing {
    public:
        explicit Writing(Environment& environment) : environment_(environment) {
            ++environment_.transactions_open;
        }
        Writing(const Writing&) = delete;
        Writing& operator=(const Writing&) = delete;
        ~Writing() { --environment_.transactions_open; }

    private:
        Environment& environment_;
    };

    std::uint64_t draw(std::uint64_t bound) { return environment_.random.below(bound); }

    Result<void> write_transaction() {
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(*connection_, TransactionMode::kWrite));
        const Options& options = environment_.options;
        const std::uint64_t statements = 1 + draw(options.statements_max);
        for (std::uint64_t i = 0; i < statements; ++i) {
            if (options.group.tables > 0 && draw(3) > 0) {
                OrdersWorkload orders(transaction, environment_.random,
                                      environment_.operating ? options.group.refused : 0);
                INSTEP_TRY(orders.change());
            } else {
                INSTEP_TRY(write(transaction));
            }
        }
        if (environment_.bug != nullptr && environment_.bug->before_commit) {
            INSTEP_TRY_ASSIGN(auto publisher, ports_->broker().publisher());
            environment_.bug->before_commit(transaction, *publisher);
        }
        if (environment_.random.unit() < options.rollback) {
            return {};
        }
        return transaction.commit();
    }

    std::string new_value() {
        return environment_.random.unit() < environment_.poison
                   ? std::string(kPoison)
                   : fmt::format("v{}", ++environment_.values_written);
    }

    /// A hot key, a cold one now and then.
    Result<void> write(Transaction& transaction) {
        const std::string key = environment_.key(1 + draw(environment_.options.keys));
        const std::string value = new_value();
        const std::string secret = fmt::format("{}-{}", kPrivateMark, value);
        const ValueView amount =
            draw(4) == 0 ? ValueView{kNull} : ValueView{static_cast<std::int64_t>(draw(100))};
        switch (draw(8)) {
            case 0:
            case 1:
            case 2:
                return run(transaction,
                           "INSERT INTO users (id, name, amount, secret) VALUES ($1, $2, $3, $4) "
                           "ON CONFLICT (id) DO UPDATE SET name = excluded.name, "
                           "amount = excluded.amount",
                           {std::string_view(key), std::string_view(value), amount,
                            std::string_view(secret)});
            case 3:
            case 4:
                return run(transaction, "UPDATE users SET name = $2 WHERE id = $1",
                           {std::string_view(key), std::string_view(value)});
            case 5:
                return run(transaction, "UPDATE users SET secret = $2 WHERE id = $1",
                           {std::string_view(key), std::string_view(secret)});
            case 6: {
                const std::string other = environment_.key(1 + draw(environment_.options.keys));
                return run(transaction,
                           "UPDATE users SET id = $2 WHERE id = $1 AND NOT EXISTS "
                           "(SELECT 1 FROM users WHERE id = $2)",
                           {std::string_view(key), std::string_view(other)});
            }
            default:
                return run(transaction, "DELETE FROM users WHERE id = $1", {std::string_view(key)});
        }
    }

    static Result<void> run(Transaction& transaction, std::string_view sql,
                            std::initializer_list<ValueView> parameters) {
        INSTEP_TRY(transaction.execute(sql, parameters));
        return {};
    }

    Environment& environment_;
    std::unique_ptr<ProcessPorts> ports_;
    std::unique_ptr<Connection> connection_;
};

}  // namespace

std::unique_ptr<Process> make_writer(Environment& environment) {
    return std::make_unique<WriterProcess>(environment);
}

}  // namespace instep::simulation
