#!/usr/bin/env python3
"""A countersign connector in Python, using only the standard library: groups in a file like /etc/group.

The operator binds it to a name on the command line, never a file in Git:

    countersign apply --exec groupfile=/opt/countersign/groupfile.py

An application with spec.connector groupfile then uses it. countersign starts it for each open reader or writer,
writes one JSON object per line to its standard input and reads answers from its standard output. Standard error
goes to countersign's log. countersign schema connector-request describes all requests.

Test it with the suite that tests countersign's own connectors:

    countersign connector test ./groupfile.py --hand ./hand.py

The rest follows from the kind of file:
  * It is replaced by a rename, under a lock beside it, so that readers never see half of it.
  * A file that is malformed, empty or does not end in a line feed is an error, never an empty state.
  * The group's number is its native id. A group that was removed and created again under its name is a conflict.
  * Numbers below 1000 belong to the system: such groups are read, and every change to them is refused.
"""

import fcntl
import json
import os
import sys
import tempfile

NAMES = {"pattern": "[a-z_][a-z0-9_-]*", "max_bytes": 32}

DESCRIPTION = {
    "title": "Unix group file",
    "config": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "group": {"type": "string", "minLength": 1, "description": "The group file: absolute, or relative to the access repository."},
            "accounts": {"type": "string", "minLength": 1, "description": "The file of the accounts, like /etc/passwd. It is only read."},
        },
        "required": ["group", "accounts"],
        "additionalProperties": False,
    },
    "plan_script": "# Reading needs both files:\nsetfacl -m u:countersign-plan:r /srv/files/group /srv/files/passwd\n",
    "apply_script": "# Applying replaces the group file by a rename, which needs its folder:\nsetfacl -m u:countersign-apply:rwx /srv/files\n",
    "types": [
        {
            "name": "group",
            "title": "Group",
            "create": True,
            "delete": True,
            "payload": {"type": "object", "properties": {}, "additionalProperties": False},
            "names": NAMES,
            # Members of these groups can become root.
            "privileged": ["sudo", "wheel", "adm", "docker", "disk", "shadow"],
            "grantable": [
                {"type": "user", "edge": "identity", "privileges": ["MEMBER"], "default": ["MEMBER"], "names": NAMES, "grant": True, "revoke": True}
            ],
        }
    ],
}

FIRST_GID, LAST_GID = 1000, 59999


