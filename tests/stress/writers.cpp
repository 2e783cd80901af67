#include "tests/stress/writers.hpp"

#include "instep/base/random.hpp"
#include "tests/support/postgres_session.hpp"

#include <fmt/format.h>

#include <exception>
#include <stdexcept>

namespace instep::stress {

namespace {

class Writer {
public:
    Writer(const WriterOptions& options, int number)
        : session_(options.url),
          random_(options.seed * 1000 + static_cast<std::uint64_t>(number)),
          keys_(static_cast<std::uint64_t>(options.keys)),
          number_(number) {}

    /// A statement that fails, with a deadlock or a key that is taken, ends it.
    void run_transaction() {
        try {
            session_.run("BEGIN");
            take_id_early();
            const std::uint64_t changes = 1 + random_.below(4);
            for (std::uint64_t i = 0; i < changes; ++i) {
                change_within_savepoint();
            }
            pause(6, 200);
            session_.run(random_.below(10) == 0 ? "ROLLBACK" : "COMMIT");
        } catch (const std::runtime_error&) {
            session_.run("ROLLBACK");
        }
    }

private:
    void take_id_early() {
        switch (random_.below(4)) {
            case 0:
                session_.run("SELECT pg_current_xact_id()");
                break;
            case 1:
                session_.run(fmt::format("INSERT INTO other VALUES ({}, {})", number_, ++written_));
                break;
            default:
                return;
        }
        pause(4, 40);
    }

    void change_within_savepoint() {
        const std::uint64_t kind = random_.below(8);
        if (kind > 1) {
            change();
            return;
        }
        session_.run("SAVEPOINT s");
        change();
        session_.run(kind == 0 ? "ROLLBACK TO s" : "RELEASE s");
    }

    void change() {
        const std::uint64_t one = key();
        const std::uint64_t two = key();
        const std::uint64_t value =
            static_cast<std::uint64_t>(number_) * 1'000'000'000 + ++written_;
        switch (random_.below(10)) {
            case 0:
            case 1:
                session_.run(fmt::format("DELETE FROM items WHERE id = {}", one));
                return;
            case 2:
                session_.run(
                    fmt::format("UPDATE items SET id = {0}, v = {1} WHERE id = {2} AND NOT EXISTS "
                                "(SELECT 1 FROM items WHERE id = {0})",
                                one, value, two));
                return;
            case 3:
                session_.run(fmt::format(
                    "UPDATE items SET v = {} + id, note = 'many' WHERE id BETWEEN {} AND {}", value,
                    one, one + 3));
                return;
            default:
                session_.run(fmt::format(
                    "INSERT INTO items VALUES ({0}, {1}, 'by {2}') ON CONFLICT (id) DO UPDATE "
                    "SET v = excluded.v, note = excluded.note",
                    one, value, number_));
        }
    }

    /// One time in `chance`, for up to so many milliseconds.
    void pause(std::uint64_t chance, std::uint64_t milliseconds_max) {
        if (random_.below(chance) == 0) {
            session_.run(
                fmt::format("SELECT pg_sleep({}e-3)", 1 + random_.below(milliseconds_max)));
        }
    }

    std::uint64_t key() { return 1 + random_.below(keys_); }

    test::PostgresSession session_;
    SeededRandom random_;
    const std::uint64_t keys_;
    const int number_;
    std::uint64_t written_ = 0;
};

}  // namespace

Writers::Writers(const WriterOptions& options) {
    for (int i = 1; i <= options.writers; ++i) {
        threads_.emplace_back([this, options, i](const std::stop_token& stop) {
            Writer writer(options, i);
            while (!stop.stop_requested()) {
                writer.run_transaction();
                ++transactions_;
            }
        });
    }
}

void Writers::stop() {
    for (std::jthread& thread : threads_) {
        thread.request_stop();
    }
    threads_.clear();
}

}  // namespace instep::stress
