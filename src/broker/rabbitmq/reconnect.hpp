// Opens a link when it is needed and waits longer each time that fails.
#pragma once

#include "address.hpp"
#include "instep/base/clock.hpp"
#include "instep/base/random.hpp"
#include "instep/retry/backoff.hpp"
#include "link.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace instep::rabbitmq {

/// For one thread at a time. Borrows all it is given.
class Reconnect {
public:
    Reconnect(const Address& address, LinkOptions options, const Clock& clock, Random& random)
        : address_(address), options_(std::move(options)), clock_(clock), random_(random) {}

    /// A live link with kControlChannel open. While it is too early for another attempt, the
    /// error of the last one.
    Result<Link*> link();

    /// The live link, or null.
    [[nodiscard]] Link* current() const {
        return link_ != nullptr && link_->is_alive() ? link_.get() : nullptr;
    }

    /// How many links there were; tells one from the next.
    [[nodiscard]] std::uint64_t generation() const { return generation_; }

    /// Closes it.
    void drop() { link_.reset(); }
    void drop_if_dead() {
        if (current() == nullptr) {
            drop();
        }
    }

private:
    const Address& address_;
    const LinkOptions options_;
    const Clock& clock_;
    Random& random_;
    std::unique_ptr<Link> link_;
    std::uint64_t generation_ = 0;
    std::uint32_t failures_ = 0;
    std::chrono::microseconds not_before_{0};
    std::optional<Error> last_error_;
};

}  // namespace instep::rabbitmq
