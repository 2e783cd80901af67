#include "digest.hpp"

#include "instep/base/bytes.hpp"
#include "replica_store.hpp"

#include <fmt/format.h>

#include <map>

namespace instep {

namespace {

/// A range has some thousands of rows, and any number of strays.
constexpr std::uint32_t kRowsAtOnce = 10'000;

/// One digest against one replica table.
class Comparison {
public:
    Comparison(Transaction& transaction, const ReplicaDefinition& definition,
               const ReplicaTable& table, const Event& event, const Digest& digest,
               VerificationPurpose purpose, JsonRows& json)
        : transaction_(transaction),
          definition_(definition),
          table_(table),
          event_(event),
          digest_(digest),
          purpose_(purpose),
          json_(json) {}

    Result<void> run() {
        INSTEP_TRY_ASSIGN(const Answer answer, take_answer(transaction_, digest_.header));
        if (answer.repeated) {
            // By now the replica may be newer than the digest.
            return {};
        }
        INSTEP_TRY(digest_.by_key ? compare_keys() : compare_ranges());
        if (answer.ends_scan) {
            INSTEP_TRY(close_verification_scan(transaction_, digest_.header.scan));
        }
        return {};
    }

private:
    Result<void> compare_ranges() {
        std::string after = digest_.header.after;
        std::uint64_t rows = 0;
        for (const DigestRange& range : digest_.ranges) {
            INSTEP_TRY_ASSIGN(const RowSetHash local, hash_range(after, range.to));
            if (local.rows() != range.rows || local.hex() != range.hash) {
                INSTEP_TRY(ask(ScanKind::kKeys, 'k', after, range.to));
            }
            rows += range.rows;
            after = range.to;
        }
        INSTEP_TRY(transaction_.execute(
            "UPDATE instep_verification SET rows_checked = rows_checked + $1, "
            "ranges_checked = ranges_checked + $2, as_of = $3 WHERE id = $4",
            {static_cast<std::int64_t>(rows), static_cast<std::int64_t>(digest_.ranges.size()),
             to_sequence(event_.version), verification_of(digest_.header.scan)}));
        return {};
    }

    Result<void> compare_keys() {
        INSTEP_TRY_ASSIGN(auto local, hash_keys(digest_.header.after, digest_.header.to));
        std::string repair;
        std::map<std::string, std::string_view> differences;
        for (const DigestRange& remote : digest_.ranges) {
            ValueArena arena;
            INSTEP_TRY_ASSIGN(const Row key, json_.read_array(remote.to, arena));
            const std::string text = key_text(key);
            const auto mine = local.find(text);
            if (mine == local.end()) {
                differences.emplace(text, "missing");
                continue;
            }
            if (mine->second != remote.hash) {
                differences.emplace(text, "different");
            }
            local.erase(mine);
        }
        for (const auto& [text, hash] : local) {
            differences.emplace(text, "stray");
        }
        if (!differences.empty() && purpose_ == VerificationPurpose::kRepair) {
            INSTEP_TRY(age_newer_rows(differences));
            INSTEP_TRY_ASSIGN(repair,
                              ask(ScanKind::kRows, 'r', digest_.header.after, digest_.header.to));
        }
        for (const auto& [text, kind] : differences) {
            INSTEP_TRY(transaction_.execute(
                "INSERT INTO instep_difference (verification, key, kind, repair) "
                "VALUES ($1, $2, $3, $4) ON CONFLICT (verification, key) DO NOTHING",
                {verification_of(digest_.header.scan), std::string_view(text), kind,
                 std::string_view(repair)}));
        }
        return {};
    }

    /// At this place in the order no row of this partition can rightly be newer than the digest.
    /// One that says so was tampered with, and must not keep the repair out.
    Result<void> age_newer_rows(const std::map<std::string, std::string_view>& differences) {
        const std::string version = to_bytes(event_.version);
        ValueArena arena;
        for (const auto& [text, kind] : differences) {
            const auto local = local_keys_.find(text);
            if (local == local_keys_.end()) {
                continue;
            }
            INSTEP_TRY_ASSIGN(Row parameters, json_.read_array(local->second, arena));
            parameters.emplace_back(BlobView{version});
            parameters.emplace_back(BlobView{kOldestVersion});
            INSTEP_TRY(transaction_.execute(table_.age(), parameters));
        }
        return {};
    }

