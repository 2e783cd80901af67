#include "instep/db/connection.hpp"

namespace instep {

std::int64_t Cursor::integer(std::size_t column) const {
    const ValueView value = at(column);
    const auto* number = std::get_if<std::int64_t>(&value);
    return number == nullptr ? 0 : *number;
}

std::string_view Cursor::text(std::size_t column) const {
    const ValueView value = at(column);
    const auto* text = std::get_if<std::string_view>(&value);
    return text == nullptr ? std::string_view() : *text;
}

std::string_view Cursor::blob(std::size_t column) const {
    const ValueView value = at(column);
    const auto* blob = std::get_if<BlobView>(&value);
    return blob == nullptr ? std::string_view() : blob->bytes;
}

bool Cursor::is_null(std::size_t column) const {
    return std::holds_alternative<std::monostate>(at(column));
}

}  // namespace instep
