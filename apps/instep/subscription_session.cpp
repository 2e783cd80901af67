#include "subscription_session.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::cli {

namespace {

/// What a person may call a subscription, and what it is called.
struct Name {
    std::string given;
    std::string subscription;
};

std::vector<Name> names_of(const ServiceConfig& config) {
    std::vector<Name> names;
    for (const SubscriptionEntry& entry : config.subscriptions) {
        names.push_back({entry.name, fmt::format("{}.{}", config.name, entry.name)});
    }
    for (const ReplicaDefinition& replica : config.replicas) {
        names.push_back({replica.table, replica.subscription()});
    }
    return names;
}

}  // namespace

Result<SubscriptionSession> SubscriptionSession::open(Context& context, const std::string& file,
                                                      const std::string& name) {
    INSTEP_TRY_ASSIGN(const auto configs, load_services(std::span(&file, 1)));
    const std::vector<Name> names = names_of(configs[0]);
    const auto found = std::ranges::find_if(
        names, [&](const Name& each) { return each.given == name || each.subscription == name; });
    if (found == names.end()) {
        std::string known;
        for (const Name& each : names) {
            known += fmt::format("{}{}", known.empty() ? "" : ", ", each.given);
        }
        return fail(ErrorCode::kNotFound,
                    fmt::format("{} has no subscription or replica \"{}\"; it has {}", file, name,
                                known.empty() ? "none" : known));
    }
    INSTEP_TRY_ASSIGN(auto opened, ServiceDatabase::open(configs[0], context.clock));
    return SubscriptionSession{found->subscription, std::move(opened)};
}

}  // namespace instep::cli
