// usage: amqplib_peer.js reset|outbox|consumer
//
// The seeds' outbox worker over RabbitMQ, with confirms and a quorum queue, and a consumer that
// takes one event after the other.
'use strict';
const amqp = require('amqplib');
const { publishForever, replica } = require('./peer_table');

const EXCHANGE = 'peers.user';
const QUEUE = 'peers.lookup_users';

async function main(role) {
  const connection = await amqp.connect(process.env.AMQP_URL);
  const channel = await connection.createConfirmChannel();
  await channel.assertExchange(EXCHANGE, 'topic', { durable: true });
  await channel.assertQueue(QUEUE, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  await channel.bindQueue(QUEUE, EXCHANGE, 'user.*');
  if (role === 'reset') {
    await channel.purgeQueue(QUEUE);
    await connection.close();
    return;
  }
  if (role === 'outbox') {
    await publishForever((row) => new Promise((resolve, reject) => {
      channel.publish(EXCHANGE, row.event_type, Buffer.from(JSON.stringify(row.payload)),
        { persistent: true, mandatory: true }, (error) => (error ? reject(error) : resolve()));
    }));
  }
  const apply = await replica();
  await channel.prefetch(1);
  await channel.consume(QUEUE, async (message) => {
    await apply(JSON.parse(message.content));
    channel.ack(message);
  });
}

main(process.argv[2]);
