#pragma once

#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"
#include "oids.hpp"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace instep::postgres {

/// The parameters of one statement as libpq takes them: texts with a zero byte behind, bytes
/// as they are, arrays in the wire's own form. Bytes are borrowed and must outlive this.
class Parameters {
public:
    /// Errors: kRejected for a text that holds a zero byte.
    Result<void> add(const ValueView& value);

    /// The values of one column as an array of `type`, one of those that oids.hpp names.
    /// Errors: kRejected for a value that the type does not hold; kUnsupported for another type.
    Result<void> add_array(ParameterRows rows, std::size_t column, Oid type);

    /// To be called when all are added.
    void finish();

    void clear();

    [[nodiscard]] int count() const noexcept { return static_cast<int>(formats_.size()); }
    [[nodiscard]] const char* const* values() const noexcept { return values_.data(); }
    [[nodiscard]] const int* lengths() const noexcept { return lengths_.data(); }
    [[nodiscard]] const int* formats() const noexcept { return formats_.data(); }

private:
    void place(std::size_t begin, int format);
    Result<void> add_text(std::string_view text);

    std::string buffer_;

    /// Where a parameter begins in buffer_; npos if values_ has it already.
    std::vector<std::size_t> begins_;
    std::vector<const char*> values_;
    std::vector<int> lengths_;
    std::vector<int> formats_;
};

}  // namespace instep::postgres
