#!/usr/bin/env python3
"""usage: prepare.py FOLDER

Puts into FOLDER what a Kafka server of the tests' own needs: the jars that pom.xml names, by
Maven, and an archive of the classes that a start loads, which halves the time that one takes.
"""

import glob
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

DEADLINE_SECONDS = 120
ARCHIVE = "server.jsa"


def fetch_jars(folder):
    pom = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pom.xml")
    jars = os.path.join(folder, "jars")
    shutil.rmtree(jars, ignore_errors=True)
    subprocess.run(
        ["mvn", "--batch-mode", "--quiet", "--file", pom, "dependency:copy-dependencies",
         f"-DoutputDirectory={jars}"],
        check=True,
    )
    return sorted(glob.glob(os.path.join(jars, "*.jar")))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def settings(data, port, controller_port):
    return f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
log.dirs={data}
"""


def make_archive(folder, class_path):
    """Runs a server once; Java writes the archive when it ends."""
    archive = os.path.join(folder, ARCHIVE)
    with tempfile.TemporaryDirectory() as work:
        data = os.path.join(work, "data")
        os.mkdir(data)
        with open(os.path.join(data, "meta.properties"), "w", encoding="ascii") as file:
            file.write("version=1\ncluster.id=aW5zdGVwLXRlc3RzLWthZg\nnode.id=1\n")
        port = free_port()
        config = os.path.join(work, "server.properties")
        with open(config, "w", encoding="ascii") as file:
            file.write(settings(data, port, free_port()))
        with open(os.path.join(folder, "prepare.log"), "w", encoding="utf-8") as log:
            server = subprocess.Popen(
                ["java", "-XX:+UseSerialGC", f"-XX:ArchiveClassesAtExit={archive}.new",
                 "-cp", class_path, "kafka.Kafka", config],
                stdout=log, stderr=log,
            )
            until = time.monotonic() + DEADLINE_SECONDS
            while not is_listening(port):
                if server.poll() is not None or time.monotonic() > until:
                    server.kill()
                    sys.exit(f"the Kafka server does not start; see {log.name}")
                time.sleep(0.1)
            server.terminate()
            server.wait(DEADLINE_SECONDS)
    os.replace(f"{archive}.new", archive)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = os.path.abspath(sys.argv[1])
    os.makedirs(folder, exist_ok=True)
    class_path = ":".join(fetch_jars(folder))
    with open(os.path.join(folder, "class_path"), "w", encoding="utf-8") as file:
        file.write(class_path)
    make_archive(folder, class_path)


if __name__ == "__main__":
    main()
