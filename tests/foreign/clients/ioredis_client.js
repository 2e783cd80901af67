#!/usr/bin/env node
'use strict';
const Redis = require('ioredis');
const { print, ready, run } = require('./events.js');

const streamOf = (topic) => `instep:{${topic}}:0`;

function toMessage(fields) {
  const headers = {};
  let value = Buffer.alloc(0);
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i].toString();
    if (name === 'data') {
      value = fields[i + 1];
    } else {
      headers[name] = fields[i + 1].toString();
    }
  }
  return { headers, key: headers.ce_partitionkey ?? headers.ce_subject, value };
}

run({
  async read(address, topic, count) {
    const redis = new Redis(address);
    let last = '0';
    ready();
    while (count > 0) {
      const [[, entries]] = await redis.xreadBuffer(
        'COUNT', count, 'BLOCK', 20000, 'STREAMS', streamOf(topic), last);
      for (const [id, fields] of entries) {
        print(toMessage(fields));
        last = id.toString();
      }
      count -= entries.length;
    }
    redis.disconnect();
  },

  async write(address, topic, messages) {
    const redis = new Redis(address);
    for (const { headers, value } of messages) {
      await redis.xadd(streamOf(topic), '*', ...Object.entries(headers).flat(), 'data', value);
    }
    redis.disconnect();
  },
});
