// Publish and subscribe within one process, by the type of the event: any struct.
//
//     Bus bus(logger);
//     const Listening mails = bus.listen<UserRegistered>("mails", [&](const UserRegistered& user) {
//         …
//     });
//     bus.publish(UserRegistered{"ada"});
//
// Listeners know nothing of each other: one that fails keeps none from the event. Nothing is
// stored: what must outlive the process goes to the log as well (bus_transaction.hpp).
#pragma once

#include "instep/base/error.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <typeindex>
#include <utility>
#include <vector>

namespace instep {

class Logger;

struct BusOptions {
    /// More listeners of one type are logged, once a type: some that should be gone may still be
    /// there. At least 1.
    std::size_t listeners_expected = 100;

    /// Events that may wait after post(), 1 to 1,000,000. Larger: more memory while listeners are
    /// slow.
    std::size_t posted_max = 10'000;
};

/// A listener that threw.
struct ListenerFailure {
    std::string listener;
    std::string reason;
};

/// As long as it lives, its listener is called. Once the destructor is through no call of it runs
/// or begins, also on other threads; within the listener itself the call under way is the last. May
/// outlive the bus. Two listeners must not wait for each other's end.
class [[nodiscard]] Listening {
public:
    Listening() noexcept;
    Listening(Listening&& other) noexcept;
    Listening& operator=(Listening&& other) noexcept;
    ~Listening();

    /// As the destructor.
    void end() noexcept;

private:
    friend class Bus;
    struct Entry;
    explicit Listening(std::unique_ptr<Entry> entry);
    std::unique_ptr<Entry> entry_;
};

/// Safe to use from any thread, also within listeners.
class Bus {
public:
    /// `logger` must outlive the bus; it is told of every failure. Options out of their bounds are
    /// brought within.
    explicit Bus(const Logger& logger, BusOptions options = {});
    Bus(const Bus&) = delete;
    Bus& operator=(const Bus&) = delete;

    /// Takes no more posts and hands out those that wait.
    ~Bus();

    /// Calls `listener` for each event of the type from now on, on the thread of whoever publishes,
    /// so possibly on several at once. `name` is for messages.
    template <class T>
    Listening listen(std::string name, std::function<void(const T& event)> listener) {
        return add(typeid(T), std::move(name), [listener = std::move(listener)](const void* event) {
            listener(*static_cast<const T*>(event));
        });
    }

    /// Calls the listeners of the type one after the other, in the order in which they came, and
    /// returns when all of them have returned; who failed, and why.
    template <class T>
    std::vector<ListenerFailure> publish(const T& event) {
        return deliver(typeid(T), &event);
    }

    /// The same on a thread of the bus, and returns at once. What one thread posts stays in order.
    /// Errors: kLimitExceeded if `posted_max` events wait; kClosed to a listener that posts while
    /// the bus ends.
    template <class T>
    Result<void> post(T event) {
        return enqueue([this, event = std::move(event)] { deliver(typeid(T), &event); });
    }

    /// Returns when everything that was posted before has been handled. Errors: kTimeout. Not for
    /// listeners.
    Result<void> drain(std::chrono::milliseconds patience);

private:
    using Call = std::function<void(const void* event)>;

    Listening add(std::type_index type, std::string name, Call call);
    std::vector<ListenerFailure> deliver(std::type_index type, const void* event);
    Result<void> enqueue(std::move_only_function<void()> delivery);

    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace instep
