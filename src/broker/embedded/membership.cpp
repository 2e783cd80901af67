#include "membership.hpp"

#include <algorithm>
#include <string_view>

namespace instep::embedded_broker {

namespace {

/// Leaves `fair` partitions: gives up drained ones and lets the others drain.
std::vector<Held> split_surplus(std::vector<Held>& held, std::size_t fair) {
    std::vector<Held> given_up;
    for (std::size_t i = held.size(); i > 0 && held.size() > fair; --i) {
        if (held[i - 1].is_drained()) {
            given_up.push_back(held[i - 1]);
            held.erase(held.begin() + static_cast<std::ptrdiff_t>(i - 1));
        }
    }
    for (std::size_t i = 0; i < held.size(); ++i) {
        held[i].state = i < fair ? Held::State::kServing : Held::State::kLeaving;
    }
    return given_up;
}

}  // namespace

Result<void> Membership::refresh() {
    INSTEP_TRY_ASSIGN(const bool due, is_due());
    if (!due) {
        return {};
    }
    const auto started = clock_.monotonic();
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(connection_, TransactionMode::kWrite));
    INSTEP_TRY_ASSIGN(const Timestamp now, connection_.now());
    INSTEP_TRY_ASSIGN(const bool members_changed, renew(transaction, now));
    INSTEP_TRY_ASSIGN(Plan next, plan(transaction));
    INSTEP_TRY(give_up(transaction, next.given_up));
    INSTEP_TRY(take(transaction, next.taken));
    const std::int64_t step = members_changed || !next.given_up.empty() ? 1 : 0;
    INSTEP_TRY_ASSIGN(auto row, transaction.query("UPDATE instep_subscription SET "
                                                  "generation = generation + $1 "
                                                  "WHERE id = $2 RETURNING generation",
                                                  {step, identity_.subscription}));
    INSTEP_TRY(row->next());
    const std::int64_t generation = row->integer(0);
    row.reset();
    INSTEP_TRY(transaction.commit());
    held_ = std::move(next.held);
    alive_until_ = now + identity_.timeout;
    refreshed_ = started;
    generation_ = generation;
    return {};
}

Result<bool> Membership::is_due() {
    if (!refreshed_ || clock_.monotonic() - *refreshed_ >= identity_.timeout / 3 ||
        std::ranges::any_of(held_, [](const Held& held) {
            return held.state == Held::State::kLeaving && held.is_drained();
        })) {
        return true;
    }
    return has_news();
}

Result<bool> Membership::has_news() {
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(connection_, TransactionMode::kRead));
    INSTEP_TRY_ASSIGN(auto row,
                      transaction.query("SELECT generation FROM instep_subscription WHERE id = $1",
                                        {identity_.subscription}));
    INSTEP_TRY(row->next());
    return row->integer(0) != generation_;
}

Result<bool> Membership::is_alive() {
    INSTEP_TRY_ASSIGN(const Timestamp now, connection_.now());
    return now < alive_until_;
}

/// True if the list of living members is another now.
Result<bool> Membership::renew(Transaction& transaction, Timestamp now) {
    const std::string_view name = identity_.name;
    const std::int64_t until = (now + identity_.timeout).time_since_epoch().count();
    INSTEP_TRY_ASSIGN(
        const std::int64_t dead,
        transaction.execute("DELETE FROM instep_member WHERE subscription = $1 AND name <> $2 "
                            "AND until_us <= $3",
                            {identity_.subscription, name, now.time_since_epoch().count()}));
    INSTEP_TRY_ASSIGN(const std::int64_t renewed,
                      transaction.execute("UPDATE instep_member SET until_us = $3 "
                                          "WHERE subscription = $1 AND name = $2",
                                          {identity_.subscription, name, until}));
    if (renewed == 0) {
        INSTEP_TRY(transaction.execute("INSERT INTO instep_member VALUES ($1, $2, $3)",
                                       {identity_.subscription, name, until}));
    }
    return dead > 0 || renewed == 0;
}

