// The small language of the tests of PostgreSQL's replication stream.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/db/postgres/replication/stream.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/postgres_database.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace instep::test {

/// Messages as words: "insert item 1 one", "commit".
class Transcript {
public:
    std::string operator()(const pgoutput::Begin&) { return "begin"; }
    std::string operator()(const pgoutput::Commit&) { return "commit"; }
    std::string operator()(const pgoutput::Origin& origin) {
        return "origin " + std::string(origin.name);
    }
    std::string operator()(const pgoutput::Type& type) {
        return "type " + std::string(type.schema) + "." + std::string(type.name);
    }
    std::string operator()(const pgoutput::Relation& relation) {
        names_[relation.oid] = relation.name;
        std::string text = "relation " + std::string(relation.schema) + "." + names_[relation.oid];
        for (const pgoutput::Column& column : relation.columns) {
            text += " " + std::string(column.name) + (column.is_key ? "*" : "");
        }
        return text;
    }
    std::string operator()(const pgoutput::Insert& insert) {
        return "insert " + names_[insert.relation_oid] + fields(insert.row);
    }
    std::string operator()(const pgoutput::Update& update) {
        return "update " + names_[update.relation_oid] + old(update.old_kind, update.old) +
               fields(update.row);
    }
    std::string operator()(const pgoutput::Delete& change) {
        return "delete " + names_[change.relation_oid] + old(change.old_kind, change.old);
    }
    std::string operator()(const pgoutput::Truncate& truncate) {
        std::string text = "truncate";
        for (const std::uint32_t oid : truncate.relation_oids) {
            text += " " + names_[oid];
        }
        return text + (truncate.cascade ? " cascade" : "") +
               (truncate.restart_identity ? " restart" : "");
    }
    std::string operator()(const pgoutput::LogicalMessage& message) {
        return (message.transactional ? "message " : "lone message ") +
               std::string(message.prefix) + "=" + std::string(message.content);
    }

private:
    static std::string fields(pgoutput::Tuple tuple) {
        std::string text;
        for (const pgoutput::Field& field : tuple) {
            switch (field.kind) {
                case pgoutput::FieldKind::kNull:
                    text += " NULL";
                    break;
                case pgoutput::FieldKind::kUnchanged:
                    text += " UNCHANGED";
                    break;
                case pgoutput::FieldKind::kText:
                case pgoutput::FieldKind::kBinary:
                    text += " " + (field.bytes.size() > 100 ? "LONG" : std::string(field.bytes));
                    break;
            }
        }
        return text;
    }
    static std::string old(pgoutput::OldTuple kind, pgoutput::Tuple tuple) {
        switch (kind) {
            case pgoutput::OldTuple::kNone:
                return "";
            case pgoutput::OldTuple::kKey:
                return " key(" + fields(tuple) + " )";
            case pgoutput::OldTuple::kFull:
                return " old(" + fields(tuple) + " )";
        }
        return "";
    }

    std::map<std::uint32_t, std::string> names_;
};

/// A database of the test's own with a publication "all" and a slot of the database's name.
class PostgresStream : public ::testing::Test {
protected:
    explicit PostgresStream(PostgresServer& server = PostgresServer::shared()) : database_(server) {
        options_.url = database_.url();
        options_.slot = database_.name();
        options_.publications = {"all"};
        // An idle server moves on when it is asked, which is this often.
        options_.status_interval = std::chrono::milliseconds(20);
    }

    void given_table(const std::string& columns) { run("CREATE TABLE item (" + columns + ")"); }

    void given_slot() {
        run("CREATE PUBLICATION \"all\" FOR ALL TABLES");
        connect()->create_slot(options_.slot, SnapshotExport::kNone).value();
    }

    std::unique_ptr<ReplicationConnection> connect() {
        return ReplicationConnection::open(options_.url, clock_, kPatience).value();
    }

    Result<std::unique_ptr<ReplicationStream>> try_start(Lsn from = {}) {
        return ReplicationStream::start(options_, from, clock_);
    }

    /// Waits for the end of an earlier stream of the test's own.
    std::unique_ptr<ReplicationStream> start(Lsn from = {}) {
        Result<std::unique_ptr<ReplicationStream>> stream;
        EXPECT_TRUE(eventually([&] {
            stream = try_start(from);
            return stream || stream.error().code != ErrorCode::kBusy;
        }));
        return std::move(stream).value();
    }

    std::string run(const std::string& sql) { return run_postgres(database_.url(), sql); }

    static std::optional<pgoutput::Message> receive(ReplicationStream& stream) {
        return stream.receive(kPatience).value();
    }

    /// All up to and with the `count`th Commit.
    std::vector<std::string> receive_commits(ReplicationStream& stream, int count = 1) {
        std::vector<std::string> messages;
        while (count > 0) {
            const auto message = receive(stream);
            if (!message) {
                ADD_FAILURE() << "nothing came";
                return messages;
            }
            messages.push_back(std::visit(transcript_, *message));
            if (const auto* commit = std::get_if<pgoutput::Commit>(&*message)) {
                last_commit_ = *commit;
                --count;
            }
        }
        return messages;
    }

    /// Receives until `holds`, which is asked after every wait.
    static bool receive_until(ReplicationStream& stream, const std::function<bool()>& holds) {
        return eventually([&] {
            const auto received = stream.receive(std::chrono::milliseconds(10));
            EXPECT_TRUE(received.has_value());
            return holds();
        });
    }

    Lsn slot_position() { return connect()->read_slot(options_.slot).value()->confirmed_flush; }

    SystemClock clock_;
    PostgresDatabase database_;
    ReplicationOptions options_;
    Transcript transcript_;
    pgoutput::Commit last_commit_;
};

}  // namespace instep::test
