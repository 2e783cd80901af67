#include "widening.hpp"

#include <array>
#include <charconv>
#include <cstdint>
#include <optional>

namespace instep::postgres {

namespace {

/// What a column may be as long as it has no limit.
constexpr std::int64_t kUnlimited = INT64_MAX;

/// "numeric(10,2)" is {"numeric", 10, 2}. What is not declared has no limit.
struct Type {
    std::string_view name;
    std::int64_t size = kUnlimited;
    std::int64_t decimals = 0;
};

/// Nothing for types whose modifier stands in their middle, such as "timestamp(3) with time zone".
std::optional<Type> read_type(std::string_view text) {
    const std::size_t open = text.find('(');
    Type type{text.substr(0, open)};
    if (open == std::string_view::npos) {
        return type;
    }
    const char* const end = text.data() + text.size();
    const auto size = std::from_chars(text.data() + open + 1, end, type.size);
    const char* at = size.ptr;
    if (at != end && *at == ',') {
        at = std::from_chars(at + 1, end, type.decimals).ptr;
    }
    return at + 1 == end && *at == ')' ? std::optional(type) : std::nullopt;
}

struct Integer {
    std::string_view name;
    std::int64_t digits;
};

constexpr std::array kIntegers = {Integer{"smallint", 5}, Integer{"integer", 10},
                                  Integer{"bigint", 19}};

/// The place among integers, narrowest first; nothing for other types.
std::optional<std::size_t> integer_rank(std::string_view name) {
    for (std::size_t rank = 0; rank < kIntegers.size(); ++rank) {
        if (kIntegers[rank].name == name) {
            return rank;
        }
    }
    return std::nullopt;
}

bool numeric_holds(const Type& to, std::int64_t whole_digits, std::int64_t decimals) {
    return to.name == "numeric" &&
           (to.size == kUnlimited ||
            (to.size - to.decimals >= whole_digits && to.decimals >= decimals));
}

}  // namespace

bool widens(std::string_view from_text, std::string_view to_text) {
    const std::optional<Type> from = read_type(from_text);
    const std::optional<Type> to = read_type(to_text);
    if (!from || !to || from_text == to_text) {
        return false;
    }
    if (const auto rank = integer_rank(from->name)) {
        const auto wider = integer_rank(to->name);
        return wider ? *wider > *rank : numeric_holds(*to, kIntegers[*rank].digits, 0);
    }
    if (from->name == "numeric") {
        return from->size == kUnlimited
                   ? false
                   : numeric_holds(*to, from->size - from->decimals, from->decimals);
    }
    if (from->name == "real") {
        return to->name == "double precision";
    }
    if (from->name == "character varying") {
        return to->name == "text" || (to->name == from->name && to->size > from->size);
    }
    return false;
}

}  // namespace instep::postgres
