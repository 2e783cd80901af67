// usage: bullmq_peer.js one|batch outbox|consumer
//
// The same outbox worker into a BullMQ queue on Redis, and a worker that takes one job after the
// other: more at once would lose the order, and batches are not in what is free of charge.
'use strict';
const { Queue, Worker } = require('bullmq');
const { publishForever, replica } = require('./peer_table');

const [manner, role] = process.argv.slice(2);
const NAME = `${process.env.PEERS_NAME}-${manner}`;
const { hostname, port } = new URL(process.env.REDIS_URL);
const connection = { host: hostname, port: Number(port), maxRetriesPerRequest: null };

const asJob = (row) => ({
  name: row.event_type,
  data: row.payload,
  opts: { jobId: `outbox-${row.outbox_id}`, removeOnComplete: true },
});

async function main() {
  if (role === 'outbox') {
    const queue = new Queue(NAME, { connection });
    await publishForever(manner, (rows) => queue.addBulk(rows.map(asJob)));
  } else {
    const apply = await replica();
    new Worker(NAME, (job) => apply([job.data]), { connection, concurrency: 1 });
  }
}

main();
