// A subscription of a service that a command was given by name, and its database.
#pragma once

#include "command.hpp"
#include "services.hpp"

#include <string>

namespace instep::cli {

struct SubscriptionSession {
    /// As status shows it: "mail.welcome".
    std::string subscription;
    ServiceDatabase service;

    /// `name`: as in the file, or as status shows it; that of a replica is its table. Errors: as
    /// load_service_file(); kNotFound, with the names that there are; as ServiceDatabase::open().
    static Result<SubscriptionSession> open(Context& context, const std::string& file,
                                            const std::string& name);
};

}  // namespace instep::cli
