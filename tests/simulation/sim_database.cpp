#include "tests/simulation/sim_database.hpp"

#include "instep/db/sqlite/database.hpp"
#include "instep/event/version.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace instep::simulation {

namespace {

constexpr const char* kVfsName = "instep-simulation";

/// What SQLite's 'now' reads.
const Clock* sqlite_clock = nullptr;

int current_time(sqlite3_vfs* /*vfs*/, sqlite3_int64* julian_ms) {
    constexpr sqlite3_int64 kUnixEpochInJulianMs = 210'866'760'000'000;
    *julian_ms = kUnixEpochInJulianMs + sqlite_clock->now().time_since_epoch().count() / 1000;
    return SQLITE_OK;
}

void register_vfs() {
    static const bool done = [] {
        static sqlite3_vfs vfs = *sqlite3_vfs_find(nullptr);
        vfs.zName = kVfsName;
        vfs.pNext = nullptr;
        vfs.xCurrentTimeInt64 = current_time;
        return sqlite3_vfs_register(&vfs, 0) == SQLITE_OK;
    }();
    if (!done) {
        throw std::runtime_error("the clock of SQLite cannot be replaced");
    }
}

sqlite3* open_handle() {
    register_vfs();
    sqlite3* handle = nullptr;
    const int code =
        sqlite3_open_v2(":memory:", &handle,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, kVfsName);
    if (code != SQLITE_OK) {
        throw std::runtime_error("no database in memory");
    }
    sqlite3_extended_result_codes(handle, 1);
    return handle;
}

bool writes(std::string_view sql) { return !sql.starts_with("SELECT"); }

class HandleDatabase final : public Database {
public:
    HandleDatabase(sqlite3* handle, const Clock& clock) : handle_(handle), clock_(clock) {}

    Result<std::unique_ptr<Connection>> connect(ConnectOptions /*options*/) override {
        return adopt_sqlite(handle_, clock_);
    }
    [[nodiscard]] std::string_view display_url() const override { return "sqlite:image"; }

private:
    sqlite3* handle_;
    const Clock& clock_;
};

std::string list(std::span<const ValueView> parameters) {
    std::string text;
    for (const ValueView& parameter : parameters) {
        text += "    ";
        if (const auto* integer = std::get_if<std::int64_t>(&parameter)) {
            text += fmt::format("{}", *integer);
        } else if (const auto* word = std::get_if<std::string_view>(&parameter)) {
            text += *word;
        } else if (const auto* blob = std::get_if<BlobView>(&parameter)) {
            const auto version = version_from_bytes(blob->bytes);
            text += version ? to_sequence(*version) : std::string(blob->bytes);
        } else {
            text += "NULL";
        }
    }
    return text;
}

std::unexpected<Error> unavailable() {
    return fail(ErrorCode::kUnavailable, "simulated: the database does not answer");
}

}  // namespace

