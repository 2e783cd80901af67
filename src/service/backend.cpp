#include "backend.hpp"

#include "instep/broker/embedded/broker.hpp"
#include "instep/db/sqlite/database.hpp"
#include "instep/service/service.hpp"
#include "instep/telemetry/redact.hpp"

#include <fmt/format.h>

#include <map>
#include <mutex>

namespace instep {

namespace {

constexpr std::string_view kSqlite = "sqlite:";
constexpr std::string_view kEmbedded = "embedded:";

std::unexpected<Error> unknown_scheme(std::string_view what, std::string_view url,
                                      std::string_view known) {
    return fail(ErrorCode::kConfigInvalid,
                fmt::format("{} \"{}\" cannot be opened; this program knows {}", what,
                            redact_url(url), known));
}

}  // namespace

std::string path_of(std::string_view url) {
    url.remove_prefix(url.find(':') + 1);
    if (url.starts_with("///")) {
        url.remove_prefix(2);
    }
    return std::string(url);
}

Result<std::unique_ptr<Database>> open_database(const std::string& url, const Clock& clock,
                                                MissingDatabase missing) {
    if (!url.starts_with(kSqlite)) {
        return unknown_scheme("database", url, "sqlite:PATH");
    }
    SqliteOptions options;
    options.create =
        missing == MissingDatabase::kCreate ? SqliteCreate::kIfMissing : SqliteCreate::kNever;
    return open_sqlite(url, clock, options);
}

class Brokers::Impl {
public:
    explicit Impl(const Clock& clock) : clock_(clock) {}

    Result<Broker*> open(const std::string& url) {
        if (!url.starts_with(kEmbedded)) {
            return unknown_scheme("broker", url, "embedded:PATH");
        }
        const std::string path = path_of(url);
        const std::scoped_lock lock(mutex_);
        if (const auto open = open_.find(path); open != open_.end()) {
            return open->second.broker.get();
        }
        INSTEP_TRY_ASSIGN(auto database, open_sqlite(path, clock_));
        INSTEP_TRY_ASSIGN(auto broker, open_embedded_broker(*database, clock_));
        const auto added = open_.emplace(path, Open{std::move(database), std::move(broker)}).first;
        return added->second.broker.get();
    }

private:
    struct Open {
        std::unique_ptr<Database> database;
        std::unique_ptr<Broker> broker;
    };

    const Clock& clock_;
    std::mutex mutex_;
    std::map<std::string, Open> open_;
};

Brokers::Brokers(const Clock& clock) : impl_(std::make_unique<Impl>(clock)) {}
Brokers::~Brokers() = default;

Result<Broker*> Brokers::open(const std::string& url) { return impl_->open(url); }

}  // namespace instep
