#include "tests/storm/writers.hpp"

#include "instep/base/random.hpp"
#include "instep/log/log.hpp"
#include "tests/storm/worker.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/log_reading.hpp"

#include <fmt/format.h>

namespace instep::storm {

namespace {

using test::expect_value;

constexpr std::uint64_t kEventsMax = 8;

/// Between transactions; the storm is about failures, not about load.
constexpr auto kPause = std::chrono::milliseconds(2);

Result<void> append_once(Connection& connection, const StormOptions& options, Random& random) {
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kWrite));
    std::vector<NewEvent> events(1 + random.below(kEventsMax));
    for (NewEvent& event : events) {
        event.topic = kTopic;
        event.key = fmt::format("list-{}", random.below(options.keys));
        event.type = "list.appended";
        INSTEP_TRY_ASSIGN(const auto rows,
                          transaction.query("UPDATE lists SET length = length + 1 WHERE key = $1 "
                                            "RETURNING length",
                                            {std::string_view(event.key)}));
        INSTEP_TRY(rows->next());
        event.data = std::to_string(rows->integer(0));
    }
    INSTEP_TRY(append(transaction, events));
    if (random.below(10) == 0) {
        return {};
    }
    return transaction.commit();
}

void write(const std::stop_token& stop, Connection& connection, const StormOptions& options,
           std::uint64_t seed) {
    SeededRandom random(seed);
    while (!stop.stop_requested()) {
        // Locked or not, the next attempt draws anew: what is not committed is no part of a list.
        std::ignore = append_once(connection, options, random);
        std::ignore = test::eventually([] { return false; }, kPause);
    }
}

}  // namespace

Writers::Writers(Database& owner, const StormOptions& options) {
    for (std::uint32_t index = 0; index < options.writers; ++index) {
        threads_.emplace_back([connection = expect_value(owner.connect()), options,
                               seed = options.seed * 1000 + index](const std::stop_token& stop) {
            write(stop, *connection, options, seed);
        });
    }
}

void Writers::stop() { threads_.clear(); }

}  // namespace instep::storm
