// Ways to read the log that are widely used and wrong, to prove that the stress finds them out.
#pragma once

#include "instep/broker/broker.hpp"
#include "instep/db/database.hpp"
#include "instep/log/reader.hpp"

#include <cstdint>
#include <memory>

namespace instep::stress {

enum class BadReader : std::uint8_t {
    kSequence,   ///< Everything with a number above the last one.
    kXminFence,  ///< What is older than any open transaction, ordered by (transaction id, number).
};

/// A relay around such a reader: for one process, without a lease and without chances.
class BadRelay {
public:
    BadRelay(Database& database, Broker& broker, ChunkSource& chunks, BadReader reader);

    /// As Relay::run_once().
    Result<std::uint64_t> run_once();

private:
    std::unique_ptr<Connection> connection_;
    std::unique_ptr<Publisher> publisher_;
    std::unique_ptr<LogReader> reader_;
};

}  // namespace instep::stress
