#include "intake.hpp"

#include "instep/base/bytes.hpp"
#include "instep/base/uuid.hpp"
#include "instep/capture/capture.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace instep::wal {

namespace {

/// One change makes two events at most: each change has two places in its transaction, so that
/// an event's place does not depend on what became of others.
constexpr std::uint32_t kPlacesOfChange = 2;

template <class... Visitors>
struct Overloaded : Visitors... {
    using Visitors::operator()...;
};

/// The same at every reading, as derived_event_id() is for rows of the log.
std::string event_id(const LogIdentity& identity, std::uint64_t commit_lsn, std::uint32_t index,
                     Timestamp time) {
    std::string origin;
    append_big_endian(origin, identity.incarnation);
    append_big_endian(origin, commit_lsn);
    append_big_endian(origin, index);
    const std::uint64_t low = key_hash(origin);
    return uuid_v7_from(time, low >> 52U, key_hash(to_hex(origin)));
}

/// The transaction ids of the stream wrap around.
std::uint64_t widen(std::uint32_t xid, std::uint64_t near) {
    const auto distance = static_cast<std::int32_t>(xid - static_cast<std::uint32_t>(near));
    return near + static_cast<std::uint64_t>(std::int64_t{distance});
}

Result<std::uint64_t> number_of(Connection& connection, std::string_view sql) {
    INSTEP_TRY_ASSIGN(const auto row, connection.query(sql, {}));
    INSTEP_TRY(row->next());
    return static_cast<std::uint64_t>(row->integer(0));
}

/// Reads columns as pgoutput writes them, once the row is visible or gone for good.
Result<std::optional<std::vector<std::optional<std::string>>>> fetch_columns(
    Connection& connection, std::uint64_t xid, const Contract& contract,
    const std::vector<std::string>& columns, const std::vector<std::string>& key) {
    const Dialect& dialect = connection.dialect();
    std::string list;
    for (const std::string& column : columns) {
        // concat() gives what the type's output does; a cast may not.
        list += fmt::format("{0}CASE WHEN t.{1} IS NOT NULL THEN concat(t.{1}) END",
                            list.empty() ? "" : ", ", dialect.quote(column));
    }
    std::string where;
    std::vector<ValueView> parameters;
    for (std::size_t i = 0; i < key.size(); ++i) {
        where += fmt::format("{}concat(t.{}) = ${}", i == 0 ? "" : " AND ",
                             dialect.quote(contract.key[i]), i + 1);
        parameters.emplace_back(std::string_view(key[i]));
    }
    INSTEP_TRY_ASSIGN(const std::uint64_t visible,
                      number_of(connection, fmt::format("SELECT pg_visible_in_snapshot('{}'::xid8, "
                                                        "pg_current_snapshot())::int",
                                                        xid)));
    if (visible == 0) {
        return fail(
            ErrorCode::kBusy,
            fmt::format("transaction {} is in the write-ahead log and not visible yet", xid));
    }
    INSTEP_TRY_ASSIGN(const auto row,
                      connection.query(fmt::format("SELECT {} FROM {} t WHERE {}", list,
                                                   dialect.quote_table(contract.table), where),
                                       parameters));
    INSTEP_TRY_ASSIGN(const bool found, row->next());
    if (!found) {
        return std::nullopt;
    }
    std::vector<std::optional<std::string>> values;
    for (std::size_t i = 0; i < columns.size(); ++i) {
        values.push_back(row->is_null(i) ? std::nullopt : std::optional(std::string(row->text(i))));
    }
    return values;
}

}  // namespace

