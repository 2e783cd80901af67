#!/usr/bin/env python3
"""kcat, as a script would use it."""

import json
import subprocess
import tempfile

import events

MESSAGE_BYTES_MAX = "message.max.bytes=8388608"


def kcat(address, topic, *arguments, data=None):
    return subprocess.run(
        ["kcat", "-q", "-b", address, "-t", topic, "-p", "0", *arguments],
        input=data, check=True, stdout=subprocess.PIPE,
    ).stdout


def payloads(text):
    """Of the format '%S\\n%s': a length, a line feed and as many bytes."""
    while text:
        length, _, text = text.partition(b"\n")
        length = max(int(length), 0)
        yield text[:length]
        text = text[length:]


def read(address, topic, count):
    events.ready()
    every = ("-C", "-o", "beginning", "-c", str(count))
    data = payloads(kcat(address, topic, *every, "-f", "%S\n%s"))
    # Its JSON has the headers apart, but cannot hold every payload.
    for line in kcat(address, topic, *every, "-J").decode(errors="replace").splitlines():
        pairs = json.loads(line, strict=False)["headers"]
        headers = dict(zip(pairs[::2], pairs[1::2]))
        events.show(headers, "ce_", headers.get("content-type"), next(data))


def produce(address, topic, message, options):
    if not message.value:
        # An empty file or line is no message to it, a line that only has a key is one with -Z.
        kcat(address, topic, *options, "-Z", "-K", "\t", data=f"{message.key}\t\n".encode())
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(message.value)
        file.flush()
        kcat(address, topic, *options, "-k", message.key, file.name)


def write(address, topic, messages):
    for message in messages:
        headers = {f"ce_{name}": text for name, text in message.headers.items()}
        headers["content-type"] = message.content_type
        options = [word for name, text in headers.items() for word in ("-H", f"{name}={text}")]
        produce(address, topic, message, ("-P", "-X", MESSAGE_BYTES_MAX, *options))


events.run(read, write)
