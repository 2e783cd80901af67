#include "subscriber.hpp"

#include "instep/concurrency/wake_up.hpp"
#include "instep/log/rewind.hpp"
#include "instep/telemetry/logger.hpp"
#include "position.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::direct {

namespace {

using namespace std::chrono_literals;

/// How often a cursor is moved over events of other topics, which costs a commit; and the longest
/// time that a member which stands by does not look.
constexpr auto kPassEvery = 100ms;
constexpr auto kStandByPause = 1s;

constexpr std::size_t kRowsMax = 100'000;

}  // namespace

DirectSubscriber::DirectSubscriber(SubscriberParts parts)
    : options_(std::move(parts.options)),
      reader_name_(std::move(parts.reader)),
      owner_(*parts.owner),
      connection_(std::move(parts.connection)),
      lease_(std::move(parts.lease)),
      chunks_(std::move(parts.chunks)),
      last_taken_(std::move(parts.last_taken)),
      clock_(*parts.clock),
      logger_(*parts.logger),
      idle_(IdleOptions{.idle_max = parts.idle_poll_max}) {}

DirectSubscriber::~DirectSubscriber() {
    if (const auto released = lease_.release(*connection_); !released) {
        logger_.warn("direct.release_failed", {{"error", released.error().message}});
    }
}

Result<std::vector<Assignment>> DirectSubscriber::assignments() {
    const auto held = lease_.hold(*connection_);
    if (!held || !*held) {
        start_over();
        INSTEP_TRY(held);
        INSTEP_TRY(watch_.stay_awake(*connection_));
        return std::vector<Assignment>{};
    }
    if (lease_epoch_ != lease_.epoch()) {
        start_over();
        INSTEP_TRY_ASSIGN(acknowledged_, acknowledged_by(*connection_, reader_name_));
        lease_epoch_ = lease_.epoch();
    }
    return std::vector{Assignment{0, lease_epoch_, acknowledged_}};
}

Result<std::vector<Delivery>> DirectSubscriber::receive(std::size_t events_max,
                                                        std::size_t bytes_max) {
    auto deliveries = take(events_max, bytes_max);
    if (!deliveries) {
        start_over();
        watch_.forget();
        return fail_in(fmt::format("topic {} in the log of {}", options_.topic, owner_.service),
                       std::move(deliveries).error());
    }
    return deliveries;
}

Result<std::vector<Delivery>> DirectSubscriber::take(std::size_t events_max,
                                                     std::size_t bytes_max) {
    std::vector<Delivery> deliveries;
    if (!lease_.held() || lease_epoch_ != lease_.epoch()) {
        return deliveries;
    }
    if (!page_) {
        if (reader_ == nullptr) {
            INSTEP_TRY(open_reader(events_max, bytes_max));
        }
        INSTEP_TRY(read_page());
    }
    if (!page_) {
        return deliveries;
    }
    std::size_t bytes = 0;
    while (page_->delivered < page_->positions.size() && deliveries.size() < events_max) {
        Event& event = page_->batch.events[page_->delivered].event;
        bytes += event.data.size();
        if (bytes > bytes_max && !deliveries.empty()) {
            break;
        }
        // The version stays behind, for confirm().
        deliveries.push_back(
            Delivery{0, page_->positions[page_->delivered], std::move(event), std::nullopt});
        ++page_->delivered;
    }
    return deliveries;
}

Result<void> DirectSubscriber::open_reader(std::size_t events_max, std::size_t bytes_max) {
    LogReaderOptions options;
    options.name = reader_name_;
    options.service = owner_.service;
    options.reads_topic = [topic = options_.topic](std::string_view other) {
        return other == topic;
    };
    options.start = CursorStart::kExisting;
    options.rows_max = static_cast<std::uint32_t>(std::clamp(events_max, std::size_t{1}, kRowsMax));
    options.bytes_max = bytes_max;
    INSTEP_TRY_ASSIGN(reader_, LogReader::open(*connection_, std::move(options), chunks_.get()));
    return compare_with_memory();
}

