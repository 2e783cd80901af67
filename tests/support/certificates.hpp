#pragma once

namespace instep::test {

class Daemon;

/// Puts into the server's folder a CA (ca.pem), a certificate for "localhost" and 127.0.0.1 that it
/// signed (server.pem, its key in server.key, both in server-all.pem), and a CA that signed nothing
/// (other-ca.pem). What clients need of it is readable for them. Needs the program openssl.
void make_certificates(Daemon& daemon);

}  // namespace instep::test
