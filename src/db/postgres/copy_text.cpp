#include "copy_text.hpp"

#include "instep/base/bytes.hpp"

#include <fmt/format.h>

#include <iterator>

namespace instep::postgres {

namespace {

struct AppendValue {
    std::string& out;

    Result<void> operator()(std::monostate) const {
        out += "\\N";
        return {};
    }
    Result<void> operator()(std::int64_t number) const {
        fmt::format_to(std::back_inserter(out), "{}", number);
        return {};
    }
    Result<void> operator()(double number) const {
        fmt::format_to(std::back_inserter(out), "{}", number);
        return {};
    }
    Result<void> operator()(BlobView blob) const {
        out += "\\\\x";
        out += to_hex(blob.bytes);
        return {};
    }
    Result<void> operator()(std::string_view text) const {
        static constexpr std::string_view kSpecial("\\\n\r\t\0", 5);
        for (auto at = text.find_first_of(kSpecial); at != std::string_view::npos;
             at = text.find_first_of(kSpecial)) {
            out += text.substr(0, at);
            out += '\\';
            switch (text[at]) {
                case '\0':
                    return fail(ErrorCode::kRejected,
                                "PostgreSQL stores no text that holds a zero byte");
                case '\n':
                    out += 'n';
                    break;
                case '\r':
                    out += 'r';
                    break;
                case '\t':
                    out += 't';
                    break;
                default:
                    out += text[at];
            }
            text.remove_prefix(at + 1);
        }
        out += text;
        return {};
    }
};

}  // namespace

Result<std::string> copy_text(ParameterRows rows) {
    std::string out;
    for (std::size_t at = 0; at < rows.values.size(); ++at) {
        INSTEP_TRY(std::visit(AppendValue{out}, rows.values[at]));
        out += (at + 1) % rows.columns == 0 ? '\n' : '\t';
    }
    return out;
}

}  // namespace instep::postgres
