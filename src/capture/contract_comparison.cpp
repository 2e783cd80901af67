#include "instep/capture/contract_schema.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <set>

namespace instep {

namespace {

using Json = nlohmann::json;

using Names = std::set<std::string>;

/// A schema's `type`: one word, or several. A schema without it allows everything.
Names types_of(const Json& schema) {
    static const Names kAll = {"array", "boolean", "null", "number", "object", "string"};
    const auto type = schema.find("type");
    if (type == schema.end()) {
        return kAll;
    }
    return type->is_string() ? Names{type->get<std::string>()} : type->get<Names>();
}

Names required_of(const Json& schema) { return schema.value("required", Names{}); }

Json member_of(const Json& schema, const char* name) { return schema.value(name, Json::object()); }

/// Of `types`, what `others` does not allow.
Names beyond(const Names& types, const Names& others) {
    Names left;
    for (const std::string& type : types) {
        if (!others.contains(type) && !(type == "integer" && others.contains("number"))) {
            left.insert(type);
        }
    }
    return left;
}

std::string words_of(const Names& types) { return fmt::format("{}", fmt::join(types, " or ")); }

class Comparison {
public:
    Result<void> compare_documents(const Json& older, const Json& newer) {
        const Json old_types = older.at("$defs");
        const Json new_types = newer.at("$defs");
        for (const auto& [type, schema] : old_types.items()) {
            type_ = type;
            if (!new_types.contains(type)) {
                note("", "no longer published", Breaks::kReaders, "readers wait for it in vain");
                continue;
            }
            INSTEP_TRY(compare_event(schema, new_types.at(type)));
        }
        for (const auto& [type, schema] : new_types.items()) {
            type_ = type;
            if (!old_types.contains(type)) {
                note("", "published now", Breaks::kNobody, "");
            }
        }
        return {};
    }

    std::vector<ContractDifference> take() {
        std::ranges::stable_sort(differences_, [](const auto& a, const auto& b) {
            return a.breaks != Breaks::kNobody && b.breaks == Breaks::kNobody;
        });
        return std::move(differences_);
    }

private:
    /// A field where it stands.
    struct Placed {
        const Json& schema;
        bool required = false;
    };

    Result<void> compare_event(const Json& older, const Json& newer) {
        const std::string old_topic = older.value("x-topic", "");
        const std::string new_topic = newer.value("x-topic", "");
        if (old_topic != new_topic) {
            note("", fmt::format("goes to topic {} instead of {}", new_topic, old_topic),
                 Breaks::kReaders, "readers of the old topic do not get it");
        }
        const Json old_key = member_of(older, "x-key");
        const Json new_key = member_of(newer, "x-key");
        if (old_key != new_key) {
            note("", fmt::format("has the key {} instead of {}", new_key.dump(), old_key.dump()),
                 Breaks::kReaders, "what readers keep by the old key is not found by the new one");
        }
        // That of a table counts its changes, each of which is compared here.
        const std::string old_schema = older.value("x-dataschema", "");
        const std::string new_schema = newer.value("x-dataschema", "");
        if (old_schema != new_schema && old_key.empty()) {
            note("", fmt::format("has the schema \"{}\" instead of \"{}\"", new_schema, old_schema),
                 Breaks::kReaders,
                 "programs that know only the old one set its events aside until they know both");
        }
        return compare_values("", older, newer, 0);
    }

    Result<void> compare_values(const std::string& field, const Json& older, const Json& newer,
                                int depth) {
        if (depth > kContractDepthMax) {
            return fail(ErrorCode::kLimitExceeded,
                        fmt::format("the data of {} is nested deeper than {} levels", type_,
                                    kContractDepthMax));
        }
        const Names old_types = types_of(older);
        const Names new_types = types_of(newer);
        note_types(field, beyond(new_types, old_types), beyond(old_types, new_types));
        note_annotations(field, older, newer);
        INSTEP_TRY(compare_fields(field, older, newer, depth));
        if (older.contains("items") && newer.contains("items")) {
            return compare_values(field + "[]", older.at("items"), newer.at("items"), depth + 1);
        }
        return {};
    }

    void note_types(const std::string& field, Names gained, Names lost) {
        if (gained.erase("null") > 0) {
            note(field, "may be null now", Breaks::kReaders, "readers rely on a value");
        }
        if (lost.erase("null") > 0) {
            note(field, "can no longer be null", Breaks::kPast,
                 "events from before may have null there");
        }
        if (!gained.empty()) {
            note(field, fmt::format("may be {} now", words_of(gained)), Breaks::kReaders,
                 "readers do not expect that");
        }
        if (!lost.empty()) {
            note(field, fmt::format("can no longer be {}", words_of(lost)), Breaks::kPast,
                 "events from before may have that there");
        }
    }

