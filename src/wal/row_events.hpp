// Changes of published rows as events, with the allowed columns only.
#pragma once

#include "instep/base/error.hpp"
#include "instep/capture/contract.hpp"
#include "instep/db/postgres/replication/message.hpp"
#include "instep/log/reader.hpp"

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace instep::wal {

/// A published table: its contract, and where the contract's columns stand in the tuples of its
/// last Relation message.
class PublishedTable {
public:
    explicit PublishedTable(Contract contract) : contract_(std::move(contract)) {}

    void place_columns(const pgoutput::Relation& relation);

    [[nodiscard]] const Contract& contract() const noexcept { return contract_; }

    /// Reads the texts of columns that the log does not hold, because they are large and were
    /// not touched: `columns` of the row with `key`, whose values stand in the key's order.
    /// Nothing if there is no such row any more.
    using Fetch = std::function<Result<std::optional<std::vector<std::optional<std::string>>>>(
        const Contract& contract, const std::vector<std::string>& columns,
        const std::vector<std::string>& key)>;

    /// The events of one change, in order; without id, time and version. A column that the
    /// server left out as unchanged is left out of the data, or taken from the old row where the
    /// table logs it. Only when the key changed is it fetched: the new key's row has no other.
    [[nodiscard]] std::vector<TopicEvent> inserted(const pgoutput::Insert& change) const;
    [[nodiscard]] Result<std::vector<TopicEvent>> updated(const pgoutput::Update& change,
                                                          const Fetch& fetch) const;
    [[nodiscard]] std::vector<TopicEvent> deleted(const pgoutput::Delete& change) const;

private:
    [[nodiscard]] const pgoutput::Field* field(pgoutput::Tuple tuple, std::size_t column) const;
    [[nodiscard]] std::string key_of(pgoutput::Tuple tuple) const;
    [[nodiscard]] std::string key_object(pgoutput::Tuple tuple) const;
    [[nodiscard]] std::string row_object(pgoutput::Tuple tuple) const;
    [[nodiscard]] std::size_t place_of(const std::string& column) const;
    [[nodiscard]] bool touches_nothing(pgoutput::Tuple before, pgoutput::Tuple after) const;
    [[nodiscard]] std::vector<std::string> unchanged(pgoutput::Tuple tuple) const;
    [[nodiscard]] TopicEvent event(std::string_view action, Operation operation, std::string key,
                                   std::string data) const;

    Contract contract_;

    /// Of each column of the contract; nothing for one that the server does not send.
    std::vector<std::optional<std::size_t>> places_;
};

}  // namespace instep::wal
