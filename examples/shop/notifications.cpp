#include "notifications.hpp"

#include "events.hpp"
#include "mail_server.hpp"
#include "verdicts.hpp"

#include <memory>

namespace shop {

using instep::ErrorCode;
using instep::fail;
using instep::HandlerContext;
using instep::Result;

namespace {

Result<void> remember_address(HandlerContext& context, const UserCreated& user) {
    INSTEP_TRY(context.transaction().execute(
        "INSERT INTO addresses (user_id, email) VALUES ($1, $2)",
        {std::string_view(user.user_id), std::string_view(user.email)}));
    return {};
}

/// Mails of one process.
class Mailing {
public:
    Mailing(std::string folder, std::string process)
        : server_(std::move(folder)), process_(std::move(process)) {}

    Result<void> send(HandlerContext& context, const std::string& order, const std::string& user,
                      const std::string& subject) const {
        INSTEP_TRY_ASSIGN(std::string address, address_of(context.transaction(), user));
        const std::string& correlation = context.event().correlation_id;
        // The mail cannot be part of the transaction: after a crash right here it is asked for
        // again, with the same key.
        INSTEP_TRY(
            server_.send({std::move(address), subject, correlation}, context.idempotency_key()));
        INSTEP_TRY(context.transaction().execute(
            "INSERT INTO mails (order_id, number, subject, correlation_id, sent_by) "
            "SELECT $1, count(*) + 1, $2, $3, $4 FROM mails WHERE order_id = $1",
            {std::string_view(order), std::string_view(subject), std::string_view(correlation),
             std::string_view(process_)}));
        return context.publish(kMailTopic, order, MailSent{order, subject});
    }

private:
    /// Another topic brings the addresses, and there is no order between topics.
    static Result<std::string> address_of(instep::Transaction& transaction, std::string_view user) {
        INSTEP_TRY_ASSIGN(
            const auto rows,
            transaction.query("SELECT email FROM addresses WHERE user_id = $1", {user}));
        INSTEP_TRY_ASSIGN(const bool is_known, rows->next());
        if (!is_known) {
            return fail(ErrorCode::kNotFound, "no address of user " + std::string(user) + " yet");
        }
        return std::string(rows->text(0));
    }

    MailServer server_;
    std::string process_;
};

}  // namespace

ServiceCode notification_service() {
    const auto handlers = [](const std::string& process) {
        const auto mailing = std::make_shared<const Mailing>(
            instep::process_environment()("MAIL").value_or("mail"), process);
        instep::Handlers all;
        all["addresses"].on<UserCreated>([](HandlerContext& context, const UserCreated& user) {
            return done_or_retry(remember_address(context, user));
        });
        all["mails"]
            .on<OrderCreated>([mailing](HandlerContext& context, const OrderCreated& order) {
                return done_or_retry(mailing->send(context, order.order_id, order.user_id,
                                                   "Your order " + order.order_id + " over " +
                                                       std::to_string(order.total_cents) +
                                                       " cents (" + order.currency + ")"));
            })
            .on<OrderShipped>([mailing](HandlerContext& context, const OrderShipped& order) {
                return done_or_retry(mailing->send(context, order.order_id, order.user_id,
                                                   "Order " + order.order_id + " is on its way"));
            });
        return all;
    };
    return {handlers,
            "SELECT order_id, CAST(number AS text), subject, correlation_id, sent_by FROM mails "
            "ORDER BY order_id, number"};
}

}  // namespace shop
