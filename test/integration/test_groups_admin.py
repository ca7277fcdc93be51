# SPDX-License-Identifier: Apache-2.0
"""test_groups_admin.py - consumer groups as entities: made, changed, listed, deleted, and there after a kill."""

import json
import os
import pty
import subprocess
import unittest

import cluster
import tap
import wire

DONE, FAILED, USAGE = 0, 1, 2
STEPS = [10000, 30000, *range(60000, 600001, 60000), 1200000, 1800000, 3600000, 7200000]
DEFAULTS = {
    "from": "last",
    "order": "none",
    "broadcast": False,
    "lease_ms": 30000,
    "attempts": 17,
    "backoff": STEPS,
    "jitter": 0,
    "exhausted": "dead",
    "idle_expire_ms": 0,
}
BAD_SETTINGS = [
    {"topics": {}},
    {"topics": {f"t{i}": None for i in range(65)}},
    {"topics": {"orders": 1}},
    {"topics": {"a b": None}},
    {"topics": {"orders": "x" * 4097}},
    {"topics": ["orders"]},
    {"from": "middle"},
    {"from": -1},
    {"order": "strict"},
    {"broadcast": "yes"},
    {"lease_ms": 99},
    {"lease_ms": 43200001},
    {"attempts": 0},
    {"attempts": 1001},
    {"backoff": []},
    {"backoff": [1] * 33},
    {"backoff": [86400001]},
    {"jitter": 101},
    {"exhausted": "vanish"},
    {"idle_expire_ms": 999},
    {"colour": "red"},
]


class GroupCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster(["--shards", "3"])
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.__exit__, None, None, None)

    def setUp(self):
        self.client = self.cluster.broker_client()
        self.addCleanup(lambda: self.client.close())
        for name, route in (("orders", "any"), ("refunds", "any"), ("users", "key")):
            self.client.call("topic.put", name=name, queues=3, settings={"route": route})

    def restart(self, stop):
        self.client.close()
        stop()
        self.cluster.start_broker()
        self.client = self.cluster.broker_client()

    def put(self, name, **settings):
        return self.client.call("group.put", name=name, settings=settings)

    def rows(self, prefix):
        return self.client.call("group.list", prefix=prefix)["rows"]

    def row(self, name):
        (row,) = (row for row in self.rows(name) if row["name"] == name)
        return row

    def refused(self, error, method, **arguments):
        with self.assertRaises(wire.CallFailed) as caught:
            self.client.call(method, **arguments)
        self.assertEqual(caught.exception.name, error, caught.exception.error)
        return caught.exception.error


