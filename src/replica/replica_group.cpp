#include "instep/replica/replica_group.hpp"

#include "instep/telemetry/logger.hpp"
#include "replica_store.hpp"
#include "table_order.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <ranges>
#include <unordered_map>

namespace instep {

namespace {

using Events = std::vector<const Event*>;

bool is_row_event(const Event& event) {
    return event.operation == Operation::kUpsert || event.operation == Operation::kDelete;
}

/// Events of one table by what becomes of their keys: each key's are together, in order.
struct TableChanges {
    Events kept;
    Events removed;
};

TableChanges sort_by_outcome(const Events& events) {
    std::unordered_map<std::string_view, const Event*> newest;
    for (const Event* event : events) {
        const Event*& known = newest[event->key];
        if (known == nullptr || event->version > known->version) {
            known = event;
        }
    }
    TableChanges changes;
    for (const Event* event : events) {
        const bool is_removed = newest[event->key]->operation == Operation::kDelete;
        (is_removed ? changes.removed : changes.kept).push_back(event);
    }
    return changes;
}

/// Asks for the first replica that is new, unless one before it is not live yet: rows of a table
/// come when all that they may refer to are there.
Result<void> ask_for_next(Transaction& transaction, std::span<const ReplicaDefinition> definitions,
                          std::span<const std::size_t> order, Random& random) {
    for (const std::size_t place : order) {
        INSTEP_TRY_ASSIGN(const ReplicaRow row, replica_row(transaction, definitions[place]));
        if (row.state == ReplicaState::kNew) {
            INSTEP_TRY(begin_backfill(transaction, definitions[place], row.id, random));
        }
        if (row.state != ReplicaState::kLive) {
            return {};
        }
    }
    return {};
}

}  // namespace

class ReplicaGroupHandler::Impl {
public:
    Impl(std::vector<ReplicaDefinition> definitions, Random& random, Logger& logger)
        : definitions_(std::move(definitions)), random_(random), logger_(logger) {
        for (std::size_t i = 0; i < definitions_.size(); ++i) {
            handlers_.push_back(std::make_unique<ReplicaHandler>(definitions_[i], random, logger));
            places_[definitions_[i].entity()].push_back(i);
        }
    }

    Result<ApplyCounts> apply(Transaction& transaction, std::span<const Event* const> events) {
        INSTEP_TRY(defer_constraints(transaction));
        ApplyCounts counts;
        for (std::size_t i = 0; i < events.size();) {
            std::size_t end = i;
            while (end < events.size() && is_row_event(*events[end])) {
                ++end;
            }
            const bool is_run = end > i;
            end = is_run ? end : i + 1;
            INSTEP_TRY_ASSIGN(const ApplyCounts applied,
                              is_run ? apply_rows(transaction, events.subspan(i, end - i))
                                     : apply_other(transaction, *events[i]));
            counts += applied;
            i = end;
        }
        return counts;
    }

private:
    Result<ApplyCounts> apply_rows(Transaction& transaction, std::span<const Event* const> events) {
        INSTEP_TRY(transaction.set_savepoint());
        auto applied = apply_by_table(transaction, events);
        if (!applied && applied.error().code == ErrorCode::kRejected) {
            INSTEP_TRY(transaction.rollback_to_savepoint());
            logger_.debug("replica_group.by_table_refused", {{"error", applied.error().message}});
            // Tables may have come to refer to each other.
            order_.reset();
            applied = apply_one_by_one(transaction, events);
        }
        INSTEP_TRY(applied);
        INSTEP_TRY(transaction.release_savepoint());
        return applied;
    }

    Result<ApplyCounts> apply_by_table(Transaction& transaction,
                                       std::span<const Event* const> events) {
        std::vector<Events> by_table(definitions_.size());
        ApplyCounts counts;
        for (const Event* event : events) {
            const auto places = places_of(*event);
            counts.not_addressed += places.empty() ? 1 : 0;
            for (const std::size_t place : places) {
                by_table[place].push_back(event);
            }
        }
        std::vector<TableChanges> changes;
        std::ranges::transform(by_table, std::back_inserter(changes), sort_by_outcome);
        INSTEP_TRY_ASSIGN(const std::span<const std::size_t> order, order_in(transaction));
        for (const std::size_t place : order) {
            INSTEP_TRY(apply_to(transaction, place, changes[place].kept, counts));
        }
        for (const std::size_t place : order | std::views::reverse) {
            INSTEP_TRY(apply_to(transaction, place, changes[place].removed, counts));
        }
        return counts;
    }

