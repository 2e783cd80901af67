// What a service has promised of its events, held against each of them before it is appended.
//
//     INSTEP_TRY_ASSIGN(const auto contract, PublishContract::compile(document));
//     INSTEP_TRY(contract.check(event));
//     INSTEP_TRY(append(transaction, std::span(&event, 1)));
#pragma once

#include "instep/base/error.hpp"
#include "instep/log/log.hpp"

#include <memory>
#include <string_view>

namespace instep {

/// Schemas that are nested deeper are refused.
inline constexpr int kPublishedDepthMax = 32;

/// A contract document (capture/contract_schema.hpp), made ready for many events. Copies share it.
/// Safe to use from any thread.
class PublishContract {
public:
    /// Of a schema it understands `type`, `properties`, `required` and `items`, which is what
    /// `instep contract` writes, and passes over what only describes.
    ///
    /// Errors: kCorrupt for what is no such document; kUnsupported for a keyword that it cannot
    /// hold events to, naming it; kLimitExceeded.
    static Result<PublishContract> compile(std::string_view document);

    /// Errors: kRejected for a type that the document does not have, for another topic or schema
    /// than it states, and for data that is not as it says, naming the field.
    [[nodiscard]] Result<void> check(const NewEvent& event) const;

private:
    struct Promises;
    explicit PublishContract(std::shared_ptr<const Promises> promises);
    std::shared_ptr<const Promises> promises_;
};

}  // namespace instep
