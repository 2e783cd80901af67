#include "schema_changes.hpp"

namespace instep::cli {

std::size_t count_changes(std::span<const ServiceChanges> services) {
    std::size_t count = 0;
    for (const ServiceChanges& service : services) {
        count += service.changes.size();
    }
    return count;
}

JsonObject to_json(std::string_view schema, std::span<const ServiceChanges> services) {
    std::vector<JsonObject> objects;
    for (const ServiceChanges& service : services) {
        std::vector<JsonObject> changes;
        for (const SchemaChange& change : service.changes) {
            changes.push_back(JsonObject().text("summary", change.summary).text("sql", change.sql));
        }
        objects.push_back(
            JsonObject().text("service", service.service).objects("changes", changes));
    }
    return JsonObject(schema).number("count", count_changes(services)).objects("services", objects);
}

}  // namespace instep::cli
