// The databases of a demo's four services: files in its folder, or databases on a PostgreSQL
// server, which are the demo's own and go with it.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"

#include <memory>
#include <string>
#include <vector>

namespace instep {
class Connection;
}

namespace instep::cli {

class Command;

/// Where a demo works, as its options say.
struct DemoPlace {
    /// A new or empty folder, or an earlier demo's.
    std::string directory = "demo";

    /// "sqlite:" for files in the folder, or the URL of a PostgreSQL server. A database in that
    /// URL is the one to be connected to while others are made.
    std::string database = "sqlite:";

    /// "embedded:" for a file in the folder, "direct:" for none, or a broker's URL. On a server the
    /// demo uses the topics and subscriptions that services of its names would.
    std::string broker = "embedded:";

    /// The names of databases on a server begin with it: letters, digits and underscores.
    std::string prefix = "app_";

    /// Databases on a server stay when the demo ends.
    bool keep = false;

    /// Declares the options.
    void add_to(Command& command);
};

/// Owns what it makes on a server: gone at the end of this object, unless it is to be kept.
class DemoDatabases {
public:
    /// Makes nothing for files. On a server, databases of an earlier demo are replaced; if one of
    /// the names is taken, nothing is made or dropped.
    ///
    /// Errors: kConfigInvalid and kInvalidArgument for a place where no demo can be; kConflict if
    /// a name is somebody else's database, or an earlier demo's is in use; those of Database.
    static Result<DemoDatabases> create(const DemoPlace& place, const Clock& clock);

    DemoDatabases(DemoDatabases&& other) noexcept;
    DemoDatabases& operator=(DemoDatabases&&) = delete;
    ~DemoDatabases();

    /// What the service files say, in the order of DemoFolder::service_files().
    [[nodiscard]] const std::vector<std::string>& urls() const { return urls_; }

    [[nodiscard]] bool are_on_server() const { return server_ != nullptr; }

    /// They are there after the demo.
    [[nodiscard]] bool stay() const { return !are_on_server() || keep_; }

    /// What the destructor does, and what kept it from that: drops them, whoever is connected.
    Result<void> drop();

private:
    DemoDatabases() = default;
    Result<void> make_on_server(const DemoPlace& place);

    std::unique_ptr<Connection> server_;
    std::vector<std::string> urls_;

    /// Names of those that were made and have not been dropped.
    std::vector<std::string> made_;
    bool keep_ = false;
};

}  // namespace instep::cli
