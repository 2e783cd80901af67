// The list-append workload: every event appends the next number to its key's list, so a reader
// sees at once what is lost and what is out of order.
#pragma once

#include "instep/event/event.hpp"

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace instep::test {

/// Safe to call from any thread.
class KeyLists {
public:
    /// Events that append to `keys` lists in turn.
    std::vector<Event> next(std::size_t count, std::size_t keys = 7);

    /// Takes an event in as it was delivered. A repeat is counted; one that leaves out a number
    /// is an inversion or a loss, and is told by problem().
    void take(const Event& event);

    /// True once every event that next() made was taken in.
    [[nodiscard]] bool is_complete() const;

    /// The first thing that was wrong; empty if nothing was.
    [[nodiscard]] std::string problem() const;
    [[nodiscard]] std::uint64_t repeats() const;
    [[nodiscard]] std::uint64_t made() const;

private:
    mutable std::mutex mutex_;
    std::map<std::string, std::uint64_t> made_;
    std::map<std::string, std::uint64_t> taken_;
    std::uint64_t made_count_ = 0;
    std::uint64_t taken_count_ = 0;
    std::uint64_t repeats_ = 0;
    std::string problem_;
};

}  // namespace instep::test
