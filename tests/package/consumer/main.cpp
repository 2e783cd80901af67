#include <instep/base/error.hpp>

int main() {
    return instep::to_string(instep::ErrorCode::kConflict) == "conflict" ? 0 : 1;
}
