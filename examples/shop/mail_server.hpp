// A stand-in for a mail server, outside of every transaction: a folder, a file a mail.
#pragma once

#include <instep/base/error.hpp>

#include <filesystem>
#include <string>
#include <string_view>

namespace shop {

struct Mail {
    std::string to;
    std::string subject;
    std::string correlation_id;
};

/// Several processes may use one folder.
class MailServer {
public:
    explicit MailServer(std::filesystem::path folder) : folder_(std::move(folder)) {}

    /// Accepts the mail unless one with this key was accepted before: asked twice, it sends once.
    /// Does not answer while the folder has a file "stalls", although the mail is accepted.
    /// Errors: kUnavailable if the file "refuses" in the folder holds a part of the address ("@"
    /// for all), or the folder cannot be written.
    [[nodiscard]] instep::Result<void> send(const Mail& mail,
                                            std::string_view idempotency_key) const;

private:
    std::filesystem::path folder_;
};

}  // namespace shop