class Wire(GroupCase):
    def test_a_new_group_has_the_defaults(self):
        self.put("defaults", topics={"orders": None})
        self.assertEqual(self.row("defaults")["settings"], {"topics": {"orders": None}, **DEFAULTS})

    def test_all_settings_are_kept_as_they_were_given(self):
        settings = {
            "topics": {"users": "paid || sent"},
            "from": 1700000000000,
            "order": "key",
            "broadcast": False,
            "lease_ms": 100,
            "attempts": 1,
            "backoff": [0, 86400000],
            "jitter": 100,
            "exhausted": "stay",
            "idle_expire_ms": 1000,
        }
        self.put("given", **settings)
        self.assertEqual(self.row("given")["settings"], settings)

    def test_the_same_values_change_nothing_and_others_make_a_version(self):
        first = self.put("again", topics={"orders": "paid", "refunds": None}, attempts=3)
        same = self.put("again", topics={"refunds": None, "orders": "paid"}, attempts=3)
        self.assertEqual(same, first)
        other = self.put("again", jitter=20)
        self.assertEqual(other["id"], first["id"])
        self.assertGreater(other["version"], first["version"])
        settings = self.row("again")["settings"]
        self.assertEqual(settings["attempts"], 3)
        self.assertEqual(settings["jitter"], 20)
        self.assertEqual(settings["topics"], {"orders": "paid", "refunds": None})
        self.put("again", topics={"users": None})
        self.assertEqual(self.row("again")["settings"]["topics"], {"users": None})

    def test_a_version_is_compared(self):
        made = self.client.call(
            "group.put", name="compared", settings={"topics": {"orders": None}}, version=0
        )
        error = self.refused(
            "CONFLICT", "group.put", name="compared", settings={"jitter": 1}, version=0
        )
        self.assertEqual(error["version"], made["version"])
        error = self.refused("CONFLICT", "group.delete", name="compared", version=made["version"] + 1)
        self.assertEqual(error["version"], made["version"])
        self.client.call("group.delete", name="compared", version=made["version"])

    def test_settings_that_there_are_not_are_refused(self):
        self.put("careful", topics={"orders": None})
        before = self.row("careful")
        for settings in BAD_SETTINGS:
            error = self.refused("BAD_ARGUMENT", "group.put", name="careful", settings=settings)
            self.assertEqual(error["key"], next(iter(settings)))
        self.assertEqual(self.row("careful"), before)

    def test_what_is_decided_when_a_group_is_made_stays(self):
        self.put("fixed", topics={"users": None}, order="queue")
        for settings in ({"order": "key"}, {"order": "none"}, {"broadcast": True}):
            error = self.refused("BAD_ARGUMENT", "group.put", name="fixed", settings=settings)
            self.assertEqual(error["key"], next(iter(settings)))
        self.put("fixed", order="queue", broadcast=False)

    def test_topics_must_be_there_and_fit(self):
        error = self.refused(
            "TOPIC_NOT_FOUND", "group.put", name="lost", settings={"topics": {"nowhere": None}}
        )
        self.assertEqual(error["key"], "nowhere")
        self.refused("BAD_ARGUMENT", "group.put", name="lost", settings={"attempts": 3})
        error = self.refused(
            "BAD_ARGUMENT",
            "group.put",
            name="lost",
            settings={"topics": {"users": None, "orders": None}, "order": "key"},
        )
        self.assertEqual(error["key"], "order")
        error = self.refused(
            "BAD_FILTER", "group.put", name="lost", settings={"topics": {"orders": "weight >"}}
        )
        self.assertEqual((error["key"], error["column"]), ("orders", 9))
        self.assertEqual(self.rows("lost"), [])

    def test_names_of_the_system_are_not_for_callers(self):
        topics = {"topics": {"orders": None}}
        for name in ("a@b", "%DLQ%", "%x", "a b", "", "n" * 121):
            self.refused("BAD_ARGUMENT", "group.put", name=name, settings=topics)
        self.refused("BAD_ARGUMENT", "group.put", name="%DLQ%a", settings=topics)
        own = {"topics": {"%DLQ%a": None}}
        self.refused("TOPIC_NOT_FOUND", "group.put", name="%DLQ%a", settings=own)
        self.refused("BAD_ARGUMENT", "group.put", name="a", settings=own)
        self.refused("TOPIC_NOT_FOUND", "group.put", name="b", settings=own)
        self.refused("BAD_ARGUMENT", "topic.put", name="%DLQ%a")
        self.refused("BAD_ARGUMENT", "produce", topic="%DLQ%a", messages=["x"])
        self.refused("TOPIC_NOT_FOUND", "pull", topic="%DLQ%a", queue=0, first=True)
        self.refused("TOPIC_NOT_FOUND", "topic.show", name="%DLQ%a")
        self.refused("GROUP_NOT_FOUND", "group.delete", name="a@b")

    def test_pages_come_in_order_and_each_group_once(self):
        names = sorted(f"page-{i}" for i in range(50))
        for name in names:
            self.put(name, topics={"orders": None})
        found, after = [], ""
        while after is not None:
            page = self.client.call("group.list", prefix="page-", after=after, limit=7)
            self.assertLessEqual(len(page["rows"]), 7)
            found += [row["name"] for row in page["rows"]]
            after = page.get("next")
        self.assertEqual(found, names)

    def test_large_groups_come_in_pages_that_a_client_takes(self):
        text = " || ".join("t" * 250 for _ in range(16))
        for i in range(100):
            self.put(f"large-{i:03}", topics={"orders": text, "refunds": text, "users": text})
        found, after, pages = [], "", 0
        while after is not None:
            page = self.client.call("group.list", prefix="large-", after=after)
            found += [row["name"] for row in page["rows"]]
            after, pages = page.get("next"), pages + 1
        self.assertEqual(found, [f"large-{i:03}" for i in range(100)])
        self.assertGreater(pages, 1)
        self.refused(
            "BAD_ARGUMENT",
            "group.put",
            name="too-large",
            settings={"topics": {f"topic-{i}": text for i in range(4)}},
        )

    def test_a_deleted_group_is_gone_and_its_name_free(self):
        first = self.put("gone", topics={"orders": None})
        deleted = self.client.call("group.delete", name="gone")
        self.assertEqual(deleted["id"], first["id"])
        self.assertGreater(deleted["version"], first["version"])
        self.refused("GROUP_NOT_FOUND", "group.delete", name="gone")
        self.assertEqual(self.rows("gone"), [])
        second = self.put("gone", topics={"orders": None})
        self.assertGreater(second["id"], first["id"])

    def test_a_group_outlives_its_topics(self):
        self.client.call("topic.put", name="brief", queues=1)
        self.put("patient", topics={"brief": None, "orders": None})
        self.client.call("topic.delete", name="brief")
        self.put("patient", attempts=2)
        self.assertEqual(self.row("patient")["settings"]["topics"], {"brief": None, "orders": None})

    def test_groups_survive_kills_and_more_shards(self):
        self.put("kept", topics={"orders": "paid", "users": None}, attempts=5)
        self.put("dropped", topics={"orders": None})
        self.client.call("group.delete", name="dropped")
        before = self.row("kept")
        self.restart(self.cluster.broker.kill)
        self.assertEqual(self.row("kept"), before)
        self.assertEqual(self.rows("dropped"), [])
        everything = self.rows("")
        self.cluster.broker_arguments = ["--shards", "5"]
        self.restart(self.cluster.broker.stop)
        self.assertEqual(self.rows(""), everything)
        told = f"repaired: {2 * len(everything)} records of topics and groups"
        self.assertIn(told, self.cluster.broker.log.read_text())
        changed = self.put("kept", attempts=6)
        self.restart(self.cluster.broker.kill)
        self.assertEqual(self.row("kept")["version"], changed["version"])
        self.assertEqual(self.row("kept")["settings"]["attempts"], 6)

    def test_the_log_says_who_came_and_went(self):
        self.put("logged", topics={"orders": None, "users": None})
        self.put("logged", jitter=5)
        self.client.call("group.delete", name="logged")
        log = self.cluster.broker.log.read_text()
        for what in ("created", "changed", "deleted"):
            self.assertRegex(log, rf"group 'logged' was {what}: id \d+, version \d+, 2 topics")


