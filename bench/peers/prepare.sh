#!/usr/bin/env bash
# usage: prepare.sh FOLDER
#
# Fetches and builds into FOLDER what run.js runs besides Instep, and prints the variables that name
# it. A peer whose toolchain is not there is left out, with a word of why.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)

left_out() { printf 'peers: without %s\n' "$*" >&2; }

prepare_node() {
  cp "$here/package.json" "$folder/"
  npm install --silent --no-fund --no-audit --ignore-scripts --prefix "$folder" >&2
  printf 'NODE_PATH=%q\n' "$folder/node_modules"
}

prepare_watermill() {
  (cd "$here/watermill" && go build -o "$folder/watermill_peer" .) >&2 || return 1
  printf 'WATERMILL_PEER=%q\n' "$folder/watermill_peer"
}

prepare_debezium() {
  local jars="$folder/debezium/jars" classes="$folder/debezium/classes"
  mvn --batch-mode --quiet --file "$here/debezium/pom.xml" dependency:copy-dependencies \
    "-DoutputDirectory=$jars" >&2 || return 1
  javac -cp "$jars/*" -d "$classes" "$here/debezium/DebeziumPeer.java" >&2 || return 1
  printf 'DEBEZIUM_CLASS_PATH=%q\n' "$classes:$jars/*"
}

prepare_node
if ! command -v go >/dev/null; then
  left_out 'Watermill: there is no go'
elif ! prepare_watermill; then
  left_out 'Watermill: it cannot be built'
fi
if ! command -v mvn >/dev/null || ! command -v javac >/dev/null; then
  left_out 'Debezium: there is no mvn or no javac'
elif ! prepare_debezium; then
  left_out 'Debezium: it cannot be built'
fi