Result<std::unique_ptr<Intake>> Intake::start(IntakeOptions options, Connection& connection,
                                              const Clock& clock) {
    std::unique_ptr<Intake> intake(new Intake(std::move(options), connection));
    intake->position_ = intake->options_.from.position;
    INSTEP_TRY_ASSIGN(intake->identity_, log_identity(connection));
    INSTEP_TRY_ASSIGN(
        intake->near_xid_,
        number_of(connection, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"));
    INSTEP_TRY(intake->load_contracts());
    INSTEP_TRY_ASSIGN(intake->stream_,
                      ReplicationStream::start(intake->options_.stream,
                                               Lsn{intake->options_.from.position}, clock));
    return intake;
}

Result<void> Intake::load_contracts() {
    INSTEP_TRY_ASSIGN(const std::uint64_t log,
                      number_of(connection_, "SELECT 'instep.log'::regclass::oid::bigint"));
    INSTEP_TRY_ASSIGN(const std::uint64_t contract,
                      number_of(connection_, "SELECT 'instep.contract'::regclass::oid::bigint"));
    log_oid_ = static_cast<std::uint32_t>(log);
    contract_oid_ = static_cast<std::uint32_t>(contract);
    INSTEP_TRY_ASSIGN(auto contracts, contracts_in_force(connection_));
    for (Contract& next : contracts) {
        INSTEP_TRY(take_up(std::move(next)));
    }
    return {};
}

Result<void> Intake::take_up(Contract contract) {
    std::erase_if(tables_, [&](const auto& entry) {
        return entry.second.contract().entity == contract.entity;
    });
    const std::string name = connection_.dialect().quote_table(contract.table);
    INSTEP_TRY_ASSIGN(const auto row,
                      connection_.query("SELECT coalesce(to_regclass($1)::oid::bigint, 0)",
                                        std::initializer_list<ValueView>{std::string_view(name)}));
    INSTEP_TRY(row->next());
    const auto oid = static_cast<std::uint32_t>(row->integer(0));
    PublishedTable& table =
        tables_.insert_or_assign(oid, PublishedTable(std::move(contract))).first->second;
    // The server says again what columns a table has when that changes, not when a contract does.
    if (const auto told = columns_told_.find(oid); told != columns_told_.end()) {
        std::vector<pgoutput::Column> columns;
        for (const std::string& column : told->second) {
            columns.push_back({.name = column});
        }
        table.place_columns({.oid = oid, .schema = {}, .name = {}, .columns = columns});
    }
    return {};
}

PublishedTable* Intake::find(std::uint32_t oid) {
    const auto found = tables_.find(oid);
    return found == tables_.end() ? nullptr : &found->second;
}

Result<bool> Intake::pull(std::chrono::milliseconds patience) {
    INSTEP_TRY_ASSIGN(const auto message, stream_->receive(patience));
    if (!message) {
        return false;
    }
    INSTEP_TRY(take(*message));
    return true;
}

Result<void> Intake::take(const pgoutput::Message& message) {
    return std::visit(
        Overloaded{[&](const pgoutput::Begin& begin) -> Result<void> {
                       begin_ = begin;
                       xid_ = near_xid_ = widen(begin.xid, near_xid_);
                       changes_ = 0;
                       in_transaction_ = true;
                       return {};
                   },
                   [&](const pgoutput::Commit& commit) -> Result<void> {
                       in_transaction_ = false;
                       position_ = commit.end_lsn.value;
                       Item item;
                       item.kind = Item::Kind::kCommit;
                       item.commit_lsn = commit.commit_lsn.value;
                       item.xid = xid_;
                       item.after.position = position_;
                       queue_.push_back(std::move(item));
                       return {};
                   },
                   [&](const pgoutput::Relation& relation) { return take_relation(relation); },
                   [&](const pgoutput::Insert& insert) { return take_insert(insert); },
                   [&](const pgoutput::Update& update) { return take_update(update); },
                   [&](const pgoutput::Delete& change) { return take_delete(change); },
                   [&](const pgoutput::Truncate& truncate) -> Result<void> {
                       take_truncate(truncate);
                       return {};
                   },
                   [](const auto&) -> Result<void> { return {}; }},
        message);
}

Result<void> Intake::take_relation(const pgoutput::Relation& relation) {
    const auto place = [&](std::string_view name) -> std::optional<std::size_t> {
        const auto found = std::ranges::find(relation.columns, name, &pgoutput::Column::name);
        return found == relation.columns.end()
                   ? std::nullopt
                   : std::optional(static_cast<std::size_t>(found - relation.columns.begin()));
    };
    if (relation.oid == log_oid_) {
        log_rows_.place_columns(relation);
    } else if (relation.oid == contract_oid_) {
        contract_text_ = place("contract");
        contract_entity_ = place("entity");
    } else {
        std::vector<std::string>& told = columns_told_[relation.oid];
        told.clear();
        for (const pgoutput::Column& column : relation.columns) {
            told.emplace_back(column.name);
        }
        if (PublishedTable* table = find(relation.oid)) {
            table->place_columns(relation);
        }
    }
    return {};
}

/// The contract changes here for whatever is committed behind.
Result<void> Intake::change_contract(pgoutput::Tuple row) {
    if (!contract_text_ || *contract_text_ >= row.size() ||
        row[*contract_text_].kind != pgoutput::FieldKind::kText) {
        return {};
    }
    INSTEP_TRY_ASSIGN(Contract contract, contract_from_json(row[*contract_text_].bytes));
    return take_up(std::move(contract));
}

bool Intake::is_done(std::uint32_t index) const {
    const bool is_part = begin_.final_lsn.value == options_.from.part_lsn;
    return (is_part && index <= options_.from.part_index) ||
           (options_.ends && begin_.final_lsn.value >= *options_.ends);
}

void Intake::add(std::vector<TopicEvent> events, bool is_logged) {
    std::uint32_t index = changes_ * kPlacesOfChange;
    for (TopicEvent& event : events) {
        if (is_done(++index)) {
            continue;
        }
        Item item;
        item.commit_lsn = begin_.final_lsn.value;
        item.xid = xid_;
        item.after = Place{position_, item.commit_lsn, index};
        item.is_logged = is_logged;
        item.event = std::move(event);
        item.event.event.version = Version{0, item.commit_lsn, index};
        item.event.event.incarnation = identity_.incarnation;
        if (!is_logged) {
            item.event.event.time = begin_.commit_time;
            item.event.event.id = event_id(identity_, item.commit_lsn, index, begin_.commit_time);
        }
        queue_.push_back(std::move(item));
    }
    ++changes_;
}

Result<void> Intake::take_insert(const pgoutput::Insert& insert) {
    if (insert.relation_oid == log_oid_) {
        INSTEP_TRY_ASSIGN(TopicEvent event,
                          log_rows_.inserted(insert, identity_, options_.service));
        std::vector<TopicEvent> events;
        events.push_back(std::move(event));
        add(std::move(events), true);
    } else if (insert.relation_oid == contract_oid_) {
        return change_contract(insert.row);
    } else if (const PublishedTable* table = find(insert.relation_oid)) {
        add(table->inserted(insert), false);
    }
    return {};
}

Result<void> Intake::take_update(const pgoutput::Update& update) {
    if (update.relation_oid == contract_oid_) {
        return change_contract(update.row);
    }
    if (const PublishedTable* table = find(update.relation_oid)) {
        const auto fetch = [&](const Contract& contract, const std::vector<std::string>& columns,
                               const std::vector<std::string>& key) {
            return fetch_columns(connection_, xid_, contract, columns, key);
        };
        INSTEP_TRY_ASSIGN(auto events, table->updated(update, fetch));
        add(std::move(events), false);
    }
    return {};
}

Result<void> Intake::take_delete(const pgoutput::Delete& change) {
    if (change.relation_oid == contract_oid_ && contract_entity_ &&
        *contract_entity_ < change.old.size()) {
        const std::string_view entity = change.old[*contract_entity_].bytes;
        std::erase_if(tables_,
                      [&](const auto& entry) { return entry.second.contract().entity == entity; });
    } else if (const PublishedTable* table = find(change.relation_oid)) {
        add(table->deleted(change), false);
    }
    return {};
}

void Intake::take_truncate(const pgoutput::Truncate& truncate) {
    const std::uint32_t index = changes_++ * kPlacesOfChange + 1;
    for (const std::uint32_t oid : truncate.relation_oids) {
        const PublishedTable* table = find(oid);
        if (table == nullptr || is_done(index)) {
            continue;
        }
        Item item;
        item.kind = Item::Kind::kTruncate;
        item.commit_lsn = begin_.final_lsn.value;
        item.xid = xid_;
        item.after = Place{position_, item.commit_lsn, index};
        item.table = table->contract().table;
        queue_.push_back(std::move(item));
        return;
    }
}

Result<void> Intake::acknowledge(std::uint64_t position) {
    return stream_->confirm(Lsn{std::min(position, received_end())});
}

}  // namespace instep::wal
