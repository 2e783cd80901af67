// What one service committed to its log, and what became of it at the broker.
//
// Holds: only committed events are published, as they are in the log, each key's in order and
// without a gap, and all of them in order where transactions are published whole; a boundary there
// never speaks of half a transaction; a relay's cursor never goes back, never passes an event that
// the broker does not have, and is moved by the holder of its lease alone; private columns stay at
// home.
#pragma once

#include "instep/event/event.hpp"
#include "tests/simulation/findings.hpp"
#include "tests/simulation/sim_database.hpp"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace instep::simulation {

/// Stands in every value of a private column.
inline constexpr std::string_view kPrivateMark = "PRIVATE";

class LogHistory {
public:
    struct Entry {
        std::uint64_t seq = 0;

        /// Counts the commits that appended to the log.
        std::uint64_t commit = 0;
        std::string topic;
        std::string key;
        Operation operation = Operation::kNone;
        std::string data;
    };

    LogHistory(SimDatabase& database, std::string service, std::uint32_t partitions,
               Findings& findings)
        : database_(database),
          service_(std::move(service)),
          cursors_(partitions),
          findings_(findings) {}

    /// Events by key.
    using Keys = std::map<std::string, std::vector<std::uint64_t>, std::less<>>;

    /// The changes of these topics are to be published whole, besides.
    void expect_whole(const std::vector<std::string>& topics) {
        whole_topics_.insert(topics.begin(), topics.end());
    }

    /// To be called after each commit of the service's database.
    void after_commit();

    /// To be called for each event that the broker stored.
    void published(std::string_view topic, std::uint32_t partition, std::uint32_t partitions,
                   const Event& event);

    /// The event with this version; nullptr if it was never committed.
    [[nodiscard]] const Entry* find(const Version& version) const;

    /// The newest event of the topic's key up to `version`; nullptr if there is none.
    [[nodiscard]] const Entry* newest(std::string_view topic, std::string_view key,
                                      const Version& version) const;

    /// The next event of the topic's key behind `seq`; nullptr if there is none.
    [[nodiscard]] const Entry* next(std::string_view topic, std::string_view key,
                                    std::uint64_t seq) const;

    /// All keys of a topic.
    [[nodiscard]] const Keys& keys(std::string_view topic) const;

private:
    void read_new_events();
    void check_cursors();
    void check_passed(const Entry& entry);
    void published_by_key(const Entry& entry);
    void published_whole(const Entry& entry);
    void check_boundary(const Event& boundary);
    [[nodiscard]] bool is_whole(const Entry& entry) const {
        return whole_topics_.contains(entry.topic);
    }

    SimDatabase& database_;
    std::string service_;
    std::vector<std::uint64_t> cursors_;
    Findings& findings_;
    std::map<std::uint64_t, Entry> entries_;
    std::map<std::string, Keys, std::less<>> by_topic_;
    std::set<std::string, std::less<>> whole_topics_;
    std::uint64_t commits_ = 0;

    /// The newest event of each topic's keys that the broker has.
    std::map<std::string, std::map<std::string, std::uint64_t, std::less<>>, std::less<>>
        published_;

    /// The newest event that the broker has among whole transactions.
    std::uint64_t published_whole_ = 0;
    Version newest_boundary_{};
};

}  // namespace instep::simulation
