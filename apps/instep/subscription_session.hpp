// A subscription of a service that a command was given by name, and its database.
#pragma once

#include "command.hpp"
#include "instep/config/service_file.hpp"
#include "instep/db/connection.hpp"
#include "instep/db/database.hpp"

#include <memory>
#include <string>

namespace instep::cli {

/// The connection lives within the database.
struct SubscriptionSession {
    /// As status shows it: "mail.welcome".
    std::string subscription;
    std::unique_ptr<Database> database;
    std::unique_ptr<Connection> connection;

    /// `name`: as in the file, or as status shows it; that of a replica is its table. Errors: as
    /// load_service_file(); kNotFound, with the names that there are; those of Database.
    static Result<SubscriptionSession> open(Context& context, const std::string& file,
                                            const std::string& name);
};

}  // namespace instep::cli
