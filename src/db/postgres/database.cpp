#include "instep/db/postgres/database.hpp"

#include "connection.hpp"
#include "session.hpp"

#include <fmt/format.h>

#include <utility>

namespace instep {

namespace {

using postgres::PostgresConnection;

class PostgresDatabase final : public Database {
public:
    PostgresDatabase(std::string url, std::string display_url, const Clock& clock)
        : url_(std::move(url)), display_url_(std::move(display_url)), clock_(clock) {}

    Result<std::unique_ptr<Connection>> connect(ConnectOptions options) override {
        INSTEP_TRY(check(options));
        return PostgresConnection::open({url_, display_url_, options}, clock_);
    }

    [[nodiscard]] std::string_view display_url() const override { return display_url_; }

private:
    const std::string url_;
    const std::string display_url_;
    const Clock& clock_;
};

}  // namespace

Result<std::unique_ptr<Database>> open_postgres(std::string_view url, const Clock& clock) {
    std::string text(url);
    INSTEP_TRY_ASSIGN(std::string display_url, postgres::display_url_of(text));
    return std::make_unique<PostgresDatabase>(std::move(text), std::move(display_url), clock);
}

Result<bool> is_behind_pooler(std::string_view url) {
    std::string text(url);
    INSTEP_TRY_ASSIGN(std::string display_url, postgres::display_url_of(text));
    INSTEP_TRY_ASSIGN(const postgres::Session session,
                      postgres::open_session({std::move(text), std::move(display_url), {}}));
    return session.is_pooled;
}

Result<std::unique_ptr<Connection>> adopt_postgres(pg_conn* handle, const Clock& clock) {
    if (handle == nullptr || PQstatus(handle) != CONNECTION_OK) {
        return fail(ErrorCode::kInvalidArgument, "there is no open PostgreSQL connection to adopt");
    }
    const char* host = PQhost(handle);
    return std::make_unique<PostgresConnection>(
        handle,
        fmt::format("postgresql://{}@{}/{}", PQuser(handle), host == nullptr ? "" : host,
                    PQdb(handle)),
        clock);
}

}  // namespace instep
