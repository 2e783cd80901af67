// The publish contract: what a service lets out. Columns that it does not name are private,
// also those that are added later.
#pragma once

#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"
#include "instep/db/dialect.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

/// A [[publish]] entry as a service file has it.
struct PublishEntry {
    std::string table;

    /// Begins the event types: "user" gives user.created, user.updated, user.deleted.
    std::string entity;

    /// Columns that identify a row; their order is the order of backfills.
    std::vector<std::string> key;

    /// Columns that leave the service; must hold the key.
    std::vector<std::string> columns;

    /// Those of `columns` that are personal data.
    std::vector<std::string> personal;
};

/// A column that leaves the service.
struct ContractColumn {
    std::string name;

    /// As declared at the owner, such as "VARCHAR(50)".
    std::string declared_type;
    ValueKind kind = ValueKind::kText;
    bool not_null = false;
    bool personal = false;

    friend bool operator==(const ContractColumn&, const ContractColumn&) = default;
};

/// An entry that was held against the catalogue: what consumers may rely on.
struct Contract {
    std::string service;
    std::string table;
    std::string entity;

    /// The owner's kind of database, whose types the columns have: "sqlite" or "postgres".
    std::string dialect;

    /// Rises with every change, from 1.
    std::uint32_t version = 1;
    std::vector<std::string> key;
    std::vector<ContractColumn> columns;

    /// The topic that its events go to: "iam.user".
    [[nodiscard]] std::string topic() const;

    /// The `dataschema` of its events: "iam.user/1".
    [[nodiscard]] std::string schema() const;

    [[nodiscard]] const ContractColumn* find(std::string_view column) const;

    friend bool operator==(const Contract&, const Contract&) = default;
};

/// Checks the entry against the table as it is. The result has version 1.
///
/// Errors: kNotFound for an unknown table or column, with the nearest name; kInvalidArgument
/// for an empty list, a doubled or generated key column, a key that the columns lack, an
/// entity that is not lower-case letters, digits and `_`; kUnsupported for a key that is not
/// unique, or that is real, nullable, or a number with decimals.
Result<Contract> bind_contract(Connection& connection, std::string_view service,
                               const PublishEntry& entry);

/// The contract as JSON, as it is stored and as it travels with chunks.
std::string to_json(const Contract& contract);

/// Errors: kCorrupt if `text` is not a contract.
Result<Contract> contract_from_json(std::string_view text);

/// The candidate that is most like `name`, or "" if none is near. For messages.
std::string nearest_name(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace instep
