#include "instep/base/fail_point.hpp"
#include "instep/capture/capture.hpp"
#include "instep/db/dialect.hpp"
#include "instep/event/json_writer.hpp"
#include "instep/log/boundary.hpp"
#include "instep/replica/scan.hpp"
#include "instep/telemetry/logger.hpp"
#include "json_rows.hpp"
#include "replica_store.hpp"
#include "replica_table.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep {

namespace {

/// Before the size of rows is known.
constexpr std::uint32_t kFirstRowsMax = 200;

/// An open row of instep_scan.
struct OpenScan {
    ScanRequest request;
    std::string error;
    std::string after_key;
    std::uint64_t chunks_sent = 0;
};

/// What one round adds to a scan.
struct ChunkRead {
    std::string scan;
    std::string to;
    std::uint64_t rows = 0;
    bool last = false;
    std::string error;
};

/// Columns of table "t" as they travel.
std::vector<std::string> wired(const std::vector<std::string>& names, const Contract& contract,
                               const Dialect& dialect) {
    std::vector<std::string> list;
    for (const std::string& name : names) {
        const ContractColumn& column = *contract.find(name);
        list.push_back(
            dialect.wire_expression("t." + dialect.quote(name), column.kind, column.declared_type));
    }
    return list;
}

std::vector<std::string> ordered(const Contract& contract, const Dialect& dialect) {
    std::vector<std::string> list;
    for (const std::string& name : contract.key) {
        const ContractColumn& column = *contract.find(name);
        list.push_back(
            dialect.key_order("t." + dialect.quote(name), column.kind, column.declared_type));
    }
    return list;
}

std::string joined(const std::vector<std::string>& items) {
    std::string list;
    for (const std::string& item : items) {
        list += fmt::format("{}{}", list.empty() ? "" : ", ", item);
    }
    return list;
}

std::vector<std::string> columns_of(const ScanRequest& request, const Contract& contract) {
    if (!request.columns.empty()) {
        return request.columns;
    }
    std::vector<std::string> names;
    for (const ContractColumn& column : contract.columns) {
        names.push_back(column.name);
    }
    return names;
}

/// Rises from chunk to chunk, also when one is read again under a newer snapshot: then it is
/// another chunk, which may end elsewhere.
std::uint64_t number_of(const OpenScan& scan, const Version& as_of) {
    return as_of.batch + scan.chunks_sent + 1;
}

/// Writes the JSON of one chunk or digest.
class ChunkWriter {
public:
    ChunkWriter(const OpenScan& scan, Partition partition, const Version& as_of) {
        text_ = "{\"scan\":";
        append_json_string(text_, scan.request.id);
        text_ += fmt::format(",\"partition\":{},\"partitions\":{},\"number\":{}", partition.index,
                             partition.count, number_of(scan, as_of));
    }

    void member(std::string_view name, std::string_view text) {
        begin_member(name);
        append_json_string(text_, text);
    }

    void names(std::string_view name, const std::vector<std::string>& values) {
        begin_member(name);
        text_ += '[';
        for (std::size_t i = 0; i < values.size(); ++i) {
            text_ += i == 0 ? "" : ",";
            append_json_string(text_, values[i]);
        }
        text_ += ']';
    }

    /// Already JSON; empty is null.
    void raw(std::string_view name, std::string_view json) {
        begin_member(name);
        text_ += json.empty() ? "null" : json;
    }

    [[nodiscard]] std::string finish() { return std::move(text_ += '}'); }

private:
    void begin_member(std::string_view name) { text_ += fmt::format(",\"{}\":", name); }

    std::string text_;
};

}  // namespace

class ScanSource::Impl {
public:
    Impl(std::string service, Partition partition, Logger& logger, ScanOptions options)
        : service_(std::move(service)),
          partition_(partition),
          logger_(logger),
          options_(std::move(options)),
          rows_next_(std::min(options_.chunk_rows_max, kFirstRowsMax)) {}

