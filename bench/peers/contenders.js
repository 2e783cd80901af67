// Who is measured: how each is set up, what its application writes besides the row, and how its
// two processes are started. `needs` are what the environment has to name: servers, and what
// prepare.sh has made.
'use strict';
const { execFileSync } = require('child_process');
const fs = require('fs');
const path = require('path');

const FILES = ['iam.toml', 'data_owner.toml'];

const TUTORIAL_OUTBOX = {
  table: `CREATE TABLE outbox (outbox_id bigserial PRIMARY KEY, event_type text NOT NULL,
      payload jsonb NOT NULL, published_at timestamptz, status text NOT NULL DEFAULT 'pending');
    CREATE INDEX idx_outbox_pending ON outbox (outbox_id) WHERE status = 'pending'`,
  append: `INSERT INTO outbox (event_type, payload)
    SELECT 'user.created', to_jsonb(u) FROM users u WHERE id BETWEEN $1 AND $2 ORDER BY id`,
};

// The columns that Debezium's event router expects, and what holds its place in the log.
const ROUTED_OUTBOX = {
  table: `CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text NOT NULL,
      aggregateid text NOT NULL, type text NOT NULL, payload jsonb NOT NULL);
    CREATE PUBLICATION peers FOR TABLE outbox`,
  slot: `SELECT pg_create_logical_replication_slot('peers', 'pgoutput')`,
  append: `INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload)
    SELECT gen_random_uuid(), 'user', id, 'user.created', to_jsonb(u)
    FROM users u WHERE id BETWEEN $1 AND $2 ORDER BY id`,
};

// What forwarder.NewPublisher() over Watermill's SQL publisher writes, into the table that the
// peer's own library makes.
const forwarderOutbox = (topic) => ({
  table: '',
  append: `INSERT INTO watermill_outbox (uuid, payload, metadata, transaction_id)
    SELECT gen_random_uuid(), json_build_object('destination_topic', '${topic}',
        'uuid', gen_random_uuid(), 'metadata', json_build_object(),
        'payload', translate(encode(convert_to(to_jsonb(u)::text, 'UTF8'), 'base64'), E'\\n', '')),
      '{}', pg_current_xact_id()
    FROM users u WHERE id BETWEEN $1 AND $2 ORDER BY id`,
});

const missingOf = (needs) => needs.filter((variable) => !process.env[variable]).join(', ');

/// `program` and `args` are followed by the role; `isSlow` gets fewer rows.
function peer({ name, needs, program, args, outbox, isSlow = false, resets = true }) {
  return {
    name,
    missing: missingOf(needs),
    outbox,
    isSlow,
    prepare(folder) {
      if (resets) {
        execFileSync(program, [...args, 'reset'], { cwd: folder, stdio: 'pipe' });
      }
    },
    commands: () => ['consumer', 'outbox'].map((role) => [program, [...args, role]]),
  };
}

function outboxLoop(libraries, broker, script, manner, options = {}) {
  return peer({
    name: `outbox loop, ${libraries}, ${manner === 'one' ? 'one by one' : 'in batches'}`,
    needs: [broker],
    program: process.execPath,
    args: [path.join(__dirname, script), manner],
    outbox: TUTORIAL_OUTBOX,
    isSlow: manner === 'one',
    ...options,
  });
}

// Its queues need no setting up. Its worker goes one by one in either manner.
const bullmq = (manner) => outboxLoop('BullMQ, Redis', 'REDIS_URL', 'bullmq_peer.js', manner,
  { resets: false, isSlow: true });

function watermill() {
  return peer({
    name: 'Watermill forwarder, RabbitMQ',
    needs: ['AMQP_URL', 'WATERMILL_PEER'],
    program: process.env.WATERMILL_PEER,
    args: [],
    outbox: forwarderOutbox(process.env.PEERS_NAME),
  });
}

function debezium() {
  return peer({
    name: 'Debezium engine, Kafka',
    needs: ['KAFKA_URL', 'DEBEZIUM_CLASS_PATH'],
    program: 'java',
    args: ['-Xmx256m', '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
      '-cp', process.env.DEBEZIUM_CLASS_PATH, 'DebeziumPeer'],
    outbox: ROUTED_OUTBOX,
  });
}

function instep(broker, variable) {
  const head = (service, database) => `[service]\nname = "${service}"\n` +
    `database = "${process.env.DATABASE_URL}/${database}"\nbroker = "${process.env[variable]}"\n`;
  const owner = `${process.env.PEERS_NAME}-iam`;
  return {
    name: `Instep, ${broker}`,
    missing: missingOf([variable]),
    outbox: null,
    isSlow: false,
    prepare(folder) {
      fs.writeFileSync(path.join(folder, FILES[0]), head(owner, 'peers_owner') +
        '[[publish]]\ntable = "users"\nentity = "user"\nkey = "id"\n' +
        'columns = ["id", "username", "email"]\n');
      fs.writeFileSync(path.join(folder, FILES[1]),
        head(`${process.env.PEERS_NAME}-data`, 'peers_replica') +
        `[[replica]]\ntopic = "${owner}.user"\ntable = "lookup_users"\n`);
      const command = (...words) =>
        execFileSync(process.env.INSTEP, words, { cwd: folder, stdio: 'pipe' });
      command('apply', ...FILES);
      command('verify', ...FILES);
    },
    commands: () => FILES.map((file) => [process.env.INSTEP, ['run', file]]),
  };
}

function contenders() {
  return [
    outboxLoop('amqplib, RabbitMQ', 'AMQP_URL', 'amqplib_peer.js', 'one'),
    outboxLoop('amqplib, RabbitMQ', 'AMQP_URL', 'amqplib_peer.js', 'batch'),
    watermill(),
    instep('RabbitMQ', 'AMQP_URL'),
    bullmq('one'),
    bullmq('batch'),
    outboxLoop('ioredis, Redis Streams', 'REDIS_URL', 'ioredis_peer.js', 'one'),
    outboxLoop('ioredis, Redis Streams', 'REDIS_URL', 'ioredis_peer.js', 'batch'),
    instep('Redis Streams', 'REDIS_URL'),
    debezium(),
    instep('Kafka', 'KAFKA_URL'),
  ];
}

module.exports = { contenders };
