#include "tests/stress/bad_relay.hpp"

#include "src/log/log_row.hpp"
#include "tests/support/log_reading.hpp"

#include <fmt/format.h>

namespace instep::stress {

namespace {

using test::expect_value;

constexpr std::string_view kTopic = "iam.item";

/// Keeps its place in memory only.
class WrongReader final : public LogReader {
public:
    WrongReader(BadReader kind, ChunkSource& chunks) : kind_(kind), chunks_(chunks) {}

    Result<LogBatch> read(Connection& connection) override {
        INSTEP_TRY_ASSIGN(Transaction snapshot,
                          Transaction::begin(connection, TransactionMode::kRead));
        INSTEP_TRY_ASSIGN(const LogIdentity identity, log_identity(connection));
        INSTEP_TRY_ASSIGN(const auto rows, select(snapshot));
        LogBatch batch;
        ++batch_;
        for (std::uint32_t index = 1;; ++index) {
            INSTEP_TRY_ASSIGN(const bool more, rows->next());
            if (!more) {
                break;
            }
            batch.end = static_cast<std::uint64_t>(rows->integer(kLogColumnSeq));
            batch.seqs.push_back(batch.end);
            batch.events.push_back(TopicEvent{std::string(rows->text(kLogColumnTopic)),
                                              read_log_row(*rows, identity, "iam")});
            batch.events.back().event.version = Version{identity.epoch, batch_, index};
            xid_ = static_cast<std::uint64_t>(rows->integer(rows->column_count() - 1));
            seq_ = batch.end;
        }
        const Version as_of{identity.epoch, batch_, kChunkIndex};
        INSTEP_TRY_ASSIGN(auto chunks, chunks_.read_chunks(snapshot, as_of));
        for (TopicEvent& chunk : chunks) {
            chunk.event.source = "iam";
            chunk.event.incarnation = identity.incarnation;
            batch.events.push_back(std::move(chunk));
            batch.seqs.push_back(0);
        }
        return batch;
    }

    Result<void> confirm(Transaction& transaction, const LogBatch& batch,
                         std::size_t /*count*/) override {
        return batch.seqs.back() == 0 ? chunks_.confirm_chunks(transaction) : Result<void>{};
    }

    Result<Version> newest(Transaction& /*transaction*/) override { return Version{}; }

private:
    Result<std::unique_ptr<Cursor>> select(Transaction& snapshot) {
        const auto seq = static_cast<std::int64_t>(seq_);
        const std::string columns =
            fmt::format("SELECT {}, xid::text::bigint FROM instep.log WHERE ", kPostgresLogColumns);
        if (kind_ == BadReader::kSequence) {
            return snapshot.query(columns + "seq > $1 ORDER BY seq", {seq});
        }
        return snapshot.query(columns +
                                  "(xid::text::bigint, seq) > ($2, $1) AND "
                                  "xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY xid, seq",
                              {seq, static_cast<std::int64_t>(xid_)});
    }

    const BadReader kind_;
    ChunkSource& chunks_;
    std::uint64_t seq_ = 0;
    std::uint64_t xid_ = 0;
    std::uint64_t batch_ = 0;
};

}  // namespace

BadRelay::BadRelay(Database& database, Broker& broker, ChunkSource& chunks, BadReader reader)
    : connection_(expect_value(database.connect())),
      publisher_(expect_value(broker.publisher())),
      reader_(std::make_unique<WrongReader>(reader, chunks)) {
    expect_value(publisher_->declare_topic(kTopic, 1));
}

Result<std::uint64_t> BadRelay::run_once() {
    INSTEP_TRY_ASSIGN(LogBatch batch, reader_->read(*connection_));
    if (batch.events.empty()) {
        return 0;
    }
    std::vector<Event> events;
    for (TopicEvent& next : batch.events) {
        events.push_back(std::move(next.event));
    }
    const PublishOutcome outcome = publisher_->publish({kTopic, 0, events, 1});
    if (outcome.failure) {
        return std::unexpected(*outcome.failure);
    }
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(*connection_, TransactionMode::kWrite));
    INSTEP_TRY(reader_->confirm(transaction, batch, events.size()));
    INSTEP_TRY(transaction.commit());
    return events.size();
}

}  // namespace instep::stress