    Result<ApplyCounts> apply_one_by_one(Transaction& transaction,
                                         std::span<const Event* const> events) {
        ApplyCounts counts;
        for (const Event* event : events) {
            const auto places = places_of(*event);
            counts.not_addressed += places.empty() ? 1 : 0;
            for (const std::size_t place : places) {
                INSTEP_TRY(apply_to(transaction, place, std::span(&event, 1), counts));
            }
        }
        return counts;
    }

    Result<void> apply_to(Transaction& transaction, std::size_t place,
                          std::span<const Event* const> events, ApplyCounts& counts) {
        if (events.empty()) {
            return {};
        }
        auto applied = handlers_[place]->apply(transaction, events);
        if (!applied) {
            return fail_in("replica " + definitions_[place].table, std::move(applied).error());
        }
        counts += *applied;
        return {};
    }

    Result<ApplyCounts> apply_other(Transaction& transaction, const Event& event) {
        const Event* const one = &event;
        ApplyCounts counts;
        if (!speaks_of_range(event.operation)) {
            // Each has to learn of an epoch, whatever speaks of it.
            ApplyCounts ignored;
            for (std::size_t place = 0; place < handlers_.size(); ++place) {
                INSTEP_TRY(apply_to(transaction, place, std::span(&one, 1), ignored));
            }
            counts.not_addressed = 1;
            return counts;
        }
        const auto places = places_of(event);
        counts.not_addressed = places.empty() ? 1 : 0;
        for (const std::size_t place : places) {
            INSTEP_TRY(apply_to(transaction, place, std::span(&one, 1), counts));
        }
        if (event.operation == Operation::kChunk) {
            // It may have made a table, or its replica live.
            order_.reset();
            INSTEP_TRY_ASSIGN(const auto order, order_in(transaction));
            INSTEP_TRY(ask_for_next(transaction, definitions_, order, random_));
        }
        return counts;
    }

    /// Several replicas may be of one entity.
    [[nodiscard]] std::span<const std::size_t> places_of(const Event& event) const {
        const std::string_view type = event.type;
        const auto found = places_.find(type.substr(0, type.find('.')));
        return found == places_.end() ? std::span<const std::size_t>() : found->second;
    }

    Result<std::span<const std::size_t>> order_in(Transaction& transaction) {
        if (!order_) {
            INSTEP_TRY_ASSIGN(order_, table_order(transaction.connection(), definitions_));
        }
        return std::span<const std::size_t>(*order_);
    }

    const std::vector<ReplicaDefinition> definitions_;
    Random& random_;
    Logger& logger_;
    std::vector<std::unique_ptr<ReplicaHandler>> handlers_;
    std::map<std::string, std::vector<std::size_t>, std::less<>> places_;

    /// Looked up anew when it may have changed: nobody says so.
    std::optional<std::vector<std::size_t>> order_;
};

ReplicaGroupHandler::ReplicaGroupHandler(std::vector<ReplicaDefinition> definitions, Random& random,
                                         Logger& logger)
    : impl_(std::make_unique<Impl>(std::move(definitions), random, logger)) {}
ReplicaGroupHandler::~ReplicaGroupHandler() = default;

Result<ApplyCounts> ReplicaGroupHandler::apply(Transaction& transaction,
                                               std::span<const Event* const> events) {
    return impl_->apply(transaction, events);
}

Result<void> ensure_group_filled(Transaction& transaction,
                                 std::span<const ReplicaDefinition> definitions, Random& random) {
    INSTEP_TRY_ASSIGN(const auto order, table_order(transaction.connection(), definitions));
    return ask_for_next(transaction, definitions, order, random);
}

}  // namespace instep
