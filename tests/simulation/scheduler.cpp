#include "tests/simulation/scheduler.hpp"

#include <boost/context/fiber.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>

#include <algorithm>
#include <exception>
#include <limits>
#include <utility>

namespace instep::simulation {

namespace {

using std::chrono::microseconds;

constexpr std::size_t kStackBytes = 256 * 1024;
constexpr microseconds kNow = microseconds::min();

/// One for all runs: making stacks costs more than a short run.
boost::context::pooled_fixedsize_stack& stacks() {
    static boost::context::pooled_fixedsize_stack pool(kStackBytes);
    return pool;
}

}  // namespace

class Scheduler::Fiber {
public:
    Fiber(std::string name, std::function<void()> body)
        : name_(std::move(name)),
          context_(std::allocator_arg, stacks(),
                   [this, body = std::move(body)](boost::context::fiber&& back) {
                       back_ = std::move(back);
                       body();
                       finished_ = true;
                       return std::move(back_);
                   }) {}

    /// From the scheduler: returns when the fiber gives the thread back.
    void resume() { context_ = std::move(context_).resume(); }

    /// From the fiber itself.
    void suspend() { back_ = std::move(back_).resume(); }

    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] bool finished() const { return finished_; }

    microseconds wakes_at = kNow;
    const Lock* waits_for = nullptr;
    bool dead = false;
    bool ends_orderly = false;

private:
    std::string name_;
    boost::context::fiber context_;
    boost::context::fiber back_;
    bool finished_ = false;
};

Scheduler::Scheduler(Random& random, VirtualClock& clock, Trace& trace)
    : random_(random), clock_(clock), trace_(trace) {}

Scheduler::~Scheduler() { end(); }

void Scheduler::end() {
    ending_ = true;
    for (const auto& fiber : fibers_) {
        while (!fiber->finished()) {
            current_ = fiber.get();
            fiber->resume();
        }
    }
}

void Scheduler::spawn(std::string name, std::function<void()> body) {
    fibers_.push_back(std::make_unique<Fiber>(std::move(name), std::move(body)));
}

Scheduler::Fiber* Scheduler::draw() {
    clock_.advance(microseconds{
        static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(step_max_.count())))});
    for (;;) {
        runnable_.clear();
        microseconds earliest = microseconds::max();
        for (const auto& fiber : fibers_) {
            if (fiber->finished()) {
                continue;
            }
            if (fiber->wakes_at <= clock_.monotonic()) {
                runnable_.push_back(fiber.get());
            } else {
                earliest = std::min(earliest, fiber->wakes_at);
            }
        }
        if (!runnable_.empty()) {
            return runnable_[random_.below(runnable_.size())];
        }
        if (earliest == microseconds::max()) {
            return nullptr;
        }
        clock_.advance(earliest - clock_.monotonic());
    }
}

Scheduler::End Scheduler::run(const std::function<bool()>& stop, std::uint64_t steps_max) {
    for (std::uint64_t step = 0; step < steps_max; ++step) {
        if (stop()) {
            return End::kStopped;
        }
        Fiber* next = draw();
        if (next == nullptr) {
            return End::kStuck;
        }
        current_ = next;
        current_->resume();
        current_ = nullptr;
    }
    return End::kOutOfSteps;
}

bool Scheduler::is_dead() const { return ending_ || current_->dead; }

/// While an exception unwinds or a destructor runs, no other may be thrown, and another fiber
/// must not run either: the runtime counts exceptions by thread, not by fiber.
bool Scheduler::crash() {
    if (!is_dead()) {
        if (current_->ends_orderly) {
            return true;
        }
        trace("crash", "", "");
    }
    current_->dead = true;
    if (std::uncaught_exceptions() == 0 && !current_->ends_orderly) {
        throw Crash{};
    }
    return false;
}

bool Scheduler::hand_over() {
    current_->suspend();
    current_->wakes_at = kNow;
    current_->waits_for = nullptr;
    return ending_ ? crash() : true;
}

bool Scheduler::wait(microseconds until, const Lock* lock) {
    if (is_dead()) {
        return crash();
    }
    current_->wakes_at = until;
    current_->waits_for = lock;
    return hand_over();
}

bool Scheduler::yield() { return wait(kNow, nullptr); }

bool Scheduler::rest(microseconds time) { return wait(clock_.monotonic() + time, nullptr); }

bool Scheduler::revive() {
    current_->dead = ending_;
    return !ending_;
}

void Scheduler::begin_orderly_end() { current_->ends_orderly = true; }

void Scheduler::finish_orderly_end() { current_->ends_orderly = false; }

std::string_view Scheduler::current_name() const {
    return current_ == nullptr ? "world" : std::string_view(current_->name());
}

void Scheduler::trace(std::string_view what, std::string_view detail, std::string_view outcome) {
    trace_.add(clock_.monotonic(), current_name(), what, detail, outcome);
}

void Scheduler::wake_all() {
    for (const auto& fiber : fibers_) {
        if (fiber->waits_for == nullptr) {
            fiber->wakes_at = kNow;
        }
    }
}

void Scheduler::wake_waiters(const Lock& lock) {
    for (const auto& fiber : fibers_) {
        if (fiber->waits_for == &lock) {
            fiber->wakes_at = kNow;
        }
    }
}

bool Lock::acquire(microseconds patience) {
    const microseconds deadline = scheduler_.clock().monotonic() + patience;
    while (held_) {
        if (scheduler_.clock().monotonic() >= deadline || !scheduler_.wait(deadline, this)) {
            return false;
        }
    }
    held_ = true;
    return true;
}

void Lock::release() {
    held_ = false;
    scheduler_.wake_waiters(*this);
}

}  // namespace instep::simulation
