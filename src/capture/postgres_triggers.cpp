// PostgreSQL: a function and a trigger for each kind of change.
//
// The functions run with the rights of whoever applied the contract, so that writers need none
// on the log; nobody else may make triggers of them. A caller can set the search path of such a
// function; so one that runs for each row names everything with its schema and uses no operator,
// and one that runs once a statement sets the path.
//
// A statement's rows are logged together, behind all that its row triggers did. Where one of those
// changed the same table (the application's own, a foreign key's), a row may be newer by then
// than the statement left it, and that is in the log already: the rows are then logged as they
// stand in the table, for the rest of the transaction.
#include "instep/base/bytes.hpp"
#include "postgres_values.hpp"
#include "triggers.hpp"

#include <fmt/format.h>

namespace instep {

namespace {

/// Triggers of one row fire by name. Ours is to be the first, before one that changes the same
/// row again: otherwise that newer change would be in the log before this one.
constexpr std::string_view kPrefix = "#instep_capture_";

/// PostgreSQL cuts longer names off without a word.
constexpr std::size_t kNameBytesMax = 63;

/// A function that runs once a statement. Its plan is made once a session, perhaps for one row,
/// and must do for any number.
constexpr std::string_view kStatementSettings =
    " SET search_path = pg_catalog, pg_temp SET enable_nestloop = off";

/// Notes for the rest of the transaction that a trigger changed a captured table.
constexpr std::string_view kNoteNesting =
    "  IF pg_trigger_depth() > 1 THEN PERFORM set_config('instep.nested', 'on', true); END IF;\n"
    "  IF current_setting('instep.nested', true) = 'on' THEN\n";

/// The entity as it stands in names: what is too long ends in a hash of the whole.
std::string subject_of(const std::string& entity) {
    constexpr std::size_t kLongest = kNameBytesMax - kPrefix.size() - sizeof("_truncate") + 1;
    if (entity.size() <= kLongest) {
        return entity;
    }
    const std::string hash = fmt::format("_{:016x}", key_hash(entity));
    return entity.substr(0, kLongest - hash.size()) + hash;
}

/// What a trigger is made with besides its body.
struct Shape {
    std::string_view name;

    /// Such as "AFTER INSERT".
    std::string_view event;

    /// What stands between table and function.
    std::string scope;
    std::string_view settings = "";
};

class TriggerWriter {
public:
    TriggerWriter(const Contract& contract, const TableDescription& table, const Dialect& dialect)
        : contract_(contract),
          dialect_(dialect),
          table_(table.full_name),
          settings_(capture_settings(contract)) {}

    [[nodiscard]] std::vector<Trigger> for_statements() const {
        const std::string created = from("created", Operation::kUpsert, "instep_new n", "n");
        const std::string updated =
            fmt::format("{} JOIN instep_old o ON {} WHERE {}",
                        from("updated", Operation::kUpsert, "instep_new n", "n"),
                        same_key("o", "n"), differs(all_columns(contract_), dialect_, "o", "n"));
        const std::string deleted = from("deleted", Operation::kDelete, "instep_old o", "o");
        const std::string is_gone =
            fmt::format("NOT EXISTS (SELECT FROM {} t WHERE {})", table_, same_key("t", "o"));
        return {
            write({"insert", "AFTER INSERT",
                   "REFERENCING NEW TABLE AS instep_new FOR EACH STATEMENT", kStatementSettings},
                  either(standing("created"), created)),
            write({"update", "AFTER UPDATE",
                   "REFERENCING OLD TABLE AS instep_old NEW TABLE AS instep_new FOR EACH STATEMENT",
                   kStatementSettings},
                  either(standing("updated"), updated)),
            rekey(),
            write({"delete", "AFTER DELETE",
                   "REFERENCING OLD TABLE AS instep_old FOR EACH STATEMENT", kStatementSettings},
                  either(fmt::format("{} WHERE {}", deleted, is_gone), deleted)),
            truncate(),
        };
    }

    [[nodiscard]] std::vector<Trigger> for_rows() const {
        const std::string key_changed = differs(key_columns(contract_), dialect_, "OLD", "NEW");
        const std::string row_changed = differs(all_columns(contract_), dialect_, "OLD", "NEW");
        return {
            write({"insert", "AFTER INSERT", "FOR EACH ROW"},
                  row("NEW", "created", Operation::kUpsert)),
            write({"update", "AFTER UPDATE",
                   fmt::format("FOR EACH ROW WHEN (NOT {} AND {})", key_changed, row_changed)},
                  row("NEW", "updated", Operation::kUpsert)),
            rekey(),
            write({"delete", "AFTER DELETE", "FOR EACH ROW"},
                  row("OLD", "deleted", Operation::kDelete)),
            truncate(),
        };
    }

private:
    [[nodiscard]] Trigger write(const Shape& shape, std::string_view body) const {
        const std::string subject = subject_of(contract_.entity);
        const std::string function = fmt::format(
            "instep.{}", dialect_.quote(fmt::format("capture_{}_{}", subject, shape.name)));
        Trigger trigger;
        trigger.name = fmt::format("{}{}_{}", kPrefix, subject, shape.name);
        const std::string quoted = dialect_.quote(trigger.name);
        trigger.create = fmt::format(
            "CREATE OR REPLACE FUNCTION {0}() RETURNS trigger LANGUAGE plpgsql SECURITY "
            "DEFINER{1}{2} AS $instep$\nBEGIN\n{3}  RETURN NULL;\nEND\n$instep$;\n"
            "REVOKE ALL ON FUNCTION {0}() FROM PUBLIC;\n"
            "CREATE TRIGGER {4} {5} ON {6} {7} EXECUTE FUNCTION {0}()",
            function, settings_, shape.settings, body, quoted, shape.event, table_, shape.scope);
        trigger.mark = fmt::format("instep {:016x}", key_hash(trigger.create));
        trigger.create +=
            fmt::format(";\nCOMMENT ON TRIGGER {} ON {} IS '{}'", quoted, table_, trigger.mark);
        return trigger;
    }