/// As a relay does with what its broker remembers.
Result<void> DirectSubscriber::compare_with_memory() {
    if (!last_taken_) {
        return {};
    }
    INSTEP_TRY_ASSIGN(const auto last, last_taken_(options_.subscription));
    if (!last) {
        return {};
    }
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(*connection_, TransactionMode::kWrite));
    INSTEP_TRY(lease_.check(transaction));
    INSTEP_TRY_ASSIGN(const auto epoch, surpass(transaction, *reader_, owner_.service,
                                                {last->incarnation, last->version}, owner_.topics));
    if (!epoch) {
        return {};
    }
    INSTEP_TRY(transaction.commit());
    logger_.error("direct.log_was_rewound",
                  {{"topic", options_.topic},
                   {"subscription_has", to_sequence(last->version)},
                   {"new_epoch", static_cast<std::int64_t>(*epoch)},
                   {"advice", "the source was restored or replaced; replicas are filled again"}});
    return {};
}

Result<void> DirectSubscriber::read_page() {
    INSTEP_TRY_ASSIGN(const std::uint64_t token, connection_->change_token());
    INSTEP_TRY_ASSIGN(LogBatch batch, reader_->read(*connection_));
    quiet_token_.reset();
    if (batch.events.empty() && !batch.has_more) {
        quiet_token_ = token;
    }
    return turn_to(std::move(batch));
}

Result<void> DirectSubscriber::turn_to(LogBatch batch) {
    if (batch.events.empty()) {
        return batch.moves_cursor ? pass(batch) : Result<void>{};
    }
    idle_.worked(clock_.monotonic());
    page_.emplace();
    page_->positions.reserve(batch.events.size());
    for (const TopicEvent& next : batch.events) {
        page_->positions.push_back(position_of(next.event.version, connection_->dialect()));
    }
    page_->batch = std::move(batch);
    return {};
}

/// Everything that was looked at belongs to other topics. A look that is not confirmed is done
/// again from where it began.
Result<void> DirectSubscriber::pass(const LogBatch& batch) {
    const auto now = clock_.monotonic();
    if (now < pass_at_ && !batch.has_more) {
        return {};
    }
    pass_at_ = now + kPassEvery;
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(*connection_, TransactionMode::kWrite));
    INSTEP_TRY(lease_.require(transaction));
    INSTEP_TRY(reader_->confirm(transaction, batch, 0));
    return transaction.commit();
}

Result<void> DirectSubscriber::acknowledge(std::uint32_t partition, Position position) {
    INSTEP_TRY(check_held(partition));
    if (!page_) {
        if (position > acknowledged_) {
            // The answer may have been lost when it was.
            INSTEP_TRY_ASSIGN(acknowledged_, acknowledged_by(*connection_, reader_name_));
        }
        return position <= acknowledged_
                   ? Result<void>{}
                   : fail(ErrorCode::kFenced, fmt::format("{} lost its place in topic {} and "
                                                          "reads on from what is acknowledged",
                                                          options_.subscription, options_.topic));
    }
    const auto delivered = std::span(page_->positions).first(page_->delivered);
    const auto count =
        static_cast<std::size_t>(std::ranges::upper_bound(delivered, position) - delivered.begin());
    if (position > acknowledged_ && (delivered.empty() || position > delivered.back())) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("position {} of topic {} was not delivered to {}", position,
                                options_.topic, options_.member));
    }
    if (count <= page_->acknowledged) {
        return {};
    }
    auto confirmed = confirm(count);
    if (!confirmed) {
        if (confirmed.error().code == ErrorCode::kFenced) {
            lease_.lose();
        }
        start_over();
        watch_.forget();
    }
    return confirmed;
}

Result<void> DirectSubscriber::confirm(std::size_t count) {
    const bool has_chunks = page_->batch.seqs.back() == 0;
    if (count == page_->positions.size() && !has_chunks) {
        return advance();
    }
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(*connection_, TransactionMode::kWrite));
    INSTEP_TRY(lease_.require(transaction));
    INSTEP_TRY(reader_->confirm(transaction, page_->batch, count));
    INSTEP_TRY(transaction.commit());
    acknowledged_ = page_->positions[count - 1];
    page_->acknowledged = count;
    if (count == page_->positions.size()) {
        page_.reset();
    }
    return {};
}

