// Attempts at events within one transaction, of which a failed one leaves nothing behind.
#pragma once

#include "workplace.hpp"

#include <span>

namespace instep {

/// For one thread at a time. Borrows the workplace and the transaction. Whoever writes to the
/// transaction between two attempts calls end() before, for a later attempt that fails would take
/// that back too.
class Attempts {
public:
    Attempts(Workplace& work, Transaction& transaction) : work_(work), transaction_(transaction) {}

    /// Applies all of the events or none. Errors: the handler's, after which the transaction goes
    /// on; those of Connection, after which it does not.
    Result<ApplyCounts> apply(std::span<const Event* const> events);

    Result<void> end();

private:
    Workplace& work_;
    Transaction& transaction_;

    /// The savepoint stands, with nothing behind it.
    bool is_safe_ = false;
};

}  // namespace instep
