#include "connection.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <utility>

namespace instep::redis {

namespace {

constexpr int kVersionMin = 7;
constexpr int kReplyDepthMax = 8;

struct Meaning {
    std::string_view prefix;
    ErrorCode code;
    std::string_view advice;
};

constexpr std::array kMeanings = {
    Meaning{"OOM ", ErrorCode::kStorageFull,
            "; the server is at maxmemory: raise it, or let subscriptions catch up"},
    Meaning{"MISCONF ", ErrorCode::kStorageFull,
            "; the server cannot write to its disk: see its log"},
    Meaning{"LOADING ", ErrorCode::kUnavailable, ""},
    Meaning{"BUSY ", ErrorCode::kUnavailable, ""},
    Meaning{"READONLY ", ErrorCode::kUnavailable, "; give the address of the master"},
    Meaning{"MASTERDOWN ", ErrorCode::kUnavailable, ""},
    Meaning{"NOREPLICAS ", ErrorCode::kUnavailable, ""},
    Meaning{"UNKILLABLE ", ErrorCode::kUnavailable, ""},
    Meaning{"NOPERM ", ErrorCode::kPermissionDenied,
            "; see docs/adr/0014-redis-streams.md for the rights that are needed"},
    Meaning{"ERR The user executing the script", ErrorCode::kPermissionDenied,
            "; see docs/adr/0014-redis-streams.md for the rights that are needed"},
    Meaning{"NOAUTH ", ErrorCode::kPermissionDenied, "; put user and password into the URL"},
    Meaning{"WRONGPASS ", ErrorCode::kPermissionDenied, "; check user and password in the URL"},
    Meaning{"WRONGTYPE ", ErrorCode::kConflict,
            "; another program uses our keys: give another prefix= in the URL"},
    Meaning{"MOVED ", ErrorCode::kUnsupported, "; clusters are not supported"},
    Meaning{"CROSSSLOT ", ErrorCode::kUnsupported, "; clusters are not supported"},
    Meaning{"CLUSTERDOWN ", ErrorCode::kUnsupported, "; clusters are not supported"},
    Meaning{"ERR Protocol error: invalid bulk length", ErrorCode::kLimitExceeded,
            "; raise the server's proto-max-bulk-len"},
    Meaning{"ERR max number of clients", ErrorCode::kUnavailable, "; raise its maxclients"},
    Meaning{"ERR unknown command", ErrorCode::kUnsupported, ""},
};

/// A script's error names the script, which helps nobody.
std::string_view without_script(std::string_view text) {
    return text.substr(0, text.find(" script: "));
}

Result<void> check_server(const Endpoint& endpoint, const Reply& hello) {
    const std::string& version = hello.at("version").text;
    int major = 0;
    std::from_chars(version.data(), version.data() + version.size(), major);
    if (major < kVersionMin) {
        return fail(ErrorCode::kUnsupported,
                    fmt::format("{}: the server is of version {}; {} is the oldest that works",
                                endpoint.display_url, version, kVersionMin));
    }
    if (const std::string& mode = hello.at("mode").text; mode != "standalone") {
        return fail(ErrorCode::kUnsupported,
                    fmt::format("{}: the server is one of a {}; give a standalone server",
                                endpoint.display_url, mode));
    }
    if (hello.at("role").text != "master") {
        return fail(ErrorCode::kUnavailable,
                    fmt::format("{}: the server is a replica; give the address of the master",
                                endpoint.display_url));
    }
    return {};
}

}  // namespace

Error to_error(const Endpoint& endpoint, std::string_view text) {
    for (const Meaning& meaning : kMeanings) {
        if (text.starts_with(meaning.prefix)) {
            return {meaning.code, fmt::format("{}: {}{}", endpoint.display_url,
                                              without_script(text), meaning.advice)};
        }
    }
    return {ErrorCode::kCorrupt,
            fmt::format("{}: unexpected answer: {}", endpoint.display_url, without_script(text))};
}

Result<std::unique_ptr<Connection>> Connection::open(const Endpoint& endpoint) {
    INSTEP_TRY_ASSIGN(auto socket, Socket::connect(endpoint));
    std::unique_ptr<Connection> connection(new Connection(endpoint, std::move(socket)));
    INSTEP_TRY(connection->log_in());
    return connection;
}

Result<void> Connection::log_in() {
    const std::string protocol = std::to_string(endpoint_.protocol);
    if (endpoint_.password.empty()) {
        write().command({"HELLO", protocol, "SETNAME", "instep"});
    } else {
        const std::string user = endpoint_.user.empty() ? "default" : endpoint_.user;
        write().command({"HELLO", protocol, "AUTH", user, endpoint_.password, "SETNAME", "instep"});
    }
    INSTEP_TRY(send());
    INSTEP_TRY_ASSIGN(const Reply hello, read_reply());
    if (hello.is_error()) {
        return std::unexpected(to_error(endpoint_, hello.text));
    }
    INSTEP_TRY(check_server(endpoint_, hello));
    if (endpoint_.database != 0) {
        const auto selected = call({"SELECT", std::to_string(endpoint_.database)});
        if (!selected && selected.error().code == ErrorCode::kCorrupt) {
            return fail(
                ErrorCode::kConfigInvalid,
                fmt::format("{}; the server has no such database", selected.error().message));
        }
        INSTEP_TRY(selected);
    }
    return {};
}

Result<void> Connection::send() {
    auto sent = socket_->write(out_);
    broken_ = broken_ || !sent;
    out_.clear();
    return sent;
}

Result<Token> Connection::next_token() {
    while (true) {
        auto token = input_.next();
        if (!token) {
            broken_ = true;
            return std::unexpected(
                Error{ErrorCode::kCorrupt,
                      fmt::format("{}: {}", endpoint_.display_url, token.error().message)});
        }
        if (*token) {
            return **token;
        }
        const auto got = socket_->read(input_.room());
        if (!got) {
            broken_ = true;
            return std::unexpected(got.error());
        }
        input_.filled(*got);
    }
}

Result<Reply> Connection::read_reply() { return read_reply(0); }

Result<Reply> Connection::read_reply(int depth) {
    INSTEP_TRY_ASSIGN(const Token token, next_token());
    Reply reply{
        .kind = token.kind, .integer = token.number, .text = std::string(token.text), .items = {}};
    if (token.kind != Token::Kind::kArray && token.kind != Token::Kind::kMap) {
        return reply;
    }
    if (depth == kReplyDepthMax) {
        broken_ = true;
        return fail(ErrorCode::kCorrupt,
                    fmt::format("{}: a reply nests too deep", endpoint_.display_url));
    }
    const std::int64_t count = token.kind == Token::Kind::kMap ? 2 * token.number : token.number;
    for (std::int64_t i = 0; i < count; ++i) {
        INSTEP_TRY_ASSIGN(Reply item, read_reply(depth + 1));
        reply.items.push_back(std::move(item));
    }
    return reply;
}

Result<Reply> Connection::call(std::initializer_list<std::string_view> arguments) {
    write().command(arguments);
    INSTEP_TRY(send());
    INSTEP_TRY_ASSIGN(Reply reply, read_reply());
    if (reply.is_error()) {
        return std::unexpected(to_error(endpoint_, reply.text));
    }
    return reply;
}

Result<Reply> Connection::run(std::string_view script, std::span<const std::string> keys,
                              std::span<const std::string> arguments) {
    CommandWriter writer = write();
    writer.begin(3 + keys.size() + arguments.size());
    writer.argument("EVAL");
    writer.argument(script);
    writer.argument(std::to_string(keys.size()));
    for (const std::string& key : keys) {
        writer.argument(key);
    }
    for (const std::string& argument : arguments) {
        writer.argument(argument);
    }
    INSTEP_TRY(send());
    INSTEP_TRY_ASSIGN(Reply reply, read_reply());
    if (reply.is_error()) {
        // After a failover the same address may lead to another server.
        broken_ = broken_ || reply.text.starts_with("READONLY ");
        return std::unexpected(to_error(endpoint_, reply.text));
    }
    return reply;
}

Result<Connection*> Link::idle() {
    // Nothing is due on an idle connection but its end.
    if (connection_ != nullptr && (connection_->is_broken() || connection_->has_bytes())) {
        connection_.reset();
    }
    if (connection_ != nullptr) {
        return connection_.get();
    }
    if (failure_ && pause().count() > 0) {
        return std::unexpected(*failure_);
    }
    auto opened = Connection::open(endpoint_);
    if (!opened) {
        ++failures_;
        retry_at_ = clock_.monotonic() + kBackoff.delay(failures_, random_);
        failure_ = opened.error();
        return std::unexpected(*failure_);
    }
    failures_ = 0;
    failure_.reset();
    connection_ = std::move(*opened);
    return connection_.get();
}

std::chrono::milliseconds Link::pause() const {
    if (connection_ != nullptr || !failure_) {
        return std::chrono::milliseconds(0);
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(retry_at_ - clock_.monotonic());
    return std::max(left, std::chrono::milliseconds(0));
}

}  // namespace instep::redis
