#include "past.hpp"

#include "catalogue.hpp"
#include "stream.hpp"
#include "topology.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::rabbitmq {

namespace {

constexpr amqp_channel_t kChannel = 2;

/// Of the first block that is searched; each further one is twice as large.
constexpr Position kBlockMin = 1000;

struct First {
    std::uint64_t offset = 0;
    Timestamp time{};
};

Result<std::optional<First>> read_first(Link& link, std::string_view stream) {
    std::optional<First> first;
    const auto take = [&](Assembly& message) {
        const std::uint64_t offset = offset_of(message.properties());
        const Delivery delivery =
            read_message(message.properties(), std::move(message.body()), 0, offset);
        first = First{offset, delivery.event.time};
        return false;
    };
    const auto read = [&]() -> Result<bool> {
        INSTEP_TRY(link.limit_prefetch(kChannel, 1));
        INSTEP_TRY(link.consume(kChannel, stream, "first", Link::Acknowledge::kLater,
                                {text_entry("x-stream-offset", "first")}));
        return for_each_message(link, kChannel, kEmptyPatience, take);
    };
    INSTEP_TRY(with_channel(link, kChannel, read));
    return first;
}

/// Errors: kNotFound if there is no stream.
Result<KeptEvents> read_partition(Link& link, std::string_view topic, std::uint32_t partition) {
    const std::string stream = past_name(topic, partition);
    INSTEP_TRY(link.inspect_queue(kControlChannel, stream));
    KeptEvents kept{
        .partition = partition, .before = 0, .newest = 0, .is_trimmed = false, .oldest = {}};
    INSTEP_TRY_ASSIGN(const auto first, read_first(link, stream));
    if (!first) {
        return kept;
    }
    INSTEP_TRY_ASSIGN(const auto end, read_stream_end(link, stream, kPatience));
    if (!end) {
        return fail(ErrorCode::kTimeout,
                    fmt::format("stream {} did not answer within {} s", stream, kPatience.count()));
    }
    kept.before = first->offset;
    kept.newest = *end + 1;
    kept.is_trimmed = first->offset > 0;
    kept.oldest = first->time;
    return kept;
}

}  // namespace

bool Past::is_due(std::chrono::microseconds now) const {
    return phase == Phase::kWaiting ? now >= waits_until : is_searched;
}

void Past::go_on(std::chrono::microseconds now, Position newest) {
    if (begins_search()) {
        searched_from = newest;
        searched_to = newest;
        search_before(newest);
    } else if (phase == Phase::kWaiting || is_found) {
        read();
    } else if (searched_from > begin) {
        search_before(searched_from);
    } else if (++searches_failed == 1) {
        phase = Phase::kWaiting;
        waits_until = now + kBothPatience;
        first_in_queue.reset();
    } else {
        end = begin;
        read();
    }
}

void Past::search_before(Position position) {
    const Position size = std::max(kBlockMin, 2 * (searched_to - searched_from));
    phase = Phase::kSearching;
    searched_to = position;
    searched_from = std::max(begin, position - std::min(position, size));
    is_searched = searched_from >= searched_to;
}

void Past::read() {
    phase = Phase::kReading;
    is_searched = false;
}

void Past::look_at(Position position, std::string_view sending) {
    if (sending == first_in_queue) {
        is_found = true;
        end = std::min(end, position - 1);
    }
    is_searched = is_found || position >= searched_to;
}

Result<std::vector<KeptEvents>> read_kept(Link& link, std::string_view topic) {
    INSTEP_TRY_ASSIGN(const Catalogue catalogue, read_catalogue(link));
    std::vector<KeptEvents> all;
    const auto known = catalogue.topics.find(topic);
    if (known == catalogue.topics.end()) {
        return all;
    }
    for (std::uint32_t partition = 0; partition < known->second; ++partition) {
        auto kept = read_partition(link, topic, partition);
        if (!kept && kept.error().code == ErrorCode::kNotFound && partition == 0) {
            return fail(
                ErrorCode::kUnsupported,
                fmt::format("RabbitMQ has deleted what was acknowledged of topic {}; `?history=7d` "
                            "in the URL of the service that publishes it keeps the past from then "
                            "on. Or keep what a handler may need again in a replica (`instep "
                            "backfill` fills it), or move to a broker that keeps past events with "
                            "`instep migrate-broker`",
                            topic));
        }
        INSTEP_TRY(kept);
        kept->is_trimmed = kept->is_trimmed || !catalogue.with_past.contains(topic);
        all.push_back(*std::move(kept));
    }
    return all;
}

}  // namespace instep::rabbitmq
