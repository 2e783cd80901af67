#!/usr/bin/env node
'use strict';
const { Kafka, Partitioners, logLevel } = require('kafkajs');
const { print, ready, run } = require('./events.js');

const connect = (address) =>
  new Kafka({ clientId: 'foreign', brokers: [address], logLevel: logLevel.ERROR });

function toMessage({ key, value, headers }) {
  const texts = Object.entries(headers).map(([name, text]) => [name, text.toString()]);
  return {
    headers: Object.fromEntries(texts),
    key: key?.toString(),
    value: value ?? Buffer.alloc(0),
  };
}

run({
  async read(address, topic, count) {
    const groupId = `${topic}.kafkajs`;
    const consumer = connect(address).consumer({ groupId, maxWaitTimeInMs: 100 });
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    ready();
    await new Promise((resolve, reject) => {
      const eachMessage = async ({ message }) => {
        try {
          print(toMessage(message));
        } catch (error) {
          reject(error);
        }
        if (--count === 0) {
          resolve();
        }
      };
      consumer.run({ eachMessage }).catch(reject);
    });
    await consumer.disconnect();
  },

  async write(address, topic, messages) {
    const producer = connect(address).producer({
      createPartitioner: Partitioners.DefaultPartitioner,
    });
    await producer.connect();
    for (const { headers, key, value } of messages) {
      await producer.send({ topic, messages: [{ partition: 0, headers, key, value }] });
    }
    await producer.disconnect();
  },
});