    Result<std::vector<TopicEvent>> read_chunks(Transaction& snapshot, const Version& as_of) {
        reading_.reset();
        holds_back_ = false;
        INSTEP_TRY_ASSIGN(const auto scan, next_scan(snapshot));
        if (!scan) {
            return std::vector<TopicEvent>{};
        }
        INSTEP_TRY_ASSIGN(const Timestamp now, snapshot.connection().now());
        if (now < next_chunk_at_) {
            holds_back_ = true;
            return std::vector<TopicEvent>{};
        }
        INSTEP_TRY_ASSIGN(const auto contract, find_contract(snapshot, scan->request.entity));
        std::string error = scan->error;
        if (!contract && error.empty()) {
            error = fmt::format("entity {} is no longer published", scan->request.entity);
        }
        if (error.empty() && scan->request.in_transactions) {
            error = objection_to_transactions(scan->request.entity);
        }
        reading_ = ChunkRead{scan->request.id, scan->after_key, 0, false, error};
        std::vector<TopicEvent> chunks(1);
        chunks[0].topic = scan->request.in_transactions
                              ? transactions_topic(service_)
                              : fmt::format("{}.{}", service_, scan->request.entity);
        if (error.empty()) {
            INSTEP_TRY_ASSIGN(chunks[0].event.data, read_rows(snapshot, *scan, *contract, as_of));
        } else {
            reading_->last = true;
            chunks[0].event.data = refusal(*scan, error, as_of);
        }
        INSTEP_FAIL_POINT("scan.after_read");
        INSTEP_TRY_ASSIGN(chunks[0].event.time, snapshot.connection().now());
        address(chunks[0].event, *scan, as_of);
        return chunks;
    }

    Result<bool> has_chunks(Transaction& snapshot) {
        INSTEP_TRY_ASSIGN(const auto scan, next_scan(snapshot));
        INSTEP_TRY_ASSIGN(const Timestamp now, snapshot.connection().now());
        holds_back_ = scan && now < next_chunk_at_;
        return scan && !holds_back_;
    }

    [[nodiscard]] bool holds_back() const noexcept { return holds_back_; }

    Result<void> confirm_chunks(Transaction& transaction) {
        INSTEP_FAIL_POINT("scan.before_advance");
        INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
        pace(now);
        const std::string_view state = !reading_->error.empty() ? "refused"
                                       : reading_->last         ? "done"
                                                                : "open";
        INSTEP_TRY(transaction.execute(
            // What an operator wants meanwhile stands, unless this was the end.
            "UPDATE instep_scan SET after_key = $1, rows_sent = rows_sent + $2, "
            "chunks_sent = chunks_sent + 1, state = CASE $3 WHEN 'open' THEN state ELSE $3 END, "
            "error = CASE $3 WHEN 'open' THEN error ELSE $4 END, moved_us = $5 "
            "WHERE id = $6 AND partition = $7",
            {std::string_view(reading_->to), static_cast<std::int64_t>(reading_->rows), state,
             std::string_view(reading_->error), micros(now), std::string_view(reading_->scan),
             std::int64_t{partition_.index}}));
        if (reading_->last) {
            logger_.info("scan.ended", {{"scan", reading_->scan}, {"state", state}});
        }
        return {};
    }

private:
    /// Puts the next chunk so far behind this one that the limit is kept.
    void pace(Timestamp now) {
        if (options_.rows_per_second_max > 0) {
            next_chunk_at_ = now + std::chrono::microseconds{std::uint64_t{looked_at_} * 1'000'000 /
                                                             options_.rows_per_second_max};
        }
    }

    /// The open scan that waited longest, so that several advance in turn.
    Result<std::optional<OpenScan>> next_scan(Transaction& snapshot) {
        INSTEP_TRY_ASSIGN(
            auto rows,
            snapshot.query("SELECT request, error, after_key, chunks_sent FROM instep_scan "
                           "WHERE partition = $1 AND state = 'open' AND $2 IN ('', consumer) "
                           "ORDER BY moved_us, id LIMIT 1",
                           {std::int64_t{partition_.index}, std::string_view(options_.consumer)}));
        INSTEP_TRY_ASSIGN(const bool found, rows->next());
        if (!found) {
            return std::nullopt;
        }
        OpenScan scan;
        INSTEP_TRY_ASSIGN(scan.request, scan_request_from_json(rows->text(0)));
        scan.error = rows->text(1);
        scan.after_key = rows->text(2);
        scan.chunks_sent = static_cast<std::uint64_t>(rows->integer(3));
        if (scan.chunks_sent == 0) {
            scan.after_key = scan.request.after;
        }
        return scan;
    }

    [[nodiscard]] std::string objection_to_transactions(const std::string& entity) const {
        if (std::ranges::find(options_.transactions, entity) != options_.transactions.end()) {
            return "";
        }
        return fmt::format("entity {} is not among `transactions` in the service file of {}",
                           entity, service_);
    }

    static Result<std::optional<Contract>> find_contract(Transaction& snapshot,
                                                         std::string_view entity) {
        INSTEP_TRY_ASSIGN(auto contracts, contracts_in_force(snapshot.connection()));
        const auto found = std::ranges::find(contracts, entity, &Contract::entity);
        if (found == contracts.end()) {
            return std::nullopt;
        }
        return std::move(*found);
    }

