#include "bench/postgres/batches.hpp"

#include "bench/postgres/member_table.hpp"
#include "instep/base/bytes.hpp"
#include "instep/base/random.hpp"

#include <fmt/format.h>

#include <array>
#include <set>
#include <stdexcept>

namespace instep::bench {

namespace {

/// The version that the bare ways write too, so that all rows are of the same size.
const std::string kVersion(16, '\1');

constexpr std::size_t kColumns = 9;

std::string conflict_clause() {
    std::string clause = " ON CONFLICT (id) DO UPDATE SET ";
    for (const std::string& column : member_entry("").columns) {
        if (column != "id") {
            clause += fmt::format("{0} = excluded.{0}, ", column);
        }
    }
    return clause + "instep_version = excluded.instep_version";
}

void append_size(std::string& out, std::size_t size) {
    append_big_endian(out, static_cast<std::uint32_t>(size));
}

void append_text(std::string& out, std::string_view text) {
    append_size(out, text.size());
    out += text;
}

void append_number(std::string& out, std::int64_t number) {
    append_size(out, sizeof(number));
    append_big_endian(out, static_cast<std::uint64_t>(number));
}

/// One value in the wire's binary form.
void append_value(std::string& out, const Member& member, std::size_t column) {
    switch (column) {
        case 0:
            return append_number(out, member.id);
        case 1:
            return append_text(out, member.email);
        case 2:
            return append_text(out, member.name);
        case 3:
            return append_text(out, member.department);
        case 4:
            return append_text(out, member.title);
        case 5:
            return append_text(out, std::string_view(member.active == 't' ? "\1" : "\0", 1));
        case 6:
            return append_number(out, member.score);
        case 7:
            return append_text(out, member.note);
        default:
            return append_text(out, kVersion);
    }
}

class Unnest final : public BulkUpsert {
public:
    Unnest(const std::string& url, const std::string& table) : session_(url) {
        session_.prepare(
            "upsert",
            fmt::format("INSERT INTO {} ({}, instep_version) SELECT * FROM unnest($1::bigint[], "
                        "$2::text[], $3::text[], $4::text[], $5::text[], $6::boolean[], "
                        "$7::bigint[], $8::text[], $9::bytea[]){}",
                        table, member_columns(), conflict_clause()));
    }

    void take(const std::vector<Member>& members) override {
        constexpr std::array<std::uint32_t, kColumns> kTypes = {20, 25, 25, 25, 25, 16, 20, 25, 17};
        for (std::size_t column = 0; column < kColumns; ++column) {
            std::string& array = arrays_[column];
            array.clear();
            append_size(array, 1);
            append_size(array, 0);
            append_size(array, kTypes[column]);
            append_size(array, members.size());
            append_size(array, 1);
            for (const Member& member : members) {
                append_value(array, member, column);
            }
        }
    }

    void write() override {
        std::array<const char*, kColumns> values{};
        std::array<int, kColumns> lengths{};
        std::array<int, kColumns> formats{};
        for (std::size_t i = 0; i < kColumns; ++i) {
            values[i] = arrays_[i].data();
            lengths[i] = static_cast<int>(arrays_[i].size());
            formats[i] = 1;
        }
        session_.checked(PQexecPrepared(session_.handle(), "upsert", kColumns, values.data(),
                                        lengths.data(), formats.data(), 1));
    }

private:
    Session session_;
    std::array<std::string, kColumns> arrays_;
};

class Copy final : public BulkUpsert {
public:
    Copy(const std::string& url, const std::string& table) : session_(url) {
        session_.run(
            fmt::format("CREATE TEMPORARY TABLE incoming AS SELECT {}, instep_version "
                        "FROM {} LIMIT 0",
                        member_columns(), table));
        session_.prepare("upsert", fmt::format("INSERT INTO {} ({}, instep_version) "
                                               "SELECT * FROM incoming{}",
                                               table, member_columns(), conflict_clause()));
    }

