#include "attribute_checks.hpp"
#include "instep/base/bytes.hpp"
#include "instep/event/cloudevents.hpp"
#include "instep/event/json_writer.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <utility>

namespace instep {

namespace {

namespace ondemand = simdjson::ondemand;
using simdjson::error_code;

constexpr std::string_view kBlanks = " \t\n\r";
constexpr std::size_t kNameShownMax = 64;

std::string_view trim_end(std::string_view text) {
    const auto last = text.find_last_not_of(kBlanks);
    return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

std::string_view take_digits(std::string_view text) {
    return text.substr(std::min(text.find_first_not_of("0123456789"), text.size()));
}

/// The grammar of RFC 8259, because the reader's own numbers end at 64 bits.
bool is_number(std::string_view text) {
    if (text.starts_with('-')) {
        text.remove_prefix(1);
    }
    std::string_view rest = take_digits(text);
    const std::size_t digits = text.size() - rest.size();
    if (digits == 0 || (digits > 1 && text[0] == '0')) {
        return false;
    }
    if (rest.starts_with('.')) {
        const std::string_view decimals = rest.substr(1);
        rest = take_digits(decimals);
        if (rest.size() == decimals.size()) {
            return false;
        }
    }
    if (rest.starts_with('e') || rest.starts_with('E')) {
        std::string_view exponent = rest.substr(1);
        if (exponent.starts_with('+') || exponent.starts_with('-')) {
            exponent.remove_prefix(1);
        }
        rest = take_digits(exponent);
        return !exponent.empty() && rest.empty();
    }
    return rest.empty();
}

bool is_integer(std::string_view number) {
    return number.find_first_of(".eE") == std::string_view::npos;
}

/// Reads the value to its end and so proves that it is JSON; ondemand alone would skip it
/// by its brackets.
error_code check_value(ondemand::value value, std::size_t depth);

error_code check_object(ondemand::object object, std::size_t depth) {
    for (auto item : object) {
        ondemand::field field;
        std::string_view key;
        if (const error_code error = std::move(item).get(field)) {
            return error;
        }
        if (const error_code error = field.unescaped_key().get(key)) {
            return error;
        }
        if (const error_code error = check_value(field.value(), depth)) {
            return error;
        }
    }
    return simdjson::SUCCESS;
}

error_code check_array(ondemand::array array, std::size_t depth) {
    for (auto item : array) {
        ondemand::value value;
        if (const error_code error = item.get(value)) {
            return error;
        }
        if (const error_code error = check_value(value, depth)) {
            return error;
        }
    }
    return simdjson::SUCCESS;
}

error_code check_scalar(ondemand::value& value, ondemand::json_type type) {
    const std::string_view token = trim_end(value.raw_json_token());
    if (type == ondemand::json_type::string) {
        std::string_view text;
        return value.get_string().get(text);
    }
    const bool valid = type == ondemand::json_type::number
                           ? is_number(token)
                           : token == "true" || token == "false" || token == "null";
    return valid ? simdjson::SUCCESS : simdjson::TAPE_ERROR;
}

error_code check_value(ondemand::value value, std::size_t depth) {
    ondemand::json_type type{};
    if (const error_code error = value.type().get(type)) {
        return error;
    }
    if (type == ondemand::json_type::object) {
        ondemand::object object;
        if (const error_code error = value.get_object().get(object)) {
            return error;
        }
        return depth == 0 ? simdjson::DEPTH_ERROR : check_object(object, depth - 1);
    }
    if (type == ondemand::json_type::array) {
        ondemand::array array;
        if (const error_code error = value.get_array().get(array)) {
            return error;
        }
        return depth == 0 ? simdjson::DEPTH_ERROR : check_array(array, depth - 1);
    }
    return check_scalar(value, type);
}

/// One value as it stands in the text and, for a string, unescaped.
struct JsonText {
    std::string_view raw;
    std::optional<std::string_view> unescaped;
};

/// Reads one JSON text. The text is read as the only element of an array, which makes
/// scalars, containers and rubbish behind them the same case.
class JsonReader {
public:
    explicit JsonReader(std::string_view text) {
        text_.reserve(text.size() + 2 + simdjson::SIMDJSON_PADDING);
        text_.append(1, '[').append(text).append(1, ']');
    }

    /// Calls `visit` with the value that the whole text is; `visit` must read it to its end.
    template <class Visit>
    Result<void> read(Visit visit) {
        if (const error_code error = parser_.iterate(text_).get(document_)) {
            return fail(ErrorCode::kInvalidArgument,
                        fmt::format("not JSON: {}", simdjson::error_message(error)));
        }
        ondemand::array array;
        if (const error_code error = document_.get_array().get(array)) {
            return broken(error);
        }
        bool found = false;
        for (auto item : array) {
            ondemand::value value;
            if (const error_code error = item.get(value)) {
                return broken(error);
            }
            if (std::exchange(found, true)) {
                return broken(simdjson::TAPE_ERROR);
            }
            INSTEP_TRY(visit(value));
        }
        const bool at_end = document_.current_location().error() == simdjson::OUT_OF_BOUNDS;
        if (!found || !at_end) {
            return fail(ErrorCode::kInvalidArgument, "not JSON: there is not exactly one value");
        }
        return {};
    }

    /// Reads to the end of the value. The result lives as long as the reader.
    Result<JsonText> text(ondemand::value value) {
        const std::string_view token = value.raw_json_token();
        if (token.starts_with('"')) {
            std::string_view unescaped;
            if (const error_code error = value.get_string().get(unescaped)) {
                return broken(error);
            }
            return JsonText{trim_end(token), unescaped};
        }
        if (const error_code error = check_value(value, kEventJsonDepthMax)) {
            return broken(error);
        }
        if (!token.starts_with('{') && !token.starts_with('[')) {
            return JsonText{trim_end(token), std::nullopt};
        }
        const char* end = nullptr;
        if (const error_code error = document_.current_location().get(end)) {
            return broken(error);
        }
        const std::string_view raw(token.data(), static_cast<std::size_t>(end - token.data()));
        return JsonText{trim_end(raw), std::nullopt};
    }

    /// For errors of what read() handed out.
    std::unexpected<Error> broken(error_code error) {
        if (error == simdjson::DEPTH_ERROR) {
            return fail(ErrorCode::kLimitExceeded,
                        fmt::format("JSON is nested deeper than {} levels", kEventJsonDepthMax));
        }
        const char* place = text_.data();
        if (document_.current_location().get(place) != simdjson::SUCCESS) {
            place = text_.data() + text_.size();
        }
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("not JSON at or before byte {}: {}", place - text_.data(),
                                simdjson::error_message(error)));
    }

private:
    std::string text_;
    ondemand::parser parser_;
    ondemand::document document_;
};

bool is_json(std::string_view text) {
    JsonReader reader(text);
    const Result<void> read = reader.read([&](ondemand::value value) -> Result<void> {
        INSTEP_TRY(reader.text(value));
        return {};
    });
    return read.has_value();
}

/// "application/json", "application/problem+json; charset=utf-8" and their like.
bool names_json(std::string_view content_type) {
    std::string media_type(trim_end(content_type.substr(0, content_type.find(';'))));
    std::ranges::transform(media_type, media_type.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return media_type.ends_with("/json") || media_type.ends_with("+json");
}

/// What one event object holds, before the attributes are understood.
struct Envelope {
    std::vector<Attribute> attributes;
    std::optional<JsonText> data;
    std::optional<std::string> decoded_data;
};

Result<std::string> attribute_text(const JsonText& value) {
    if (value.unescaped) {
        return std::string(*value.unescaped);
    }
    const bool boolean = value.raw == "true" || value.raw == "false";
    const bool integer = is_number(value.raw) && is_integer(value.raw);
    if (!boolean && !integer) {
        return fail(ErrorCode::kInvalidArgument, "the value is no string, integer or boolean");
    }
    return std::string(value.raw);
}

Result<void> read_member(std::string_view name, const JsonText& value, Envelope& envelope) {
    const bool is_data = name == "data" || name == "data_base64";
    if (is_data && (envelope.data || envelope.decoded_data)) {
        return fail(ErrorCode::kInvalidArgument, "the event has data already");
    }
    if (name == "data") {
        envelope.data = value;
        return {};
    }
    // CloudEvents lets producers write what is not set as null.
    if (value.raw == "null") {
        return {};
    }
    INSTEP_TRY_ASSIGN(std::string text, attribute_text(value));
    if (is_data) {
        INSTEP_TRY_ASSIGN(envelope.decoded_data, from_base64(text));
        return {};
    }
    if (envelope.attributes.size() == detail::kAttributesMax) {
        return fail(ErrorCode::kLimitExceeded,
                    fmt::format("more than {} attributes", detail::kAttributesMax));
    }
    envelope.attributes.emplace_back(name, std::move(text));
    return {};
}

Result<Envelope> read_envelope(JsonReader& reader, ondemand::value value) {
    ondemand::object object;
    if (value.get_object().get(object) != simdjson::SUCCESS) {
        return fail(ErrorCode::kInvalidArgument, "an event must be a JSON object");
    }
    Envelope envelope;
    for (auto item : object) {
        ondemand::field field;
        std::string_view name;
        if (const error_code error = std::move(item).get(field)) {
            return reader.broken(error);
        }
        if (const error_code error = field.unescaped_key().get(name)) {
            return reader.broken(error);
        }
        INSTEP_TRY_ASSIGN(const JsonText member, reader.text(field.value()));
        if (auto read = read_member(name, member, envelope); !read) {
            return fail_in(fmt::format("member {:?}", name.substr(0, kNameShownMax)),
                           std::move(read).error());
        }
    }
    return envelope;
}

Result<Event> read_event(JsonReader& reader, ondemand::value value) {
    INSTEP_TRY_ASSIGN(Envelope envelope, read_envelope(reader, value));
    INSTEP_TRY_ASSIGN(Event event, from_attributes(envelope.attributes,
                                                   std::move(envelope.decoded_data).value_or("")));
    if (envelope.data) {
        const bool is_text = envelope.data->unescaped && !names_json(event.content_type);
        event.data = is_text ? *envelope.data->unescaped : envelope.data->raw;
        INSTEP_TRY(detail::check_totals(event));
    }
    return event;
}

Result<void> check_size(std::string_view text) {
    if (text.size() > kEventJsonBytesMax) {
        return fail(ErrorCode::kLimitExceeded, fmt::format("{} bytes of JSON; the limit is {}",
                                                           text.size(), kEventJsonBytesMax));
    }
    return {};
}

void append_event(std::string& out, const Event& event) {
    char separator = '{';
    for (const auto& [name, text] : to_attributes(event)) {
        out.push_back(std::exchange(separator, ','));
        append_json_string(out, name);
        out.push_back(':');
        append_json_string(out, text);
    }
    if (!event.data.empty()) {
        // Blanks around the value would be lost to the reader.
        const bool trimmed = kBlanks.find(event.data.front()) == std::string_view::npos &&
                             kBlanks.find(event.data.back()) == std::string_view::npos;
        if (trimmed && names_json(event.content_type) && is_json(event.data)) {
            out.append(R"(,"data":)").append(event.data);
        } else {
            out.append(R"(,"data_base64":")").append(to_base64(event.data)).append(1, '"');
        }
    }
    out.push_back('}');
}

}  // namespace

std::string to_json(const Event& event) {
    std::string out;
    append_event(out, event);
    return out;
}

std::string to_json_batch(std::span<const Event> events) {
    std::string out = "[";
    for (const Event& event : events) {
        if (out.size() > 1) {
            out.push_back(',');
        }
        append_event(out, event);
    }
    out.push_back(']');
    return out;
}

Result<Event> from_json(std::string_view text) {
    INSTEP_TRY(check_size(text));
    JsonReader reader(text);
    Event event;
    INSTEP_TRY(reader.read([&](ondemand::value value) -> Result<void> {
        INSTEP_TRY_ASSIGN(event, read_event(reader, value));
        return {};
    }));
    return event;
}

Result<std::vector<Event>> from_json_batch(std::string_view text) {
    INSTEP_TRY(check_size(text));
    JsonReader reader(text);
    std::vector<Event> events;
    INSTEP_TRY(reader.read([&](ondemand::value value) -> Result<void> {
        ondemand::array array;
        if (value.get_array().get(array) != simdjson::SUCCESS) {
            return fail(ErrorCode::kInvalidArgument, "a batch must be a JSON array");
        }
        for (auto item : array) {
            ondemand::value element;
            if (const error_code error = item.get(element)) {
                return reader.broken(error);
            }
            if (events.size() == kEventJsonBatchMax) {
                return fail(ErrorCode::kLimitExceeded,
                            fmt::format("more than {} events in a batch", kEventJsonBatchMax));
            }
            auto event = read_event(reader, element);
            if (!event) {
                return fail_in(fmt::format("event {} of the batch", events.size() + 1),
                               std::move(event).error());
            }
            events.push_back(*std::move(event));
        }
        return {};
    }));
    return events;
}

}  // namespace instep
