#include "replica_session.hpp"

#include "instep/capture/contract.hpp"
#include "instep/consumer/consumer.hpp"
#include "output.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <unistd.h>

namespace instep::cli {

Result<ReplicaStatus> replica_status(const ReplicaTarget& target) {
    INSTEP_TRY_ASSIGN(auto replicas, list_replicas(*target.connection));
    const auto found = std::ranges::find(replicas, target.definition.table, &ReplicaStatus::table);
    return found == replicas.end() ? ReplicaStatus{} : std::move(*found);
}

ReplicaSession::ReplicaSession(Context& context)
    : context_(context),
      log_sink_(STDERR_FILENO),
      logger_(log_sink_, context.clock, LoggerOptions{.level = LogLevel::kError}) {}

Result<std::unique_ptr<ReplicaSession>> ReplicaSession::open(Context& context,
                                                             std::span<const std::string> files,
                                                             std::string_view table) {
    INSTEP_TRY_ASSIGN(auto configs, load_services(files));
    std::unique_ptr<ReplicaSession> session(new ReplicaSession(context));
    INSTEP_TRY(session->start(std::move(configs), table));
    return session;
}

Result<void> ReplicaSession::start(std::vector<ServiceConfig> configs, std::string_view table) {
    for (ServiceConfig& config : configs) {
        // Their code is in the service's own program, and replicas need none of it.
        config.subscriptions.clear();
        // Whoever runs the services for good listens there.
        config.listen.clear();
    }
    INSTEP_TRY_ASSIGN(
        group_, ServiceGroup::create(std::move(configs), context_.clock, context_.random, logger_));
    std::vector<std::string> names;
    for (const auto& service : group_->services()) {
        for (const ReplicaDefinition& definition : service->config().replicas) {
            names.push_back(definition.table);
            if (table.empty() || definition.table == table) {
                INSTEP_TRY_ASSIGN(auto connection, service->database().connect());
                targets_.push_back({definition, std::move(connection)});
            }
        }
    }
    if (targets_.empty()) {
        const std::string nearest = nearest_name(table, names);
        return fail(
            ErrorCode::kNotFound,
            table.empty()
                ? "none of the files has a [[replica]]; give the file of its service"
                : fmt::format("none of the files has a [[replica]] with table \"{}\"; {}", table,
                              nearest.empty() ? "give the file of its service"
                                              : fmt::format("did you mean \"{}\"?", nearest)));
    }
    group_->start();
    return {};
}

std::string ReplicaSession::obstacles(const ReplicaTarget& target) const {
    const auto parked = list_parked_keys(*target.connection, target.name(), 1);
    if (parked && !parked->empty()) {
        return fmt::format("a key is parked, see `instep status`: {}",
                           parked->front().error_message);
    }
    const auto failures = group_->failures();
    if (!failures.empty()) {
        return fmt::format("{}", fmt::join(failures, "; "));
    }
    const std::string owner = target.definition.owner();
    return group_->holds(owner)
               ? "give it more time with --timeout"
               : fmt::format(
                     "service {}, which owns {}, is not among the files given; unless it "
                     "runs elsewhere, give its file too",
                     owner, target.definition.topic);
}

Result<void> ReplicaSession::wait_for_all(const Step& step,
                                          std::optional<std::chrono::milliseconds> timeout) {
    std::vector<std::size_t> left;
    left.reserve(targets_.size());
    for (std::size_t i = 0; i < targets_.size(); ++i) {
        left.push_back(i);
    }
    const auto done = [&]() -> Result<bool> {
        for (std::size_t place = 0; place < left.size();) {
            auto finished = step.done(left[place]);
            if (!finished) {
                return fail_in(targets_[left[place]].name(), std::move(finished).error());
            }
            if (*finished) {
                left.erase(left.begin() + static_cast<std::ptrdiff_t>(place));
            } else {
                ++place;
            }
        }
        if (!left.empty()) {
            context_.output.progress(
                fmt::format("{}: {}", targets_[left.front()].name(), step.progress(left.front())));
        }
        return left.empty();
    };
    const auto describe = [&] {
        const ReplicaTarget& target = targets_[left.front()];
        return fmt::format("{}: {}; {}", target.name(), step.progress(left.front()),
                           obstacles(target));
    };
    return wait_until({done, describe}, timeout, interrupt_, context_.clock);
}

}  // namespace instep::cli
