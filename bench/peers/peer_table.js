// The outbox and the replica table that the peers share. The outbox loop is the one of tutorials:
// poll 50 pending rows, publish them one by one, mark them one by one.
'use strict';
const { Client } = require('pg');

const BATCH = 50;
const PAUSE_MS = 10;

async function connect(database) {
  const client = new Client({ connectionString: `${process.env.DATABASE_URL}/${database}` });
  await client.connect();
  return client;
}

async function publishForever(publish) {
  const owner = await connect('peers_owner');
  for (;;) {
    await owner.query('BEGIN');
    const { rows } = await owner.query(
      `SELECT outbox_id, event_type, payload FROM outbox WHERE status = 'pending'
       ORDER BY outbox_id LIMIT $1 FOR UPDATE SKIP LOCKED`, [BATCH]);
    for (const row of rows) {
      await publish(row);
      await owner.query(`UPDATE outbox SET status = 'sent', published_at = now()
                         WHERE outbox_id = $1`, [row.outbox_id]);
    }
    await owner.query('COMMIT');
    if (rows.length === 0) {
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

/// Returns what takes one event in. No inbox, which favours the peer: a repeat is an upsert.
async function replica() {
  const client = await connect('peers_replica');
  return (user) => client.query(
    `INSERT INTO lookup_users (id, username, email) VALUES ($1, $2, $3)
     ON CONFLICT (id) DO UPDATE SET username = excluded.username, email = excluded.email`,
    [user.id, user.username, user.email]);
}

module.exports = { connect, publishForever, replica };