    void address(Event& event, const OpenScan& scan, const Version& as_of) const {
        const bool rows = scan.request.kind == ScanKind::kRows;
        // Unique also when the same chunk is read again after a crash, with other content.
        event.id = fmt::format("{}/{}.{}/{}", scan.request.id, partition_.index,
                               scan.chunks_sent + 1, as_of.batch);
        event.key = "scan/" + scan.request.id;
        event.type = fmt::format("{}.{}", scan.request.entity, rows ? "copied" : "hashed");
        event.operation = rows ? Operation::kChunk : Operation::kDigest;
        event.version = as_of;
        event.extensions.emplace_back("consumer", scan.request.consumer);
    }

    std::string refusal(const OpenScan& scan, const std::string& error,
                        const Version& as_of) const {
        ChunkWriter chunk(scan, Partition{0, 1}, as_of);
        chunk.raw("last", "true");
        chunk.member("refused", error);
        chunk.raw("rows", "[]");
        return chunk.finish();
    }

    Result<std::string> read_rows(Transaction& snapshot, const OpenScan& scan,
                                  const Contract& contract, const Version& as_of) {
        const std::vector<std::string> columns = columns_of(scan.request, contract);
        limit_ = rows_at_once(scan.request.kind);
        INSTEP_TRY_ASSIGN(auto rows, open_range(snapshot, scan, contract, columns));
        std::string content;
        switch (scan.request.kind) {
            case ScanKind::kRows: {
                INSTEP_TRY_ASSIGN(content, write_rows(*rows, contract.key.size()));
                break;
            }
            case ScanKind::kRanges: {
                INSTEP_TRY_ASSIGN(content, write_digests(*rows, contract.key.size(),
                                                         options_.digest_rows, scan.request.to));
                break;
            }
            case ScanKind::kKeys: {
                INSTEP_TRY_ASSIGN(content, write_digests(*rows, contract.key.size(), 1, ""));
                break;
            }
        }
        if (reading_->last) {
            reading_->to = scan.request.to;
        }
        ChunkWriter chunk(scan, partition_, as_of);
        chunk.raw("after", scan.after_key);
        chunk.raw("to", reading_->to);
        chunk.raw("last", reading_->last ? "true" : "false");
        chunk.names("columns", columns);
        switch (scan.request.kind) {
            case ScanKind::kRows:
                chunk.member("contract", to_json(contract));
                chunk.raw("rows", content);
                break;
            case ScanKind::kRanges:
                chunk.raw("ranges", content);
                break;
            case ScanKind::kKeys:
                chunk.raw("keys", content);
                break;
        }
        return chunk.finish();
    }

    Result<std::unique_ptr<Cursor>> open_range(Transaction& snapshot, const OpenScan& scan,
                                               const Contract& contract,
                                               const std::vector<std::string>& columns) {
        const Dialect& dialect = snapshot.dialect();
        const std::vector<std::string> orders = ordered(contract, dialect);
        arena_.clear();
        std::vector<ValueView> parameters;
        std::string where;
        const auto bound = [&](const std::string& key, std::string_view op) -> Result<void> {
            if (key.empty()) {
                return {};
            }
            INSTEP_TRY_ASSIGN(const Row values, json_.read_array(key, arena_));
            where += where.empty() ? " WHERE " : " AND ";
            where += key_comparison(orders, op, parameters.size() + 1);
            parameters.insert(parameters.end(), values.begin(), values.end());
            return {};
        };
        INSTEP_TRY(bound(scan.after_key, ">"));
        INSTEP_TRY(bound(scan.request.to, "<="));
        const std::string partition_key =
            partition_.count == 1 ? "''" : key_expression(contract, dialect, "t");
        return snapshot.query(
            fmt::format("SELECT {}, {}, {} FROM {} t{} ORDER BY {} LIMIT {}", partition_key,
                        joined(wired(contract.key, contract, dialect)),
                        joined(wired(columns, contract, dialect)),
                        dialect.quote_table(contract.table), where, joined(orders), limit_),
            parameters);
    }

    /// Rows that one chunk looks at. Those of a chunk of rows depend on how large the last were:
    /// a database may hold all of them in memory at once.
    [[nodiscard]] std::uint32_t rows_at_once(ScanKind kind) const {
        switch (kind) {
            case ScanKind::kRows:
                return rows_next_;
            case ScanKind::kRanges:
                return options_.digest_rows * options_.digests_max;
            case ScanKind::kKeys:
                break;
        }
        return options_.digest_rows;
    }

