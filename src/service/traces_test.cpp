// One trace over three services, as a collector gets it.
#include "instep/concurrency/guarded.hpp"
#include "instep/event/trace_context.hpp"
#include "instep/http/listener.hpp"
#include "instep/log/log.hpp"
#include "instep/service/monitor.hpp"
#include "instep/service/service.hpp"
#include "instep/telemetry/logger.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/log_lines.hpp"
#include "tests/support/temp_dir.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <map>

namespace instep {
namespace {

using nlohmann::json;
using test::eventually;

/// A span as the collector has it, attributes by name.
struct Received {
    std::string service;
    json span;
    std::map<std::string, std::string> attributes;
};

class TracesTest : public testing::Test {
protected:
    TracesTest() {
        collector_ = HttpListener::open({},
                                        {{"POST", "/v1/traces",
                                          [this](const HttpRequest& request) {
                                              take(json::parse(request.body));
                                              return HttpResponse{};
                                          }}},
                                        logger_)
                         .value();
    }

    void take(const json& body) {
        const auto received = received_.lock();
        for (const json& resource : body.at("resourceSpans")) {
            const json& name = resource.at("resource").at("attributes").at(0);
            const auto service = name.at("value").at("stringValue").get<std::string>();
            for (const json& span : resource.at("scopeSpans").at(0).at("spans")) {
                Received next{service, span, {}};
                for (const json& attribute : span.at("attributes")) {
                    const json& value = attribute.at("value");
                    next.attributes[attribute.at("key").get<std::string>()] =
                        value.value("stringValue", value.value("intValue", ""));
                }
                received->push_back(std::move(next));
            }
        }
    }

    void start(const std::string& name, const std::string& rest, Handlers handlers) {
        const std::string text = fmt::format(
            "[service]\nname = '{0}'\ndatabase = 'sqlite:{0}.db'\nbroker = 'embedded:broker.db'\n"
            "otlp = 'http://{1}'\n{2}",
            name, collector_->address(), rest);
        const auto config =
            parse_service_file(text, dir_.file(name + ".toml"), process_environment()).value();
        const auto database =
            open_database(config.database, clock_, MissingDatabase::kCreate).value();
        ASSERT_TRUE(database->connect());
        ASSERT_TRUE(apply_service(config, clock_, {}));
        auto service = Service::create(
            config, {clock_, random_, logger_, brokers_, "p1", &monitor_}, std::move(handlers));
        ASSERT_TRUE(service) << service.error().message;
        services_.push_back(std::move(*service));
    }

    /// The owner "shop"; "billing", which writes an invoice for each order; "mail", which sends it.
    void start_all() {
        start("shop", "", {});
        Handlers billing;
        billing["orders"].on("order.placed", [this](HandlerContext& context) {
            if (failures_ > 0) {
                --failures_;
                return Verdict::retry("out of paper");
            }
            NewEvent invoice;
            invoice.topic = "billing.invoice";
            invoice.key = context.event().key;
            invoice.type = "invoice.written";
            invoice.data = "{}";
            return context.publish(invoice) ? Verdict::done() : Verdict::retry("no log");
        });
        start("billing", "[[subscription]]\nname = 'orders'\ntopic = 'shop.order'\n",
              std::move(billing));
        Handlers mail;
        mail["invoices"].on("invoice.written", [](HandlerContext&) { return Verdict::done(); });
        start("mail", "[[subscription]]\nname = 'invoices'\ntopic = 'billing.invoice'\n",
              std::move(mail));
    }

    /// As the owner's code does within a request whose span this is.
    void place_order(const std::string& id, const std::string& trace_parent) {
        const auto connection = services_.front()->database().connect().value();
        auto transaction = Transaction::begin(*connection, TransactionMode::kWrite).value();
        NewEvent order;
        order.topic = "shop.order";
        order.key = id;
        order.id = id;
        order.type = "order.placed";
        order.data = "{}";
        order.trace_parent = trace_parent;
        ASSERT_TRUE(append(transaction, std::span(&order, 1)));
        ASSERT_TRUE(transaction.commit());
    }

    void step() {
        for (const auto& service : services_) {
            const auto done = service->run_once();
            EXPECT_TRUE(done) << done.error().message;
        }
    }

