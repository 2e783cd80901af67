#include "instep/http/listener.hpp"

#include "instep/telemetry/logger.hpp"
#include "routes.hpp"

#include <fmt/format.h>

// Asio of Boost 1.74 uses std::exchange without including it.
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <fcntl.h>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

namespace instep {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;

/// How long it is waited before the next connection after one could not be taken: descriptors run
/// out, for one, and come back.
constexpr std::chrono::milliseconds kAcceptAgain{100};

/// What a connection begins to read with; the rest of a message is read in pieces that Beast
/// chooses.
constexpr std::size_t kFirstBytes = 2048;

/// Programs that handlers start are not to hold the port.
void close_in_children(int descriptor) { ::fcntl(descriptor, F_SETFD, FD_CLOEXEC); }

Result<tcp::endpoint> parse_address(const std::string& text) {
    const std::size_t colon = text.rfind(':');
    if (colon != std::string::npos && colon > 0) {
        std::string host = text.substr(0, colon);
        const bool has_brackets = host.size() > 2 && host.front() == '[' && host.back() == ']';
        if (has_brackets) {
            host = host.substr(1, host.size() - 2);
        }
        boost::system::error_code error;
        const auto address = asio::ip::make_address(host, error);
        std::uint16_t port = 0;
        const char* const end = text.data() + text.size();
        const auto read = std::from_chars(text.data() + colon + 1, end, port);
        if (!error && address.is_v6() == has_brackets && read.ec == std::errc{} &&
            read.ptr == end) {
            return tcp::endpoint(address, port);
        }
    }
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("\"{}\" is no address to listen on; write it as 127.0.0.1:9464 or "
                            "[::1]:9464",
                            text));
}

ErrorCode code_of(const boost::system::error_code& error) {
    return error == boost::system::errc::permission_denied ? ErrorCode::kPermissionDenied
           : error == boost::system::errc::address_in_use  ? ErrorCode::kConflict
                                                           : ErrorCode::kUnavailable;
}

Result<void> check(const HttpListenerOptions& options) {
    if (options.threads < 1 || options.threads > 64 || options.connections_max < 1 ||
        options.connections_max > 10'000 || options.header_bytes_max < 256 ||
        options.header_bytes_max > 1024U * 1024) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("listener on {}: {} threads, {} connections or {} bytes of headers "
                                "is out of bounds",
                                options.address, options.threads, options.connections_max,
                                options.header_bytes_max));
    }
    return {};
}

/// One that cannot be served because of itself, by what reading it failed with; nothing if the
/// connection is at fault, and there is nobody to tell.
std::optional<HttpResponse> refusal_of(const beast::error_code& error) {
    if (error == http::error::header_limit) {
        return HttpResponse{.status = 431, .body = "the headers are too long\n"};
    }
    if (error == http::error::body_limit) {
        return HttpResponse{.status = 413, .body = "the body is too long\n"};
    }
    if (error.category() == http::make_error_code(http::error::bad_line_ending).category() &&
        error != http::error::end_of_stream && error != http::error::partial_message) {
        return HttpResponse{.status = 400, .body = "this is no HTTP/1.1 request\n"};
    }
    return std::nullopt;
}

HttpRequest to_request(http::request<http::string_body>&& message) {
    HttpRequest request;
    const auto text = [](beast::string_view view) { return std::string(view.data(), view.size()); };
    request.method = text(message.method_string());
    std::string target = text(message.target());
    const std::size_t mark = target.find('?');
    request.path = target.substr(0, mark);
    request.query = mark == std::string::npos ? "" : target.substr(mark + 1);
    for (const auto& field : message) {
        request.headers.emplace_back(text(field.name_string()), text(field.value()));
    }
    request.body = std::move(message.body());
    return request;
}

/// What all connections of a listener share.
struct Serving {
    HttpListenerOptions options;
    Routes routes;
    const Logger& logger;
};

