// What the clients of Node share: the lines between them and the test, and CloudEvents' own SDK.
//
// A line is {"attributes": {name: text}, "data": base64}. There is no binding of CloudEvents for
// Redis, and the one for AMQP is of its version 1.0, which these clients do not speak; so both
// go through the SDK's binding for Kafka, and the clients only turn its headers into theirs.
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const { CloudEvent, Kafka } = require('cloudevents');

const CONTENT_TYPE = 'content-type';

/// The bytes as an application would give them to the SDK: JSON as a value if that writes them
/// again, anything else as it is.
function toData(type, bytes) {
  if (bytes.length === 0) {
    return undefined;
  }
  const text = bytes.toString();
  if (/[/+]json/.test(type)) {
    const value = JSON.parse(text);
    return JSON.stringify(value) === text ? value : bytes;
  }
  return type.startsWith('text/') ? text : bytes;
}

function toBytes(data) {
  if (data === undefined || Buffer.isBuffer(data)) {
    return data ?? Buffer.alloc(0);
  }
  return Buffer.from(typeof data === 'string' ? data : JSON.stringify(data));
}

/// The file's events as messages of the SDK: headers as text, value as bytes.
function messagesOf(file, mode) {
  const lines = fs.readFileSync(file, 'utf8').trim().split('\n');
  return lines.map((line) => {
    const { attributes, data } = JSON.parse(line);
    const bytes = Buffer.from(data, 'base64');
    const event = new CloudEvent({
      ...attributes,
      data: toData(attributes.datacontenttype, bytes),
    });
    const { headers, key, value } = Kafka[mode](event);
    // The SDK names headers for attributes that the event does not have.
    const given = Object.entries(headers).filter(([, text]) => text !== undefined);
    return { type: event.type, headers: Object.fromEntries(given), key, value: toBytes(value) };
  });
}

/// Prints a message that the SDK takes for an event.
function print({ headers, key, value }) {
  const { [CONTENT_TYPE]: datacontenttype, ...others } = headers;
  // The SDK parses JSON even where there is no data, and fails.
  const event = Kafka.toEvent({ headers: value.length > 0 ? headers : others, key, value });
  const { data } = event;
  const { data: _, data_base64: __, ...attributes } = event.toJSON();
  if (data !== null && typeof data === 'object' && !Buffer.isBuffer(data)) {
    assert.deepStrictEqual(data, JSON.parse(value.toString()));
  } else {
    assert.deepStrictEqual(toBytes(data), value);
  }
  const all = { ...attributes, datacontenttype };
  console.log(JSON.stringify({ attributes: all, data: value.toString('base64') }));
}

/// Runs `read(address, topic, count)` or `write(address, topic, messages)`, as the arguments say.
async function run({ read, write }) {
  const [action, address, topic, ...rest] = process.argv.slice(2);
  if (action === 'read') {
    await read(address, topic, Number(rest[0]));
  } else {
    await write(address, topic, messagesOf(rest[1], rest[0]));
  }
}

/// Tells the test that whatever is published from now on will be seen.
function ready() {
  console.error('ready');
}

module.exports = { CONTENT_TYPE, print, ready, run };
