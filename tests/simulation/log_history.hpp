// What one service committed to its log, and what became of it at the broker.
//
// Holds: only committed events are published, as they are in the log, each key's in order and
// without a gap; a relay's cursor never goes back, never passes an event that the broker does
// not have, and is moved by the holder of its lease alone; private columns stay at home.
#pragma once

#include "instep/event/event.hpp"
#include "tests/simulation/findings.hpp"
#include "tests/simulation/sim_database.hpp"

#include <cstdint>
#include <map>
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

    /// To be called after each commit of the service's database.
    void after_commit();

    /// To be called for each event that the broker stored.
    void published(std::string_view topic, std::uint32_t partition, std::uint32_t partitions,
                   const Event& event);

    /// The event with this version; nullptr if it was never committed.
    [[nodiscard]] const Entry* find(const Version& version) const;

    /// The newest event of the key up to `version`; nullptr if there is none.
    [[nodiscard]] const Entry* newest(std::string_view key, const Version& version) const;

    /// The key's next event behind `seq`; nullptr if there is none.
    [[nodiscard]] const Entry* next(std::string_view key, std::uint64_t seq) const;

    /// All keys and their events.
    [[nodiscard]] const std::map<std::string, std::vector<std::uint64_t>, std::less<>>& keys()
        const {
        return by_key_;
    }

private:
    void read_new_events();
    void check_cursors();

    SimDatabase& database_;
    std::string service_;
    std::vector<std::uint64_t> cursors_;
    Findings& findings_;
    std::map<std::uint64_t, Entry> entries_;
    std::map<std::string, std::vector<std::uint64_t>, std::less<>> by_key_;

    /// The newest event of each key that the broker has.
    std::map<std::string, std::uint64_t, std::less<>> published_;
};

}  // namespace instep::simulation
