#include "tests/simulation/watches.hpp"

#include <fmt/format.h>

namespace instep::simulation {

namespace {

/// json_object() of the columns, each read from `prefix`name`suffix`.
std::string row_json(const std::vector<std::pair<std::string, std::string>>& columns) {
    std::string members;
    for (const auto& [name, expression] : columns) {
        members += fmt::format("{}'{}', {}", members.empty() ? "" : ", ", name, expression);
    }
    return fmt::format("json_object({})", members);
}

}  // namespace

void SubscriptionWatch::after_commit() {
    if (database_.touched("instep_progress")) {
        check_lease();
    }
    look();
}

/// Members and owners of leases are named as their processes.
void SubscriptionWatch::check_lease() {
    auto rows = database_.inspect().query(
        "SELECT p.partition, p.moved_us, l.owner FROM instep_progress p LEFT JOIN instep_lease l "
        "ON l.name = 'consumer/' || p.subscription || '/' || p.partition "
        "WHERE p.subscription = $1",
        std::initializer_list<ValueView>{std::string_view(subscription_)});
    while (*(*rows)->next()) {
        std::int64_t& moved_us = moved_us_[(*rows)->integer(0)];
        if (moved_us != (*rows)->integer(1) && (*rows)->text(2) != database_.committer()) {
            findings_.report(fmt::format("{} committed for {}, whose lease {} has",
                                         database_.committer(), subscription_, (*rows)->text(2)));
        }
        moved_us = (*rows)->integer(1);
    }
}

void SubscriptionWatch::acknowledged(const Event& event) {
    if (!is_done(event) && !is_parked(event.key)) {
        findings_.report(
            fmt::format("{} acknowledged event {} of key {}, version {}, which is "
                        "neither done nor parked",
                        subscription_, event.id, event.key, to_sequence(event.version)));
    }
}

bool SubscriptionWatch::is_parked(std::string_view key) const {
    auto rows = database_.inspect().query(
        "SELECT 1 FROM instep_parked_event WHERE subscription = $1 AND key = $2 LIMIT 1",
        std::initializer_list<ValueView>{std::string_view(subscription_), key});
    return *(*rows)->next();
}

ReplicaWatch::ReplicaWatch(SimDatabase& database, const ReplicaDefinition& definition,
                           const std::vector<std::pair<std::string, std::string>>& columns,
                           LogHistory& source, Findings& findings)
    : SubscriptionWatch(database, definition.subscription(), findings),
      topic_(definition.topic),
      table_(definition.table),
      source_(source) {
    std::vector<std::pair<std::string, std::string>> own;
    std::vector<std::pair<std::string, std::string>> event;
    for (const auto& [name, local] : columns) {
        own.emplace_back(name, name);
        event.emplace_back(name, fmt::format("json_extract($1, '$.{}')", name));
    }
    row_json_ = fmt::format("SELECT CAST({} AS TEXT), {}, instep_version FROM {}",
                            columns.front().second, row_json(columns), table_);
    source_row_json_ =
        fmt::format("SELECT CAST({} AS TEXT), {} FROM ", own.front().second, row_json(own));
    event_row_json_ = fmt::format("SELECT {}", row_json(event));
}

void ReplicaWatch::delivered(const Delivery& delivery) {
    if (!has_contract_) {
        early_.insert(delivery.event.id);
    }
}

void ReplicaWatch::look() {
    if (!has_contract_ && database().touched("instep_replica")) {
        auto rows = database().inspect().query(
            "SELECT 1 FROM instep_replica WHERE table_name = $1 AND contract <> ''",
            std::initializer_list<ValueView>{std::string_view(table_)});
        has_contract_ = *(*rows)->next();
    }
    if (meddled_ || !(database().touched(table_) || database().touched("instep_tombstone"))) {
        return;
    }
    Standings now = read_standings();
    for (const auto& [key, standing] : known_) {
        if (standing.present && !now.contains(key)) {
            findings().report(
                fmt::format("key {} of {} vanished without a tombstone", key, table_));
        }
    }
    for (auto& [key, standing] : now) {
        check(key, standing);
        known_[key] = std::move(standing);
    }
}

ReplicaWatch::Standings ReplicaWatch::read_standings() const {
    Standings standings;
    auto tombstones = database().inspect().query(
        "SELECT t.key, t.version FROM instep_tombstone t JOIN instep_replica r ON r.id = t.replica "
        "WHERE r.table_name = $1",
        std::initializer_list<ValueView>{std::string_view(table_)});
    while (*(*tombstones)->next()) {
        standings[std::string((*tombstones)->text(0))].version =
            *version_from_bytes((*tombstones)->blob(1));
    }
    auto rows = database().inspect().query(row_json_, {});
    while (rows && *(*rows)->next()) {
        const Version version = *version_from_bytes((*rows)->blob(2));
        const std::string key((*rows)->text(0));
        Standing& standing = standings[key];
        if (standing.version >= version) {
            findings().report(fmt::format("key {} of {} stands there at version {}, deleted at {}",
                                          key, table_, to_sequence(version),
                                          to_sequence(standing.version)));
        }
        standing = {version, true, std::string((*rows)->text(1))};
    }
    return standings;
}

void ReplicaWatch::check(const std::string& key, const Standing& standing) {
    const auto report = [&](std::string_view what) {
        findings().report(fmt::format("{}: key {} of {} at version {}: {}", what, key, table_,
                                      to_sequence(standing.version),
                                      standing.present ? standing.row : "deleted"));
    };
    if (const auto known = known_.find(key); known != known_.end()) {
        const Standing& before = known->second;
        if (standing.version < before.version) {
            report(before.present || !standing.present
                       ? fmt::format("went back from {}", to_sequence(before.version))
                       : fmt::format("came back after its deletion at {}",
                                     to_sequence(before.version)));
        }
        if (standing.version == before.version && standing.present == before.present &&
            standing.row == before.row) {
            return;
        }
        if (standing.version == before.version) {
            report("changed without a newer version");
        }
    }
    const LogHistory::Entry* entry = standing.version.index == kChunkIndex
                                         ? source_.newest(topic_, key, standing.version)
                                         : source_.find(standing.version);
    const bool deleted = entry == nullptr || entry->operation == Operation::kDelete;
    if (entry != nullptr && (entry->key != key || entry->topic != topic_)) {
        report("has the version of another key");
    } else if (standing.present && (deleted || expected_row(*entry) != standing.row)) {
        report(fmt::format("is not what the source had ({})",
                           deleted ? "nothing" : expected_row(*entry)));
    } else if (!standing.present && !deleted) {
        report("is deleted, but was not at the source");
    }
}

std::string ReplicaWatch::expected_row(const LogHistory::Entry& entry) const {
    auto rows = database().inspect().query(
        event_row_json_, std::initializer_list<ValueView>{std::string_view(entry.data)});
    return *(*rows)->next() ? std::string((*rows)->text(0)) : "";
}

std::map<std::string, std::string> ReplicaWatch::rows() const {
    std::map<std::string, std::string> all;
    auto rows = database().inspect().query(row_json_, {});
    while (rows && *(*rows)->next()) {
        all.emplace((*rows)->text(0), (*rows)->text(1));
    }
    return all;
}

std::map<std::string, std::string> ReplicaWatch::source_rows(SimDatabase& source,
                                                             std::string_view table) const {
    std::map<std::string, std::string> all;
    auto rows = source.inspect().query(source_row_json_ + std::string(table), {});
    while (*(*rows)->next()) {
        all.emplace((*rows)->text(0), (*rows)->text(1));
    }
    return all;
}

void ReplicaWatch::end_meddling() {
    meddled_ = false;
    known_ = read_standings();
}

bool ReplicaWatch::is_done(const Event& event) {
    if (event.operation != Operation::kUpsert && event.operation != Operation::kDelete) {
        return true;
    }
    const auto known = known_.find(event.key);
    return meddled_ || early_.contains(event.id) ||
           (known != known_.end() && known->second.version >= event.version);
}

bool RequestsWatch::is_done(const Event& event) {
    auto rows = database().inspect().query(
        "SELECT 1 FROM instep_inbox WHERE subscription = $1 AND event_id = $2",
        std::initializer_list<ValueView>{std::string_view(subscription()),
                                         std::string_view(event.id)});
    return *(*rows)->next();
}

}  // namespace instep::simulation
