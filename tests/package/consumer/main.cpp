// Appends an event in a transaction of its own, relays it, and reads it back as a subscriber.
#include <instep/broker/embedded/broker.hpp>
#include <instep/db/schema.hpp>
#include <instep/db/sqlite/database.hpp>
#include <instep/log/log.hpp>
#include <instep/relay/relay.hpp>
#include <instep/telemetry/logger.hpp>

#include <array>
#include <filesystem>
#include <iostream>
#include <unistd.h>

namespace {

instep::Result<std::string> send_and_receive(const std::string& folder) {
    const instep::SystemClock clock;
    instep::FileLogSink sink(STDERR_FILENO);
    instep::Logger logger(sink, clock);

    INSTEP_TRY_ASSIGN(const auto database, instep::open_sqlite(folder + "/shop.db", clock));
    INSTEP_TRY_ASSIGN(const auto connection, database->connect());
    INSTEP_TRY(instep::migrate(*connection, instep::service_migrations(instep::sqlite_dialect())));

    INSTEP_TRY_ASSIGN(const auto file, instep::open_sqlite(folder + "/broker.db", clock));
    INSTEP_TRY_ASSIGN(const auto broker, instep::open_embedded_broker(*file, clock));
    INSTEP_TRY_ASSIGN(
        const auto subscriber,
        broker->subscribe({.subscription = "mail", .topic = "shop.order", .member = "1"}));

    INSTEP_TRY_ASSIGN(auto transaction,
                      instep::Transaction::begin(*connection, instep::TransactionMode::kWrite));
    const std::array events = {instep::NewEvent{.topic = "shop.order",
                                                .key = "42",
                                                .type = "order.placed",
                                                .data = R"({"total_cents":1250})"}};
    INSTEP_TRY(instep::append(transaction, events));
    INSTEP_TRY(transaction.commit());

    INSTEP_TRY_ASSIGN(const auto relay, instep::Relay::create(*database, *broker, nullptr, logger,
                                                              {.service = "shop", .owner = "1"}));
    INSTEP_TRY(relay->run_once());

    INSTEP_TRY(subscriber->assignments());
    INSTEP_TRY_ASSIGN(const auto received, subscriber->receive(10, 1U << 20));
    return received.empty() ? "nothing" : received.front().event.data;
}

}  // namespace

int main() {
    std::string folder = (std::filesystem::temp_directory_path() / "instep-XXXXXX").string();
    if (::mkdtemp(folder.data()) == nullptr) {
        return 1;
    }
    const auto received = send_and_receive(folder);
    std::filesystem::remove_all(folder);
    std::cout << (received ? *received : received.error().message) << '\n';
    return received == R"({"total_cents":1250})" ? 0 : 1;
}
