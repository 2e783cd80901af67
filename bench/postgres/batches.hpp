// Batches of changes to random members, as events and as the bare ways to write many rows take
// them.
#pragma once

#include "bench/postgres/server.hpp"
#include "instep/event/event.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace instep::bench {

/// The values of a member's row; `active` is 't' or 'f'.
struct Member {
    std::int64_t id = 0;
    std::string email;
    std::string name;
    std::string department;
    std::string title;
    char active = 't';
    std::int64_t score = 0;
    std::string note;

    /// As capture triggers write it.
    [[nodiscard]] std::string json() const;
};

/// `size` different members of 1 up to and including `rows`, with values that depend on `seed`.
std::vector<Member> random_members(std::size_t size, std::int64_t rows, std::uint64_t seed);

/// Updates of the members in batch number `batch` of the log.
std::vector<Event> to_events(const std::vector<Member>& members, std::uint64_t batch);

/// An unguarded way to upsert members into a table, each batch committed by itself.
class BulkUpsert {
public:
    virtual ~BulkUpsert() = default;

    /// What can be made of the batch before the clock runs.
    virtual void take(const std::vector<Member>& members) = 0;
    virtual void write() = 0;
};

/// INSERT … SELECT unnest(arrays) ON CONFLICT, arrays in binary.
std::unique_ptr<BulkUpsert> upsert_by_unnest(const std::string& url, const std::string& table);

/// COPY in binary into a temporary table, INSERT … SELECT from it ON CONFLICT.
std::unique_ptr<BulkUpsert> upsert_by_copy(const std::string& url, const std::string& table);

/// INSERT … SELECT FROM jsonb_to_recordset ON CONFLICT.
std::unique_ptr<BulkUpsert> upsert_by_json(const std::string& url, const std::string& table);

}  // namespace instep::bench
