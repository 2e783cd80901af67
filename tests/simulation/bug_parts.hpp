// What planted bugs of several files are made of.
#pragma once

#include "tests/support/passing_broker.hpp"

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace instep::simulation {

using test::PassingPublisher;
using test::PassingSubscriber;

/// Acknowledges events when they arrive.
class EagerSubscriber final : public PassingSubscriber {
public:
    using PassingSubscriber::PassingSubscriber;

    Result<std::vector<Delivery>> receive(std::size_t events_max, std::size_t bytes_max) override {
        auto deliveries = PassingSubscriber::receive(events_max, bytes_max);
        if (deliveries && !deliveries->empty()) {
            const Delivery& last = deliveries->back();
            INSTEP_TRY(PassingSubscriber::acknowledge(last.partition, last.position));
        }
        return deliveries;
    }
};

template <class Wrapper>
auto wrap_subscriber() {
    return [](std::unique_ptr<Subscriber> inner) -> std::unique_ptr<Subscriber> {
        return std::make_unique<Wrapper>(std::move(inner));
    };
}

/// The condition under which the upserts of a replica overwrite a row, as far as all have it.
inline constexpr std::string_view kGuard = "= excluded.instep_version WHERE ";

}  // namespace instep::simulation
