// What a transaction changes about parked keys: held in memory, and written in a few round trips
// before it commits, however many keys there are.
#pragma once

#include "instep/broker/broker.hpp"
#include "instep/db/connection.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

/// The delivery's key, or one that all share that cannot be read.
std::string_view parked_key_of(const Delivery& delivery);

/// For one thread at a time, and one transaction after the other.
class ParkedChanges {
public:
    explicit ParkedChanges(std::string subscription) : subscription_(std::move(subscription)) {}

    /// The event waits behind what is parked for its key. Returns its bytes.
    std::int64_t add(const Delivery& delivery, Timestamp now);

    /// The oldest event of a key failed.
    struct Failure {
        std::string key;

        /// How often it was tried.
        std::uint32_t attempts = 0;
        Error error;
        Timestamp failed{};

        /// Means nothing for one that is dead or skipped.
        Timestamp next_try{};
        bool is_dead = false;
    };
    void fail(Failure failure) { failures_.push_back(std::move(failure)); }

    /// The oldest event of a key is set aside by itself.
    void skip(Failure failure) { skips_.push_back(std::move(failure)); }

    /// The events of the key up to `number` are behind, and it goes on.
    void release(std::string_view key, std::int64_t number) {
        releases_.push_back({std::string(key), number});
    }

    /// More of it should not be held in memory.
    [[nodiscard]] bool is_large() const;

    /// Writes what was changed since the last call. Returns the keys that nothing waits for any
    /// more.
    Result<std::vector<std::string>> write(Transaction& transaction);

    void clear();

private:
    struct NewEvent {
        std::string key;
        std::int64_t partition = 0;
        std::int64_t position = 0;

        /// The envelope as JSON; or, if it cannot be read, what came.
        std::string text;
        bool is_event = true;
        Timestamp parked{};
    };
    struct Release {
        std::string key;
        std::int64_t number = 0;
    };

    Result<void> write_events(Transaction& transaction);
    Result<void> write_skips(Transaction& transaction);
    Result<std::vector<std::string>> write_releases(Transaction& transaction);
    Result<void> write_failures(Transaction& transaction);

    const std::string subscription_;
    std::vector<NewEvent> events_;
    std::size_t event_bytes_ = 0;
    std::vector<Failure> skips_;
    std::vector<Failure> failures_;
    std::vector<Release> releases_;
};

}  // namespace instep
