#include "instep/bus/bus.hpp"

#include "instep/concurrency/guarded.hpp"
#include "instep/telemetry/logger.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <stop_token>
#include <thread>

namespace instep {

namespace {

/// A function, and whether it may still be called.
class Listener {
public:
    Listener(std::string name, std::function<void(const void*)> call)
        : name_(std::move(name)), call_(std::move(call)) {}

    [[nodiscard]] const std::string& name() const { return name_; }

    /// Why it failed; empty if it did not, or is over. The one place where code of others may
    /// throw.
    std::string run(const void* event) {
        if (!enter()) {
            return {};
        }
        std::string reason;
        try {
            call_(event);
        } catch (const std::exception& thrown) {
            reason = fmt::format("it threw: {}", thrown.what());
        } catch (...) {
            reason = "it threw something that is no std::exception";
        }
        leave();
        return reason;
    }

    void end() {
        std::unique_lock lock(mutex_);
        is_over_ = true;
        // Calls that this very thread is within cannot be waited for.
        const auto own = std::ranges::count(calls_of_thread(), this);
        left_.wait(lock, [&] { return running_ == own; });
    }

private:
    /// The listeners that the thread is within, one within the other.
    static std::vector<const Listener*>& calls_of_thread() {
        thread_local std::vector<const Listener*> calls;
        return calls;
    }

    bool enter() {
        const std::scoped_lock lock(mutex_);
        if (is_over_) {
            return false;
        }
        ++running_;
        calls_of_thread().push_back(this);
        return true;
    }

    void leave() {
        // Under the lock, for whoever waits may destroy it next.
        const std::scoped_lock lock(mutex_);
        --running_;
        calls_of_thread().pop_back();
        left_.notify_all();
    }

    const std::string name_;
    const std::function<void(const void*)> call_;
    std::mutex mutex_;
    std::condition_variable left_;
    bool is_over_ = false;
    std::ptrdiff_t running_ = 0;
};

using Listeners = std::vector<std::shared_ptr<Listener>>;

/// The listeners of one type. The list is replaced, never changed, so that an event goes to those
/// that were there when it was published.
struct Audience {
    std::shared_ptr<const Listeners> listeners = std::make_shared<Listeners>();
    bool was_warned_of = false;
};

using Registry = Guarded<std::map<std::type_index, Audience>>;

}  // namespace

struct Listening::Entry {
    std::weak_ptr<Registry> registry;
    std::type_index type;
    std::shared_ptr<Listener> listener;
};

Listening::Listening(std::unique_ptr<Entry> entry) : entry_(std::move(entry)) {}

Listening::Listening() noexcept = default;
Listening::Listening(Listening&& other) noexcept = default;
Listening::~Listening() { end(); }

Listening& Listening::operator=(Listening&& other) noexcept {
    if (this != &other) {
        end();
        entry_ = std::move(other.entry_);
    }
    return *this;
}

void Listening::end() noexcept {
    const std::unique_ptr<Entry> entry = std::move(entry_);
    if (entry == nullptr) {
        return;
    }
    if (const auto registry = entry->registry.lock()) {
        const auto types = registry->lock();
        Audience& audience = types->at(entry->type);
        auto left = std::make_shared<Listeners>(*audience.listeners);
        std::erase(*left, entry->listener);
        audience.listeners = std::move(left);
    }
    entry->listener->end();
}

class Bus::Impl {
public:
    Impl(const Logger& logger, BusOptions options) : logger_(logger), options_(options) {
        constexpr std::size_t kPostedMax = 1'000'000;
        options_.listeners_expected = std::max<std::size_t>(options_.listeners_expected, 1);
        options_.posted_max = std::clamp<std::size_t>(options_.posted_max, 1, kPostedMax);
    }

    /// While the bus is still whole, for what waits is handed out.
    void close() {
        std::jthread thread;
        {
            const std::scoped_lock lock(mutex_);
            is_closed_ = true;
            thread = std::move(thread_);
        }
    }

