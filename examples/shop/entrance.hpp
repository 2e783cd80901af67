// Where a request from outside becomes rows and events of one service, in one transaction.
#pragma once

#include "arguments.hpp"

#include <instep/base/clock.hpp>
#include <instep/base/random.hpp>
#include <instep/db/database.hpp>
#include <instep/event/payload.hpp>
#include <instep/log/log.hpp>

#include <memory>
#include <string>

namespace shop {

/// One request. Belongs to it alone, so that two at once cannot mix up their correlation ids.
class Entrance {
public:
    /// Opens the service's database and begins the request's transaction, under --correlation-id
    /// or an id of its own. Errors: those of the service file and Database.
    static instep::Result<Entrance> open(const Arguments& arguments);

    instep::Transaction& transaction() { return *transaction_; }
    [[nodiscard]] const std::string& correlation_id() const { return correlation_id_; }

    /// The event is in the service's log exactly if commit() succeeds.
    template <instep::Payload T>
    instep::Result<void> append(std::string topic, std::string key, const T& payload) {
        instep::NewEvent event;
        event.topic = std::move(topic);
        event.key = std::move(key);
        event.type = T::kType;
        event.schema = instep::schema_of<T>();
        event.data = instep::to_payload(payload);
        return append(std::move(event));
    }

    /// Commits, and prints the correlation id.
    instep::Result<void> commit();

private:
    instep::Result<void> append(instep::NewEvent event);

    std::string correlation_id_;
    std::string trace_parent_;
    std::unique_ptr<instep::Clock> clock_;
    std::unique_ptr<instep::Database> database_;
    std::unique_ptr<instep::Connection> connection_;
    std::unique_ptr<instep::Transaction> transaction_;
};

}  // namespace shop
