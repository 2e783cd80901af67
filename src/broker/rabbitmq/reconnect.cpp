#include "reconnect.hpp"

#include "topology.hpp"

namespace instep::rabbitmq {

namespace {

constexpr BackoffPolicy kBackoff{.initial = std::chrono::milliseconds(50),
                                 .max = std::chrono::milliseconds(5000)};

Result<std::unique_ptr<Link>> open_with_control(const Address& address,
                                                const LinkOptions& options) {
    INSTEP_TRY_ASSIGN(auto link, Link::open(address, options));
    INSTEP_TRY(open_control(*link));
    return link;
}

}  // namespace

Result<Link*> Reconnect::link() {
    if (current() != nullptr) {
        return link_.get();
    }
    link_.reset();
    if (last_error_ && clock_.monotonic() < not_before_) {
        return std::unexpected(*last_error_);
    }
    auto opened = open_with_control(address_, options_);
    if (!opened) {
        not_before_ = clock_.monotonic() + kBackoff.delay(++failures_, random_);
        last_error_ = opened.error();
        return std::unexpected(std::move(opened).error());
    }
    ++generation_;
    failures_ = 0;
    last_error_.reset();
    link_ = *std::move(opened);
    return link_.get();
}

}  // namespace instep::rabbitmq
