// usage: bullmq_peer.js reset|outbox|consumer
//
// The same outbox worker into a BullMQ queue on Redis, and a BullMQ worker that takes one job after
// the other.
'use strict';
const { Queue, Worker } = require('bullmq');
const { publishForever, replica } = require('./peer_table');

const NAME = 'peers';
const { hostname, port } = new URL(process.env.REDIS_URL);
const connection = { host: hostname, port: Number(port), maxRetriesPerRequest: null };

async function main(role) {
  if (role !== 'consumer') {
    const queue = new Queue(NAME, { connection });
    if (role === 'reset') {
      await queue.obliterate({ force: true });
      await queue.close();
      return;
    }
    await publishForever((row) => queue.add(row.event_type, row.payload,
      { jobId: `outbox-${row.outbox_id}`, removeOnComplete: true }));
  }
  const apply = await replica();
  new Worker(NAME, (job) => apply(job.data), { connection, concurrency: 1 });
}

main(process.argv[2]);
