#include "mail_server.hpp"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>
#include <unistd.h>

namespace shop {

using instep::ErrorCode;
using instep::fail;

instep::Result<void> MailServer::send(const Mail& mail, std::string_view idempotency_key) const {
    std::string refused;
    if (std::getline(std::ifstream(folder_ / "refuses"), refused) &&
        mail.to.find(refused) != std::string::npos) {
        return fail(ErrorCode::kUnavailable, "the mail server refuses " + mail.to);
    }
    std::string name(idempotency_key);
    std::ranges::replace(name, '/', '+');
    // A link appears whole or not at all, and not over another.
    const auto draft = folder_ / ("draft." + name + "." + std::to_string(::getpid()));
    {
        std::ofstream file(draft);
        file << "To: " << mail.to << "\nSubject: " << mail.subject
             << "\nX-Correlation-ID: " << mail.correlation_id << '\n';
        if (!file.flush()) {
            return fail(ErrorCode::kUnavailable, "cannot write " + draft.string());
        }
    }
    std::error_code error;
    std::filesystem::create_hard_link(draft, folder_ / (name + ".eml"), error);
    std::filesystem::remove(draft);
    if (error && error != std::errc::file_exists) {
        return fail(ErrorCode::kUnavailable,
                    "cannot put a mail into " + folder_.string() + ": " + error.message());
    }
    while (std::filesystem::exists(folder_ / "stalls")) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return {};
}

}  // namespace shop