    void take(const std::vector<Member>& members) override {
        rows_.assign("PGCOPY\n\377\r\n\0", 11);
        append_size(rows_, 0);
        append_size(rows_, 0);
        for (const Member& member : members) {
            rows_ += '\0';
            rows_ += static_cast<char>(kColumns);
            for (std::size_t column = 0; column < kColumns; ++column) {
                append_value(rows_, member, column);
            }
        }
        rows_ += "\377\377";
    }

    void write() override {
        session_.run("BEGIN; TRUNCATE incoming");
        session_.run("COPY incoming FROM STDIN (FORMAT binary)");
        PQputCopyData(session_.handle(), rows_.data(), static_cast<int>(rows_.size()));
        PQputCopyEnd(session_.handle(), nullptr);
        session_.checked(PQgetResult(session_.handle()));
        PQgetResult(session_.handle());
        session_.run_prepared("upsert", {});
        session_.run("COMMIT");
    }

private:
    Session session_;
    std::string rows_;
};

class Json final : public BulkUpsert {
public:
    Json(const std::string& url, const std::string& table) : session_(url) {
        session_.prepare(
            "upsert",
            fmt::format("INSERT INTO {0} ({1}, instep_version) SELECT {1}, '\\x{2}'::bytea "
                        "FROM jsonb_to_recordset($1::jsonb) AS r (id bigint, email text, "
                        "name text, department text, title text, active boolean, score bigint, "
                        "note text){3}",
                        table, member_columns(), to_hex(kVersion), conflict_clause()));
    }

    void take(const std::vector<Member>& members) override {
        rows_ = "[";
        for (const Member& member : members) {
            rows_ += (rows_.size() > 1 ? "," : "") + member.json();
        }
        rows_ += ']';
    }

    void write() override { session_.run_prepared("upsert", {rows_}); }

private:
    Session session_;
    std::string rows_;
};

}  // namespace

std::string Member::json() const {
    return fmt::format(
        R"({{"id":{},"email":"{}","name":"{}","department":"{}","title":"{}","active":{},)"
        R"("score":{},"note":"{}"}})",
        id, email, name, department, title, active == 't' ? "true" : "false", score, note);
}

std::vector<Member> random_members(std::size_t size, std::int64_t rows, std::uint64_t seed) {
    SeededRandom random(seed);
    std::set<std::int64_t> ids;
    while (ids.size() < size) {
        ids.insert(1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(rows))));
    }
    std::vector<Member> members;
    for (const std::int64_t id : ids) {
        const std::uint64_t mark = random.next();
        members.push_back({id, fmt::format("member.{}@company.example", id),
                           fmt::format("First{} Last{}", mark % 997, mark % 9973),
                           fmt::format("{:032x}", mark % 40), "Senior engineer, platform",
                           mark % 7 == 0 ? 'f' : 't', static_cast<std::int64_t>(mark % 1000),
                           fmt::format("{:096x}", mark)});
    }
    return members;
}

std::vector<Event> to_events(const std::vector<Member>& members, std::uint64_t batch) {
    std::vector<Event> events;
    for (const Member& member : members) {
        Event event;
        event.source = "iam";
        event.key = std::to_string(member.id);
        event.type = "member.updated";
        event.operation = Operation::kUpsert;
        event.schema = "iam.member/1";
        event.data = member.json();
        event.version = Version{1, batch, static_cast<std::uint32_t>(events.size() + 1)};
        event.id = to_sequence(event.version);
        events.push_back(std::move(event));
    }
    return events;
}

std::unique_ptr<BulkUpsert> upsert_by_unnest(const std::string& url, const std::string& table) {
    return std::make_unique<Unnest>(url, table);
}

std::unique_ptr<BulkUpsert> upsert_by_copy(const std::string& url, const std::string& table) {
    return std::make_unique<Copy>(url, table);
}

std::unique_ptr<BulkUpsert> upsert_by_json(const std::string& url, const std::string& table) {
    return std::make_unique<Json>(url, table);
}

}  // namespace instep::bench
