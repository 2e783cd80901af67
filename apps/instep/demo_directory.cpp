#include "demo_directory.hpp"

#include "instep/base/uuid.hpp"
#include "instep/db/dialect.hpp"
#include "output.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

namespace instep::cli {

namespace {

constexpr std::uint64_t kRowsATransaction = 1000;

/// What SQLite has no types for.
struct ColumnTypes {
    std::string_view uuid = "TEXT";
    std::string_view time = "TEXT";
};

ColumnTypes types_of(const Dialect& dialect) {
    return dialect.name() == "postgres" ? ColumnTypes{"uuid", "timestamptz"} : ColumnTypes{};
}

constexpr std::string_view kCreateUsers = R"(
CREATE TABLE users (
    id {uuid} NOT NULL PRIMARY KEY,
    employee_id {uuid},
    employee_code VARCHAR(20) NOT NULL,
    national_id VARCHAR(13) NOT NULL,
    username VARCHAR(50) NOT NULL,
    title VARCHAR(10),
    first_name VARCHAR(50) NOT NULL,
    last_name VARCHAR(50) NOT NULL,
    email VARCHAR(100),
    phone VARCHAR(15),
    department_id {uuid},
    position VARCHAR(200),
    employee_type VARCHAR(20),
    profile_image_url VARCHAR(500),
    gender VARCHAR(10),
    is_active BOOLEAN NOT NULL DEFAULT true,
    password_hash TEXT NOT NULL,
    mfa_secret TEXT,
    created_at {time} NOT NULL,
    updated_at {time} NOT NULL,
    is_deleted BOOLEAN NOT NULL DEFAULT false
))";

constexpr std::string_view kInsertUser =
    "INSERT INTO users (id, employee_id, employee_code, national_id, username, title, first_name, "
    "last_name, email, phone, department_id, position, employee_type, profile_image_url, gender, "
    "is_active, password_hash, mfa_secret, created_at, updated_at, is_deleted) VALUES ($1, $2, "
    "$3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, true, $16, $17, $18, $18, false)";

constexpr std::string_view kCreateResources = R"(
CREATE TABLE resources (
    id {uuid} NOT NULL PRIMARY KEY,
    reference_number VARCHAR(20) NOT NULL,
    first_name VARCHAR(50) NOT NULL,
    created_by {uuid},
    updated_by {uuid}
))";

struct Person {
    std::string_view first_name;
    std::string_view gender;
};

constexpr std::array<Person, 10> kPeople = {{{"Ada", "female"},
                                             {"Grace", "female"},
                                             {"Alan", "male"},
                                             {"Edsger", "male"},
                                             {"Barbara", "female"},
                                             {"Donald", "male"},
                                             {"Frances", "female"},
                                             {"Leslie", "male"},
                                             {"Radia", "female"},
                                             {"Niklaus", "male"}}};
constexpr std::array<std::string_view, 10> kLastNames = {"Lovelace", "Hopper", "Turing", "Dijkstra",
                                                         "Liskov",   "Knuth",  "Allen",  "Lamport",
                                                         "Perlman",  "Wirth"};
constexpr std::array<std::string_view, 5> kPositions = {"Registrar", "Data steward", "Analyst",
                                                        "Auditor", "Head of archive"};
constexpr std::array<std::string_view, 3> kEmployeeTypes = {"permanent", "contract", "intern"};

std::string in_lower_case(std::string_view name) {
    std::string lower(name);
    std::ranges::transform(lower, lower.begin(),
                           [](char letter) { return static_cast<char>(letter | 0x20); });
    return lower;
}

}  // namespace

std::string employee_code(std::uint64_t number) { return fmt::format("E{:07}", number); }

