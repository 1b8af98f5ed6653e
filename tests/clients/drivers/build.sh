#!/usr/bin/env bash
# Builds one driver that is not in Python: NAME (Java, jars, franz-go, kafkajs) below DIRECTORY.
# Fetches what it needs through the language's own package client.
set -euo pipefail
name=$1 directory=$2
here=$(cd "$(dirname "$0")" && pwd)
case $name in
Java | jars)
    mkdir -p "$directory/java/classes"
    [ -e "$directory/java/jars/.complete" ] ||
        { mvn -q -B -f "$here/java/pom.xml" dependency:copy-dependencies \
            -DoutputDirectory="$directory/java/jars" && touch "$directory/java/jars/.complete"; }
    [ "$name" = jars ] ||
        javac -cp "$directory/java/jars/*" -d "$directory/java/classes" "$here/java/Driver.java"
    ;;
franz-go)
    mkdir -p "$directory/go"
    cp "$here/go/"* "$directory/go/"
    cd "$directory/go" && go build -o driver .
    ;;
kafkajs)
    mkdir -p "$directory/js"
    cp "$here/js/"* "$directory/js/"
    cd "$directory/js" && npm ci --silent --no-audit --no-fund
    ;;
*)
    echo "no driver $name" >&2
    exit 2
    ;;
esac
