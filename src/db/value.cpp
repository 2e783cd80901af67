#include "instep/db/value.hpp"

namespace instep {

namespace {

struct Viewer {
    ValueView operator()(std::monostate) const { return kNull; }
    ValueView operator()(std::int64_t value) const { return value; }
    ValueView operator()(double value) const { return value; }
    ValueView operator()(const std::string& value) const { return std::string_view(value); }
    ValueView operator()(const Blob& value) const { return BlobView{value.bytes}; }
};

struct Owner {
    Value operator()(std::monostate) const { return kNull; }
    Value operator()(std::int64_t value) const { return value; }
    Value operator()(double value) const { return value; }
    Value operator()(std::string_view value) const { return std::string(value); }
    Value operator()(BlobView value) const { return Blob{std::string(value.bytes)}; }
};

}  // namespace

ValueView view(const Value& value) { return std::visit(Viewer{}, value); }

Value own(const ValueView& value) { return std::visit(Owner{}, value); }

}  // namespace instep