Result<Membership::Plan> Membership::plan(Transaction& transaction) {
    INSTEP_TRY_ASSIGN(
        auto row,
        transaction.query("SELECT slot.id, slot.partition, share.acknowledged, share.epoch, "
                          "member.name FROM instep_slot AS slot "
                          "JOIN instep_subscription_slot AS share ON share.slot = slot.id "
                          "AND share.subscription = $1 "
                          "LEFT JOIN instep_member AS member "
                          "ON member.subscription = $1 AND member.name = share.holder "
                          "WHERE slot.topic = $2 ORDER BY slot.partition",
                          {identity_.subscription, std::string_view(identity_.topic)}));
    Plan plan;
    std::vector<Held> free;
    std::vector<Held> inherited;
    std::size_t partitions = 0;
    while (true) {
        INSTEP_TRY_ASSIGN(const bool found, row->next());
        if (!found) {
            break;
        }
        ++partitions;
        const auto partition = static_cast<std::uint32_t>(row->integer(1));
        const auto acknowledged = static_cast<Position>(row->integer(2));
        const auto epoch = static_cast<std::uint64_t>(row->integer(3));
        const bool is_own = !row->is_null(4) && row->text(4) == identity_.name;
        if (const Held* own = find(partition); is_own && own != nullptr && own->epoch == epoch) {
            plan.held.push_back(*own);
        } else if (is_own || row->is_null(4)) {
            // Own name, another epoch: an earlier process of this name took it.
            (is_own ? inherited : free)
                .push_back({.slot = row->integer(0),
                            .partition = partition,
                            .epoch = epoch,
                            .acknowledged = acknowledged,
                            .done = acknowledged,
                            .read = acknowledged});
        }
    }
    INSTEP_TRY_ASSIGN(const std::size_t fair, fair_count(transaction, partitions));
    plan.given_up = split_surplus(plan.held, fair);
    const auto take_if_fair = [&](Held partition) {
        const bool takes = plan.held.size() < fair;
        if (takes) {
            ++partition.epoch;
            plan.held.push_back(partition);
            plan.taken.push_back(partition);
        }
        return takes;
    };
    // Nobody else takes what stands under a living member's name.
    for (const Held& partition : inherited) {
        if (!take_if_fair(partition)) {
            plan.given_up.push_back(partition);
        }
    }
    for (const Held& partition : free) {
        take_if_fair(partition);
    }
    std::ranges::sort(plan.held, {}, &Held::partition);
    return plan;
}

/// Counts of two members differ by at most one; who has the larger goes by name.
Result<std::size_t> Membership::fair_count(Transaction& transaction, std::size_t partitions) {
    INSTEP_TRY_ASSIGN(
        auto row, transaction.query("SELECT count(*), count(*) FILTER (WHERE name < $2) "
                                    "FROM instep_member WHERE subscription = $1",
                                    {identity_.subscription, std::string_view(identity_.name)}));
    INSTEP_TRY(row->next());
    const auto members = static_cast<std::size_t>(row->integer(0));
    const auto rank = static_cast<std::size_t>(row->integer(1));
    return partitions / members + (rank < partitions % members ? 1 : 0);
}

Result<void> Membership::give_up(Transaction& transaction, const std::vector<Held>& partitions) {
    for (const Held& held : partitions) {
        INSTEP_TRY(transaction.execute(
            "UPDATE instep_subscription_slot SET holder = NULL "
            "WHERE slot = $1 AND subscription = $2 AND holder = $3 AND epoch = $4",
            {held.slot, identity_.subscription, std::string_view(identity_.name),
             static_cast<std::int64_t>(held.epoch)}));
    }
    return {};
}

Result<void> Membership::take(Transaction& transaction, const std::vector<Held>& partitions) {
    for (const Held& held : partitions) {
        INSTEP_TRY(transaction.execute(
            "UPDATE instep_subscription_slot SET holder = $3, "
            "epoch = $4 WHERE slot = $1 AND subscription = $2",
            {held.slot, identity_.subscription, std::string_view(identity_.name),
             static_cast<std::int64_t>(held.epoch)}));
    }
    return {};
}

Result<void> Membership::leave() {
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(connection_, TransactionMode::kWrite));
    INSTEP_TRY(give_up(transaction, held_));
    // A process that has taken this name over keeps its membership.
    INSTEP_TRY(transaction.execute(
        "DELETE FROM instep_member WHERE subscription = $1 AND name = $2 AND NOT EXISTS "
        "(SELECT 1 FROM instep_subscription_slot WHERE subscription = $1 AND holder = $2)",
        {identity_.subscription, std::string_view(identity_.name)}));
    INSTEP_TRY(transaction.execute(
        "UPDATE instep_subscription SET generation = generation + 1 WHERE id = $1",
        {identity_.subscription}));
    return transaction.commit();
}

Held* Membership::find(std::uint32_t partition) {
    const auto found = std::ranges::find(held_, partition, &Held::partition);
    return found == held_.end() ? nullptr : &*found;
}

void Membership::forget(std::uint32_t partition) {
    std::erase_if(held_, [&](const Held& held) { return held.partition == partition; });
}

}  // namespace instep::embedded_broker
