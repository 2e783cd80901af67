#include "tests/simulation/subscription_operator.hpp"

#include "instep/consumer/halt.hpp"
#include "instep/consumer/replay.hpp"

#include <fmt/format.h>

#include <vector>

namespace instep::simulation {

namespace {

template <class T>
Result<void> without_value(Result<T> outcome) {
    INSTEP_TRY(outcome);
    return {};
}

}  // namespace

Result<std::uint64_t> SubscriptionOperator::act() {
    const Handling& handling = environment_.options.handling;
    INSTEP_TRY_ASSIGN(const auto ports,
                      ProcessPorts::open(environment_, Role::kOperator, *site_.database, nullptr));
    INSTEP_TRY_ASSIGN(const auto connection, ports->database().connect());
    // Before the transaction: people decide by a list that may be old.
    INSTEP_TRY_ASSIGN(const std::vector<ParkedKey> listed,
                      list_parked_keys(*connection, site_.effects->subscription(), 100));
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(*connection, TransactionMode::kWrite));
    if (handling.pauses && draw(3) == 0) {
        INSTEP_TRY(pause_or_resume(transaction));
    } else if (handling.replays && draw(3) == 0) {
        INSTEP_TRY(ask_for_replay(transaction));
    } else if (!listed.empty()) {
        INSTEP_TRY(decide(transaction, listed[draw(listed.size())]));
    }
    INSTEP_TRY(transaction.commit());
    return 1;
}

/// A second pause changes who paused it, and nothing else.
Result<void> SubscriptionOperator::pause_or_resume(Transaction& transaction) {
    if (draw(2) == 0 && environment_.operating) {
        return pause_subscription(transaction, site_.effects->subscription(), by_);
    }
    return without_value(resume_subscription(transaction, site_.effects->subscription()));
}

Result<void> SubscriptionOperator::ask_for_replay(Transaction& transaction) {
    const auto place = site_.effects->replays().draw_place(environment_.random);
    if (!place) {
        return {};
    }
    ReplayRequest request;
    request.subscription = site_.effects->subscription();
    request.partitions = partitions_of_effects(environment_.options);
    request.who = by_.who;
    switch (draw(3)) {
        case 0:
            request.partitions = {place->partition};
            request.start = ReplayStart::behind(place->position);
            break;
        case 1:
            request.start = ReplayStart::since(place->event.time);
            break;
        default:
            break;
    }
    if (draw(3) == 0) {
        request.key = place->event.key;
    }
    return instep::ask_for_replay(transaction, request);
}

Result<void> SubscriptionOperator::decide(Transaction& transaction, const ParkedKey& chosen) {
    const DeadLetterFilter filter{
        .subscription = chosen.subscription, .key = chosen.key, .with_retried = draw(2) == 0};
    switch (draw(4)) {
        case 0:
            return without_value(discard_dead_letters(
                transaction, filter,
                draw(4) == 0 ? DiscardScope::kAllEvents : DiscardScope::kOldestEvent, by_));
        case 1:
            return edit(transaction, chosen);
        default:
            return without_value(retry_dead_letters(transaction, filter, by_));
    }
}

Result<void> SubscriptionOperator::edit(Transaction& transaction, const ParkedKey& chosen) {
    INSTEP_TRY_ASSIGN(const auto waiting, list_waiting_events(transaction.connection(),
                                                              chosen.subscription, chosen.key, 1));
    if (waiting.empty() || waiting.front().is_discarded) {
        return {};
    }
    const std::string mark = fmt::format("{}{}", kEditMark, ++environment_.edits);
    return edit_dead_letter(transaction, waiting.front().number,
                            fmt::format(R"({{"id":"{}"}})", mark), {by_.who, mark});
}

}  // namespace instep::simulation
