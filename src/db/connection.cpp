#include "instep/db/connection.hpp"

namespace instep {

Result<std::unique_ptr<Cursor>> Connection::query_bulk(std::string_view, ParameterRows) {
    return fail(ErrorCode::kUnsupported, "this database has no arrays");
}

Result<void> Connection::copy_rows(std::string_view, std::string_view, ParameterRows) {
    return fail(ErrorCode::kUnsupported, "this database copies no rows in bulk");
}

Result<bool> Connection::await_notification(const std::stop_token&, std::chrono::milliseconds) {
    return fail(ErrorCode::kUnsupported, "this database tells its connections nothing");
}

Result<std::int64_t> Connection::commit_behind(std::string_view sql,
                                               std::span<const ValueView> parameters) {
    INSTEP_TRY_ASSIGN(const std::int64_t changed, execute(sql, parameters));
    INSTEP_TRY(commit());
    return changed;
}

}  // namespace instep