    Result<std::string> ask(ScanKind kind, char mark, const std::string& after,
                            const std::string& to) {
        INSTEP_TRY_ASSIGN(
            auto rows, transaction_.query("UPDATE instep_verification SET open_scans = open_scans "
                                          "+ 1, scans_asked = scans_asked + 1 WHERE id = $1 "
                                          "RETURNING scans_asked",
                                          {verification_of(digest_.header.scan)}));
        INSTEP_TRY(rows->next());
        ScanRequest request;
        request.id =
            fmt::format("{}/{}{}", verification_of(digest_.header.scan), mark, rows->integer(0));
        rows.reset();
        request.consumer = definition_.address();
        request.entity = definition_.entity();
        request.in_transactions = definition_.apply == ApplyUnit::kTransaction;
        request.kind = kind;
        request.columns = table_.source_columns();
        request.after = after;
        request.to = to;
        INSTEP_TRY(send_scan_request(transaction_, definition_, request));
        return request.id;
    }

    /// Calls `row` with the key's values and the hashed values of each local row of the range
    /// that belongs to the digest's partition.
    template <class RowFunction>
    Result<void> for_each_row(std::string after, const std::string& to, RowFunction row) {
        const std::string selected =
            fmt::format("{}, {}", table_.key_list(), table_.local_list(digest_.header.columns));
        for (;;) {
            ValueArena arena;
            INSTEP_TRY_ASSIGN(const Row bounds, json_.read_bounds(after, to, arena));
            INSTEP_TRY_ASSIGN(
                const auto rows,
                transaction_.query(table_.select(selected) + table_.where_range(after, to, "") +
                                       table_.in_key_order(kRowsAtOnce),
                                   bounds));
            INSTEP_TRY_ASSIGN(const std::uint32_t count, read_rows(*rows, after, row));
            if (count < kRowsAtOnce) {
                return {};
            }
        }
    }

    /// Returns how many there were; `last` becomes the key of the last.
    template <class RowFunction>
    Result<std::uint32_t> read_rows(Cursor& rows, std::string& last, RowFunction row) {
        const std::size_t keys = table_.key_places().size();
        Row values(rows.column_count());
        for (std::uint32_t count = 0;; ++count) {
            INSTEP_TRY_ASSIGN(const bool more, rows.next());
            if (!more) {
                return count;
            }
            for (std::size_t i = 0; i < values.size(); ++i) {
                values[i] = rows.at(i);
            }
            const std::span<const ValueView> all(values);
            const auto key = all.first(keys);
            if (digest_.header.partitions == 1 ||
                key_hash(key_text(key)) % digest_.header.partitions == digest_.header.partition) {
                row(key, all.subspan(keys));
            }
            if (count + 1 == kRowsAtOnce) {
                last = to_json_array(key);
            }
        }
    }

    Result<RowSetHash> hash_range(const std::string& after, const std::string& to) {
        RowSetHash hash;
        INSTEP_TRY(for_each_row(after, to,
                                [&](std::span<const ValueView>, std::span<const ValueView> values) {
                                    hash.add(values);
                                }));
        return hash;
    }

    Result<std::map<std::string, std::string>> hash_keys(const std::string& after,
                                                         const std::string& to) {
        std::map<std::string, std::string> hashes;
        INSTEP_TRY(for_each_row(
            after, to, [&](std::span<const ValueView> key, std::span<const ValueView> values) {
                RowSetHash hash;
                hash.add(values);
                const std::string text = key_text(key);
                local_keys_.emplace(text, to_json_array(key));
                hashes.emplace(text, hash.hex());
            }));
        return hashes;
    }

    Transaction& transaction_;
    const ReplicaDefinition& definition_;
    const ReplicaTable& table_;
    const Event& event_;
    const Digest& digest_;
    const VerificationPurpose purpose_;
    JsonRows& json_;

    /// The keys that hash_keys() met, as JSON arrays, by their text.
    std::map<std::string, std::string> local_keys_;
};

}  // namespace

Result<void> compare_digest(Transaction& transaction, const ReplicaDefinition& definition,
                            const ReplicaTable& table, const Event& event, JsonRows& json) {
    INSTEP_TRY_ASSIGN(const Digest digest, json.read_digest(event.data));
    const std::string_view verification = verification_of(digest.header.scan);
    INSTEP_TRY_ASSIGN(auto rows,
                      transaction.query("SELECT purpose FROM instep_verification WHERE id = $1 AND "
                                        "finished_us IS NULL",
                                        {verification}));
    INSTEP_TRY_ASSIGN(const bool known, rows->next());
    if (!known) {
        return {};
    }
    const auto purpose =
        rows->text(0) == "repair" ? VerificationPurpose::kRepair : VerificationPurpose::kVerify;
    rows.reset();
    if (!digest.header.refused.empty()) {
        INSTEP_TRY(transaction.execute("UPDATE instep_verification SET problem = $1 WHERE id = $2",
                                       {std::string_view(digest.header.refused), verification}));
        return close_verification_scan(transaction, digest.header.scan);
    }
    return Comparison(transaction, definition, table, event, digest, purpose, json).run();
}

}  // namespace instep
