#include "tests/support/certificates.hpp"

#include "tests/support/daemon.hpp"

#include <string_view>

namespace instep::test {

namespace {

constexpr std::string_view kScript = R"(set -eu
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=tests
openssl req -x509 -newkey rsa:2048 -nodes -keyout other.key -out other-ca.pem -days 30 \
    -subj /CN=others
openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >extensions
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
    -extfile extensions -out server.pem
cat server.key server.pem >server-all.pem
chmod 755 .
chmod 644 ca.pem other-ca.pem
)";

}  // namespace

void make_certificates(Daemon& daemon) {
    daemon.write("make_certificates", kScript);
    daemon.run("sh make_certificates");
}

}  // namespace instep::test
