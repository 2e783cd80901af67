// Asks for what is behind some entries of several streams and takes the answer apart while it
// arrives, so that memory is bounded by one entry, whatever the server sends.
#pragma once

#include "connection.hpp"
#include "instep/broker/broker.hpp"
#include "message.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace instep::redis {

/// For one thread at a time.
class StreamReader {
public:
    struct Source {
        std::string stream;
        std::uint32_t partition = 0;
        Position after = 0;
    };

    struct Question {
        std::vector<Source> sources;

        /// The stream that tells of changes among the members, and the newest known.
        std::string changes;
        std::string change;

        /// Most entries of each stream.
        std::size_t entries_max = 1;

        /// How long the server keeps the answer back while there is nothing; zero: not at all.
        std::chrono::milliseconds patience{0};
    };

    StreamReader(const Endpoint& endpoint, const Clock& clock, Random& random)
        : endpoint_(endpoint), clock_(clock), link_(endpoint, clock, random) {}

    /// Only when nothing is under way.
    Result<void> ask(Question question);

    /// True until the last entry of the answer was returned, or its end was seen.
    [[nodiscard]] bool is_asking() const { return stage_ != Stage::kIdle; }

    /// True if there is something of the answer, or it should have come by now.
    [[nodiscard]] bool has_news();

    /// Sets `entry` to the next one, for which it waits. False at the end of the answer.
    Result<bool> next(std::optional<Delivery>& entry);

    /// How many more entries of the same stream there are in the answer, as far as is known.
    [[nodiscard]] std::size_t entries_left() const {
        return static_cast<std::size_t>(entries_left_);
    }

    /// True once after an answer that told of a change.
    [[nodiscard]] bool take_change() { return std::exchange(saw_change_, false); }

    /// Forgets what is under way.
    void reset();

    /// To poll; -1 without a connection.
    [[nodiscard]] int descriptor();
    [[nodiscard]] std::chrono::milliseconds pause() const { return link_.pause(); }

private:
    enum class Stage : std::uint8_t { kIdle, kAsked, kReading };

    Result<bool> read(std::optional<Delivery>& entry);
    Result<bool> begin_answer();
    Result<void> begin_stream();
    Result<bool> read_entry(std::optional<Delivery>& entry);
    std::unexpected<Error> unexpected();

    const Endpoint& endpoint_;
    const Clock& clock_;
    Link link_;
    Question question_;
    Stage stage_ = Stage::kIdle;
    std::chrono::microseconds due_{0};
    std::int64_t streams_left_ = 0;
    std::int64_t entries_left_ = 0;
    bool are_pairs_ = false;

    /// Of question_.sources; their number for the stream of changes.
    std::size_t source_ = 0;
    bool saw_change_ = false;
    EntryReader entry_;
};

}  // namespace instep::redis
