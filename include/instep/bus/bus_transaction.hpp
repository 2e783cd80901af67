// Events for the log and for the bus at once.
//
//     BusTransaction events(bus, transaction);
//     INSTEP_TRY(events.publish("iam.user", id, UserRegistered{id}));
//     INSTEP_TRY(events.commit());
#pragma once

#include "instep/bus/bus.hpp"
#include "instep/db/connection.hpp"
#include "instep/event/payload.hpp"
#include "instep/log/log.hpp"
#include "instep/log/publish_contract.hpp"

#include <algorithm>
#include <functional>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace instep {

/// Appends within the caller's transaction; listeners are called once it has committed, and not at
/// all if it does not: so they see nothing that was rolled back. A process that dies in between
/// has called none or some of them, while subscriptions of the log get the events all the same.
/// For one thread at a time.
class BusTransaction {
public:
    /// All must outlive it. Events are held to `contract`; null: to nothing.
    BusTransaction(Bus& bus, Transaction& transaction, const PublishContract* contract = nullptr)
        : bus_(bus), transaction_(transaction), contract_(contract) {}

    /// Errors: those of PublishContract::check() and append(); nothing is appended, and no listener
    /// hears of it.
    template <Payload T>
    Result<void> publish(std::string topic, std::string key, T payload) {
        NewEvent event;
        event.topic = std::move(topic);
        event.key = std::move(key);
        event.type = T::kType;
        event.schema = schema_of<T>();
        event.data = to_payload(payload);
        if (contract_ != nullptr) {
            INSTEP_TRY(contract_->check(event));
        }
        INSTEP_TRY(append(transaction_, std::span(&event, 1)));
        announcements_.push_back(
            [payload = std::move(payload)](Bus& bus) { return bus.publish(payload); });
        return {};
    }

    /// Commits, then calls the listeners on this thread, event by event; who failed. Errors: those
    /// of Transaction::commit(); no listener is called then, also where the outcome is unknown.
    Result<std::vector<ListenerFailure>> commit() {
        INSTEP_TRY(transaction_.commit());
        std::vector<ListenerFailure> failures;
        for (const auto& announce : std::exchange(announcements_, {})) {
            std::ranges::move(announce(bus_), std::back_inserter(failures));
        }
        return failures;
    }

private:
    Bus& bus_;
    Transaction& transaction_;
    const PublishContract* contract_;
    std::vector<std::function<std::vector<ListenerFailure>(Bus& bus)>> announcements_;
};

}  // namespace instep
