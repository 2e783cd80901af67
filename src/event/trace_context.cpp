#include "instep/event/trace_context.hpp"

#include <fmt/format.h>

#include <charconv>

namespace instep {

namespace {

// version "-" trace id "-" span id "-" flags, as https://www.w3.org/TR/trace-context/ has it.
constexpr std::size_t kVersionDigits = 2;
constexpr std::size_t kTraceStart = 3;
constexpr std::size_t kSpanStart = 36;
constexpr std::size_t kFlagsStart = 53;
constexpr std::size_t kLength = 55;
constexpr std::uint64_t kSampledFlag = 1;
constexpr std::uint64_t kForbiddenVersion = 0xFF;

/// Upper-case digits are forbidden, so that ids compare as text.
bool read_hex(std::string_view digits, std::uint64_t& value) {
    if (digits.find_first_not_of("0123456789abcdef") != std::string_view::npos) {
        return false;
    }
    std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    return true;
}

std::uint64_t nonzero(Random& random) {
    std::uint64_t value = random.next();
    while (value == 0) {
        value = random.next();
    }
    return value;
}

}  // namespace

std::string trace_id(const TraceContext& context) {
    return fmt::format("{:016x}{:016x}", context.trace_high, context.trace_low);
}

std::string to_trace_parent(const TraceContext& context) {
    return fmt::format("00-{}-{:016x}-{:02x}", trace_id(context), context.span,
                       context.sampled ? kSampledFlag : 0);
}

Result<TraceContext> parse_trace_parent(std::string_view text) {
    const auto unreadable = [text] {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("\"{}\" is not a W3C traceparent", text));
    };
    if (text.size() < kLength || text[kTraceStart - 1] != '-' || text[kSpanStart - 1] != '-' ||
        text[kFlagsStart - 1] != '-') {
        return unreadable();
    }
    TraceContext context;
    std::uint64_t version = 0;
    std::uint64_t flags = 0;
    if (!read_hex(text.substr(0, kVersionDigits), version) ||
        !read_hex(text.substr(kTraceStart, 16), context.trace_high) ||
        !read_hex(text.substr(kTraceStart + 16, 16), context.trace_low) ||
        !read_hex(text.substr(kSpanStart, 16), context.span) ||
        !read_hex(text.substr(kFlagsStart, 2), flags)) {
        return unreadable();
    }
    const bool longer = text.size() > kLength;
    if (version == kForbiddenVersion || (longer && (version == 0 || text[kLength] != '-')) ||
        (context.trace_high == 0 && context.trace_low == 0) || context.span == 0) {
        return unreadable();
    }
    context.sampled = (flags & kSampledFlag) != 0;
    return context;
}

TraceContext start_trace(Random& random) {
    return {.trace_high = random.next(), .trace_low = nonzero(random), .span = nonzero(random)};
}

TraceContext child_of(const TraceContext& parent, Random& random) {
    TraceContext child = parent;
    child.span = nonzero(random);
    return child;
}

}  // namespace instep