Result<std::string> UserInserter::insert(Transaction& transaction, std::uint64_t number,
                                         std::string_view now) {
    // The first ten users are the people that the names belong to; then names mix.
    const Person& person = kPeople[number % kPeople.size()];
    const std::string_view last_name =
        kLastNames[(number + number / kPeople.size()) % kLastNames.size()];
    const std::string username =
        fmt::format("{}.{}{}", in_lower_case(person.first_name), in_lower_case(last_name),
                    number < kPeople.size() ? "" : fmt::format(".{}", number));
    std::string id = make_uuid_v7(clock_, random_);
    const std::string employee_id = make_uuid_v7(clock_, random_);
    const std::string code = employee_code(number);
    const std::string national_id = fmt::format("{:013}", 1'000'000'000'000 + number);
    const std::string email = fmt::format("{}@example.org", username);
    const std::string phone = fmt::format("+49302{:08}", number % 100'000'000);
    const std::string department = fmt::format("00000000-0000-7000-8000-{:012}", number % 40);
    const std::string image = fmt::format("https://img.example.org/{}.png", id);
    const std::string password =
        fmt::format("$argon2id${:016x}{:016x}", random_.next(), random_.next());
    const std::string secret = fmt::format("{:016x}", random_.next());
    INSTEP_TRY(transaction.execute(
        kInsertUser,
        {std::string_view(id), std::string_view(employee_id), std::string_view(code),
         std::string_view(national_id), std::string_view(username),
         number % 7 == 0 ? ValueView{std::string_view("Dr.")} : ValueView{kNull}, person.first_name,
         last_name, std::string_view(email), std::string_view(phone), std::string_view(department),
         kPositions[number % kPositions.size()], kEmployeeTypes[number % kEmployeeTypes.size()],
         std::string_view(image), person.gender, std::string_view(password),
         std::string_view(secret), now}));
    return id;
}

Result<void> make_users(Connection& connection, std::uint64_t rows, const Clock& clock,
                        Random& random, const std::function<void(std::uint64_t)>& tell) {
    const ColumnTypes types = types_of(connection.dialect());
    INSTEP_TRY(connection.execute(
        fmt::format(kCreateUsers, fmt::arg("uuid", types.uuid), fmt::arg("time", types.time)), {}));
    INSTEP_TRY(
        connection.execute("CREATE UNIQUE INDEX users_by_code ON users (employee_code)", {}));
    UserInserter inserter(clock, random);
    for (std::uint64_t number = 0; number < rows;) {
        INSTEP_TRY_ASSIGN(auto transaction,
                          Transaction::begin(connection, TransactionMode::kWrite));
        const std::string now = format_time(clock.now());
        const std::uint64_t end = std::min(rows, number + kRowsATransaction);
        for (; number < end; ++number) {
            INSTEP_TRY(inserter.insert(transaction, number, now));
        }
        INSTEP_TRY(transaction.commit());
        tell(number);
    }
    return {};
}

Result<void> make_resources(Connection& data_owner, Connection& iam, const Clock& clock,
                            Random& random) {
    INSTEP_TRY_ASSIGN(auto users,
                      iam.query("SELECT id FROM users ORDER BY employee_code LIMIT 100", {}));
    std::vector<std::string> ids;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, users->next());
        if (!more) {
            break;
        }
        ids.emplace_back(users->text(0));
    }
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(data_owner, TransactionMode::kWrite));
    INSTEP_TRY(transaction.execute(
        fmt::format(kCreateResources, fmt::arg("uuid", types_of(transaction.dialect()).uuid))));
    for (std::size_t i = 0; i < ids.size(); ++i) {
        const std::string reference = fmt::format("REF-{:05}", i + 1);
        const std::string id = make_uuid_v7(clock, random);
        INSTEP_TRY(transaction.execute(
            "INSERT INTO resources (id, reference_number, first_name, created_by, updated_by) "
            "VALUES ($1, $2, $3, $4, $5)",
            {std::string_view(id), std::string_view(reference),
             kPeople[i % kPeople.size()].first_name, std::string_view(ids[i]),
             std::string_view(ids[(i + 1) % ids.size()])}));
    }
    return transaction.commit();
}

Result<std::string> describe_resource(Connection& data_owner) {
    INSTEP_TRY_ASSIGN(
        auto row,
        data_owner.query(
            "SELECT r.reference_number, c.first_name || ' ' || c.last_name || ' (' || "
            "coalesce(c.email, 'no e-mail') || ')', u.first_name || ' ' || u.last_name || ' (' || "
            "coalesce(u.email, 'no e-mail') || ')' FROM resources r "
            "LEFT JOIN lookup_users c ON c.id = r.created_by "
            "LEFT JOIN lookup_users u ON u.id = r.updated_by ORDER BY r.reference_number LIMIT 1",
            {}));
    INSTEP_TRY_ASSIGN(const bool found, row->next());
    const auto name = [&](std::size_t column) {
        return found && !row->is_null(column) ? printable(row->text(column))
                                              : std::string("a user not known here");
    };
    return fmt::format("{}: created by {}, updated by {}", found ? row->text(0) : "no resource",
                       name(1), name(2));
}

}  // namespace instep::cli
