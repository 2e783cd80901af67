// usage: java DebeziumPeer reset|outbox|consumer
//
// Debezium's embedded engine with its outbox event router, from PostgreSQL's logical decoding to
// Kafka with acks=all, and a consumer that takes each poll's events in one statement. Batches are
// as large as their documented settings make them.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.debezium.embedded.Connect;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.DebeziumEngine.RecordCommitter;
import io.debezium.engine.RecordChangeEvent;
import io.debezium.engine.format.ChangeEventFormat;
import java.net.URI;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.connect.source.SourceRecord;

public final class DebeziumPeer {
  private static final int BATCH_ROWS = 2048;
  private static final int QUEUE_ROWS = 8192;

  /** For how long the engine waits for a batch to become full. */
  private static final int BATCH_WAIT_MS = 2;

  private static final Duration POLL = Duration.ofSeconds(1);

  private static final String UPSERT =
      "INSERT INTO lookup_users (id, username, email) SELECT * FROM unnest(?, ?, ?) "
          + "ON CONFLICT (id) DO UPDATE SET username = excluded.username, email = excluded.email";

  public static void main(String[] args) throws Exception {
    switch (args[0]) {
      case "reset" -> reset();
      case "outbox" -> publish();
      case "consumer" -> consume();
      default -> throw new IllegalArgumentException(args[0]);
    }
  }

  private static String name() {
    return System.getenv("PEERS_NAME");
  }

  private static String topic() {
    return name() + ".user";
  }

  private static Properties kafka() {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", URI.create(System.getenv("KAFKA_URL")).getAuthority());
    return settings;
  }

  private static void reset() throws InterruptedException, ExecutionException {
    try (Admin admin = Admin.create(kafka())) {
      admin.createTopics(List.of(new NewTopic(topic(), 1, (short) 1))).all().get();
    }
  }

  private static Properties engine() {
    URI database = URI.create(System.getenv("DATABASE_URL"));
    String[] login = database.getUserInfo().split(":", 2);
    Properties settings = new Properties();
    settings.put("name", "peers");
    settings.put("connector.class", "io.debezium.connector.postgresql.PostgresConnector");
    settings.put("offset.storage", "org.apache.kafka.connect.storage.FileOffsetBackingStore");
    settings.put("offset.storage.file.filename", name() + ".offsets");
    settings.put("offset.flush.interval.ms", "1000");
    settings.put("topic.prefix", "peers");
    settings.put("database.hostname", database.getHost());
    settings.put("database.port", String.valueOf(database.getPort()));
    settings.put("database.user", login[0]);
    settings.put("database.password", login.length > 1 ? login[1] : "");
    settings.put("database.dbname", "peers_owner");
    settings.put("plugin.name", "pgoutput");
    settings.put("slot.name", "peers");
    settings.put("publication.name", "peers");
    settings.put("publication.autocreate.mode", "disabled");
    settings.put("snapshot.mode", "no_data");
    settings.put("table.include.list", "public.outbox");
    settings.put("tombstones.on.delete", "false");
    settings.put("max.batch.size", String.valueOf(BATCH_ROWS));
    settings.put("max.queue.size", String.valueOf(QUEUE_ROWS));
    settings.put("poll.interval.ms", String.valueOf(BATCH_WAIT_MS));
    settings.put("transforms", "outbox");
    settings.put("transforms.outbox.type", "io.debezium.transforms.outbox.EventRouter");
    settings.put("transforms.outbox.route.topic.replacement", name() + ".${routedByValue}");
    return settings;
  }

  private static void publish() {
    Properties settings = kafka();
    settings.put("acks", "all");
    KafkaProducer<String, String> producer =
        new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    DebeziumEngine<RecordChangeEvent<SourceRecord>> engine =
        DebeziumEngine.create(ChangeEventFormat.of(Connect.class))
            .using(engine())
            .notifying((batch, committer) -> publish(producer, batch, committer))
            .using((success, message, error) -> finish(success, message, error))
            .build();
    engine.run();
  }

  private static void publish(
      KafkaProducer<String, String> producer,
      List<RecordChangeEvent<SourceRecord>> batch,
      RecordCommitter<RecordChangeEvent<SourceRecord>> committer)
      throws InterruptedException {
    List<Future<?>> confirmed = new ArrayList<>();
    for (RecordChangeEvent<SourceRecord> event : batch) {
      SourceRecord record = event.record();
      confirmed.add(
          producer.send(
              new ProducerRecord<>(
                  record.topic(), (String) record.key(), (String) record.value())));
    }
    producer.flush();
    for (Future<?> one : confirmed) {
      try {
        one.get();
      } catch (ExecutionException error) {
        throw new IllegalStateException(error);
      }
    }
    for (RecordChangeEvent<SourceRecord> event : batch) {
      committer.markProcessed(event);
    }
    committer.markBatchFinished();
  }

  private static void finish(boolean success, String message, Throwable error) {
    if (!success) {
      System.err.println(message);
      if (error != null) {
        error.printStackTrace();
      }
      Runtime.getRuntime().halt(1);
    }
  }

  private static void consume() throws Exception {
    Properties settings = kafka();
    settings.put("group.id", name());
    settings.put("auto.offset.reset", "earliest");
    settings.put("enable.auto.commit", "false");
    settings.put("max.poll.records", String.valueOf(BATCH_ROWS));
    ObjectMapper json = new ObjectMapper();
    try (KafkaConsumer<String, String> consumer =
            new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
        Connection replica = connect();
        PreparedStatement upsert = replica.prepareStatement(UPSERT)) {
      consumer.subscribe(List.of(topic()));
      while (true) {
        ConsumerRecords<String, String> records = consumer.poll(POLL);
        if (records.isEmpty()) {
          continue;
        }
        Map<Long, JsonNode> newest = new LinkedHashMap<>();
        for (ConsumerRecord<String, String> record : records) {
          JsonNode user = json.readTree(record.value());
          newest.put(user.get("id").asLong(), user);
        }
        apply(replica, upsert, newest);
        consumer.commitSync();
      }
    }
  }

  private static Connection connect() throws SQLException {
    URI database = URI.create(System.getenv("DATABASE_URL"));
    String[] login = database.getUserInfo().split(":", 2);
    return DriverManager.getConnection(
        String.format("jdbc:postgresql://%s:%d/peers_replica",
            database.getHost(), database.getPort()),
        login[0], login.length > 1 ? login[1] : "");
  }

  private static void apply(
      Connection replica, PreparedStatement upsert, Map<Long, JsonNode> users)
      throws SQLException {
    upsert.setArray(1, replica.createArrayOf("bigint", users.keySet().toArray()));
    upsert.setArray(2, replica.createArrayOf("text", texts(users, "username")));
    upsert.setArray(3, replica.createArrayOf("text", texts(users, "email")));
    upsert.executeUpdate();
  }

  private static Object[] texts(Map<Long, JsonNode> users, String column) {
    return users.values().stream().map((user) -> user.get(column).asText(null)).toArray();
  }
}
