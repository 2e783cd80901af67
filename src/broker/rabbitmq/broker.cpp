#include "instep/broker/rabbitmq/broker.hpp"

#include "address.hpp"
#include "control.hpp"
#include "instep/broker/checks.hpp"
#include "past.hpp"
#include "publisher.hpp"
#include "reconnect.hpp"
#include "subscriber.hpp"
#include "topology.hpp"

#include <chrono>
#include <mutex>
#include <thread>
#include <utility>

namespace instep {

namespace rabbitmq {

namespace {

class RabbitmqBroker final : public Broker {
public:
    RabbitmqBroker(Address address, const Clock& clock, Random& random)
        : address_(std::move(address)),
          clock_(clock),
          random_(random),
          control_(address_, {.name = "instep control"}, clock, random) {}

    [[nodiscard]] BrokerFeatures features() const override {
        return {.rewinds = address_.history > std::chrono::seconds(0) ? Rewinds::kWhileHeld
                                                                      : Rewinds::kNever,
                .event_bytes_max = kEventDataBytesMax};
    }

    [[nodiscard]] std::string_view display_url() const override { return address_.display_url; }

    Result<std::unique_ptr<Publisher>> publisher() override {
        return std::make_unique<RabbitmqPublisher>(address_, clock_, random_);
    }

    Result<std::unique_ptr<Subscriber>> subscribe(SubscribeOptions options) override {
        INSTEP_TRY(check(options));
        INSTEP_TRY(declare(options));
        auto find_kept = [this, topic = options.topic] { return find_kept_now(topic); };
        return std::make_unique<RabbitmqSubscriber>(address_, clock_, random_, std::move(options),
                                                    std::move(find_kept));
    }

    Result<std::vector<SubscriptionLag>> lag(std::string_view topic) override {
        const std::scoped_lock lock(mutex_);
        INSTEP_TRY_ASSIGN(Link* const link, control_.link());
        return read_lag(*link, topic);
    }

    Result<std::vector<KeptEvents>> kept(std::string_view topic) override {
        // What was handled from a queue must be in the stream when that is said to end.
        std::this_thread::sleep_for(kBothPatience);
        return find_kept_now(topic);
    }

    Result<std::uint64_t> trim(Timestamp /*before*/) override { return 0; }

    Result<std::vector<BrokerFinding>> examine() override {
        const std::scoped_lock lock(mutex_);
        // A connection of its own, since a server in alarm stops reading from it.
        Reconnect fresh(address_, {.name = "instep check"}, clock_, random_);
        return examine_server(fresh, address_);
    }

private:
    Result<std::vector<KeptEvents>> find_kept_now(std::string_view topic) {
        const std::scoped_lock lock(mutex_);
        INSTEP_TRY_ASSIGN(Link* const link, control_.link());
        return read_kept(*link, topic);
    }

    /// A new stream or queue may need a moment until it has a leader, and its server says so by
    /// refusing.
    Result<void> declare(const SubscribeOptions& options) {
        const std::scoped_lock lock(mutex_);
        const auto until = clock_.monotonic() + kSettlePatience;
        for (;;) {
            auto link = control_.link();
            auto declared =
                link ? declare_subscription(**link, address_, options.subscription, options.topic)
                     : std::unexpected(link.error());
            if (declared || !link || !is_retryable(declared.error().code) ||
                clock_.monotonic() >= until) {
                return declared;
            }
            std::this_thread::sleep_for(kSettlePause);
        }
    }

    static constexpr std::chrono::seconds kSettlePatience{10};
    static constexpr std::chrono::milliseconds kSettlePause{100};

    const Address address_;
    const Clock& clock_;
    Random& random_;
    std::mutex mutex_;
    Reconnect control_;
};

}  // namespace

}  // namespace rabbitmq

Result<std::unique_ptr<Broker>> open_rabbitmq_broker(std::string_view url, const Clock& clock,
                                                     Random& random) {
    INSTEP_TRY_ASSIGN(rabbitmq::Address address, rabbitmq::parse_address(url));
    return std::make_unique<rabbitmq::RabbitmqBroker>(std::move(address), clock, random);
}

}  // namespace instep
