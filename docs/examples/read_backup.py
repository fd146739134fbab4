#!/usr/bin/env python3
"""Opens a backup of Kith and prints what it holds.

Written from docs/protocol.md alone (sections 2, 8.1 and 8.7), beside the program itself: what this
reads, any other program can read. It needs Python 3.9 and the package "cryptography" 3 or newer.

    read_backup.py hall.json
    read_backup.py hall.enc.json < secret

The secret of an encrypted backup is all of standard input, less one newline at its end, or is typed.
The summary is one JSON object. Exits with 1 and a sentence if the backup is refused.
"""

import base64
import getpass
import hashlib
import json
import struct
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CHUNK_BYTES = 65_536
TAG_BYTES = 16
HEADER_BYTES_MAX = 1_024
LINE_BYTES_MAX = 131_072
KINDS = ["identity", "tags", "profile", "retention", "contact", "message", "key", "inbox", "cursor"]


class Refused(Exception):
    """The backup is refused; the text says why."""


def client_id_bytes(text):
    """A client id as section 2 writes it."""
    bare = text.replace("-", "").upper()
    if len(bare) != 32:
        raise Refused("a client id has the wrong length")
    return base64.b32decode(bare)


def client_id_of_secret(secret):
    """The client id of both private keys: signing scalar, agreement scalar."""
    public = b""
    for scalar in (secret[:32], secret[32:]):
        key = ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())
        public += key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    return hashlib.sha256(b"kith/1 client id" + public).digest()[:20]


def hkdf(key, salt, info):
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(key)


def file_key(header, secret):
    """From the secret to the key of one file (sections 8.1 and 8.7)."""
    if header["kdf"] != "PBKDF2-HMAC-SHA256" or header["cipher"] != "AES-256-GCM STREAM":
        raise Refused("its first line names another derivation or cipher")
    if not 200_000 <= header["iterations"] <= 10_000_000:
        raise Refused("its number of iterations is out of range")
    salt = b"kith/1 vault" + client_id_bytes(header["client_id"]) + bytes.fromhex(header["salt"])
    kdf = PBKDF2HMAC(algorithm=hashes.SHA256(), length=32, salt=salt, iterations=header["iterations"])
    backup_key = hkdf(kdf.derive(secret), None, b"kith/1 vault backup key")
    return hkdf(backup_key, bytes.fromhex(header["file_salt"]), b"kith/1 backup file")


def opened(file, header_line, key):
    """The pieces of the document in an encrypted backup, one chunk in memory at a time."""
    cipher, associated = AESGCM(key), hashlib.sha256(header_line).digest()
    index, chunk = 0, file.read(CHUNK_BYTES + TAG_BYTES)
    while True:
        following = file.read(CHUNK_BYTES + TAG_BYTES)
        last = not following
        nonce = bytes(7) + struct.pack(">IB", index, last)
        try:
            text = cipher.decrypt(nonce, chunk, associated)
        except (InvalidTag, ValueError):
            raise Refused("the secret does not open it, or it is damaged") from None
        if not text:
            raise Refused("its last chunk is empty")
        yield text
        if last:
            return
        index, chunk = index + 1, following


def lines(pieces):
    """The lines of a document, without their newlines."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
        if len(rest) > LINE_BYTES_MAX:
            raise Refused("a line is too long")
    if rest:
        raise Refused("it is cut off")


def checked(document, header):
    """The parsed lines between the first and the last, once the last has been found to be right at the end."""
    digest, count, ended = hashlib.sha256(b"kith/1 backup"), 0, False
    for line in document:
        if ended:
            raise Refused("it goes on after its end")
        if line.startswith(b'{"kind":"end",'):
            end = '{"kind":"end","lines":%d,"sha256":"%s"}' % (count, digest.hexdigest())
            if line != end.encode():
                raise Refused("its sum is wrong")
            ended = True
            continue
        digest.update(line + b"\n")
        count += 1
        parsed = json.loads(line)
        if count == 1:
            if parsed.get("format") != "kith backup" or parsed["client_id"] != header["client_id"]:
                raise Refused("it holds another device than it says")
            if parsed["version"] != 1:
                raise Refused("a newer version has written it")
            header["created_ms"] = parsed["created_ms"]
        elif parsed["kind"] in KINDS:
            yield parsed
        elif not parsed.get("optional", False):
            raise Refused("a newer version has written it")
    if not ended:
        raise Refused("it is cut off")


def body(message):
    if "text" in message:
        return message["text"].encode()
    return base64.b64decode(message["base64"], validate=True)


def summary_of(document, header, encrypted):
    """Counts what there is."""
    summary = {"client_id": header["client_id"], "encrypted": encrypted, "contacts": []}
    own = client_id_bytes(header["client_id"])
    totals = dict(messages=0, waiting=0, body_bytes=0, inbox=0, keys=0, consumers=0)
    for line in checked(document, header):
        kind = line["kind"]
        if kind == "identity":
            if client_id_of_secret(bytes.fromhex(line["secret"])) != own:
                raise Refused("it holds the identity of another device")
            summary["identity"] = True
        elif kind == "profile":
            summary["display_name"] = line["display_name"]
        elif kind == "contact":
            public = bytes.fromhex(line["card"])[:66]
            contact_id = hashlib.sha256(b"kith/1 client id" + public).digest()[:20]
            text = base64.b32encode(contact_id).decode().lower()
            grouped = "-".join(text[at : at + 4] for at in range(0, 32, 4))
            summary["contacts"].append({"client_id": grouped, "name": line["name"], "messages": 0})
        elif kind == "message":
            summary["contacts"][-1]["messages"] += 1
            totals["messages"] += 1
            totals["waiting"] += line["direction"] == "outgoing" and line["state"] == "queued"
            totals["body_bytes"] += len(body(line))
        elif kind == "inbox":
            totals["inbox"] += 1
        elif kind == "key":
            totals["keys"] += 1
        elif kind == "cursor":
            totals["consumers"] += 1
    if "identity" not in summary or "display_name" not in summary:
        raise Refused("it holds no device")
    return {**summary, **totals, "created_ms": header["created_ms"]}


def typed_secret():
    if sys.stdin.isatty():
        return getpass.getpass("The secret of the backup: ").encode()
    secret = sys.stdin.buffer.read()
    return secret[:-1] if secret.endswith(b"\n") else secret


def summary_of_file(path):
    with open(path, "rb") as file:
        header_line = file.readline(HEADER_BYTES_MAX)
        if not header_line.endswith(b"\n"):
            raise Refused("it is not a backup of Kith")
        header = json.loads(header_line)
        encrypted = header.get("format") == "kith sealed backup"
        if not encrypted and header.get("format") != "kith backup":
            raise Refused("it is not a backup of Kith")
        if header["version"] != 1:
            raise Refused("a newer version has written it")
        if encrypted:
            pieces = opened(file, header_line, file_key(header, typed_secret()))
        else:
            file.seek(0)
            pieces = iter(lambda: file.read(CHUNK_BYTES), b"")
        return summary_of(lines(pieces), header, encrypted)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        print(json.dumps(summary_of_file(sys.argv[1])))
    except (Refused, OSError) as error:
        sys.exit(f"{sys.argv[1]}: {error}")
    except (KeyError, TypeError, ValueError, IndexError) as error:
        sys.exit(f"{sys.argv[1]}: a line is not as it should be ({error!r})")


if __name__ == "__main__":
    main()
