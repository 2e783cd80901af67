"""What the clients of Python and of the shell share: the lines between them and the test.

A line is {"attributes": {name: text}, "data": base64}.
"""

import base64
import json
import sys

STRUCTURED = "application/cloudevents+json"


class Message:
    """An event as headers without a prefix, content type and bytes, in either mode."""

    def __init__(self, attributes, data, mode):
        self.type = attributes["type"]
        self.key = attributes["partitionkey"]
        if mode == "binary":
            self.headers = {k: v for k, v in attributes.items() if k != "datacontenttype"}
            self.content_type = attributes["datacontenttype"]
            self.value = data
        else:
            self.headers = {}
            self.content_type = STRUCTURED
            self.value = to_structured(attributes, data)


def to_structured(attributes, data):
    event = dict(attributes)
    if data and attributes["datacontenttype"].startswith("text/"):
        event["data"] = data.decode()
    elif data:
        event["data_base64"] = base64.b64encode(data).decode()
    return json.dumps(event).encode()


def read_messages(path, mode):
    with open(path, encoding="utf-8") as file:
        for line in file:
            event = json.loads(line)
            yield Message(event["attributes"], base64.b64decode(event["data"]), mode)


def show(headers, prefix, content_type, data):
    """Prints what came: headers that begin with the prefix are attributes."""
    attributes = {
        name[len(prefix):]: text for name, text in headers.items() if name.startswith(prefix)
    }
    if content_type is not None:
        attributes["datacontenttype"] = content_type
    line = {"attributes": attributes, "data": base64.b64encode(data).decode()}
    print(json.dumps(line), flush=True)


def ready():
    """Tells the test that whatever is published from now on will be seen."""
    print("ready", file=sys.stderr, flush=True)


def run(read, write):
    """Calls read(address, topic, count) or write(address, topic, messages)."""
    action, address, topic, *rest = sys.argv[1:]
    if action == "read":
        read(address, topic, int(rest[0]))
    else:
        write(address, topic, read_messages(rest[1], rest[0]))