class CommandLine(GroupCase):
    def ternmq(self, *arguments, status=DONE):
        command = [cluster.program_path("ternmq"), "-b", self.cluster.broker_address, *arguments]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        self.said = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, status, f"{arguments}\n{self.said}")
        return done.stdout.decode()

    def test_every_option_arrives(self):
        self.ternmq(
            *("group", "create", "cli-all", "--topic", "users=a = 'b=c'", "--topic", "orders"),
            *("--from", "last", "--order", "queue", "--broadcast", "--attempts", "4"),
            *("--backoff", "10s,30s,1m", "--jitter", "20%", "--exhausted", "stay"),
            *("--lease", "1m", "--idle-expire", "2h"),
        )
        self.assertEqual(
            self.row("cli-all")["settings"],
            {
                "topics": {"users": "a = 'b=c'", "orders": None},
                "from": "last",
                "order": "queue",
                "broadcast": True,
                "lease_ms": 60000,
                "attempts": 4,
                "backoff": [10000, 30000, 60000],
                "jitter": 20,
                "exhausted": "stay",
                "idle_expire_ms": 7200000,
            },
        )
        self.ternmq("group", "create", "cli-time", "--topic", "orders", "--from", "2026-01-31T12:00Z")
        self.assertEqual(self.row("cli-time")["settings"]["from"], 1769860800000)

    def test_create_twice_is_no_error_unless_it_asks_for_something_else(self):
        create = ("group", "create", "cli-twice", "--topic", "orders=paid")
        self.assertEqual(self.ternmq(*create), "group cli-twice created\n")
        self.assertEqual(self.ternmq(*create), "")
        self.assertEqual(self.said, "group cli-twice was there already, as asked\n")
        done = json.loads(self.ternmq(*create, "--json"))
        self.assertEqual(done, {"name": "cli-twice", "created": False})
        before = self.row("cli-twice")["settings"]
        for more, differs in (
            (("--attempts", "3", "--lease", "1m"), "--attempts is 17, --lease is 30000ms"),
            (("--from", "first"), "--from is last"),
            (("--backoff", "10s", "--jitter", "5%"), "--backoff is 10000ms,30000ms,60000ms,"),
            (("--exhausted", "stay", "--idle-expire", "1h"), "--exhausted is dead, --idle-expire is 0ms"),
            (("--topic", "refunds"), "it does not read topic refunds"),
        ):
            self.ternmq(*create, *more, status=FAILED)
            self.assertIn(f"is there already, with other settings: {differs}", self.said)
            self.assertIn("'ternmq group set cli-twice' changes them", self.said)
        self.ternmq("group", "create", "cli-twice", "--topic", "orders", status=FAILED)
        self.assertIn("settings: --topic is orders=paid;", self.said)
        self.ternmq(*create, "--order", "queue", "--broadcast", status=FAILED)
        self.assertIn("settings: --order is none, it is no --broadcast; its order", self.said)
        self.assertEqual(self.row("cli-twice")["settings"], before)

    def test_set_changes_what_is_given(self):
        self.ternmq("group", "create", "cli-set", "--topic", "orders")
        done = json.loads(self.ternmq("group", "set", "cli-set", "--attempts", "9", "--json"))
        self.assertEqual(done, {"name": "cli-set", "set": True})
        self.assertEqual(self.row("cli-set")["settings"]["attempts"], 9)
        self.ternmq("group", "set", "cli-set", "--topic", "users", "--topic", "refunds=a")
        self.assertEqual(self.row("cli-set")["settings"]["topics"], {"users": None, "refunds": "a"})
        self.ternmq("group", "set", "cli-nobody", "--attempts", "9", status=FAILED)
        self.assertIn("GROUP_NOT_FOUND", self.said)
        self.ternmq("group", "set", "cli-set", status=USAGE)
        self.ternmq("group", "set", "cli-set", "--order", "key", status=USAGE)

    def test_list_is_a_table_or_lines_of_json(self):
        self.ternmq("group", "create", "cli-list-a", "--topic", "orders=paid || sent", "--topic", "users")
        self.ternmq("group", "create", "cli-list-b", "--topic", "orders", "--order", "queue")
        table = self.ternmq("group", "list", "--prefix", "cli-list-").splitlines()
        self.assertEqual(len(table), 3)
        self.assertIn("orders=paid || sent, users", table[1])
        self.assertIn("queue", table[2])
        lines = self.ternmq("group", "list", "--prefix", "cli-list-", "--json").splitlines()
        rows = [json.loads(line) for line in lines]
        self.assertEqual([row["name"] for row in rows], ["cli-list-a", "cli-list-b"])
        self.assertEqual(rows[0]["settings"]["topics"], {"orders": "paid || sent", "users": None})
        self.ternmq("group", "list", "--prefix", "cli-list-nobody")
        self.assertIn("knows no group", self.said)

    def test_delete_asks_or_is_told(self):
        self.ternmq("group", "create", "cli-delete", "--topic", "orders")
        self.ternmq("group", "delete", "cli-delete", status=USAGE)
        self.assertIn("--yes", self.said)
        self.ternmq("group", "delete", "cli-delete", "--yes")
        self.ternmq("group", "delete", "cli-delete", "--yes", status=FAILED)
        self.assertIn("GROUP_NOT_FOUND", self.said)

    def test_a_topic_is_read_once(self):
        create = ("group", "create", "cli-once", "--topic", "orders=paid")
        self.ternmq(*create, "--topic", "orders", status=USAGE)
        self.assertIn("--topic 'orders': has to be the only one of its topic", self.said)

    def test_a_member_of_a_broadcast_can_be_deleted(self):
        self.ternmq("group", "create", "cli-all", "--topic", "orders", "--broadcast")
        name = "cli-all@" + "m" * 120
        self.client.call("receive", group="cli-all", member="m" * 120)
        self.assertIn(name, [row["name"] for row in self.rows("cli-all")])
        self.ternmq("group", "delete", name, "--yes")
        self.assertEqual([row["name"] for row in self.rows("cli-all")], ["cli-all"])
        self.ternmq("group", "delete", "cli-all", "--yes")

    def test_the_longest_name_can_be_typed(self):
        group, member = "g" * 120, "m" * 120
        self.ternmq("group", "create", group, "--topic", "orders", "--broadcast")
        self.client.call("receive", group=group, member=member)
        terminal, its_end = pty.openpty()
        self.addCleanup(os.close, terminal)
        os.write(terminal, f"{group}@{member}\n".encode())
        command = [cluster.program_path("ternmq"), "-b", self.cluster.broker_address]
        done = subprocess.run(
            [*command, "group", "delete", f"{group}@{member}"], stdin=its_end, capture_output=True, timeout=60, check=False
        )
        os.close(its_end)
        self.assertEqual(done.returncode, DONE, done.stderr)
        self.assertEqual([row["name"] for row in self.rows(group)], [group])
        self.ternmq("group", "delete", group, "--yes")

    def test_wrong_usage_says_what_would_be_right(self):
        create = ("group", "create", "cli-wrong")
        for arguments, hint in (
            (create, "--topic"),
            ((*create, "--topic", "a b"), "TOPIC=FILTER"),
            ((*create, "--topic", "orders", "--from", "yesterday"), "first, last"),
            ((*create, "--topic", "orders", "--backoff", "10s,,1m"), "10s,1m,1h"),
            ((*create, "--topic", "orders", "--backoff", "1s,2d"), "at most a day"),
            ((*create, "--topic", "orders", "--jitter", "101%"), "100%"),
            ((*create, "--topic", "orders", "--idle-expire", "10ms"), "1s"),
            ((*create, "--topic", "orders", "--idle-expire", "9007199254740992ms"), "below 2^53"),
            (("group", "create", "a@b", "--topic", "orders"), "no name of a group"),
        ):
            self.ternmq(*arguments, status=USAGE)
            self.assertIn(hint, self.said)
        self.ternmq(*create, "--topic", "orders", "--order", "key", status=FAILED)
        wanted = "topic orders is made with --route any; keys need a topic made with --route key"
        self.assertIn(f"group cli-wrong: {wanted}", self.said)
        self.client.call("topic.put", name="cli-keyed", settings={"route": "key"})
        self.ternmq("group", "create", "cli-keyed", "--topic", "cli-keyed", "--order", "key")
        self.ternmq("group", "set", "cli-keyed", "--topic", "cli-keyed", "--topic", "orders", status=FAILED)
        self.assertIn(f"group cli-keyed: {wanted}", self.said)
        self.ternmq(*create, "--topic", "cli-keyed", "--order", "key", "--broadcast", "--from", "first", status=FAILED)
        self.assertNotIn("--route", self.said)
        self.ternmq(*create, "--topic", "orders=weight >", status=USAGE)
        self.assertIn("column 9", self.said)

    def test_the_nameserver_finds_the_broker_of_the_topics(self):
        done = self.cluster.ternmq("group", "create", "cli-found", "--topic", "orders")
        self.assertEqual(done.stdout, b"group cli-found created\n")
        (line,) = self.cluster.ternmq("group", "list", "--prefix", "cli-found", "--json").stdout.splitlines()
        self.assertEqual(json.loads(line)["broker"], "broker-a")
        self.cluster.ternmq("group", "set", "cli-found", "--attempts", "2")
        self.assertEqual(self.row("cli-found")["settings"]["attempts"], 2)
        self.cluster.ternmq("group", "delete", "cli-found", "--yes")
        done = self.cluster.ternmq("group", "delete", "cli-found", "--yes", check=False)
        self.assertEqual(done.returncode, FAILED)
        self.assertIn(b"GROUP_NOT_FOUND", done.stderr)


if __name__ == "__main__":
    tap.main(__name__)