/// The commit that moves the cursor stores the next page's snapshot too.
Result<void> DirectSubscriber::advance() {
    const Page done = *std::exchange(page_, std::nullopt);
    INSTEP_TRY_ASSIGN(LogBatch next,
                      reader_->advance(*connection_, done.batch, [this](Transaction& transaction) {
                          return lease_.require(transaction);
                      }));
    acknowledged_ = done.positions.back();
    if (!next.events.empty()) {
        INSTEP_TRY(watch_.stay_awake(*connection_));
    }
    return turn_to(std::move(next));
}

Result<void> DirectSubscriber::seek(std::uint32_t partition, Position position) {
    INSTEP_TRY(check_held(partition));
    if (position != acknowledged_) {
        return fail(ErrorCode::kUnsupported,
                    fmt::format("topic {} is read from its log, and again only from what {} has "
                                "acknowledged on",
                                options_.topic, options_.subscription));
    }
    start_over();
    return {};
}

Result<void> DirectSubscriber::rewind(std::uint32_t partition, Position position) {
    INSTEP_TRY(check_held(partition));
    if (position > acknowledged_) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("position {} of topic {} was not acknowledged by {}", position,
                                options_.topic, options_.subscription));
    }
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(*connection_, TransactionMode::kWrite));
    INSTEP_TRY(lease_.check(transaction));
    // Before the look at what is kept, for the log is trimmed by others.
    INSTEP_TRY_ASSIGN(const std::uint64_t read,
                      rewind_reader(transaction, reader_name_, seq_of(position)));
    INSTEP_TRY(check_room(read));
    INSTEP_TRY_ASSIGN(const LogKept kept, log_kept(*connection_, options_.topic));
    if (kept.is_trimmed && seq_of(position) + 1 < kept.oldest_seq) {
        return fail(ErrorCode::kNotFound,
                    fmt::format("events of topic {} behind position {} have been deleted",
                                options_.topic, position));
    }
    INSTEP_TRY(transaction.commit());
    start_over();
    acknowledged_ = position_of_seq(seq_of(position));
    return {};
}

/// What is read again must have positions below that of what was read last.
Result<void> DirectSubscriber::check_room(std::uint64_t seq) const {
    if (!counts_snapshots(connection_->dialect())) {
        return {};
    }
    INSTEP_TRY_ASSIGN(const auto confirmed, last_confirmed(*connection_, reader_name_));
    if (confirmed && position_of_seq(seq) < position_of(*confirmed, connection_->dialect())) {
        return {};
    }
    return fail(ErrorCode::kConflict,
                fmt::format("{} has read topic {} in too few batches to go back; ask again when "
                            "more events have come",
                            options_.subscription, options_.topic));
}

Result<void> DirectSubscriber::check_held(std::uint32_t partition) const {
    if (partition != 0 || !lease_.held() || lease_epoch_ != lease_.epoch()) {
        return fail(ErrorCode::kFenced, fmt::format("partition {} of topic {} is not held by {}",
                                                    partition, options_.topic, options_.member));
    }
    return {};
}

void DirectSubscriber::start_over() {
    reader_.reset();
    page_.reset();
    quiet_token_.reset();
}

void DirectSubscriber::wait(std::stop_token stop, std::chrono::milliseconds patience) {
    if (!lease_.held()) {
        WakeUp().wait(-1, stop, std::min<std::chrono::milliseconds>(patience, kStandByPause));
        return;
    }
    // The lease must not run out while its thread waits here.
    auto left = std::min(patience, options_.member_timeout / 3);
    while (quiet_token_ && !stop.stop_requested() && left > 0ms) {
        // An error is for the next receive() to report.
        const auto token = connection_->change_token();
        if (!token || *token != *quiet_token_) {
            return;
        }
        const auto time = std::min(idle_.next_wait(clock_.monotonic()), left);
        if (watch_.wait(*connection_, stop, time)) {
            quiet_token_.reset();
        }
        left -= time;
        if (chunks_ != nullptr && chunks_->holds_back()) {
            return;
        }
    }
}

}  // namespace instep::direct
