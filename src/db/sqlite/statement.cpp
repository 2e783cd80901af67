#include "statement.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

namespace instep::sqlite {

namespace {

constexpr std::size_t kStatementsKeptMax = 128;

/// Binds one value to one slot; a code of SQLite.
struct Binder {
    sqlite3_stmt* statement;
    int slot;
    sqlite3_destructor_type destructor;

    int operator()(std::monostate) const { return sqlite3_bind_null(statement, slot); }
    int operator()(std::int64_t value) const { return sqlite3_bind_int64(statement, slot, value); }
    int operator()(double value) const {
        // SQLite would store it as NULL.
        return std::isnan(value) ? SQLITE_MISMATCH : sqlite3_bind_double(statement, slot, value);
    }
    int operator()(std::string_view value) const {
        return sqlite3_bind_text64(statement, slot, value.empty() ? "" : value.data(), value.size(),
                                   destructor, SQLITE_UTF8);
    }
    int operator()(BlobView value) const {
        return sqlite3_bind_blob64(statement, slot, value.bytes.empty() ? "" : value.bytes.data(),
                                   value.bytes.size(), destructor);
    }
};

bool holds_nothing(std::string_view sql) {
    return sql.find_first_not_of("; \t\r\n") == std::string_view::npos;
}

}  // namespace

Result<Statement> Statement::prepare(const OpenDatabase& database, std::string_view sql) {
    if (sql.find('\0') != std::string_view::npos ||
        sql.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
        return fail(
            ErrorCode::kInvalidArgument,
            fmt::format("{}: the SQL holds a zero byte or is too long", database.display_url));
    }
    Statement statement;
    sqlite3_stmt* handle = nullptr;
    const char* rest = nullptr;
    const int code = sqlite3_prepare_v3(database.handle, sql.data(), static_cast<int>(sql.size()),
                                        SQLITE_PREPARE_PERSISTENT, &handle, &rest);
    statement.handle_.reset(handle);
    if (code != SQLITE_OK) {
        return database.failure(code, sql);
    }
    if (handle == nullptr ||
        !holds_nothing(sql.substr(static_cast<std::size_t>(rest - sql.data())))) {
        return fail(
            ErrorCode::kInvalidArgument,
            fmt::format("{}: \"{}\" is not exactly one statement", database.display_url, sql));
    }
    INSTEP_TRY(statement.map_parameters(sql));
    return statement;
}

Result<void> Statement::map_parameters(std::string_view sql) {
    const int slots = sqlite3_bind_parameter_count(handle_.get());
    for (int slot = 1; slot <= slots; ++slot) {
        const char* raw_name = sqlite3_bind_parameter_name(handle_.get(), slot);
        const std::string_view name = raw_name == nullptr ? "?" : raw_name;
        std::uint32_t number = 0;
        const auto [end, error] =
            std::from_chars(name.data() + 1, name.data() + name.size(), number);
        if (!name.starts_with('$') || error != std::errc{} || end != name.data() + name.size() ||
            number == 0) {
            return fail(ErrorCode::kInvalidArgument,
                        fmt::format("parameter {} is not $1, $2, … (in \"{}\")", name, sql));
        }
        parameter_of_slot_.push_back(number - 1);
        parameter_count_ = std::max<std::size_t>(parameter_count_, number);
    }
    return {};
}

int Statement::bind(std::span<const ValueView> parameters, ParameterBytes bytes) noexcept {
    Binder binder{handle_.get(), 0,
                  bytes == ParameterBytes::kBorrowed ? SQLITE_STATIC : SQLITE_TRANSIENT};
    for (const std::uint32_t parameter : parameter_of_slot_) {
        ++binder.slot;
        if (const int code = std::visit(binder, parameters[parameter]); code != SQLITE_OK) {
            return code;
        }
    }
    return SQLITE_OK;
}

StatementCache::Lease::~Lease() {
    if (!node_.empty()) {
        node_.mapped().statement.reset();
        node_.mapped().statement.clear();
        cache_->give_back(std::move(node_));
    }
}

Result<StatementCache::Lease> StatementCache::take(std::string_view sql) {
    if (const auto found = entries_.find(sql); found != entries_.end()) {
        return Lease(*this, entries_.extract(found));
    }
    INSTEP_TRY_ASSIGN(auto statement, Statement::prepare(*database_, sql));
    Entries fresh;
    const auto placed = fresh.emplace(sql, Entry{std::move(statement)}).first;
    return Lease(*this, fresh.extract(placed));
}

void StatementCache::give_back(Entries::node_type node) {
    node.mapped().last_use = ++uses_;
    const bool kept = entries_.insert(std::move(node)).inserted;
    if (kept && entries_.size() > kStatementsKeptMax) {
        entries_.erase(std::ranges::min_element(
            entries_, {}, [](const auto& entry) { return entry.second.last_use; }));
    }
}

}  // namespace instep::sqlite
