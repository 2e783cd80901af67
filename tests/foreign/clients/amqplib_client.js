#!/usr/bin/env node
'use strict';
const amqp = require('amqplib');
const { CONTENT_TYPE, print, ready, run } = require('./events.js');

/// AMQP's limit on routing keys and on the property "content type".
const SHORT_BYTES_MAX = 255;

function toMessage({ properties, content }) {
  const headers = {};
  for (const [name, value] of Object.entries(properties.headers)) {
    headers[name.replace(/^cloudEvents_/, 'ce_')] = value;
  }
  headers[CONTENT_TYPE] = properties.contentType ?? headers.ce_datacontenttype;
  return { headers, key: headers.ce_partitionkey, value: content };
}

function toProperties(headers) {
  const properties = { headers: {}, deliveryMode: 2 };
  for (const [name, value] of Object.entries(headers)) {
    if (name !== CONTENT_TYPE) {
      properties.headers[name.replace(/^ce_/, 'cloudEvents_')] = value;
    } else if (value.length <= SHORT_BYTES_MAX) {
      properties.contentType = value;
    } else {
      properties.headers.cloudEvents_datacontenttype = value;
    }
  }
  return properties;
}

run({
  async read(address, topic, count) {
    const connection = await amqp.connect(address);
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, topic, '#');
    await new Promise((resolve, reject) => {
      const take = (message) => {
        try {
          print(toMessage(message));
        } catch (error) {
          reject(error);
        }
        if (--count === 0) {
          resolve();
        }
      };
      channel.consume(queue, take, { noAck: true }).then(ready, reject);
    });
    await connection.close();
  },

  async write(address, topic, messages) {
    const connection = await amqp.connect(address);
    const channel = await connection.createConfirmChannel();
    for (const { type, headers, value } of messages) {
      const routingKey = type.slice(0, SHORT_BYTES_MAX);
      channel.publish(`${topic}.p0`, routingKey, value, toProperties(headers));
    }
    await channel.waitForConfirms();
    await connection.close();
  },
});
