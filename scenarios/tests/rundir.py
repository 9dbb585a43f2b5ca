"""Reads what a run leaves behind: secrets of its cards and CAs, the ports of its hub."""
import base64
import glob
import os
import re
import sqlite3

PRIVATE, SECRET = 0, 2  # classes of objects in a card's store
OBJECT, VALUE = ord("O"), 0xC4
USIM, K, OPC = ord("K"), 0xC0, 0xC1


def elements(data):
    """(tag, value) of a flat list with one-byte tags."""
    at = 0
    while at < len(data):
        tag, n = data[at], data[at + 1]
        at += 2
        if n & 0x80:
            size = n & 0x7F
            n, at = int.from_bytes(data[at:at + size], "big"), at + size
        yield tag, data[at:at + n]
        at += n


def card_secrets(store):
    """Private keys, pre-shared keys and the USIM's in a card's store: {name: bytes}."""
    found = {}
    with sqlite3.connect("file:%s?mode=ro" % store, uri=True) as db:
        for key, value in db.execute("SELECT key, value FROM nvm"):
            wanted = (K, OPC) if key[0] == USIM else (VALUE,)
            if key[0] != USIM and (key[0] != OBJECT or key[2] not in (PRIVATE, SECRET)):
                continue
            for tag, data in elements(value[1:]):
                if tag in wanted and len(data) >= 16:
                    found["%s record %s %02X" % (os.path.basename(store), key.hex(), tag)] = data
    return found


def key_files(folder):
    """EC private keys in PEM files, and keys as they are: {path: scalar or key}."""
    found = {}
    for path in glob.glob(folder + "/**/*.key", recursive=True):
        with open(path, "rb") as f:
            data = f.read()
        if data.startswith(b"-----BEGIN"):
            der = base64.b64decode(b"".join(line for line in data.splitlines() if not line.startswith(b"-")))
            data = der.partition(b"\x04\x20")[2][:32]
        found[path] = data
    return found


def secrets(folder):
    """All of one run."""
    found = key_files(folder + "/state")
    for store in glob.glob(folder + "/state/*.db"):
        found.update(card_secrets(store))
    return found


def spellings(secret):
    """How a secret may show itself in a file."""
    text = secret.hex()
    pairs = [text[i:i + 2] for i in range(0, len(text), 2)]
    forms = {secret, text.encode(), text.upper().encode()}
    for separator in (" ", ":"):
        forms |= {separator.join(pairs).encode(), separator.join(pairs).upper().encode()}
    for shift in range(3):
        # Only whole groups of its own: what stands around it is not known.
        body = secret[shift:shift + (len(secret) - shift) // 3 * 3]
        forms.add(base64.b64encode(body))
    return forms


def files_with(secret, folder, skip=()):
    """Files below folder that hold it in any spelling."""
    found = []
    for path in glob.glob(folder + "/**", recursive=True):
        if os.path.isfile(path) and not path.endswith(tuple(skip)):
            with open(path, "rb") as f:
                data = f.read()
            lines_joined = data.replace(b"\n", b"")  # a PEM file breaks it anywhere
            if any(form in data or form in lines_joined for form in spellings(secret)):
                found.append(path)
    return found


def runs(folder):
    """The run folders below folder, itself included: those with events."""
    return sorted(os.path.dirname(p) for p in glob.glob(folder + "/**/events.jsonl", recursive=True))


def hub_port(folder):
    with open(folder + "/log/hub.log") as f:
        return int(re.search(r"name=mqtts at=127\.0\.0\.1:(\d+)", f.read()).group(1))
