#include "catalogue.hpp"
#include "control.hpp"
#include "held.hpp"
#include "message.hpp"
#include "topology.hpp"

#include <algorithm>
#include <charconv>
#include <string>

namespace instep::rabbitmq {

namespace {

/// Answers come to the channel that asked.
constexpr amqp_channel_t kChannel = 4;
constexpr std::string_view kReplies = "amq.rabbitmq.reply-to";

/// A holder that works answers within milliseconds; one that is stopped not at all.
constexpr std::chrono::milliseconds kAnswerPatience{1000};

/// Asks the holders of partitions for their reports. Events that were sent to a holder and not
/// acknowledged are on no list that the server shows by AMQP.
class Questions {
public:
    explicit Questions(Link& link) : link_(link) {}

    Result<void> ask(std::vector<SubscriptionLag>& lags) {
        INSTEP_TRY(link_.open_channel(kChannel));
        auto asked = ask_all(lags);
        if (link_.is_alive()) {
            INSTEP_TRY(link_.close_channel(kChannel));
        }
        return asked;
    }

private:
    Result<void> ask_all(std::vector<SubscriptionLag>& lags) {
        INSTEP_TRY(link_.consume(kChannel, kReplies, "answers", Link::Acknowledge::kNever));
        for (std::size_t i = 0; i < lags.size(); ++i) {
            const std::string number = std::to_string(i);
            amqp_basic_properties_t properties{};
            properties._flags = AMQP_BASIC_CORRELATION_ID_FLAG | AMQP_BASIC_REPLY_TO_FLAG;
            properties.correlation_id = bytes_of(number);
            properties.reply_to = bytes_of(kReplies);
            INSTEP_TRY(link_.publish(kChannel, "",
                                     holder_name(lags[i].subscription, lags[i].partition),
                                     properties, "report"));
        }
        std::vector<bool> is_silent(lags.size(), true);
        for (std::size_t missing = lags.size(); missing > 0;) {
            INSTEP_TRY_ASSIGN(const auto frame, link_.next_frame(kAnswerPatience));
            if (!frame) {
                break;
            }
            INSTEP_TRY_ASSIGN(const bool complete, take(*frame));
            if (complete) {
                note(lags, is_silent);
                link_.release(kChannel);
                --missing;
            }
        }
        // What a stopped process has is not known, and must not be taken for nothing.
        for (std::size_t i = 0; i < lags.size(); ++i) {
            lags[i].events += is_silent[i] ? 1 : 0;
        }
        return {};
    }

    Result<bool> take(const amqp_frame_t& frame) {
        if (frame.channel != kChannel) {
            return false;
        }
        if (frame.frame_type != AMQP_FRAME_METHOD) {
            return message_.add(frame) == Assembly::Progress::kComplete;
        }
        if (frame.payload.method.id == AMQP_CHANNEL_CLOSE_METHOD) {
            Error closed = link_.closed_by_server(frame);
            INSTEP_TRY(link_.open_channel(kChannel));
            return std::unexpected(std::move(closed));
        }
        // A question that came back has no holder to answer it.
        is_answer_ = frame.payload.method.id == AMQP_BASIC_DELIVER_METHOD;
        message_.begin();
        return false;
    }

    void note(std::vector<SubscriptionLag>& lags, std::vector<bool>& is_silent) {
        const auto number = text_of(message_.properties().correlation_id);
        std::size_t i = lags.size();
        std::from_chars(number.data(), number.data() + number.size(), i);
        if (i >= lags.size()) {
            return;
        }
        is_silent[i] = false;
        const auto report = parse_report(message_.body());
        if (!is_answer_ || !report) {
            return;
        }
        SubscriptionLag& lag = lags[i];
        lag.acknowledged = report->acknowledged;
        lag.newest = report->received + lag.events;
        lag.events += report->unacknowledged;
        lag.oldest = report->oldest;
    }

    Link& link_;
    Assembly message_;
    bool is_answer_ = false;
};

/// The partitions of a subscription; nothing if a queue is missing, since events are then lost.
Result<std::vector<SubscriptionLag>> inspect_queues(Link& link, const std::string& subscription,
                                                    const std::string& topic,
                                                    std::uint32_t partitions) {
    std::vector<SubscriptionLag> lags;
    for (std::uint32_t partition = 0; partition < partitions; ++partition) {
        const auto queue = link.inspect_queue(kControlChannel, queue_name(subscription, partition));
        if (!queue && queue.error().code == ErrorCode::kNotFound) {
            return std::vector<SubscriptionLag>{};
        }
        INSTEP_TRY(queue);
        lags.push_back({.subscription = subscription,
                        .topic = topic,
                        .partition = partition,
                        .acknowledged = 0,
                        .newest = queue->ready,
                        .events = queue->ready,
                        .oldest = std::nullopt});
    }
    return lags;
}

}  // namespace

Result<std::vector<SubscriptionLag>> read_lag(Link& link, std::string_view topic) {
    INSTEP_TRY_ASSIGN(const Catalogue catalogue, read_catalogue(link));
    std::vector<SubscriptionLag> lags;
    for (const auto& [name, subscription] : catalogue.subscriptions) {
        const auto known = catalogue.topics.find(subscription.topic);
        if (known == catalogue.topics.end() || subscription.misses_events ||
            (!topic.empty() && topic != subscription.topic)) {
            continue;
        }
        INSTEP_TRY_ASSIGN(auto some, inspect_queues(link, name, subscription.topic, known->second));
        lags.insert(lags.end(), std::make_move_iterator(some.begin()),
                    std::make_move_iterator(some.end()));
    }
    INSTEP_TRY(Questions(link).ask(lags));
    return lags;
}

}  // namespace instep::rabbitmq