    /// The next row of this partition: its key and its columns; false after the last that this
    /// chunk looks at, or after the last of all.
    Result<bool> next_row(Cursor& rows, std::size_t keys) {
        for (;;) {
            INSTEP_TRY_ASSIGN(const bool more, rows.next());
            if (!more) {
                reading_->last = looked_at_ < limit_;
                return false;
            }
            row_.clear();
            for (std::size_t i = 1; i < rows.column_count(); ++i) {
                row_.push_back(rows.at(i));
            }
            key_ = std::span<const ValueView>(row_).first(keys);
            values_ = std::span<const ValueView>(row_).subspan(keys);
            if (++looked_at_ == limit_) {
                reading_->to = to_json_array(key_);
            }
            if (partition_.holds(rows.text(0))) {
                ++reading_->rows;
                return true;
            }
        }
    }

    Result<std::string> write_rows(Cursor& rows, std::size_t keys) {
        std::string content = "[";
        looked_at_ = 0;
        for (;;) {
            INSTEP_TRY_ASSIGN(const bool more, next_row(rows, keys));
            if (!more) {
                break;
            }
            content += content.size() == 1 ? "[" : ",[";
            for (std::size_t i = 0; i < values_.size(); ++i) {
                content += i == 0 ? "" : ",";
                append_json_value(content, values_[i]);
            }
            content += ']';
            if (content.size() >= options_.chunk_bytes_max) {
                reading_->to = to_json_array(key_);
                break;
            }
        }
        fit_next_chunk(content.size());
        return content + ']';
    }

    void fit_next_chunk(std::size_t bytes) {
        if (reading_->rows > 0) {
            const std::uint64_t row_bytes = bytes / reading_->rows + 1;
            rows_next_ = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(
                options_.chunk_bytes_max / row_bytes, 1, options_.chunk_rows_max));
        }
    }

    /// Runs of `run_rows` rows. The last run of a scan is open to its end, so that strays
    /// behind the source's last row are found.
    Result<std::string> write_digests(Cursor& rows, std::size_t keys, std::uint32_t run_rows,
                                      std::string_view scan_to) {
        std::string content = "[";
        RowSetHash hash;
        std::string closed_at;
        looked_at_ = 0;
        const auto close_run = [&](std::string_view to) {
            content += fmt::format("{}{{\"to\":{},\"rows\":{},\"hash\":\"{}\"}}",
                                   content.size() == 1 ? "" : ",", to, hash.rows(), hash.hex());
            hash = RowSetHash();
        };
        for (;;) {
            INSTEP_TRY_ASSIGN(const bool more, next_row(rows, keys));
            if (!more) {
                break;
            }
            hash.add(values_);
            if (hash.rows() == run_rows) {
                closed_at = to_json_array(key_);
                close_run(closed_at);
            }
        }
        // Rows of other partitions may stand behind the last run; strays may too.
        if (run_rows > 1 && (reading_->last || closed_at != reading_->to)) {
            close_run(!reading_->last ? reading_->to : scan_to.empty() ? "null" : scan_to);
        }
        return content + ']';
    }

    const std::string service_;
    const Partition partition_;
    Logger& logger_;
    const ScanOptions options_;
    std::optional<ChunkRead> reading_;
    JsonRows json_;
    ValueArena arena_;
    Row row_;
    std::span<const ValueView> key_;
    std::span<const ValueView> values_;

    /// Rows that the chunk being read may look at, and has.
    std::uint32_t limit_ = 0;
    std::uint32_t looked_at_ = 0;
    std::uint32_t rows_next_;

    Timestamp next_chunk_at_{};
    bool holds_back_ = false;
};

ScanSource::ScanSource(std::string service, Partition partition, Logger& logger,
                       ScanOptions options)
    : impl_(std::make_unique<Impl>(std::move(service), partition, logger, std::move(options))) {}
ScanSource::~ScanSource() = default;

Result<std::vector<TopicEvent>> ScanSource::read_chunks(Transaction& snapshot,
                                                        const Version& as_of) {
    return impl_->read_chunks(snapshot, as_of);
}

Result<bool> ScanSource::has_chunks(Transaction& snapshot) { return impl_->has_chunks(snapshot); }
std::string_view ScanSource::has_chunks_sql() const {
    // Any partition's and any consumer's: a look too many is cheaper than a longer condition.
    return "EXISTS (SELECT 1 FROM instep_scan WHERE state = 'open')";
}
bool ScanSource::holds_back() const { return impl_->holds_back(); }

Result<void> ScanSource::confirm_chunks(Transaction& transaction) {
    return impl_->confirm_chunks(transaction);
}

}  // namespace instep
