#include "tests/simulation/group_watch.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace instep::simulation {

void GroupWatch::add_table(const ReplicaDefinition& definition, ReplicaWatch& watch,
                           const std::vector<std::pair<std::string, std::string>>& columns) {
    tables_.push_back(definition.table);
    watches_[definition.entity()] = &watch;
    std::vector<std::string_view> names;
    std::ranges::transform(columns, std::back_inserter(names),
                           [](const auto& column) { return std::string_view(column.second); });
    as_json_ += fmt::format(
        "{}(SELECT json_group_array(json_array({})) FROM (SELECT * FROM {} "
        "ORDER BY id))",
        as_json_.empty() ? "SELECT " : " || ", fmt::join(names, ", "), definition.table);
    committed_ = {tables_in(source_)};
}

void GroupWatch::after_source_commit() {
    if (std::string now = tables_in(source_); now != committed_.back()) {
        committed_.push_back(std::move(now));
    }
}

ReplicaWatch* GroupWatch::watch_of(const Event& event) const {
    const std::string_view type = event.type;
    const auto found = watches_.find(type.substr(0, type.find('.')));
    return found == watches_.end() ? nullptr : found->second;
}

void GroupWatch::delivered(const Delivery& delivery) {
    if (ReplicaWatch* const watch = watch_of(delivery.event); watch != nullptr) {
        watch->delivered(delivery);
    }
}

/// Changes of other entities are nothing to the group.
bool GroupWatch::is_done(const Event& event) {
    ReplicaWatch* const watch = watch_of(event);
    return watch == nullptr || watch->is_done(event);
}

std::string GroupWatch::tables_in(const SimDatabase& database) const {
    auto rows = database.inspect().query(as_json_, {});
    return rows && *(*rows)->next() ? std::string((*rows)->text(0)) : "";
}

bool GroupWatch::are_live() const {
    auto rows =
        database().inspect().query("SELECT count(*) FROM instep_replica WHERE state = 'live'", {});
    return *(*rows)->next() && (*rows)->integer(0) == std::ssize(tables_);
}

void GroupWatch::look() {
    were_live_ = were_live_ || are_live();
    if (!were_live_) {
        return;
    }
    const std::string now = tables_in(database());
    const auto begin = committed_.begin() + static_cast<std::ptrdiff_t>(seen_);
    if (const auto found = std::find(begin, committed_.end(), now); found != committed_.end()) {
        seen_ = static_cast<std::size_t>(found - committed_.begin());
        return;
    }
    const bool is_earlier = std::find(committed_.begin(), begin, now) != begin;
    findings().report(fmt::format("{} shows {}: {}; it had shown {}", subscription(),
                                  is_earlier ? "what was before" : "half of a transaction", now,
                                  committed_[seen_]));
}

}  // namespace instep::simulation