/// One connection, kept alive by what it waits for. Its steps run one at a time.
class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
public:
    HttpConnection(tcp::socket socket, const Serving& serving, std::function<void()> on_end)
        : stream_(std::move(socket)), serving_(serving), on_end_(std::move(on_end)) {}
    HttpConnection(const HttpConnection&) = delete;
    HttpConnection& operator=(const HttpConnection&) = delete;
    ~HttpConnection() { on_end_(); }

    void begin() {
        asio::dispatch(stream_.get_executor(),
                       beast::bind_front_handler(&HttpConnection::wait, shared_from_this()));
    }

    [[nodiscard]] bool is_answering() const { return is_answering_; }

    /// Makes room for another: ends now, or behind the answer that is under way.
    void give_way() {
        asio::post(stream_.get_executor(), [self = shared_from_this()] {
            self->is_given_up_ = true;
            if (!self->is_answering_) {
                self->stream_.close();
            }
        });
    }

private:
    /// For the first byte of a request, which may be long in coming.
    void wait() {
        if (buffer_.size() > 0) {
            read();
            return;
        }
        stream_.expires_after(serving_.options.idle_timeout);
        stream_.async_read_some(
            buffer_.prepare(kFirstBytes),
            [self = shared_from_this()](beast::error_code error, std::size_t bytes) {
                if (!error) {
                    self->buffer_.commit(bytes);
                    self->read();
                }
            });
    }

    void read() {
        parser_.emplace();
        parser_->header_limit(serving_.options.header_bytes_max);
        parser_->body_limit(serving_.options.body_bytes_max);
        stream_.expires_after(serving_.options.transfer_timeout);
        http::async_read(stream_, buffer_, *parser_,
                         [self = shared_from_this()](beast::error_code error, std::size_t) {
                             self->answer(error);
                         });
    }

    void answer(beast::error_code error) {
        if (error) {
            if (auto refusal = refusal_of(error)) {
                is_last_ = true;
                write(std::move(*refusal), http::verb::unknown, 11);
            }
            return;
        }
        is_answering_ = true;
        auto message = parser_->release();
        is_last_ = !message.keep_alive();
        const http::verb method = message.method();
        const unsigned version = message.version();
        // The handler takes the time that it takes.
        stream_.expires_never();
        const HttpRequest request = to_request(std::move(message));
        HttpResponse response = serving_.routes.answer(request);
        serving_.logger.debug(
            "http.answered",
            {{"method", request.method}, {"path", request.path}, {"status", response.status}});
        write(std::move(response), method, version);
    }

    void write(HttpResponse&& response, http::verb method, unsigned version) {
        response_ = {};
        response_.version(version);
        response_.result(response.status);
        response_.keep_alive(!is_last_);
        if (!response.body.empty()) {
            response_.set(http::field::content_type, response.content_type);
        }
        for (const auto& [name, value] : response.headers) {
            response_.insert(name, value);
        }
        response_.content_length(response.body.size());
        if (method != http::verb::head) {
            response_.body() = std::move(response.body);
        }
        serializer_.emplace(response_);
        stream_.expires_after(serving_.options.transfer_timeout);
        http::async_write(stream_, *serializer_,
                          [self = shared_from_this()](beast::error_code error, std::size_t) {
                              self->is_answering_ = false;
                              if (error || self->is_given_up_) {
                                  return;
                              }
                              self->is_last_ ? self->part() : self->wait();
                          });
    }

    /// A connection that is closed on what the peer still sends is reset, and the peer may lose the
    /// answer: so what it sends is read and let go, until the time for it runs out.
    void part() {
        beast::error_code ignored;
        stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
        buffer_.clear();
        drain();
    }

    void drain() {
        stream_.async_read_some(buffer_.prepare(kFirstBytes),
                                [self = shared_from_this()](beast::error_code error, std::size_t) {
                                    if (!error) {
                                        self->drain();
                                    }
                                });
    }

    beast::tcp_stream stream_;
    const Serving& serving_;
    const std::function<void()> on_end_;
    beast::flat_buffer buffer_;
    std::optional<http::request_parser<http::string_body>> parser_;
    http::response<http::string_body> response_;
    std::optional<http::response_serializer<http::string_body>> serializer_;
    bool is_last_ = false;
    bool is_given_up_ = false;

    /// Written in its own steps; also read by who looks for room.
    std::atomic<bool> is_answering_ = false;
};

}  // namespace

Result<void> check_listen_address(const std::string& address) {
    INSTEP_TRY(parse_address(address));
    return {};
}

class HttpListener::Impl {
public:
    Impl(const HttpListenerOptions& options, std::vector<HttpRoute> routes, const Logger& logger)
        : serving_{options, Routes(std::move(routes), logger), logger} {}

