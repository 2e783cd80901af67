// The stream of one slot as a queue of events.
#pragma once

#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"
#include "instep/db/postgres/replication/stream.hpp"
#include "instep/log/reader.hpp"
#include "log_rows.hpp"
#include "row_events.hpp"
#include "wal_cursor.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace instep::wal {

/// What the stream said, as far as a reader cares.
struct Item {
    enum class Kind : std::uint8_t {
        kEvent,
        kCommit,    ///< The end of a transaction, also of one without events.
        kTruncate,  ///< A published table was emptied.
    };

    Kind kind = Kind::kEvent;

    /// Of kEvent; without the version's epoch.
    TopicEvent event{};
    std::uint64_t commit_lsn = 0;
    std::uint64_t xid = 0;

    /// The place behind it.
    Place after{};

    /// The event is a row of instep.log.
    bool is_logged = false;

    /// Of kTruncate.
    std::string table{};
};

struct IntakeOptions {
    std::string service;
    ReplicationOptions stream;

    /// Where to go on.
    Place from;

    /// Transactions that commit at or behind it are not taken.
    std::optional<std::uint64_t> ends{};
};

/// For one thread at a time.
class Intake {
public:
    /// Starts the stream. `connection` is for questions of its own and, as `clock`, must outlive
    /// the intake. Errors: those of ReplicationStream::start() and Connection.
    static Result<std::unique_ptr<Intake>> start(IntakeOptions options, Connection& connection,
                                                 const Clock& clock);

    /// Takes one message, waiting for it at most `patience`; false if none came. Errors: those of
    /// ReplicationStream::receive() and Connection; kCorrupt.
    Result<bool> pull(std::chrono::milliseconds patience);

    std::deque<Item>& queue() noexcept { return queue_; }

    /// Everything that was committed before it is in the queue, or was.
    [[nodiscard]] std::uint64_t received_end() const noexcept {
        return stream_->received_end().value;
    }
    [[nodiscard]] bool is_in_transaction() const noexcept { return in_transaction_; }

    /// Lets the server forget what was committed before.
    Result<void> acknowledge(std::uint64_t position);

private:
    Intake(IntakeOptions options, Connection& connection) noexcept
        : options_(std::move(options)), connection_(connection) {}

    Result<void> load_contracts();
    Result<void> take_up(Contract contract);
    Result<void> take(const pgoutput::Message& message);
    Result<void> take_relation(const pgoutput::Relation& relation);
    Result<void> take_insert(const pgoutput::Insert& insert);
    Result<void> take_update(const pgoutput::Update& update);
    Result<void> take_delete(const pgoutput::Delete& change);
    void take_truncate(const pgoutput::Truncate& truncate);
    Result<void> change_contract(pgoutput::Tuple row);
    void add(std::vector<TopicEvent> events, bool is_logged);
    [[nodiscard]] bool is_done(std::uint32_t index) const;
    PublishedTable* find(std::uint32_t oid);

    const IntakeOptions options_;
    Connection& connection_;
    std::unique_ptr<ReplicationStream> stream_;
    LogIdentity identity_;
    std::deque<Item> queue_;
    std::map<std::uint32_t, PublishedTable> tables_;

    /// The columns of every table that the server has told of.
    std::map<std::uint32_t, std::vector<std::string>> columns_told_;
    std::uint32_t log_oid_ = 0;
    std::uint32_t contract_oid_ = 0;
    LogRows log_rows_;

    /// Where the columns of instep.contract stand.
    std::optional<std::size_t> contract_text_;
    std::optional<std::size_t> contract_entity_;

    /// The transaction that is being taken.
    pgoutput::Begin begin_;
    std::uint64_t xid_ = 0;
    bool in_transaction_ = false;

    /// Counts the changes of the transaction.
    std::uint32_t changes_ = 0;
    std::uint64_t position_ = 0;

    /// A full transaction id that is near those of the stream.
    std::uint64_t near_xid_ = 0;
};

}  // namespace instep::wal
