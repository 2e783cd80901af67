// The order service's entrance, one command a process. Who moves the events on is `instep run`.
//
//     orders apply                            make the tables
//     orders place CUSTOMER CENTS [OPTION…]   --order ID, --currency CODE, --schema 1
//     orders pay ORDER
//     orders ship ORDER [TRACKING]
//     orders show ORDER                       the order and its events
//
// All take --file FILE, the service file; without it, orders.toml; and --correlation-id ID, by
// which the logs of all services find what came of the command. A command that the order's state
// does not allow changes nothing, says why and ends with exit code 6.
#include "order.hpp"
#include "program.hpp"

#include <fmt/format.h>
#include <instep/base/clock.hpp>
#include <instep/base/random.hpp>
#include <instep/base/uuid.hpp>

#include <charconv>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <vector>

namespace {

using instep::ErrorCode;
using instep::fail;
using instep::NewEvent;
using instep::Result;
using instep::Transaction;
using orders::Order;

/// One of those of order.hpp.
using Decision = std::function<Result<NewEvent>(const Order& order)>;

/// How often a command looks again when others were faster.
constexpr int kTriesMax = 5;

struct CommandLine {
    std::vector<std::string> words;
    std::map<std::string, std::string> options{{"--file", "orders.toml"},
                                               {"--currency", "EUR"},
                                               {"--schema", "2"},
                                               {"--correlation-id", ""}};
};

Result<void> fail_usage() {
    return fail(ErrorCode::kInvalidArgument,
                "usage: orders apply | place CUSTOMER CENTS [--order ID] [--currency CODE] "
                "[--schema 1] | pay ORDER | ship ORDER [TRACKING] | show ORDER  [--file FILE] "
                "[--correlation-id ID]");
}

CommandLine parse(std::span<char* const> arguments) {
    CommandLine line;
    for (std::size_t at = 0; at < arguments.size(); ++at) {
        const std::string word = arguments[at];
        if (word.starts_with("--") && at + 1 < arguments.size()) {
            line.options[word] = arguments[++at];
        } else {
            line.words.push_back(word);
        }
    }
    return line;
}

Result<Order> try_once(instep::Connection& connection, const CommandLine& line,
                       const std::string& order_id, const Decision& decide) {
    INSTEP_TRY_ASSIGN(auto transaction,
                      Transaction::begin(connection, instep::TransactionMode::kWrite));
    INSTEP_TRY_ASSIGN(Order order, orders::load(transaction, order_id));
    INSTEP_TRY_ASSIGN(NewEvent event, decide(order));
    event.correlation_id = line.options.at("--correlation-id");
    INSTEP_TRY_ASSIGN(order, orders::append(transaction, std::move(order), std::move(event)));
    INSTEP_TRY(transaction.commit());
    return order;
}

/// A stream that moved on in the meantime is read again, so that the refusal is one of the order's
/// state; only a decision on the newest state is final.
Result<void> change(instep::Connection& connection, const CommandLine& line,
                    const std::string& order_id, const Decision& decide) {
    for (int tries = 1;; ++tries) {
        bool refused = false;
        const auto changed = try_once(connection, line, order_id, [&](const Order& order) {
            auto decided = decide(order);
            refused = !decided;
            return decided;
        });
        if (changed) {
            fmt::print("{} {}\n", changed->id, changed->status);
            return {};
        }
        if (refused || changed.error().code != ErrorCode::kConflict || tries == kTriesMax) {
            return std::unexpected(changed.error());
        }
    }
}

Result<void> place(instep::Connection& connection, const CommandLine& line) {
    orders::OrderCreated created;
    created.customer_id = line.words[1];
    const std::string& cents = line.words[2];
    const char* const end = cents.data() + cents.size();
    if (const auto read = std::from_chars(cents.data(), end, created.total_cents);
        read.ec != std::errc{} || read.ptr != end) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("\"{}\" is no amount; give a whole number of cents", cents));
    }
    created.currency = line.options.at("--currency");
    const auto given = line.options.find("--order");
    instep::SystemRandom random;
    created.order_id = given != line.options.end()
                           ? given->second
                           : instep::make_uuid_v7(instep::SystemClock(), random);
    const auto release =
        line.options.at("--schema") == "1" ? orders::Release::kFirst : orders::Release::kSecond;
    return change(connection, line, created.order_id,
                  [&](const Order& order) { return orders::create(order, created, release); });
}

Result<void> ship(instep::Connection& connection, const CommandLine& line) {
    const auto tracking_code = line.words.size() > 2 ? std::optional(line.words[2]) : std::nullopt;
    return change(connection, line, line.words[1],
                  [&](const Order& order) { return orders::ship(order, tracking_code); });
}

Result<void> show(instep::Connection& connection, const std::string& order_id) {
    INSTEP_TRY_ASSIGN(auto transaction,
                      Transaction::begin(connection, instep::TransactionMode::kRead));
    INSTEP_TRY_ASSIGN(const Order order, orders::load(transaction, order_id));
    if (order.version == 0) {
        return fail(ErrorCode::kNotFound, fmt::format("there is no order {}", order_id));
    }
    fmt::print("{} {} {} {} {}\n", order.id, order.status, order.customer_id, order.total_cents,
               order.currency);
    INSTEP_TRY_ASSIGN(const auto history, orders::read_history(transaction, order_id));
    for (const instep::Event& event : history) {
        fmt::print("  {} {} {} {}\n", event.stream_version, event.type, event.schema, event.data);
    }
    return {};
}

Result<void> run_command(std::span<char* const> arguments) {
    const CommandLine line = parse(arguments);
    const std::string command = line.words.empty() ? "" : line.words.front();
    const std::size_t operands = line.words.empty() ? 0 : line.words.size() - 1;
    INSTEP_TRY_ASSIGN(const auto config, instep::load_service_file(line.options.at("--file"),
                                                                   instep::process_environment()));
    if (command == "apply" && operands == 0) {
        return orders::prepare(config, "orders.sql");
    }
    const instep::SystemClock clock;
    INSTEP_TRY_ASSIGN(const auto database, instep::open_database(config.database, clock));
    INSTEP_TRY_ASSIGN(const auto connection, database->connect());
    if (command == "place" && operands == 2) {
        return place(*connection, line);
    }
    if (command == "pay" && operands == 1) {
        return change(*connection, line, line.words[1], orders::pay);
    }
    if (command == "ship" && (operands == 1 || operands == 2)) {
        return ship(*connection, line);
    }
    if (command == "show" && operands == 1) {
        return show(*connection, line.words[1]);
    }
    return fail_usage();
}

}  // namespace

int main(int argc, char** argv) {
    return orders::exit_code_of([&] { return run_command({argv + 1, argv + argc}); });
}
