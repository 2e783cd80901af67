// What a simulated broker keeps of one partition, of one subscription in it, and what a member
// of the subscription knows. How a kind of broker delivers and takes acknowledgements is its
// Slot; everything else is the same for all.
#pragma once

#include "instep/broker/broker.hpp"
#include "tests/simulation/chaos.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

namespace instep::simulation {

struct Message {
    Position position = 0;
    Timestamp visible{};
    Event event;
};

struct PartitionLog {
    /// What one source published last, and with the highest epoch.
    struct Source {
        std::uint64_t epoch = 0;
        LastPublished last;
    };

    std::vector<Message> messages;
    Position newest = 0;
    std::map<std::string, Source, std::less<>> sources;

    /// Messages have been deleted.
    bool is_trimmed = false;

    /// All that is kept stands behind.
    [[nodiscard]] Position before() const {
        return messages.empty() ? newest : messages.front().position - 1;
    }
};

/// A partition that a member believes it holds.
struct Held {
    struct Fetched {
        Position position = 0;
        Event event;
    };

    std::uint32_t partition = 0;
    std::uint64_t session = 0;
    std::uint64_t epoch = 0;
    Position acknowledged = 0;

    /// The last position given out; what was fetched behind it waits in `ahead`.
    Position read = 0;
    Position fetched = 0;
    std::deque<Fetched> ahead{};
    bool leaving = false;
};

/// One subscription in one partition, at the broker. Borrows all that it is given.
class Slot {
public:
    Slot(PartitionLog& log, Chaos& chaos) : log_(log), chaos_(chaos) {}
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    virtual ~Slot() = default;

    /// Gives the partition to a member; `held` learns where it begins.
    void give_to(std::uint64_t session, Held& held);
    void set_free() { session_ = 0; }
    [[nodiscard]] bool is_held_by(std::uint64_t session) const { return session_ == session; }
    [[nodiscard]] bool is_held(const Held& held) const {
        return session_ == held.session && epoch_ == held.epoch;
    }

    /// The log has a new message.
    virtual void stored(const Message& /*message*/) {}

    /// Appends up to `count` messages to `held.ahead`.
    virtual void fetch(Held& held, std::size_t count) = 0;

    /// As fetch(), for a member that does not know yet that it holds the partition no more.
    virtual void fetch_for_former(Held& /*held*/, std::size_t /*count*/) {}

    virtual void acknowledge(Held& held, Position position) = 0;
    virtual void seek(Held& held, Position position) = 0;

    /// The subscription itself goes back; only where the broker keeps past events.
    virtual void rewind(Position /*position*/) {}

    /// A former holder learns that it is none.
    virtual void lost(const Held& /*held*/) {}

    /// What was not yet safe is forgotten, and so is the holder.
    void restart();

    [[nodiscard]] virtual Position acknowledged() const = 0;

    /// Up to here the subscription needs nothing again, whatever happens.
    [[nodiscard]] virtual Position done() const = 0;

    /// Published and not acknowledged.
    [[nodiscard]] virtual std::uint64_t backlog() const = 0;

protected:
    /// What the former holder left open is the new one's.
    virtual void begin(Held& held) = 0;
    virtual void forget_unsafe() = 0;

    [[nodiscard]] PartitionLog& log() const { return log_; }
    [[nodiscard]] Random& random() const { return chaos_.random(); }
    [[nodiscard]] Timestamp now() const { return chaos_.scheduler().clock().now(); }
    [[nodiscard]] std::uint64_t session() const { return session_; }

private:
    PartitionLog& log_;
    Chaos& chaos_;
    std::uint64_t session_ = 0;
    std::uint64_t epoch_ = 0;
};

/// Delivers what stands behind a position that the member keeps, and knows of the
/// subscription only how far it has acknowledged.
class CursorSlot : public Slot {
public:
    CursorSlot(PartitionLog& log, Chaos& chaos, Position start)
        : Slot(log, chaos), acknowledged_(start), on_disk_(start) {}

    void fetch(Held& held, std::size_t count) override;
    void fetch_for_former(Held& held, std::size_t count) override {
        CursorSlot::fetch(held, count);
    }
    void acknowledge(Held& held, Position position) override;
    void seek(Held& held, Position position) override { held.fetched = position; }
    void rewind(Position position) override;
    [[nodiscard]] Position acknowledged() const override { return acknowledged_; }
    [[nodiscard]] Position done() const override { return std::min(acknowledged_, on_disk_); }
    [[nodiscard]] std::uint64_t backlog() const override;

protected:
    void begin(Held& held) override { held.acknowledged = acknowledged_; }
    void forget_unsafe() override { acknowledged_ = on_disk_; }
    void advance(Position position);
    void make_safe() { on_disk_ = acknowledged_; }

private:
    Position acknowledged_;
    Position on_disk_;
};

}  // namespace instep::simulation