DatabaseImage make_image(
    const std::function<Result<void>(Database& database, const Clock& clock)>& setup) {
    const VirtualClock clock;
    sqlite_clock = &clock;
    sqlite3* handle = open_handle();
    HandleDatabase database(handle, clock);
    if (auto done = setup(database, clock); !done) {
        throw std::runtime_error(done.error().message);
    }
    sqlite3_int64 size = 0;
    unsigned char* bytes = sqlite3_serialize(handle, "main", &size, 0);
    DatabaseImage image(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
    sqlite3_free(bytes);
    sqlite3_close_v2(handle);
    return image;
}

/// Ends its autocommit statement with its last row: until then nobody else may write.
class SimCursor final : public Cursor {
public:
    SimCursor(std::unique_ptr<Cursor> inner, std::shared_ptr<void> lock)
        : lock_(std::move(lock)), inner_(std::move(inner)) {}

    Result<bool> next() override { return inner_->next(); }
    [[nodiscard]] ValueView at(std::size_t column) const override { return inner_->at(column); }
    [[nodiscard]] std::size_t column_count() const override { return inner_->column_count(); }

private:
    std::shared_ptr<void> lock_;
    std::unique_ptr<Cursor> inner_;
};

class SimConnection final : public Connection {
public:
    SimConnection(SimDatabase& database, ConnectOptions options)
        : database_(database), chaos_(database.chaos_), patience_(options.lock_patience) {}
    ~SimConnection() override { rollback(); }

    Result<std::unique_ptr<Cursor>> query(std::string_view sql,
                                          std::span<const ValueView> parameters) override {
        return call(sql, parameters, [&]() -> Result<std::unique_ptr<Cursor>> {
            INSTEP_TRY_ASSIGN(auto cursor, inner().query(sql, parameters));
            return std::make_unique<SimCursor>(std::move(cursor),
                                               state_ == State::kIdle ? lock_ : nullptr);
        });
    }

    Result<std::int64_t> execute(std::string_view sql,
                                 std::span<const ValueView> parameters) override {
        return call(sql, parameters, [&] { return inner().execute(sql, parameters); });
    }

    Result<std::vector<std::int64_t>> execute_many(std::string_view sql,
                                                   ParameterRows rows) override {
        return call(sql, rows.values, [&] { return inner().execute_many(sql, rows); });
    }

    Result<void> execute_script(std::string_view sql) override {
        return call(sql, {}, [&] { return inner().execute_script(sql); });
    }

    Result<void> begin(TransactionMode mode) override {
        INSTEP_TRY(chaos_.enter_call());
        if (chaos_.strikes(&Faults::unavailable)) {
            return traced("begin", "", unavailable());
        }
        INSTEP_TRY(lock());
        if (auto begun = inner().begin(mode); !begun) {
            unlock();
            return traced("begin", "", std::move(begun));
        }
        state_ = State::kOpen;
        return traced("begin", "", Result<void>{});
    }

    Result<void> commit() override {
        INSTEP_TRY(chaos_.enter_step());
        INSTEP_TRY(check_not_broken());
        const bool unknown = chaos_.strikes(&Faults::commit_unknown);
        if (unknown && chaos_.random().below(2) == 0) {
            rollback();
            return traced("commit", "not done", unavailable());
        }
        if (auto committed = inner().commit(); !committed) {
            return traced("commit", "", std::move(committed));
        }
        database_.committed();
        state_ = State::kIdle;
        unlock();
        INSTEP_TRY(chaos_.may_crash());
        if (unknown) {
            return traced("commit", "done", unavailable());
        }
        return traced("commit", "", Result<void>{});
    }

    void rollback() noexcept override {
        if (state_ == State::kOpen) {
            inner().rollback();
            database_.written_.clear();
            unlock();
        }
        state_ = State::kIdle;
    }

    Result<std::uint64_t> change_token() override {
        INSTEP_TRY(chaos_.enter_call());
        return database_.commits_;
    }

    Result<Timestamp> now() override {
        INSTEP_TRY(chaos_.enter_step());
        INSTEP_TRY(check_not_broken());
        return chaos_.scheduler().clock().now();
    }

    [[nodiscard]] const Dialect& dialect() const override { return inner().dialect(); }

private:
    /// kBroken: an error like a lost connection has ended the transaction.
    enum class State : std::uint8_t { kIdle, kOpen, kBroken };

    [[nodiscard]] Connection& inner() const { return *database_.inner_; }

    template <class Outcome>
    Outcome traced(std::string_view what, std::string_view detail, Outcome outcome) {
        chaos_.scheduler().trace(what, detail, describe(outcome));
        return outcome;
    }

    Result<void> traced(std::string_view what, std::string_view detail,
                        std::unexpected<Error> outcome) {
        return traced(what, detail, Result<void>(std::move(outcome)));
    }

    template <class T>
    static std::string_view describe(const Result<T>& outcome) {
        return outcome ? "ok" : instep::to_string(outcome.error().code);
    }

    template <class Run>
    auto call(std::string_view sql, std::span<const ValueView> parameters, Run run)
        -> decltype(run()) {
        INSTEP_TRY(state_ == State::kIdle ? chaos_.enter_call() : chaos_.enter_step());
        INSTEP_TRY(check_not_broken());
        if (chaos_.strikes(&Faults::unavailable)) {
            break_transaction();
            return traced("sql", sql, decltype(run())(unavailable()));
        }
        const bool autocommit = state_ == State::kIdle;
        if (autocommit) {
            INSTEP_TRY(lock());
        }
        auto outcome = run();
        if (outcome && writes(sql)) {
            database_.note(sql);
        }
        if (chaos_.scheduler().keeps_text()) {
            chaos_.scheduler().note(list(parameters));
        }
        if (autocommit) {
            if (outcome && writes(sql)) {
                database_.committed();
            }
            unlock();
        }
        return traced(database_.name_, sql, std::move(outcome));
    }

    Result<void> check_not_broken() const {
        if (state_ == State::kBroken) {
            return fail(ErrorCode::kClosed, "an earlier error has ended the transaction");
        }
        return {};
    }

    /// As if the connection were lost: nothing of the transaction is kept.
    void break_transaction() {
        if (state_ == State::kOpen) {
            rollback();
            state_ = State::kBroken;
        }
    }

    /// Shared with the cursors of statements outside of transactions.
    Result<void> lock() {
        if (chaos_.strikes(&Faults::busy)) {
            return traced("lock", "", fail(ErrorCode::kBusy, "simulated: another writer"));
        }
        if (shared_lock_.expired()) {
            if (!database_.lock_.acquire(patience_)) {
                return traced("lock", "", fail(ErrorCode::kBusy, "another writer has the lock"));
            }
            Lock* held = &database_.lock_;
            lock_ = std::shared_ptr<void>(nullptr, [held](void*) { held->release(); });
            shared_lock_ = lock_;
        } else {
            lock_ = shared_lock_.lock();
        }
        return {};
    }

    void unlock() { lock_.reset(); }

    SimDatabase& database_;
    Chaos& chaos_;
    std::chrono::milliseconds patience_;
    State state_ = State::kIdle;
    std::shared_ptr<void> lock_;
    std::weak_ptr<void> shared_lock_;
};

SimDatabase::SimDatabase(std::string name, const DatabaseImage& image, Chaos& chaos)
    : name_(std::move(name)), chaos_(chaos), lock_(chaos.scheduler()), handle_(open_handle()) {
    sqlite_clock = &chaos.scheduler().clock();
    const auto size = static_cast<sqlite3_int64>(image.size());
    auto* copy = static_cast<unsigned char*>(sqlite3_malloc64(image.size()));
    std::ranges::copy(image, copy);
    sqlite3_deserialize(handle_.get(), "main", copy, size, size,
                        SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE);
    inner_ = std::move(*adopt_sqlite(handle_.get(), chaos.scheduler().clock()));
}

SimDatabase::~SimDatabase() = default;

Result<std::unique_ptr<Connection>> SimDatabase::connect(ConnectOptions options) {
    INSTEP_TRY(chaos_.enter_call());
    if (chaos_.strikes(&Faults::unavailable)) {
        return unavailable();
    }
    return std::make_unique<SimConnection>(*this, options);
}

void SimDatabase::meddle(std::string_view sql, std::initializer_list<ValueView> parameters) {
    if (auto done = inner_->execute(sql, parameters); !done) {
        throw std::runtime_error(done.error().message);
    }
}

void SimDatabase::note(std::string_view sql) { written_.emplace_back(sql); }

bool SimDatabase::touched(std::string_view table) const {
    return std::ranges::any_of(written_, [table](std::string_view sql) {
        return sql.find(table) != std::string_view::npos;
    });
}

void SimDatabase::committed() {
    ++commits_;
    if (observer_ && !written_.empty()) {
        observer_();
    }
    written_.clear();
}

}  // namespace instep::simulation