    /// Appends the event of one row.
    [[nodiscard]] std::string row(std::string_view row, std::string_view action,
                                  Operation operation) const {
        return fmt::format("{}\n  VALUES ({});\n", kCaptureInsert,
                           capture_values(contract_, dialect_, row, action, operation));
    }

    /// Appends the events of rows; without its end, so that a condition may follow.
    [[nodiscard]] std::string from(std::string_view action, Operation operation,
                                   std::string_view source, std::string_view row) const {
        return fmt::format("{}\n  SELECT {}\n  FROM {}", kCaptureInsert,
                           capture_values(contract_, dialect_, row, action, operation), source);
    }

    /// Appends the statement's new rows as they stand in the table. OFFSET keeps the subquery one
    /// that looks up a row by its key.
    [[nodiscard]] std::string standing(std::string_view action) const {
        return from(action, Operation::kUpsert,
                    fmt::format("instep_new n CROSS JOIN LATERAL (SELECT * FROM {} r WHERE {} "
                                "OFFSET 0) t",
                                table_, same_key("r", "n")),
                    "t");
    }

    [[nodiscard]] static std::string either(std::string_view if_nested, std::string_view if_not) {
        return fmt::format("{}  {};\n  ELSE\n  {};\n  END IF;\n", kNoteNesting, if_nested, if_not);
    }

    [[nodiscard]] std::string same_key(std::string_view row, std::string_view other) const {
        std::string condition;
        for (const std::string& name : contract_.key) {
            condition +=
                fmt::format("{}{} = {}", condition.empty() ? "" : " AND ",
                            column_of(dialect_, row, name), column_of(dialect_, other, name));
        }
        return condition;
    }

    /// The condition names all published columns, so that PostgreSQL refuses to drop one: the
    /// functions would fail, and with them the application's own statements.
    [[nodiscard]] Trigger rekey() const {
        return write(
            {"rekey", "AFTER UPDATE",
             fmt::format("FOR EACH ROW WHEN ({} AND {})",
                         differs(key_columns(contract_), dialect_, "OLD", "NEW"),
                         differs(all_columns(contract_), dialect_, "OLD", "NEW"))},
            row("OLD", "deleted", Operation::kDelete) + row("NEW", "created", Operation::kUpsert));
    }

    [[nodiscard]] Trigger truncate() const {
        return write({"truncate", "BEFORE TRUNCATE", "FOR EACH STATEMENT"},
                     from("deleted", Operation::kDelete, table_ + " t", "t") + ";\n");
    }

    const Contract& contract_;
    const Dialect& dialect_;
    const std::string table_;
    const std::string settings_;
};

}  // namespace

std::vector<Trigger> postgres_triggers(const Contract& contract, const TableDescription& table,
                                       const Dialect& dialect) {
    // Statements that name a partition fire none of its parent's statement triggers.
    const TriggerWriter writer(contract, table, dialect);
    return table.has_other_names ? writer.for_rows() : writer.for_statements();
}

Result<StandingTriggers> standing_in_postgres(Connection& connection) {
    // One that is disabled is no trigger of ours until it is made anew.
    INSTEP_TRY_ASSIGN(
        const auto rows,
        connection.query("SELECT t.tgname::text, CASE WHEN t.tgenabled = 'D' THEN '' ELSE "
                         "  coalesce(obj_description(t.oid, 'pg_trigger'), '') END, "
                         "  format('DROP TRIGGER %I ON %s; DROP FUNCTION %s', t.tgname, "
                         "    t.tgrelid::regclass, t.tgfoid::regprocedure) "
                         "FROM pg_trigger t WHERE t.tgname LIKE '#instep\\_capture\\_%' "
                         "AND NOT t.tgisinternal AND t.tgparentid = 0",
                         {}));
    StandingTriggers triggers;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return triggers;
        }
        triggers.emplace(rows->text(0),
                         StandingTrigger{std::string(rows->text(1)), std::string(rows->text(2))});
    }
}

}  // namespace instep
