#!/usr/bin/env python3
"""The outside hand of groupfile.py: it changes group files as text, without the connector's code.

    countersign connector test ./groupfile.py --hand ./hand.py

countersign starts an application of its own for each case, and has the hand add accounts, groups and members behind
the connector's back, so that the tests don't depend on what the connector reports.
"""

import json
import os
import shutil
import sys
import tempfile

GROUPS = "root:x:0:\nsudo:x:27:zoe\n+nis::: \n"
USERS = "root:x:0:0:root:/root:/bin/sh\nzoe:x:1000:1000::/home/zoe:/bin/sh\n"

# Each of these makes a file that cannot be read in full.
BREAKS = {
    "empty": lambda text: "",
    "cut short": lambda text: text[:-4],
    "too few fields": lambda text: text + "broken:x\n",
    "no number": lambda text: text + "broken:x:one:\n",
    "twice": lambda text: text + "broken:x:2001:\nbroken:x:2002:\n",
    "an empty name": lambda text: text + ":x:2001:\n",
}


def load(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def save(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def members(path, group, change):
    """Changes the last field of a group's line."""
    out = []
    for line in load(path).splitlines():
        name, _, rest = line.partition(":")
        if name == group:
            fields = rest.split(":")
            fields[-1] = ",".join(change([m for m in fields[-1].split(",") if m]))
            line = name + ":" + ":".join(fields)
        out.append(line)
    save(path, "\n".join(out) + "\n")


def do(t):
    what, root = t["do"], t.get("application", "")
    group, passwd = os.path.join(root, "group"), os.path.join(root, "passwd")
    name = t.get("name", {}).get("source_name", "")
    if what == "harness":
        return {"harness": {
            "payloads": {"group": [{}, {}]},
            "can": ["protected"],
            "breaks": [{"name": n, "corrupt": True} for n in BREAKS],
            "faulty": [
                {"name": "missing file", "code": "unavailable", "set": {"group": "/nowhere/group"}},
                {"name": "out of the repository", "code": "invalid", "set": {"group": "../group"}},
                {"name": "a number", "code": "invalid", "set": {"group": 7}},
                {"name": "no accounts", "code": "invalid", "remove": ["accounts"]},
                {"name": "unknown setting", "code": "invalid", "set": {"shadow": "/etc/shadow"}},
            ],
        }}
    if what == "start":
        root = tempfile.mkdtemp(prefix="groupfile-")
        save(os.path.join(root, "group"), GROUPS)
        save(os.path.join(root, "passwd"), USERS)
        return {"application": root, "prefix": "t_", "config": {"group": os.path.join(root, "group"), "accounts": os.path.join(root, "passwd")}}
    if what == "stop":
        shutil.rmtree(root)
    elif what == "add_identity":
        name = "u_" + t["word"]
        if f"\n{name}:" not in load(passwd):
            save(passwd, load(passwd) + f"{name}:x:3000:3000::/:/bin/sh\n")
        return {"name": {"type": "user", "source_name": name}}
    elif what == "remove_identity":
        save(passwd, "".join(l for l in load(passwd).splitlines(True) if not l.startswith(name + ":")))
        for line in load(group).splitlines():
            members(group, line.split(":")[0], lambda ms: [m for m in ms if m != name])
    elif what == "add_resource":
        return {"not": True}
    elif what == "add_connection":
        save(group, load(group) + f"{name}:x:{5000 + len(load(group))}:\n")
    elif what == "drop_connection":
        save(group, "".join(l for l in load(group).splitlines(True) if not l.startswith(name + ":")))
    elif what in ("grant", "revoke"):
        user = t["key"]["target"]["source_name"]
        more = [user] if what == "grant" else []
        members(group, t["key"]["connection"]["source_name"], lambda ms: [m for m in ms if m != user] + more)
    elif what == "protected":
        return {"name": {"type": "group", "source_name": "sudo"}}
    elif what == "break":
        save(group, BREAKS[t["break"]](load(group)))
    else:
        raise ValueError("unknown change")
    return {}


def main():
    for line in sys.stdin:
        request = json.loads(line)
        answer = {"id": request["id"]}
        try:
            if request["type"] == "hello":
                answer.update(type="hello", hello={"version": 1})
            elif request["type"] == "test":
                answer.update(type="test", test=do(request["test"]))
            else:
                answer.update(type="done", done={"count": 0})
        except (OSError, ValueError, KeyError) as e:
            answer.update(type="error", error={"code": "unavailable", "message": repr(e)})
        print(json.dumps(answer), flush=True)
        if request["type"] == "close":
            return


if __name__ == "__main__":
    main()
