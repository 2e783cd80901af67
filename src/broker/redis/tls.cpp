#include "tls.hpp"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <sys/socket.h>

namespace instep::redis {

namespace {

std::string newest_error() {
    std::array<char, 256> text{};
    const unsigned long code = ERR_get_error();
    ERR_clear_error();
    if (code == 0) {
        return "the connection was closed";
    }
    ERR_error_string_n(code, text.data(), text.size());
    return text.data();
}

// OpenSSL's own socket BIO writes without MSG_NOSIGNAL, so that a closed connection would end
// the process.
int descriptor_of(BIO* bio) {
    return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
}

int send_some(BIO* bio, const char* bytes, int size) {
    BIO_clear_retry_flags(bio);
    const ssize_t sent =
        ::send(descriptor_of(bio), bytes, static_cast<std::size_t>(size), MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
        BIO_set_retry_write(bio);
    }
    return static_cast<int>(sent);
}

int receive_some(BIO* bio, char* room, int size) {
    BIO_clear_retry_flags(bio);
    const ssize_t got = ::recv(descriptor_of(bio), room, static_cast<std::size_t>(size), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        BIO_set_retry_read(bio);
    }
    return static_cast<int>(got);
}

long control(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/) {
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

const BIO_METHOD* quiet_socket() {
    static const BIO_METHOD* const method = [] {
        BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
        BIO_meth_set_write(made, &send_some);
        BIO_meth_set_read(made, &receive_some);
        BIO_meth_set_ctrl(made, &control);
        return made;
    }();
    return method;
}

std::unexpected<Error> unusable(const Endpoint& endpoint, std::string_view what) {
    return fail(ErrorCode::kConfigInvalid,
                fmt::format("{}: {}: {}", endpoint.display_url, what, newest_error()));
}

}  // namespace

void TlsStream::Free::operator()(ssl_st* stream) const { SSL_free(stream); }
void TlsContext::Free::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }

Result<TlsContext> TlsContext::create(const Endpoint& endpoint) {
    TlsContext made(SSL_CTX_new(TLS_client_method()));
    SSL_CTX* context = made.context_.get();
    if (context == nullptr || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) {
        return unusable(endpoint, "TLS");
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    const bool trusts = endpoint.ca.empty() ? SSL_CTX_set_default_verify_paths(context) == 1
                                            : SSL_CTX_load_verify_locations(
                                                  context, endpoint.ca.c_str(), nullptr) == 1;
    if (!trusts) {
        return unusable(endpoint, fmt::format("certificates to trust in \"{}\"", endpoint.ca));
    }
    if (!endpoint.certificate.empty() &&
        (SSL_CTX_use_certificate_chain_file(context, endpoint.certificate.c_str()) != 1 ||
         SSL_CTX_use_PrivateKey_file(context, endpoint.key.c_str(), SSL_FILETYPE_PEM) != 1)) {
        return unusable(endpoint,
                        fmt::format("certificate \"{}\" and its key", endpoint.certificate));
    }
    return made;
}

Result<TlsStream> TlsContext::stream(int descriptor, const Endpoint& endpoint) const {
    TlsStream made(SSL_new(context_.get()));
    SSL* stream = made.stream_.get();
    BIO* bio = BIO_new(quiet_socket());
    if (stream == nullptr || bio == nullptr) {
        BIO_free(bio);
        return unusable(endpoint, "TLS");
    }
    BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(descriptor)));
    BIO_set_init(bio, 1);
    SSL_set_bio(stream, bio, bio);
    SSL_set_connect_state(stream);
    // SSL_set_tlsext_host_name() is a macro with casts of C.
    std::string host = endpoint.host;
    if (SSL_set1_host(stream, endpoint.host.c_str()) != 1 ||
        SSL_ctrl(stream, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, host.data()) !=
            1) {
        return unusable(endpoint, "the host's name");
    }
    return made;
}

TlsStream::Step TlsStream::judge(int result) {
    if (result > 0) {
        return Step::kDone;
    }
    switch (SSL_get_error(stream_.get(), result)) {
        case SSL_ERROR_WANT_READ:
            return Step::kReads;
        case SSL_ERROR_WANT_WRITE:
            return Step::kWrites;
        default:
            break;
    }
    const long verified = SSL_get_verify_result(stream_.get());
    failure_ = verified == X509_V_OK
                   ? fmt::format("TLS: {}", newest_error())
                   : fmt::format(
                         "TLS: the server's certificate is refused: {}; give ca=FILE or "
                         "another host",
                         X509_verify_cert_error_string(verified));
    ERR_clear_error();
    return Step::kFailed;
}

TlsStream::Step TlsStream::shake_hands() {
    ERR_clear_error();
    return judge(SSL_do_handshake(stream_.get()));
}

TlsStream::Step TlsStream::write(std::string_view bytes, std::size_t& sent) {
    ERR_clear_error();
    return judge(SSL_write_ex(stream_.get(), bytes.data(), bytes.size(), &sent));
}

TlsStream::Step TlsStream::read(std::span<char> room, std::size_t& got) {
    ERR_clear_error();
    return judge(SSL_read_ex(stream_.get(), room.data(), room.size(), &got));
}

bool TlsStream::has_bytes() const { return SSL_pending(stream_.get()) > 0; }

}  // namespace instep::redis