    /// All spans, once there are so many.
    std::vector<Received> spans(std::size_t count) {
        EXPECT_TRUE(eventually([&] {
            step();
            return received_.lock()->size() >= count;
        }));
        return received_.copy();
    }

    static Received span_of(const std::vector<Received>& spans, const std::string& service,
                            const std::string& name) {
        for (const Received& next : spans) {
            if (next.service == service && next.span.at("name") == name) {
                return next;
            }
        }
        ADD_FAILURE() << "no span " << name << " of " << service;
        return {};
    }

    test::TempDir dir_;
    SystemClock clock_;
    SystemRandom random_;
    test::LogLines lines_;
    Logger logger_{lines_, clock_};
    Guarded<std::vector<Received>> received_;
    std::unique_ptr<HttpListener> collector_;
    Monitor monitor_{clock_, random_, logger_, "p1"};
    Brokers brokers_{clock_};
    std::vector<std::unique_ptr<Service>> services_;
    int failures_ = 0;
};

TEST_F(TracesTest, ARequestIsSeenFromItsFirstEventToItsLastEffect) {
    start_all();
    const TraceContext request = start_trace(random_);
    place_order("o-1", to_trace_parent(request));
    const std::vector<Received> all = spans(4);
    ASSERT_EQ(all.size(), 4U);
    for (const Received& next : all) {
        EXPECT_EQ(next.span.at("traceId"), trace_id(request));
    }
    const std::string root = fmt::format("{:016x}", request.span);

    const Received sent = span_of(all, "shop", "send shop.order");
    EXPECT_EQ(sent.span.at("parentSpanId"), root);
    EXPECT_EQ(sent.span.at("kind"), 4);
    EXPECT_EQ(sent.attributes.at("messaging.operation.type"), "send");
    EXPECT_EQ(sent.attributes.at("messaging.destination.name"), "shop.order");
    EXPECT_EQ(sent.attributes.at("messaging.message.id"), "o-1");

    Received handled = span_of(all, "billing", "process shop.order");
    EXPECT_EQ(handled.span.at("parentSpanId"), root);
    EXPECT_EQ(handled.span.at("kind"), 5);
    EXPECT_EQ(handled.attributes.at("messaging.consumer.group.name"), "billing.orders");
    EXPECT_EQ(handled.attributes.at("messaging.message.id"), "o-1");
    EXPECT_EQ(handled.attributes.at("instep.attempt"), "1");
    EXPECT_FALSE(handled.span.contains("status"));
    const auto cause = handled.span.at("spanId").get<std::string>();

    EXPECT_EQ(span_of(all, "billing", "send billing.invoice").span.at("parentSpanId"), cause);
    const Received mailed = span_of(all, "mail", "process billing.invoice");
    EXPECT_EQ(mailed.span.at("parentSpanId"), cause);
    EXPECT_GE(std::stoull(mailed.span.at("startTimeUnixNano").get<std::string>()),
              std::stoull(handled.span.at("endTimeUnixNano").get<std::string>()));
}

TEST_F(TracesTest, EachAttemptIsASpanAndAFailedOneSaysWhy) {
    failures_ = 1;
    start_all();
    place_order("o-1", to_trace_parent(start_trace(random_)));
    // All of both attempts: each service sends its own when it likes.
    const std::vector<Received> all = spans(5);
    const Received failed = span_of(all, "billing", "process shop.order");
    EXPECT_EQ(failed.span.at("status").at("code"), 2);
    EXPECT_EQ(failed.span.at("status").at("message"), "out of paper");
    EXPECT_EQ(failed.attributes.at("error.type"), "rejected");
}

TEST_F(TracesTest, WhatNobodyTracesHasNoSpans) {
    start_all();
    TraceContext unsampled = start_trace(random_);
    unsampled.sampled = false;
    place_order("o-1", "");
    place_order("o-2", to_trace_parent(unsampled));
    place_order("o-3", to_trace_parent(start_trace(random_)));
    for (const Received& next : spans(4)) {
        const auto id = next.attributes.find("messaging.message.id");
        EXPECT_TRUE(next.attributes.at("messaging.destination.name") == "billing.invoice" ||
                    (id != next.attributes.end() && id->second == "o-3"));
    }
    EXPECT_EQ(received_.lock()->size(), 4U);
}

}  // namespace
}  // namespace instep
