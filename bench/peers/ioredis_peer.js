// usage: ioredis_peer.js one|batch reset|outbox|consumer
//
// The same outbox worker into a Redis stream, pipelined where it has more than one row, and a
// consumer group whose reads are as large as what it takes in together.
'use strict';
const Redis = require('ioredis');
const { TOGETHER, publishForever, replica } = require('./peer_table');

const [manner, role] = process.argv.slice(2);
const STREAM = `${process.env.PEERS_NAME}-${manner}`;
const GROUP = 'lookup_users';
const BLOCK_MS = 1000;

async function publish(redis, rows) {
  const pipeline = redis.pipeline();
  for (const row of rows) {
    pipeline.xadd(STREAM, '*', 'type', row.event_type, 'payload', JSON.stringify(row.payload));
  }
  for (const [error] of await pipeline.exec()) {
    if (error) {
      throw error;
    }
  }
}

async function consume(redis, together) {
  const apply = await replica();
  for (;;) {
    const read = await redis.xreadgroup('GROUP', GROUP, 'one', 'COUNT', together,
      'BLOCK', BLOCK_MS, 'STREAMS', STREAM, '>');
    if (read === null) {
      continue;
    }
    const [[, entries]] = read;
    await apply(entries.map(([, fields]) => JSON.parse(fields[fields.indexOf('payload') + 1])));
    await redis.xack(STREAM, GROUP, ...entries.map(([id]) => id));
  }
}

async function main() {
  const redis = new Redis(process.env.REDIS_URL);
  if (role === 'reset') {
    await redis.xgroup('CREATE', STREAM, GROUP, '0', 'MKSTREAM');
    redis.disconnect();
  } else if (role === 'outbox') {
    await publishForever(manner, (rows) => publish(redis, rows));
  } else {
    await consume(redis, TOGETHER[manner]);
  }
}

main();
