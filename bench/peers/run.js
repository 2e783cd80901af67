// usage: run.js [ROWS [WORD]]
//
// Changes of one table on PostgreSQL into a replica table on the same server, by Instep and by
// what people build; with WORD, only by those whose name has it in it. Everybody first takes some
// changes to warm up; is held (SIGSTOP) while ROWS more are committed, 100 in a transaction, and
// then let go until the last row is there; then gets 500 changes, 50 a second, each timed from its
// commit until it is seen. Who goes one by one gets a twentieth of ROWS: the rate does not depend
// on it.
//
// Needs DATABASE_URL (postgresql://user@host:port; Debezium wants wal_level=logical there) and
// INSTEP, the program; takes AMQP_URL, REDIS_URL and KAFKA_URL, and leaves out whoever needs one
// that is not there. What it makes on the brokers stays, under a name of its own. `./dev bench
// peers` builds what it runs.
'use strict';
const fs = require('fs');
const os = require('os');
const path = require('path');

process.env.PEERS_NAME = `peers-${Date.now().toString(36)}`;
const { contenders } = require('./contenders');
const { connect } = require('./peer_table');
const { cpu, hold, memory, memoryShared, release, start, stop } = require('./processes');

const ROWS = Number(process.argv[2] ?? 20000);
const WORD = process.argv[3] ?? '';
const WARM_UP_ROWS = 2000;
const SLOW_SHARE = 0.05;
const ROWS_A_COMMIT = 100;
const LATENCY_ROWS = 500;
const LATENCY_PAUSE_MS = 20;
const DEADLINE_MS = 300_000;

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'instep-peers-'));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const now = () => Number(process.hrtime.bigint()) / 1e6;

async function canDecode() {
  const server = await connect('postgres');
  const { rows } = await server.query('SHOW wal_level');
  await server.end();
  return rows[0].wal_level === 'logical';
}

async function makeDatabases(contender) {
  const server = await connect('postgres');
  for (const name of ['peers_owner', 'peers_replica']) {
    await server.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    await server.query(`CREATE DATABASE ${name}`);
  }
  await server.end();
  const [owner, replica] = [await connect('peers_owner'), await connect('peers_replica')];
  await owner.query(
    'CREATE TABLE users (id bigint PRIMARY KEY, username text NOT NULL, email text)');
  if (contender.outbox) {
    await owner.query(contender.outbox.table);
    await owner.query(contender.outbox.slot ?? '');
    await replica.query(
      'CREATE TABLE lookup_users (id bigint PRIMARY KEY, username text, email text)');
  }
  return { owner, replica };
}

/// As the application would, with its outbox if it has one.
async function commit({ owner }, { outbox }, first, last) {
  await owner.query('BEGIN');
  await owner.query(`INSERT INTO users SELECT i, 'user' || i, 'user' || i || '@example.org'
                     FROM generate_series($1::bigint, $2::bigint) i`, [first, last]);
  if (outbox) {
    await owner.query(outbox.append, [first, last]);
  }
  await owner.query('COMMIT');
}

async function commitAll(databases, contender, first, last) {
  for (let id = first; id <= last; id += ROWS_A_COMMIT) {
    await commit(databases, contender, id, Math.min(id + ROWS_A_COMMIT - 1, last));
  }
}

async function seen({ replica }, id) {
  const end = now() + DEADLINE_MS;
  for (;;) {
    const { rows } = await replica.query('SELECT max(id) AS newest FROM lookup_users');
    if (Number(rows[0].newest) >= id) {
      return;
    }
    if (now() > end) {
      throw new Error(`row ${id} did not come; see ${folder}/log`);
    }
    await sleep(1);
  }
}

async function checkComplete({ replica }, count) {
  const { rows } = await replica.query('SELECT count(*) FROM lookup_users');
  if (Number(rows[0].count) !== count) {
    throw new Error(`the replica has ${rows[0].count} of ${count} rows; see ${folder}/log`);
  }
}

async function backlog(databases, contender, processes, first, last) {
  hold(processes);
  await commitAll(databases, contender, first, last);
  const before = cpu(processes);
  const begin = now();
  release(processes);
  await seen(databases, last);
  const seconds = (now() - begin) / 1000;
  await checkComplete(databases, last);
  const count = last - first + 1;
  return { rate: count / seconds, cpuMicros: ((cpu(processes) - before) * 1e6) / count };
}

async function latencies(databases, contender, first, last) {
  const all = [];
  for (let id = first; id <= last; ++id) {
    await commit(databases, contender, id, id);
    const committed = now();
    await seen(databases, id);
    all.push(now() - committed);
    await sleep(LATENCY_PAUSE_MS);
  }
  all.sort((a, b) => a - b);
  return (share) => all[Math.floor(all.length * share)];
}

async function measure(contender) {
  const databases = await makeDatabases(contender);
  await contender.prepare(folder);
  const processes = contender.commands().map(([program, args]) => start(folder, program, args));
  const share = contender.isSlow ? SLOW_SHARE : 1;
  const warm = WARM_UP_ROWS * share;
  const last = warm + Math.ceil(ROWS * share);
  await commitAll(databases, contender, 1, warm);
  await seen(databases, warm);
  const caughtUp = await backlog(databases, contender, processes, warm + 1, last);
  const latency = await latencies(databases, contender, last + 1, last + LATENCY_ROWS);
  await checkComplete(databases, last + LATENCY_ROWS);
  const mib = [memory(processes), memoryShared(processes)].map((size) => size.toFixed(0));
  await stop(processes);
  await databases.owner.end();
  await databases.replica.end();
  return [caughtUp.rate.toFixed(0), latency(0.5).toFixed(1), latency(0.99).toFixed(1),
    ...mib, caughtUp.cpuMicros.toFixed(0)];
}

function print(name, columns) {
  console.log(name.padEnd(48) + columns.map((text) => text.padStart(13)).join(''));
}

async function main() {
  console.log(`${ROWS} changes that wait, then ${LATENCY_ROWS} one by one; two processes each`);
  print('', ['changes/s', 'p50 ms', 'p99 ms', 'peak MiB', 'MiB shared', 'CPU µs each']);
  const decodes = await canDecode();
  for (const contender of contenders().filter(({ name }) => name.includes(WORD))) {
    const missing = contender.missing || (contender.outbox?.slot && !decodes && 'logical decoding');
    if (missing) {
      console.log(`${contender.name.padEnd(48)}  left out: no ${missing}`);
    } else {
      print(contender.name, await measure(contender));
    }
  }
  fs.rmSync(folder, { recursive: true });
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
