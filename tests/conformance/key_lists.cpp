#include "tests/conformance/key_lists.hpp"

namespace instep::test {

std::vector<Event> KeyLists::next(std::size_t count, std::size_t keys) {
    const std::scoped_lock lock(mutex_);
    std::vector<Event> events(count);
    for (Event& event : events) {
        event.key = "list-" + std::to_string(made_count_ % keys);
        const std::uint64_t number = ++made_[event.key];
        event.id = event.key + "/" + std::to_string(number);
        event.source = "shop";
        event.type = "list.appended";
        event.version = {.epoch = 1, .batch = ++made_count_, .index = 0};
        event.incarnation = 77;
        event.data = std::to_string(number);
    }
    return events;
}

void KeyLists::take(const Event& event) {
    const std::scoped_lock lock(mutex_);
    const std::uint64_t number = std::stoull(event.data);
    std::uint64_t& newest = taken_[event.key];
    if (number <= newest) {
        ++repeats_;
        return;
    }
    if (number != newest + 1 && problem_.empty()) {
        problem_ =
            event.key + ": " + std::to_string(number) + " came behind " + std::to_string(newest);
    }
    taken_count_ += number - newest;
    newest = number;
}

bool KeyLists::is_complete() const {
    const std::scoped_lock lock(mutex_);
    return taken_count_ == made_count_;
}

std::string KeyLists::problem() const {
    const std::scoped_lock lock(mutex_);
    return problem_;
}

std::uint64_t KeyLists::repeats() const {
    const std::scoped_lock lock(mutex_);
    return repeats_;
}

std::uint64_t KeyLists::made() const {
    const std::scoped_lock lock(mutex_);
    return made_count_;
}

}  // namespace instep::test
