#include "instep/http/client.hpp"

#include "instep/telemetry/redact.hpp"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <tuple>

namespace instep {

namespace {

struct HandleEnd {
    void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using Handle = std::unique_ptr<CURL, HandleEnd>;

struct ListEnd {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

/// Header lines as curl takes them.
class HeaderLines {
public:
    void add(const std::string& line) {
        curl_slist* const longer = curl_slist_append(lines_.get(), line.c_str());
        if (longer == nullptr) {
            throw std::bad_alloc();
        }
        std::ignore = lines_.release();
        lines_.reset(longer);
    }
    [[nodiscard]] curl_slist* get() const { return lines_.get(); }

private:
    std::unique_ptr<curl_slist, ListEnd> lines_;
};

/// The answer as it comes in.
struct Incoming {
    HttpResponse response{.content_type = ""};
    std::size_t bytes_max;
    bool is_too_long = false;
};

std::size_t take_body(const char* data, std::size_t /*one*/, std::size_t size, void* target) {
    auto& incoming = *static_cast<Incoming*>(target);
    if (incoming.response.body.size() + size > incoming.bytes_max) {
        incoming.is_too_long = true;
        return 0;
    }
    incoming.response.body.append(data, size);
    return size;
}

std::size_t take_header(const char* data, std::size_t /*one*/, std::size_t size, void* target) {
    auto& incoming = *static_cast<Incoming*>(target);
    const std::string_view line(data, size);
    if (line.starts_with("HTTP/")) {
        // There is another before it where the server said "100 Continue".
        incoming.response.headers.clear();
        return size;
    }
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) {
        return size;
    }
    std::string_view value = line.substr(colon + 1);
    value.remove_prefix(std::min(value.find_first_not_of(" \t"), value.size()));
    value = value.substr(0, value.find_last_not_of(" \t\r\n") + 1);
    incoming.response.headers.emplace_back(line.substr(0, colon), value);
    return size;
}

bool has_known_scheme(std::string_view url) {
    return url.starts_with("http://") || url.starts_with("https://");
}

}  // namespace

class HttpClient::Impl {
public:
    Impl(std::string base, HttpClientOptions options)
        : base_(std::move(base)), display_url_(redact_url(base_)), options_(options) {
        // Counted by curl, and never undone: another library of the process may use it.
        static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
        if (ready == CURLE_OK) {
            handle_.reset(curl_easy_init());
        }
    }

    [[nodiscard]] bool is_ready() const { return handle_ != nullptr; }
    [[nodiscard]] const std::string& display_url() const { return display_url_; }

    Result<HttpResponse> send(const HttpRequest& request) {
        // Keeps the connections.
        curl_easy_reset(handle_.get());
        Incoming incoming{.bytes_max = options_.answer_bytes_max};
        HeaderLines headers;
        for (const auto& [name, value] : request.headers) {
            headers.add(value.empty() ? name + ";" : fmt::format("{}: {}", name, value));
        }
        // Curl would wait for leave to send a long body, and would call any a form.
        headers.add("expect:");
        if (request.header("content-type").empty()) {
            headers.add("content-type:");
        }
        set(request, headers, incoming);
        const CURLcode done = curl_easy_perform(handle_.get());
        if (done != CURLE_OK) {
            return failure(done, incoming);
        }
        long status = 0;
        curl_easy_getinfo(handle_.get(), CURLINFO_RESPONSE_CODE, &status);
        incoming.response.status = static_cast<unsigned>(status);
        incoming.response.content_type = find_header(incoming.response.headers, "content-type");
        return std::move(incoming.response);
    }

private:
    void set(const HttpRequest& request, const HeaderLines& headers, Incoming& incoming) {
        CURL* const handle = handle_.get();
        const std::string url =
            base_ + request.path + (request.query.empty() ? "" : "?" + request.query);
        curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
        curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(handle, CURLOPT_PROXY, "");
        curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(options_.timeout.count()));
        curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.get());
        curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &take_body);
        curl_easy_setopt(handle, CURLOPT_WRITEDATA, &incoming);
        curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, &take_header);
        curl_easy_setopt(handle, CURLOPT_HEADERDATA, &incoming);
        if (request.method == "HEAD") {
            curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
        } else if (request.method != "GET" || !request.body.empty()) {
            curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE,
                             static_cast<curl_off_t>(request.body.size()));
            curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request.body.data());
            curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request.method.c_str());
        }
    }

    [[nodiscard]] std::unexpected<Error> failure(CURLcode code, const Incoming& incoming) const {
        if (incoming.is_too_long) {
            return fail(ErrorCode::kLimitExceeded,
                        fmt::format("the answer of {} is longer than {} bytes", display_url_,
                                    options_.answer_bytes_max));
        }
        if (code == CURLE_OPERATION_TIMEDOUT) {
            return fail(ErrorCode::kTimeout, fmt::format("{} has not answered within {} ms",
                                                         display_url_, options_.timeout.count()));
        }
        return fail(
            code == CURLE_URL_MALFORMAT ? ErrorCode::kInvalidArgument : ErrorCode::kUnavailable,
            fmt::format("{} cannot be reached: {}", display_url_, curl_easy_strerror(code)));
    }

    const std::string base_;
    const std::string display_url_;
    const HttpClientOptions options_;
    Handle handle_;
};

HttpClient::HttpClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;
HttpClient::~HttpClient() = default;

Result<HttpClient> HttpClient::create(std::string base, HttpClientOptions options) {
    const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), &curl_url_cleanup);
    if (!has_known_scheme(base) || base.find_first_of("?#") != std::string::npos ||
        curl_url_set(url.get(), CURLUPART_URL, base.c_str(), 0) != CURLUE_OK) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("\"{}\" is no URL of a server; write it as http://127.0.0.1:4318",
                                redact_url(base)));
    }
    // The paths of requests begin with a slash.
    base.erase(base.find_last_not_of('/') + 1);
    auto impl = std::make_unique<Impl>(std::move(base), options);
    if (!impl->is_ready()) {
        return fail(ErrorCode::kUnavailable, "the HTTP client cannot be set up; memory is short");
    }
    return HttpClient(std::move(impl));
}

Result<HttpResponse> HttpClient::send(const HttpRequest& request) { return impl_->send(request); }
const std::string& HttpClient::display_url() const noexcept { return impl_->display_url(); }

}  // namespace instep
