// usage: run.js [ROWS]
//
// Changes of one table on PostgreSQL into a replica table on the same server, by Instep and by what
// people build: the outbox loop of tutorials with amqplib and RabbitMQ, and with BullMQ and Redis.
// First ROWS changes that wait, from the start of the processes until the last row is there; then
// 50 changes a second, from a row's commit until it is seen in the replica. Needs DATABASE_URL
// (postgresql://user@host:port), AMQP_URL, REDIS_URL, and INSTEP, the program; `./dev bench peers`
// builds that and fetches the packages.
'use strict';
const { execFileSync, spawn } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { connect } = require('./peer_table');

const ROWS = Number(process.argv[2] ?? 20000);
const LATENCY_ROWS = 200;
const LATENCY_PAUSE_MS = 20;
const DEADLINE_MS = 600_000;

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'instep-peers-'));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const now = () => Number(process.hrtime.bigint()) / 1e6;

function start(program, args) {
  const log = fs.openSync(path.join(folder, 'log'), 'a');
  const child = spawn(program, args, { stdio: ['ignore', log, log], cwd: folder });
  child.once('exit', (status) => {
    if (!child.isToStop) {
      console.error(`${program} ${args.join(' ')} ended with ${status}; see ${folder}/log`);
      process.exit(1);
    }
  });
  return child;
}

async function stop(processes) {
  await Promise.all(processes.map((child) => new Promise((resolve) => {
    child.isToStop = true;
    child.once('exit', resolve);
    child.kill('SIGTERM');
  })));
}

/// Peak resident memory of all of them, in MiB.
function memory(processes) {
  return processes.reduce((sum, { pid }) => {
    const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
    return sum + Number(/VmHWM:\s+(\d+)/.exec(status)[1]) / 1024;
  }, 0);
}

function peer(name, script) {
  const file = path.join(__dirname, script);
  const run = (role) => start(process.execPath, [file, role]);
  return {
    name,
    outbox: true,
    async prepare() {
      execFileSync(process.execPath, [file, 'reset']);
    },
    start: () => ['consumer', 'outbox'].map(run),
  };
}

function instep(name, broker) {
  const head = (service, database) => `[service]\nname = "${service}"\n` +
    `database = "${process.env.DATABASE_URL}/${database}"\nbroker = "${broker}"\n`;
  const files = ['iam.toml', 'data_owner.toml'];
  return {
    name,
    outbox: false,
    async prepare() {
      fs.writeFileSync(path.join(folder, files[0]), head('iam', 'peers_owner') +
        '[[publish]]\ntable = "users"\nentity = "user"\nkey = "id"\n' +
        'columns = ["id", "username", "email"]\n');
      fs.writeFileSync(path.join(folder, files[1]), head('data-owner', 'peers_replica') +
        '[[replica]]\ntopic = "iam.user"\ntable = "lookup_users"\n');
      const command = (...words) => execFileSync(process.env.INSTEP, words, { cwd: folder });
      command('apply', ...files);
      command('verify', ...files);
    },
    start: () => files.map((file) => start(process.env.INSTEP, ['run', file])),
  };
}

async function makeDatabases() {
  const server = await connect('postgres');
  for (const name of ['peers_owner', 'peers_replica']) {
    await server.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    await server.query(`CREATE DATABASE ${name}`);
  }
  await server.end();
  const owner = await connect('peers_owner');
  await owner.query(`CREATE TABLE users (id bigint PRIMARY KEY, username text NOT NULL, email text);
    CREATE TABLE outbox (outbox_id bigserial PRIMARY KEY, event_type text NOT NULL,
      payload jsonb NOT NULL, published_at timestamptz, status text NOT NULL DEFAULT 'pending');
    CREATE INDEX idx_outbox_pending ON outbox (outbox_id) WHERE status = 'pending'`);
  return owner;
}

/// As the application would, with its outbox if it has one.
async function write(owner, contender, first, count) {
  await owner.query('BEGIN');
  await owner.query(`INSERT INTO users SELECT i, 'user' || i, 'user' || i || '@example.org'
                     FROM generate_series($1::bigint, $2::bigint) i`, [first, first + count - 1]);
  if (contender.outbox) {
    await owner.query(`INSERT INTO outbox (event_type, payload)
      SELECT 'user.created', to_jsonb(u) FROM users u WHERE id BETWEEN $1 AND $2 ORDER BY id`,
    [first, first + count - 1]);
  }
  await owner.query('COMMIT');
}

async function until(reached) {
  const end = now() + DEADLINE_MS;
  while (!(await reached())) {
    if (now() > end) {
      throw new Error(`not done in time; see ${folder}/log`);
    }
    await sleep(1);
  }
}

async function measure(contender) {
  const owner = await makeDatabases();
  const seen = await connect('peers_replica');
  if (contender.outbox) {
    await seen.query(
      'CREATE TABLE lookup_users (id bigint PRIMARY KEY, username text, email text)');
  }
  await contender.prepare();
  for (let first = 1; first <= ROWS; first += 100) {
    await write(owner, contender, first, Math.min(100, ROWS - first + 1));
  }
  const newest = async () =>
    Number((await seen.query('SELECT coalesce(max(id), 0) AS id FROM lookup_users')).rows[0].id);
  const all = async () =>
    Number((await seen.query('SELECT count(*) FROM lookup_users')).rows[0].count) === ROWS;
  const begin = now();
  const processes = contender.start();
  await until(async () => (await newest()) === ROWS && all());
  const seconds = (now() - begin) / 1000;

  const latencies = [];
  for (let id = ROWS + 1; id <= ROWS + LATENCY_ROWS; ++id) {
    await write(owner, contender, id, 1);
    const committed = now();
    await until(async () => (await newest()) === id);
    latencies.push(now() - committed);
    await sleep(LATENCY_PAUSE_MS);
  }
  latencies.sort((a, b) => a - b);
  const at = (share) => latencies[Math.floor(latencies.length * share)].toFixed(1);
  const mib = memory(processes).toFixed(0);
  await stop(processes);
  await owner.end();
  await seen.end();
  const rate = (ROWS / seconds).toFixed(0);
  console.log(`${contender.name.padEnd(34)} ${rate.padStart(7)} changes/s  ` +
    `p50 ${at(0.5)} ms  p99 ${at(0.99)} ms  ${mib} MiB`);
}

async function main() {
  const contenders = [
    peer('outbox loop, amqplib, RabbitMQ', 'amqplib_peer.js'),
    instep('Instep, RabbitMQ', process.env.AMQP_URL),
    peer('outbox loop, BullMQ, Redis', 'bullmq_peer.js'),
    instep('Instep, Redis', process.env.REDIS_URL),
  ];
  console.log(`${ROWS} changes that wait, then ${LATENCY_ROWS} one by one; two processes each`);
  for (const contender of contenders) {
    await measure(contender);
  }
  fs.rmSync(folder, { recursive: true });
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
