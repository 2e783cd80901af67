#include "tests/simulation/log_history.hpp"

#include "instep/base/bytes.hpp"
#include "instep/log/boundary.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::simulation {

namespace {

bool is_made_not_logged(const Event& event) {
    return event.operation == Operation::kChunk || event.operation == Operation::kDigest;
}

}  // namespace

void LogHistory::after_commit() {
    read_new_events();
    if (database_.touched("instep_cursor")) {
        check_cursors();
    }
}

void LogHistory::read_new_events() {
    const std::int64_t last =
        entries_.empty() ? 0 : static_cast<std::int64_t>(entries_.rbegin()->first);
    auto rows = database_.inspect().query(
        "SELECT seq, topic, key, operation, CAST(data AS BLOB) FROM instep_log WHERE seq > $1 "
        "ORDER BY seq",
        std::initializer_list<ValueView>{last});
    ++commits_;
    while (*(*rows)->next()) {
        Entry entry;
        entry.seq = static_cast<std::uint64_t>((*rows)->integer(0));
        entry.commit = commits_;
        entry.topic = (*rows)->text(1);
        entry.key = (*rows)->text(2);
        entry.operation = static_cast<Operation>((*rows)->integer(3));
        entry.data = (*rows)->blob(4);
        by_topic_[entry.topic][entry.key].push_back(entry.seq);
        entries_.emplace(entry.seq, std::move(entry));
    }
}

void LogHistory::check_cursors() {
    auto rows = database_.inspect().query(
        "SELECT c.partition, c.seq, l.owner FROM instep_cursor c LEFT JOIN instep_lease l "
        "ON l.name = 'relay/' || c.partition WHERE c.reader = 'relay'",
        {});
    while (*(*rows)->next()) {
        const auto partition = static_cast<std::uint32_t>((*rows)->integer(0));
        const auto seq = static_cast<std::uint64_t>((*rows)->integer(1));
        std::uint64_t& known = cursors_[partition];
        if (seq != known && (*rows)->text(2) != database_.committer()) {
            findings_.report(fmt::format("{} moved the cursor of {}, whose lease {} has",
                                         database_.committer(), service_, (*rows)->text(2)));
        }
        if (seq < known) {
            findings_.report(fmt::format("the relay's cursor of {} went back from {} to {}",
                                         service_, known, seq));
        }
        for (auto entry = entries_.upper_bound(known);
             entry != entries_.end() && entry->first <= seq; ++entry) {
            if (key_hash(entry->second.key) % cursors_.size() == partition) {
                check_passed(entry->second);
            }
        }
        known = std::max(known, seq);
    }
}

void LogHistory::check_passed(const Entry& entry) {
    const bool is_published = published_[entry.topic][entry.key] >= entry.seq;
    if (!is_published || (is_whole(entry) && published_whole_ < entry.seq)) {
        findings_.report(fmt::format(
            "the relay's cursor of {} passed event {} of key {}, which "
            "was not published{}",
            service_, entry.seq, entry.key, is_published ? " with its transaction" : ""));
    }
}

void LogHistory::published(std::string_view topic, std::uint32_t partition,
                           std::uint32_t partitions, const Event& event) {
    const auto report = [&](std::string_view what) {
        findings_.report(fmt::format("{} on {}/{}: key {}, version {}, data {}", what, topic,
                                     partition, event.key, to_sequence(event.version), event.data));
    };
    if (event.data.find(kPrivateMark) != std::string::npos) {
        report("a private column was published");
    }
    if (is_made_not_logged(event)) {
        if (entries_.empty() ? event.version.batch > 0
                             : event.version.batch > entries_.rbegin()->first) {
            report("a chunk is newer than the log");
        }
        return;
    }
    if (is_boundary(event)) {
        check_boundary(event);
        return;
    }
    const Entry* entry = find(event.version);
    if (entry == nullptr || event.version.index != 0) {
        report("an event was published that was never committed");
        return;
    }
    if (entry->key != event.key || entry->operation != event.operation ||
        entry->data != event.data) {
        report("an event differs from what was committed");
    }
    if (key_hash(event.key) % partitions != partition) {
        report("an event went to a partition that is not its key's");
    }
    if (topic == transactions_topic(service_)) {
        published_whole(*entry);
    } else {
        published_by_key(*entry);
    }
}

void LogHistory::published_by_key(const Entry& entry) {
    std::uint64_t& newest = published_[entry.topic][entry.key];
    if (entry.seq <= newest) {
        return;
    }
    if (const Entry* expected = next(entry.topic, entry.key, newest); expected->seq != entry.seq) {
        findings_.report(fmt::format("event {} of key {} on {} was left out before event {}",
                                     expected->seq, entry.key, entry.topic, entry.seq));
    }
    newest = entry.seq;
}

void LogHistory::published_whole(const Entry& entry) {
    for (auto passed = entries_.upper_bound(published_whole_);
         passed != entries_.end() && passed->first < entry.seq; ++passed) {
        if (is_whole(passed->second)) {
            findings_.report(
                fmt::format("event {} was left out of the whole transactions of {} "
                            "before event {}",
                            passed->first, service_, entry.seq));
        }
    }
    published_whole_ = std::max(published_whole_, entry.seq);
}

/// What it ends must be there, and what it does not end must be of other transactions. A relay that
/// was replaced, and does not know it, may repeat older ones from wherever it stood: the newer one
/// came first to everybody.
void LogHistory::check_boundary(const Event& boundary) {
    if (boundary.version < newest_boundary_) {
        return;
    }
    newest_boundary_ = boundary.version;
    const Entry* last = nullptr;
    for (const auto& [seq, entry] : entries_) {
        if (!is_whole(entry)) {
            continue;
        }
        if (seq <= boundary.version.batch) {
            last = &entry;
            continue;
        }
        if (last != nullptr && last->commit == entry.commit) {
            findings_.report(
                fmt::format("boundary {} cuts a transaction of {} in two: behind "
                            "event {} comes {}",
                            to_sequence(boundary.version), service_, last->seq, seq));
        }
        break;
    }
    if (last != nullptr && published_whole_ < last->seq) {
        findings_.report(fmt::format("boundary {} of {} was published before event {}",
                                     to_sequence(boundary.version), service_, last->seq));
    }
}

const LogHistory::Entry* LogHistory::find(const Version& version) const {
    const auto entry = entries_.find(version.batch);
    return entry == entries_.end() ? nullptr : &entry->second;
}

const LogHistory::Entry* LogHistory::newest(std::string_view topic, std::string_view key,
                                            const Version& version) const {
    const Keys& all = keys(topic);
    const auto of_key = all.find(key);
    if (of_key == all.end()) {
        return nullptr;
    }
    const auto behind = std::ranges::upper_bound(of_key->second, version.batch);
    return behind == of_key->second.begin() ? nullptr : &entries_.at(*std::prev(behind));
}

const LogHistory::Entry* LogHistory::next(std::string_view topic, std::string_view key,
                                          std::uint64_t seq) const {
    const Keys& all = keys(topic);
    const auto of_key = all.find(key);
    if (of_key == all.end()) {
        return nullptr;
    }
    const auto behind = std::ranges::upper_bound(of_key->second, seq);
    return behind == of_key->second.end() ? nullptr : &entries_.at(*behind);
}

const LogHistory::Keys& LogHistory::keys(std::string_view topic) const {
    static const Keys kNone;
    const auto found = by_topic_.find(topic);
    return found == by_topic_.end() ? kNone : found->second;
}

}  // namespace instep::simulation
