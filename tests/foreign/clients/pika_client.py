#!/usr/bin/python3
"""pika, which Debian has for its own Python."""

import pika

import events

# AMQP's limit on routing keys and on the property "content type".
SHORT_BYTES_MAX = 255
PREFIX = "cloudEvents_"


def read(address, topic, count):
    connection = pika.BlockingConnection(pika.URLParameters(address))
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, topic, "#")
    events.ready()
    for _, properties, body in channel.consume(queue, auto_ack=True):
        events.show(properties.headers, PREFIX, properties.content_type, body)
        count -= 1
        if count == 0:
            break
    connection.close()


def write(address, topic, messages):
    connection = pika.BlockingConnection(pika.URLParameters(address))
    channel = connection.channel()
    channel.confirm_delivery()
    for message in messages:
        headers = {PREFIX + name: text for name, text in message.headers.items()}
        properties = pika.BasicProperties(headers=headers, delivery_mode=2)
        if len(message.content_type) <= SHORT_BYTES_MAX:
            properties.content_type = message.content_type
        else:
            headers[PREFIX + "datacontenttype"] = message.content_type
        channel.basic_publish(
            f"{topic}.p0", message.type[:SHORT_BYTES_MAX], message.value, properties,
            mandatory=True,
        )
    connection.close()


events.run(read, write)
