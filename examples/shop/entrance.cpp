#include "entrance.hpp"

#include <instep/base/uuid.hpp>
#include <instep/event/trace_context.hpp>
#include <instep/service/service.hpp>

#include <iostream>
#include <span>

namespace shop {

using instep::Result;

Result<Entrance> Entrance::open(const Arguments& arguments) {
    instep::SystemRandom random;
    Entrance request;
    request.clock_ = std::make_unique<instep::SystemClock>();
    request.correlation_id_ =
        arguments.find("correlation-id").value_or(instep::make_uuid_v7(*request.clock_, random));
    request.trace_parent_ = to_trace_parent(instep::start_trace(random));
    INSTEP_TRY_ASSIGN(const auto config,
                      instep::load_service_file(arguments.file(), instep::process_environment()));
    INSTEP_TRY_ASSIGN(request.database_, open_database(config.database, *request.clock_));
    INSTEP_TRY_ASSIGN(request.connection_, request.database_->connect());
    INSTEP_TRY_ASSIGN(auto transaction, instep::Transaction::begin(
                                            *request.connection_, instep::TransactionMode::kWrite));
    request.transaction_ = std::make_unique<instep::Transaction>(std::move(transaction));
    return request;
}

Result<void> Entrance::append(instep::NewEvent event) {
    event.correlation_id = correlation_id_;
    event.trace_parent = trace_parent_;
    INSTEP_TRY(instep::append(*transaction_, std::span(&event, 1)));
    return {};
}

Result<void> Entrance::commit() {
    INSTEP_TRY(transaction_->commit());
    std::cout << "correlation id " << correlation_id_ << '\n';
    return {};
}

}  // namespace shop