    std::unique_ptr<Listening::Entry> add(std::type_index type, std::string name, Call call) {
        auto listener = std::make_shared<Listener>(std::move(name), std::move(call));
        const auto types = registry_->lock();
        Audience& audience = (*types)[type];
        auto more = std::make_shared<Listeners>(*audience.listeners);
        more->push_back(listener);
        if (more->size() > options_.listeners_expected && !audience.was_warned_of) {
            audience.was_warned_of = true;
            logger_.warn("bus.many_listeners",
                         {{"type", type.name()},
                          {"listeners", more->size()},
                          {"newest", listener->name()},
                          {"advice", "end those that are not needed, or expect more"}});
        }
        audience.listeners = std::move(more);
        return std::make_unique<Listening::Entry>(
            Listening::Entry{registry_, type, std::move(listener)});
    }

    std::vector<ListenerFailure> deliver(std::type_index type, const void* event) {
        std::vector<ListenerFailure> failures;
        const auto listeners = listeners_of(type);
        for (const auto& listener : *listeners) {
            std::string reason = listener->run(event);
            if (!reason.empty()) {
                logger_.error("bus.listener_failed",
                              {{"listener", listener->name()}, {"error", reason}});
                failures.push_back({listener->name(), std::move(reason)});
            }
        }
        return failures;
    }

    Result<void> enqueue(std::move_only_function<void()> delivery) {
        const std::scoped_lock lock(mutex_);
        if (is_closed_) {
            return fail(ErrorCode::kClosed, "the bus is ending and takes no more events");
        }
        if (waiting_.size() >= options_.posted_max) {
            return fail(ErrorCode::kLimitExceeded,
                        fmt::format("{} events wait for the listeners of the bus; slow down, or "
                                    "allow more",
                                    waiting_.size()));
        }
        waiting_.push_back(std::move(delivery));
        ++count_posted_;
        if (!thread_.joinable()) {
            thread_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
        }
        posted_.notify_one();
        return {};
    }

    Result<void> drain(std::chrono::milliseconds patience) {
        std::unique_lock lock(mutex_);
        const std::uint64_t last = count_posted_;
        if (!done_.wait_for(lock, patience, [&] { return count_done_ >= last; })) {
            return fail(ErrorCode::kTimeout,
                        fmt::format("{} posted events are not handled yet", last - count_done_));
        }
        return {};
    }

private:
    std::shared_ptr<const Listeners> listeners_of(std::type_index type) {
        const auto types = registry_->lock();
        const auto found = types->find(type);
        return found == types->end() ? std::make_shared<const Listeners>()
                                     : found->second.listeners;
    }

    void work(const std::stop_token& stop) {
        std::unique_lock lock(mutex_);
        // After a stop too, until nothing is left.
        while (posted_.wait(lock, stop, [this] { return !waiting_.empty(); }) ||
               !waiting_.empty()) {
            std::move_only_function<void()> delivery = std::move(waiting_.front());
            waiting_.pop_front();
            lock.unlock();
            delivery();
            delivery = nullptr;
            lock.lock();
            ++count_done_;
            done_.notify_all();
        }
    }

    const Logger& logger_;
    BusOptions options_;
    const std::shared_ptr<Registry> registry_ = std::make_shared<Registry>();

    std::mutex mutex_;
    std::condition_variable_any posted_;
    std::condition_variable done_;
    std::deque<std::move_only_function<void()>> waiting_;
    std::uint64_t count_posted_ = 0;
    std::uint64_t count_done_ = 0;
    bool is_closed_ = false;

    /// Starts with the first post.
    std::jthread thread_;
};

Bus::Bus(const Logger& logger, BusOptions options)
    : impl_(std::make_unique<Impl>(logger, options)) {}
Bus::~Bus() { impl_->close(); }

Listening Bus::add(std::type_index type, std::string name, Call call) {
    return Listening(impl_->add(type, std::move(name), std::move(call)));
}

std::vector<ListenerFailure> Bus::deliver(std::type_index type, const void* event) {
    return impl_->deliver(type, event);
}

Result<void> Bus::enqueue(std::move_only_function<void()> delivery) {
    return impl_->enqueue(std::move(delivery));
}

Result<void> Bus::drain(std::chrono::milliseconds patience) { return impl_->drain(patience); }

}  // namespace instep
