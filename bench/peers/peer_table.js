// The outbox and the replica table that the peers in Node share, in two manners: `one` is the loop
// of tutorials, which polls 50 pending rows, publishes them one by one and marks them one by one;
// `batch` is what a careful reader of the libraries' documents makes of it.
'use strict';
const { Client } = require('pg');

const POLL_ROWS = { one: 50, batch: 500 };
const TOGETHER = { one: 1, batch: 500 };
const PAUSE_MS = 10;

async function connect(database) {
  const client = new Client({ connectionString: `${process.env.DATABASE_URL}/${database}` });
  await client.connect();
  return client;
}

/// `publish` takes rows of the outbox and is done when the broker has confirmed them all.
async function publishForever(manner, publish) {
  const owner = await connect('peers_owner');
  for (;;) {
    await owner.query('BEGIN');
    const { rows } = await owner.query(
      `SELECT outbox_id, event_type, payload FROM outbox WHERE status = 'pending'
       ORDER BY outbox_id LIMIT $1 FOR UPDATE SKIP LOCKED`, [POLL_ROWS[manner]]);
    for (let at = 0; at < rows.length; at += TOGETHER[manner]) {
      const some = rows.slice(at, at + TOGETHER[manner]);
      await publish(some);
      await owner.query(`UPDATE outbox SET status = 'sent', published_at = now()
                         WHERE outbox_id = ANY($1)`, [some.map((row) => row.outbox_id)]);
    }
    await owner.query('COMMIT');
    if (rows.length === 0) {
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

/// Returns what takes events in. No inbox, which favours the peer: a repeat is an upsert.
async function replica() {
  const client = await connect('peers_replica');
  return (users) => {
    const newest = [...new Map(users.map((user) => [user.id, user])).values()];
    return client.query(
      `INSERT INTO lookup_users (id, username, email)
       SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[])
       ON CONFLICT (id) DO UPDATE SET username = excluded.username, email = excluded.email`,
      ['id', 'username', 'email'].map((column) => newest.map((user) => user[column])));
  };
}

module.exports = { TOGETHER, connect, publishForever, replica };
