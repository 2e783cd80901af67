// Events of every shape that validate() lets through, for the round trips of both encodings.
#pragma once

#include "instep/base/random.hpp"
#include "instep/event/event.hpp"

#include <array>
#include <string>
#include <string_view>

namespace instep::test {

inline std::string random_text(Random& random, std::size_t characters_min) {
    static constexpr std::array<std::string_view, 12> kPieces = {"a",
                                                                 "Z",
                                                                 "0",
                                                                 "\"",
                                                                 "\\",
                                                                 "/",
                                                                 " ",
                                                                 "ä",
                                                                 "€",
                                                                 "\xE2\x80\xA8",
                                                                 "\xF0\x9F\x98\x80",
                                                                 "\xF4\x8F\xBF\xBF"};
    std::string text;
    for (std::size_t left = characters_min + random.below(12); left > 0; --left) {
        text.append(kPieces.at(random.below(kPieces.size())));
    }
    return text;
}

inline std::string random_data(Random& random) {
    static constexpr std::array<std::string_view, 9> kJson = {
        R"({"id":1,"name":"\u00e4\n\"","list":[1.50,-0,1e400,{}],"deep":{"a":[[]]}})",
        "{ \"spaced\" :\t[ 1 ,\n2 ] }",
        "123456789012345678901234567890",
        "null",
        "\"text\"",
        "[]",
        " {} ",
        "{\"broken\":",
        "1,\"injected\":2"};
    if (random.below(2) == 0) {
        return std::string(kJson.at(random.below(kJson.size())));
    }
    std::string bytes;
    for (std::size_t left = random.below(40); left > 0; --left) {
        bytes.push_back(static_cast<char>(random.below(256)));
    }
    return bytes;
}

inline Event random_event(Random& random) {
    static constexpr std::array<std::string_view, 4> kTypes = {
        "application/json", "text/plain", "application/octet-stream",
        "Application/Problem+JSON ; charset=utf-8"};
    const auto maybe = [&] { return random.below(2) == 0; };
    const auto maybe_text = [&] { return maybe() ? random_text(random, 0) : std::string(); };
    Event event;
    event.id = random_text(random, 1);
    event.source = random_text(random, 1);
    event.type = random_text(random, 1);
    event.key = random_text(random, 1);
    event.time = Timestamp{std::chrono::microseconds{random.below(4'000'000'000'000'000)}};
    event.version = {static_cast<std::uint32_t>(random.next()), random.next(),
                     static_cast<std::uint32_t>(random.next())};
    event.incarnation = maybe() ? random.next() : 0;
    event.operation = static_cast<Operation>(random.below(5));
    event.stream = maybe_text();
    event.stream_version = maybe() ? random.next() >> random.below(64) : 0;
    event.content_type = kTypes.at(random.below(kTypes.size()));
    event.schema = maybe_text();
    event.correlation_id = maybe_text();
    event.causation_id = maybe_text();
    event.trace_parent = maybe_text();
    for (std::size_t i = random.below(4); i > 0; --i) {
        event.extensions.emplace_back("ext" + std::to_string(i), random_text(random, 0));
    }
    if (maybe()) {
        event.extensions.emplace_back("subject", event.key + "/other");
    }
    event.data = random_data(random);
    return event;
}

}  // namespace instep::test