    void note_annotations(const std::string& field, const Json& older, const Json& newer) {
        const std::string old_type = older.value("x-column-type", "");
        const std::string new_type = newer.value("x-column-type", "");
        if (old_type != new_type) {
            note(field, fmt::format("is declared as {} instead of {}", new_type, old_type),
                 Breaks::kNobody, "");
        }
        if (older.value("x-personal", false) != newer.value("x-personal", false)) {
            note(field,
                 newer.value("x-personal", false) ? "is personal data now"
                                                  : "is no longer personal data",
                 Breaks::kNobody, "");
        }
    }

    Result<void> compare_fields(const std::string& field, const Json& older, const Json& newer,
                                int depth) {
        const Json old_fields = member_of(older, "properties");
        const Json new_fields = member_of(newer, "properties");
        const Names old_required = required_of(older);
        const Names new_required = required_of(newer);
        const std::string prefix = field.empty() ? "" : field + ".";
        for (const auto& [name, schema] : old_fields.items()) {
            const std::string path = prefix + name;
            if (!new_fields.contains(name)) {
                note(path, "dropped", Breaks::kReaders, "readers of it get nothing");
                continue;
            }
            note_required(path, {schema, old_required.contains(name)},
                          {new_fields.at(name), new_required.contains(name)});
            INSTEP_TRY(compare_values(path, schema, new_fields.at(name), depth + 1));
        }
        for (const auto& [name, schema] : new_fields.items()) {
            if (old_fields.contains(name)) {
                continue;
            }
            if (new_required.contains(name)) {
                note(prefix + name, "added and required", Breaks::kPast,
                     "events from before lack it");
            } else {
                note(prefix + name, "added", Breaks::kNobody, "");
            }
        }
        return {};
    }

    /// One that could be null and left out, and now neither, has been told of already.
    void note_required(const std::string& path, const Placed& older, const Placed& newer) {
        const bool was_nullable = types_of(older.schema).contains("null");
        const bool is_nullable = types_of(newer.schema).contains("null");
        if (!older.required && newer.required && (is_nullable || !was_nullable)) {
            note(path, "required now", Breaks::kPast, "events from before may lack it");
        } else if (older.required && !newer.required && (was_nullable || !is_nullable)) {
            note(path, "may be left out now", Breaks::kReaders, "readers rely on it");
        }
    }

    void note(const std::string& field, const std::string& change, Breaks breaks,
              const std::string& reason) {
        const auto same = std::ranges::find_if(differences_, [&](const auto& difference) {
            return difference.field == field && difference.change == change;
        });
        if (same != differences_.end()) {
            same->types.push_back(type_);
        } else {
            differences_.push_back({{type_}, field, change, breaks, reason});
        }
    }

    std::string type_;
    std::vector<ContractDifference> differences_;
};

Result<Json> parse(std::string_view text, std::string_view which) {
    if (text.size() > kContractDocumentBytesMax) {
        return fail(ErrorCode::kLimitExceeded,
                    fmt::format("the {} contract is larger than {} bytes", which,
                                kContractDocumentBytesMax));
    }
    Json document = Json::parse(text, nullptr, false);
    if (document.is_discarded() || !document.is_object() || !document.contains("$defs") ||
        !document["$defs"].is_object()) {
        return fail(
            ErrorCode::kCorrupt,
            fmt::format("the {} contract is not a document of `instep contract export`", which));
    }
    return document;
}

}  // namespace

std::string_view to_string(Breaks breaks) noexcept {
    switch (breaks) {
        case Breaks::kNobody:
            return "nobody";
        case Breaks::kReaders:
            return "readers";
        case Breaks::kPast:
            return "past";
    }
    return "";
}

Result<std::vector<ContractDifference>> compare_contracts(std::string_view older,
                                                          std::string_view newer) {
    INSTEP_TRY_ASSIGN(const Json old_document, parse(older, "older"));
    INSTEP_TRY_ASSIGN(const Json new_document, parse(newer, "newer"));
    try {
        Comparison comparison;
        INSTEP_TRY(comparison.compare_documents(old_document, new_document));
        return comparison.take();
    } catch (const Json::exception& error) {
        return fail(ErrorCode::kCorrupt,
                    fmt::format("a contract has a schema that is none: {}", error.what()));
    }
}

}  // namespace instep
