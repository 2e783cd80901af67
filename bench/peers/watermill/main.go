// usage: watermill_peer reset|outbox|consumer
//
// Watermill's forwarder, from a table of its SQL publisher's to RabbitMQ with confirms and a quorum
// queue, and a router whose handler takes one message after the other: neither knows batches
// beyond how many rows are read at once and how many messages are under way.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-amqp/v3/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/components/forwarder"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5/pgxpool"
	rabbitmq "github.com/rabbitmq/amqp091-go"
)

const (
	outboxTopic   = "outbox"
	batchRows     = 500
	prefetchCount = 500
	pollInterval  = 5 * time.Millisecond
)

var logger = watermill.NewStdLogger(false, false)

type user struct {
	ID       int64  `json:"id"`
	Username string `json:"username"`
	Email    string `json:"email"`
}

func main() {
	ctx := context.Background()
	var err error
	switch role := os.Args[1]; role {
	case "reset":
		err = reset(ctx)
	case "outbox":
		err = forward(ctx)
	case "consumer":
		err = consume(ctx)
	default:
		log.Fatalf("no role %s", role)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func topic() string { return os.Getenv("PEERS_NAME") }

func connect(ctx context.Context, database string) (*pgxpool.Pool, error) {
	return pgxpool.New(ctx, os.Getenv("DATABASE_URL")+"/"+database)
}

func amqpConfig() amqp.Config {
	config := amqp.NewDurablePubSubConfig(
		os.Getenv("AMQP_URL"), amqp.GenerateQueueNameTopicNameWithSuffix("lookup_users"))
	config.Queue.Arguments = rabbitmq.Table{"x-queue-type": "quorum"}
	config.Publish.ConfirmDelivery = true
	config.Publish.ChannelPoolSize = 1
	config.Consume.Qos.PrefetchCount = prefetchCount
	return config
}

func outbox(ctx context.Context) (*sql.Subscriber, error) {
	owner, err := connect(ctx, "peers_owner")
	if err != nil {
		return nil, err
	}
	return sql.NewSubscriber(sql.BeginnerFromPgx(owner), sql.SubscriberConfig{
		ConsumerGroup:  "forwarder",
		PollInterval:   pollInterval,
		SchemaAdapter:  sql.DefaultPostgreSQLSchema{SubscribeBatchSize: batchRows},
		OffsetsAdapter: sql.DefaultPostgreSQLOffsetsAdapter{},
	}, logger)
}

func reset(ctx context.Context) error {
	rows, err := outbox(ctx)
	if err != nil {
		return err
	}
	if err := rows.SubscribeInitialize(outboxTopic); err != nil {
		return err
	}
	queue, err := amqp.NewSubscriber(amqpConfig(), logger)
	if err != nil {
		return err
	}
	return queue.SubscribeInitialize(topic())
}

func forward(ctx context.Context) error {
	rows, err := outbox(ctx)
	if err != nil {
		return err
	}
	publisher, err := amqp.NewPublisher(amqpConfig(), logger)
	if err != nil {
		return err
	}
	daemon, err := forwarder.NewForwarder(rows, publisher, logger,
		forwarder.Config{ForwarderTopic: outboxTopic})
	if err != nil {
		return err
	}
	return daemon.Run(ctx)
}

func consume(ctx context.Context) error {
	replica, err := connect(ctx, "peers_replica")
	if err != nil {
		return err
	}
	queue, err := amqp.NewSubscriber(amqpConfig(), logger)
	if err != nil {
		return err
	}
	router, err := message.NewRouter(message.RouterConfig{}, logger)
	if err != nil {
		return err
	}
	router.AddConsumerHandler("lookup_users", topic(), queue, func(m *message.Message) error {
		var u user
		if err := json.Unmarshal(m.Payload, &u); err != nil {
			return err
		}
		_, err := replica.Exec(m.Context(),
			`INSERT INTO lookup_users (id, username, email) VALUES ($1, $2, $3)
			 ON CONFLICT (id) DO UPDATE SET username = excluded.username, email = excluded.email`,
			u.ID, u.Username, u.Email)
		return err
	})
	return router.Run(ctx)
}
