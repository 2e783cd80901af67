// The outbox worker as tutorials write it: poll 50 pending rows, publish them one by one, mark
// them one by one. Prints the seconds until nothing is pending. The publish is confirmed at once,
// which no real broker does.
'use strict';
const { Client } = require('pg');

const confirmed = () => new Promise((resolve) => setImmediate(resolve));

async function publishOutboxBatch(client, batchSize = 50) {
  const res = await client.query(
    `SELECT outbox_id, event_type, payload
     FROM outbox
     WHERE status = 'pending'
     ORDER BY occurred_at ASC
     LIMIT $1 FOR UPDATE SKIP LOCKED`,
    [batchSize]
  );
  for (const row of res.rows) {
    Buffer.from(JSON.stringify(row.payload));
    await confirmed();
    await client.query(
      'UPDATE outbox SET status = $1, published_at = NOW() WHERE outbox_id = $2',
      ['sent', row.outbox_id]
    );
  }
  return res.rows.length;
}

async function main() {
  const client = new Client({ connectionString: process.argv[2] });
  await client.connect();
  const start = process.hrtime.bigint();
  while ((await publishOutboxBatch(client)) > 0);
  console.log(Number(process.hrtime.bigint() - start) / 1e9);
  await client.end();
}

main();
