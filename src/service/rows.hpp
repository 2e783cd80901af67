#pragma once

#include "instep/db/connection.hpp"

#include <initializer_list>
#include <string_view>

namespace instep {

/// Calls `take` with a cursor on each row of the query.
template <class Take>
Result<void> for_each_row(Connection& connection, std::string_view sql,
                          std::initializer_list<ValueView> parameters, Take take) {
    INSTEP_TRY_ASSIGN(const auto rows, connection.query(sql, parameters));
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return {};
        }
        take(static_cast<const Cursor&>(*rows));
    }
}

}  // namespace instep
