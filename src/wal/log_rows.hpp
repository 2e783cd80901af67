// Rows of the log as they stand in the write-ahead log.
#pragma once

#include "instep/db/postgres/replication/message.hpp"
#include "instep/log/log.hpp"
#include "instep/log/reader.hpp"

#include <map>
#include <string>

namespace instep::wal {

/// Finds columns by name in the tuples of the last Relation message of instep.log.
class LogRows {
public:
    void place_columns(const pgoutput::Relation& relation);

    /// The event of an inserted row, without version. Errors: kCorrupt.
    [[nodiscard]] Result<TopicEvent> inserted(const pgoutput::Insert& change,
                                              const LogIdentity& identity,
                                              std::string_view service) const;

private:
    [[nodiscard]] std::string text(pgoutput::Tuple row, std::string_view column) const;
    [[nodiscard]] bool is_null(pgoutput::Tuple row, std::string_view column) const;
    [[nodiscard]] std::int64_t integer(pgoutput::Tuple row, std::string_view column) const;

    std::map<std::string, std::size_t, std::less<>> places_;
};

}  // namespace instep::wal
