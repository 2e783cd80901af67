#include "topic_owner.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::direct {

std::string_view service_of(std::string_view topic) { return topic.substr(0, topic.find('.')); }

Result<const DirectOwner*> owner_of(std::span<const DirectOwner> owners, std::string_view topic) {
    const auto found = std::ranges::find(owners, service_of(topic), &DirectOwner::service);
    if (found == owners.end()) {
        return fail(ErrorCode::kNotFound,
                    fmt::format("topic {} is read in the database of {}, which is not known here; "
                                "name its service file in `broker = \"direct:FILE\"`, or give it "
                                "to the same command",
                                topic, service_of(topic)));
    }
    return &*found;
}

Result<std::string> reader_name(const SubscriptionName& name) {
    if (name.topic.empty() || name.subscription.empty() || name.topic.contains('/')) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("subscription \"{}\" to topic \"{}\": both need a name, and the "
                                "topic's may hold no '/'",
                                name.subscription, name.topic));
    }
    return fmt::format("{}{}/{}", kDirectReaderPrefix, name.topic, name.subscription);
}

std::optional<SubscriptionName> parse_reader_name(std::string_view reader) {
    if (!reader.starts_with(kDirectReaderPrefix)) {
        return std::nullopt;
    }
    reader.remove_prefix(kDirectReaderPrefix.size());
    const std::size_t end = reader.find('/');
    if (end == std::string_view::npos) {
        return std::nullopt;
    }
    return SubscriptionName{std::string(reader.substr(0, end)),
                            std::string(reader.substr(end + 1))};
}

}  // namespace instep::direct
