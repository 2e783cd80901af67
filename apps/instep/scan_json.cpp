#include "scan_json.hpp"

namespace instep::cli {

JsonObject to_json(const ScanStatus& scan) {
    return JsonObject()
        .text("id", scan.id)
        .number("partition", scan.partition)
        .text("consumer", scan.consumer)
        .text("entity", scan.entity)
        .text("kind", scan.kind)
        .text("state", scan.state)
        .number("rows_sent", scan.rows_sent)
        .number("chunks_sent", scan.chunks_sent)
        .text("error", scan.error);
}

}  // namespace instep::cli
