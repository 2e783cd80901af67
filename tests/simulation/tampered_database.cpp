#include "tests/simulation/planted_bugs.hpp"
#include "tests/support/passing_broker.hpp"

#include <algorithm>
#include <string>

namespace instep::simulation {

namespace {

bool is_chunk_version(const ValueView& value) {
    const auto* blob = std::get_if<BlobView>(&value);
    return blob != nullptr && blob->bytes.size() == 16 && blob->bytes.ends_with("\xff\xff\xff\xff");
}

std::string replace_all(std::string text, std::string_view part, std::string_view replacement) {
    for (std::size_t at = text.find(part); at != std::string::npos;
         at = text.find(part, at + replacement.size())) {
        text.replace(at, part.size(), replacement);
    }
    return text;
}

/// Tells which epoch a lease was given.
class EpochCursor final : public Cursor {
public:
    EpochCursor(std::unique_ptr<Cursor> inner, std::int64_t& epoch)
        : inner_(std::move(inner)), epoch_(epoch) {}

    Result<bool> next() override {
        auto found = inner_->next();
        if (found && *found) {
            epoch_ = inner_->integer(0);
        }
        return found;
    }
    [[nodiscard]] ValueView at(std::size_t column) const override { return inner_->at(column); }
    [[nodiscard]] std::size_t column_count() const override { return inner_->column_count(); }

private:
    std::unique_ptr<Cursor> inner_;
    std::int64_t& epoch_;
};

class TamperedConnection final : public Connection {
public:
    TamperedConnection(const PlantedBug& bug, std::unique_ptr<Connection> inner)
        : bug_(bug), inner_(std::move(inner)) {}

    Result<std::unique_ptr<Cursor>> query(std::string_view sql,
                                          std::span<const ValueView> parameters) override {
        if (meant(SqlEdit::Kind::kStopClock, sql, parameters)) {
            INSTEP_TRY_ASSIGN(stopped_at_, inner_->now());
            begins_stopped_ = 2;
        }
        const std::string edited = edit(sql, parameters);
        if (!bug_.trusts_lease || sql.find("instep_lease") == std::string_view::npos) {
            return inner_->query(edited, parameters);
        }
        if (sql.starts_with("SELECT owner, epoch")) {
            const ValueView believed[] = {parameters[0], std::string_view(owner_), epoch_};
            return inner_->query("SELECT $2, $3 WHERE $1 = $1", believed);
        }
        if (sql.starts_with("INSERT")) {
            owner_ = std::get<std::string_view>(parameters[1]);
            INSTEP_TRY_ASSIGN(auto cursor, inner_->query(edited, parameters));
            return std::make_unique<EpochCursor>(std::move(cursor), epoch_);
        }
        return inner_->query(edited, parameters);
    }

    Result<std::int64_t> execute(std::string_view sql,
                                 std::span<const ValueView> parameters) override {
        if (meant(SqlEdit::Kind::kSkip, sql, parameters)) {
            return 1;
        }
        auto changed = inner_->execute(edit(sql, parameters), parameters);
        if (changed && meant(SqlEdit::Kind::kCommitAfter, sql, parameters)) {
            INSTEP_TRY(inner_->commit());
            INSTEP_TRY(inner_->begin(TransactionMode::kWrite));
        }
        return changed;
    }

    Result<std::vector<std::int64_t>> execute_many(std::string_view sql,
                                                   ParameterRows rows) override {
        if (meant(SqlEdit::Kind::kSkip, sql, rows.values)) {
            return std::vector<std::int64_t>(rows.values.size() / rows.columns, 1);
        }
        auto changed = inner_->execute_many(edit(sql, rows.values), rows);
        if (changed && meant(SqlEdit::Kind::kCommitAfter, sql, rows.values)) {
            INSTEP_TRY(inner_->commit());
            INSTEP_TRY(inner_->begin(TransactionMode::kWrite));
        }
        return changed;
    }

    Result<void> execute_script(std::string_view sql) override {
        return inner_->execute_script(sql);
    }
    Result<void> begin(TransactionMode mode) override {
        begins_stopped_ -= begins_stopped_ > 0 ? 1 : 0;
        return inner_->begin(mode);
    }
    Result<void> commit() override { return inner_->commit(); }
    void rollback() noexcept override { inner_->rollback(); }
    Result<std::uint64_t> change_token() override { return inner_->change_token(); }
    Result<Timestamp> now() override {
        return begins_stopped_ > 0 ? Result<Timestamp>(stopped_at_) : inner_->now();
    }
    [[nodiscard]] const Dialect& dialect() const override { return inner_->dialect(); }

private:
    static bool matches(const SqlEdit& edit, std::string_view sql,
                        std::span<const ValueView> parameters) {
        return sql.find(edit.where) != std::string_view::npos &&
               (!edit.only_chunks || std::ranges::any_of(parameters, is_chunk_version));
    }

    [[nodiscard]] bool meant(SqlEdit::Kind kind, std::string_view sql,
                             std::span<const ValueView> parameters) const {
        return std::ranges::any_of(bug_.edits, [&](const SqlEdit& edit) {
            return edit.kind == kind && matches(edit, sql, parameters);
        });
    }

    [[nodiscard]] std::string edit(std::string_view sql,
                                   std::span<const ValueView> parameters) const {
        std::string edited(sql);
        for (const SqlEdit& edit : bug_.edits) {
            if (edit.kind == SqlEdit::Kind::kReplace && matches(edit, sql, parameters)) {
                edited = replace_all(std::move(edited), edit.part, edit.replacement);
            }
        }
        return edited;
    }

    const PlantedBug& bug_;
    std::unique_ptr<Connection> inner_;
    std::string owner_;
    std::int64_t epoch_ = 0;
    Timestamp stopped_at_{};
    int begins_stopped_ = 0;
};

class TamperedDatabase final : public Database {
public:
    TamperedDatabase(const PlantedBug& bug, Database& inner) : bug_(bug), inner_(inner) {}

    Result<std::unique_ptr<Connection>> connect(ConnectOptions options) override {
        INSTEP_TRY_ASSIGN(auto connection, inner_.connect(options));
        return std::make_unique<TamperedConnection>(bug_, std::move(connection));
    }
    [[nodiscard]] std::string_view display_url() const override { return inner_.display_url(); }

private:
    const PlantedBug& bug_;
    Database& inner_;
};

class TamperedBroker final : public test::PassingBroker {
public:
    TamperedBroker(const PlantedBug& bug, Broker& inner, Database& database)
        : PassingBroker(inner), bug_(bug), database_(database) {}

    Result<std::unique_ptr<Publisher>> publisher() override {
        INSTEP_TRY_ASSIGN(auto publisher, PassingBroker::publisher());
        return bug_.publisher ? bug_.publisher(std::move(publisher), database_)
                              : std::move(publisher);
    }

    Result<std::unique_ptr<Subscriber>> subscribe(SubscribeOptions options) override {
        INSTEP_TRY_ASSIGN(auto subscriber, PassingBroker::subscribe(std::move(options)));
        return bug_.subscriber ? bug_.subscriber(std::move(subscriber)) : std::move(subscriber);
    }

private:
    const PlantedBug& bug_;
    Database& database_;
};

}  // namespace

std::unique_ptr<Database> with_bug(const PlantedBug& bug, Database& database) {
    return std::make_unique<TamperedDatabase>(bug, database);
}

std::unique_ptr<Broker> with_bug(const PlantedBug& bug, Broker& broker, Database& database) {
    return std::make_unique<TamperedBroker>(bug, broker, database);
}

}  // namespace instep::simulation
