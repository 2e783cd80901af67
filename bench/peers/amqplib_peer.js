// usage: amqplib_peer.js one|batch reset|outbox|consumer
//
// The seeds' outbox worker over RabbitMQ, with confirms and a quorum queue, and a consumer with as
// many events under way as it takes in together.
'use strict';
const amqp = require('amqplib');
const { TOGETHER, publishForever, replica } = require('./peer_table');

const [manner, role] = process.argv.slice(2);
const NAME = `${process.env.PEERS_NAME}-${manner}`;
const QUEUE = `${NAME}.lookup_users`;

async function publish(channel, rows) {
  for (const row of rows) {
    channel.publish(NAME, row.event_type, Buffer.from(JSON.stringify(row.payload)),
      { persistent: true, mandatory: true });
  }
  await channel.waitForConfirms();
}

async function consume(channel, together) {
  const apply = await replica();
  let waiting = [];
  let isBusy = false;
  await channel.prefetch(together);
  await channel.consume(QUEUE, async (message) => {
    waiting.push(message);
    if (isBusy) {
      return;
    }
    isBusy = true;
    while (waiting.length > 0) {
      const taken = waiting;
      waiting = [];
      await apply(taken.map(({ content }) => JSON.parse(content)));
      channel.ack(taken.at(-1), true);
    }
    isBusy = false;
  });
}

async function main() {
  const connection = await amqp.connect(process.env.AMQP_URL);
  const channel = await connection.createConfirmChannel();
  await channel.assertExchange(NAME, 'topic', { durable: true });
  await channel.assertQueue(QUEUE, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  await channel.bindQueue(QUEUE, NAME, 'user.*');
  if (role === 'reset') {
    await connection.close();
  } else if (role === 'outbox') {
    await publishForever(manner, (rows) => publish(channel, rows));
  } else {
    await consume(channel, TOGETHER[manner]);
  }
}

main();
