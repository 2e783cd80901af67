#pragma once

#include "instep/db/database.hpp"
#include "instep/log/reader.hpp"

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace instep::test {

/// The value; throws std::runtime_error with the message if there is none.
template <class T>
T expect_value(Result<T> result) {
    if (!result) {
        throw std::runtime_error(result.error().message);
    }
    if constexpr (!std::is_void_v<T>) {
        return std::move(*result);
    }
}

/// A reader of a log named "test", and the connection that it reads on.
class LogReading {
public:
    struct Options {
        Partition partition{};
        std::uint32_t rows_max = 1000;
        std::string name = "test";

        /// take() moves the cursor behind what it returns with the next one, or by settle().
        bool late = false;

        /// As LogReaderOptions::wants_boundaries.
        bool wants_boundaries = false;
    };
    LogReading(Database& database, Options options)
        : connection_(expect_value(database.connect())), late_(options.late) {
        LogReaderOptions reader;
        reader.name = options.name;
        reader.service = "iam";
        reader.partition = options.partition;
        reader.rows_max = options.rows_max;
        reader.wants_boundaries = options.wants_boundaries;
        reader_ = expect_value(LogReader::open(*connection_, reader, nullptr));
    }
    explicit LogReading(Database& database) : LogReading(database, Options{}) {}

    Result<LogBatch> try_read() { return reader_->read(*connection_); }
    LogBatch read() { return expect_value(try_read()); }

    Result<void> try_confirm(const LogBatch& batch, std::size_t count) {
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(*connection_, TransactionMode::kWrite));
        INSTEP_TRY(reader_->confirm(transaction, batch, count));
        return transaction.commit();
    }
    void confirm(const LogBatch& batch, std::size_t count) {
        expect_value(try_confirm(batch, count));
    }

    /// What is new, and done with.
    LogBatch take_batch() {
        LogBatch batch = done_ ? advance(*std::exchange(done_, std::nullopt)) : read();
        if (batch.moves_cursor) {
            done_ = batch;
        }
        if (!late_) {
            settle();
        }
        return batch;
    }

    /// The same as "key=data".
    std::vector<std::string> take() {
        std::vector<std::string> texts;
        for (const TopicEvent& next : take_batch().events) {
            texts.push_back(fmt::format("{}={}", next.event.key, next.event.data));
        }
        return texts;
    }

    void settle() {
        if (done_) {
            confirm(*done_, done_->events.size());
            done_.reset();
        }
    }

    Result<LogBatch> try_advance(const LogBatch& done, const Result<void>& allowed = {}) {
        return reader_->advance(*connection_, done, [&](Transaction&) { return allowed; });
    }
    LogBatch advance(const LogBatch& done) { return expect_value(try_advance(done)); }

    /// The same until nothing is left.
    std::vector<std::string> take_all() {
        std::vector<std::string> all;
        for (auto texts = take(); !texts.empty(); texts = take()) {
            all.insert(all.end(), texts.begin(), texts.end());
        }
        return all;
    }

private:
    std::unique_ptr<Connection> connection_;
    std::unique_ptr<LogReader> reader_;
    const bool late_;
    std::optional<LogBatch> done_;
};

}  // namespace instep::test