    ~Impl() {
        is_closing_ = true;
        context_.stop();
        threads_.clear();
    }

    Result<void> open() {
        INSTEP_TRY_ASSIGN(const tcp::endpoint endpoint, parse_address(serving_.options.address));
        boost::system::error_code error;
        acceptor_.open(endpoint.protocol(), error);
        if (!error) {
            close_in_children(acceptor_.native_handle());
            acceptor_.set_option(asio::socket_base::reuse_address(true), error);
        }
        if (!error) {
            acceptor_.bind(endpoint, error);
        }
        if (!error) {
            acceptor_.listen(asio::socket_base::max_listen_connections, error);
        }
        if (error) {
            return fail(code_of(error),
                        fmt::format("cannot listen on {}: {}; choose another address or port",
                                    serving_.options.address, error.message()));
        }
        const tcp::endpoint got = acceptor_.local_endpoint();
        const std::string host = got.address().to_string();
        address_ = got.address().is_v6() ? fmt::format("[{}]:{}", host, got.port())
                                         : fmt::format("{}:{}", host, got.port());
        accept();
        for (std::uint32_t i = 0; i < serving_.options.threads; ++i) {
            threads_.emplace_back([this] { context_.run(); });
        }
        return {};
    }

    [[nodiscard]] const std::string& address() const noexcept { return address_; }

private:
    /// Steps of the acceptor, and what they count, run one at a time on its strand.
    void accept() {
        acceptor_.async_accept(asio::make_strand(context_),
                               [this](beast::error_code error, tcp::socket socket) {
                                   took(error, std::move(socket));
                               });
    }

    void took(beast::error_code error, tcp::socket socket) {
        if (error) {
            serving_.logger.warn("http.accept_failed",
                                 {{"address", address_}, {"error", error.message()}});
            again_.expires_after(kAcceptAgain);
            again_.async_wait([this](beast::error_code stopped) {
                if (!stopped) {
                    accept();
                }
            });
            return;
        }
        close_in_children(socket.native_handle());
        const auto connection =
            std::make_shared<HttpConnection>(std::move(socket), serving_, [this, id = next_id_] {
                if (!is_closing_) {
                    asio::post(acceptor_.get_executor(), [this, id] { ended(id); });
                }
            });
        is_full_ = connections_.size() >= serving_.options.connections_max;
        if (is_full_) {
            make_room();
        } else {
            accept();
        }
        connections_.emplace(next_id_++, connection);
        connection->begin();
    }

    /// Nobody is cut off in the middle of an answer.
    void make_room() {
        auto chosen = std::ranges::find_if(connections_, [](const auto& entry) {
            const auto connection = entry.second.lock();
            return !connection || !connection->is_answering();
        });
        if (chosen == connections_.end()) {
            chosen = connections_.begin();
        }
        if (const auto connection = chosen->second.lock()) {
            connection->give_way();
        }
    }

    void ended(std::uint64_t id) {
        connections_.erase(id);
        if (std::exchange(is_full_, false)) {
            accept();
        }
    }

    const Serving serving_;
    std::string address_;

    /// Connections end with the context at the latest, when the acceptor has gone.
    std::atomic<bool> is_closing_ = false;

    /// Declared before what runs on it, and so gone after it.
    asio::io_context context_;
    tcp::acceptor acceptor_{asio::make_strand(context_)};
    asio::steady_timer again_{acceptor_.get_executor()};

    /// The oldest first. One beyond the limit is among them while room is made.
    std::map<std::uint64_t, std::weak_ptr<HttpConnection>> connections_;
    std::uint64_t next_id_ = 0;
    bool is_full_ = false;
    std::vector<std::jthread> threads_;
};

HttpListener::HttpListener(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpListener::~HttpListener() = default;

Result<std::unique_ptr<HttpListener>> HttpListener::open(const HttpListenerOptions& options,
                                                         std::vector<HttpRoute> routes,
                                                         const Logger& logger) {
    INSTEP_TRY(check(options));
    auto impl = std::make_unique<Impl>(options, std::move(routes), logger);
    INSTEP_TRY(impl->open());
    return std::unique_ptr<HttpListener>(new HttpListener(std::move(impl)));
}

const std::string& HttpListener::address() const noexcept { return impl_->address(); }

}  // namespace instep