class Fault(Exception):
    """An error for the user: one of countersign's codes, and a sentence that explains what to do."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


def read_lines(path, what):
    try:
        with open(path, encoding="utf-8") as f:
            text = f.read()
    except FileNotFoundError:
        raise Fault("unavailable", f"config.{what}: file not found; a missing file does not count as empty")
    except PermissionError:
        raise Fault("denied", f"config.{what}: permission denied for this account")
    except UnicodeDecodeError:
        raise Fault("unavailable", f"config.{what}: the file is not valid UTF-8")
    except OSError as e:
        raise Fault("unavailable", f"config.{what}: the file cannot be read: {e.strerror}")
    if not text.endswith("\n"):
        raise Fault("unavailable", f"config.{what}: the file is empty or truncated; fix it by hand")
    return text[:-1].split("\n")


def read_groups(path):
    """The lines as they are, and the parsed groups: name -> [index of the line, gid, members]."""
    lines, groups = read_lines(path, "group"), {}
    for i, line in enumerate(lines):
        if line.startswith(("+", "-", "#")):
            continue  # NIS entries and comments belong to someone else
        fields = line.split(":")
        if len(fields) != 4 or not fields[0] or not fields[2].isdecimal() or fields[0] in groups:
            raise Fault("unavailable", f"config.group: line {i + 1} is malformed; fix it by hand")
        groups[fields[0]] = [i, int(fields[2]), [m for m in fields[3].split(",") if m]]
    return lines, groups


def read_users(path):
    users = set()
    for i, line in enumerate(read_lines(path, "accounts")):
        fields = line.split(":")
        if len(fields) != 7:
            raise Fault("unavailable", f"config.accounts: line {i + 1} is malformed; fix it by hand")
        users.add(fields[0])
    return users


def protected(gid):
    return "" if FIRST_GID <= gid <= LAST_GID else "a system group"


class Application:
    def __init__(self, opened):
        self.writes = opened["mode"] == "write"
        self.group = self.locate(opened, "group")
        self.accounts = self.locate(opened, "accounts")
        self.groups(), read_users(self.accounts)  # opening fails if the files cannot be read

    @staticmethod
    def locate(opened, key):
        path = opened["config"][key]
        if os.path.isabs(path):
            return os.path.realpath(path)
        root = os.path.realpath(opened.get("directory") or "")
        path = os.path.realpath(os.path.join(root, path))
        if not opened.get("directory") or os.path.commonpath([root, path]) != root:
            raise Fault("invalid", f"config.{key}: invalid path (expected an absolute path, or one within the access repository)")
        return path

    def groups(self):
        return read_groups(self.group)[1]

    def read(self):
        out = []
        for name, (_, gid, members) in sorted(self.groups().items()):
            c = {"type": "group", "source_name": name, "native_id": str(gid), "entitlements": [
                {"target": {"type": "user", "source_name": m}, "privilege": "MEMBER"} for m in sorted(set(members))]}
            if protected(gid):
                c["protected"] = protected(gid)
            out.append(c)
        return out

    def list(self, typ):
        if typ == "user":
            return [{"type": "user", "source_name": n} for n in sorted(read_users(self.accounts))]
        out = []
        for name, (_, gid, _) in sorted(self.groups().items()):
            item = {"type": "group", "source_name": name, "native_id": str(gid), "connection": True}
            if protected(gid):
                item["protected"] = protected(gid)
            out.append(item)
        return out

    def apply(self, operations):
        """Applies all operations to one reading of the file, with one rename, and then returns the outcomes."""
        if not self.writes:
            raise Fault("denied", "the application is open for reading")
        with open(self.group + ".lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before, _ = read_groups(self.group)
            lines, outcomes = list(before), []
            users = read_users(self.accounts)
            for o in operations:
                out = {"operation": o["id"]}
                try:
                    lines = change(lines, users, o)
                except Fault as e:
                    out["error"] = {"code": e.code, "message": e.message}
                outcomes.append(out)
            if lines != before:
                replace(self.group, "\n".join(lines) + "\n")
        return outcomes


def change(lines, users, o):
    """Returns the lines after one operation. It is idempotent."""
    groups = {}
    for i, line in enumerate(lines):
        if not line.startswith(("+", "-", "#")):
            name, _, gid, members = line.split(":")
            groups[name] = (i, int(gid), [m for m in members.split(",") if m])
    name, kind = o["connection"]["source_name"], o["kind"]
    found = groups.get(name)
    if found and protected(found[1]):
        raise Fault("denied", f"{name} is {protected(found[1])} and is never changed")
    if found and o.get("native_id") not in (None, str(found[1])):
        raise Fault("conflict", f"{name} has the number {found[1]} (expected {o['native_id']}): someone else has recreated it")
    if kind == "create":
        if found:
            return lines
        taken = {gid for _, gid, _ in groups.values()}
        gid = next((n for n in range(FIRST_GID, LAST_GID + 1) if n not in taken), None)
        if gid is None:
            raise Fault("conflict", "all group numbers are in use")
        return lines + [f"{name}:x:{gid}:"]
    if kind == "delete":
        return lines if not found else lines[: found[0]] + lines[found[0] + 1 :]
    if not found:
        if kind == "revoke":
            return lines  # a missing group has no members
        raise Fault("not_found", f"group {name} not found")
    i, gid, members = found
    user = o["target"]["source_name"]
    if kind == "grant":
        if user not in users:
            raise Fault("not_found", f"account {user} not found")
        if user in members:
            return lines
        members = members + [user]
    else:
        members = [m for m in members if m != user]
    password = lines[i].split(":")[1]
    return lines[:i] + [f"{name}:{password}:{gid}:{','.join(members)}"] + lines[i + 1 :]


def replace(path, text):
    """Replaces a file atomically and keeps its mode and owner."""
    was = os.stat(path)
    fd, new = tempfile.mkstemp(prefix=".group-", dir=os.path.dirname(path))
    try:
        with os.fdopen(fd, "w", encoding="utf-8", newline="\n") as f:
            f.write(text)
            os.fchmod(f.fileno(), was.st_mode & 0o7777)
            if os.geteuid() == 0:
                os.fchown(f.fileno(), was.st_uid, was.st_gid)
            f.flush()
            os.fsync(f.fileno())
        os.rename(new, path)
    except BaseException:
        os.unlink(new)
        raise
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def answer(request, app):
    """Yields the parts of an answer, each with its type and body."""
    typ = request["type"]
    if typ == "hello":
        if 1 not in request["hello"]["versions"]:
            raise Fault("unsupported", "this connector supports only version 1 of the protocol")
        yield "hello", {"version": 1}
    elif typ in ("describe", "describe_installation"):
        yield "description", DESCRIPTION
    elif typ == "read":
        connections = app.read()
        for i in range(0, len(connections), 200):  # a line is bounded
            yield "connections", connections[i : i + 200]
        yield "done", {"count": len(connections)}
    elif typ == "list":
        items = app.list(request["list"]["type"])
        for i in range(0, len(items), 1000):
            yield "items", items[i : i + 1000]
        yield "done", {"count": len(items)}
    elif typ == "apply":
        outcomes = app.apply(request["operations"])
        for o in outcomes:
            yield "outcome", o
        yield "done", {"count": len(outcomes)}
    else:
        raise Fault("unsupported", f"unknown request {typ}")


def main():
    sys.stdin.reconfigure(encoding="utf-8", newline="\n")
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    app = None
    for line in sys.stdin:
        request = json.loads(line)
        if request["type"] == "cancel":
            continue  # requests are short and answered in order, so this one has already ended

        def send(typ, body):
            print(json.dumps({"id": request["id"], "type": typ, typ: body}), flush=True)

        try:
            if request["type"] == "open":
                app = Application(request["open"])
                send("done", {"count": 0})
            elif request["type"] == "close":
                send("done", {"count": 0})
                return
            else:
                for typ, body in answer(request, app):
                    send(typ, body)
        except Fault as e:
            send("error", {"code": e.code, "message": e.message})
        except OSError as e:
            send("error", {"code": "unavailable", "message": f"could not change the file: {e.strerror}"})


if __name__ == "__main__":
    main()
