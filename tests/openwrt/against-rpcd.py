#!/usr/bin/env python3
"""Runs `octetctl openwrt` against the real rpcd, once, and says line by line what holds.

    tests/openwrt/against-rpcd.py SOURCES OCTETCTL

SOURCES is a folder with the sources of libubox, ubus, uci, ustream-ssl, rpcd and uhttpd, each in a folder of that name (as
`git clone https://github.com/openwrt/NAME`). They are built in a temporary folder and are not changed. OCTETCTL is the
program that `cargo build -p octetctl` makes.

It needs root, cmake, a C compiler, the headers of json-c, OpenSSL and libcrypt, the commands openssl and unshare, and a
kernel with overlayfs. It takes six to ten minutes: rpcd's own roll-back after 90 s is waited for, and `apply` waits a
minute for daemons that do nothing.

The router is a file system of its own (an overlay in memory over that of this machine) in namespaces of its own for
mounts, processes and network. This machine's /etc, /usr and /var are not touched, and all processes end with the script.

Real are: ubusd, rpcd with its plugin `file`, uci, uhttpd with its plugin `ubus`, and TLS by ustream-ssl.
Stand-ins are, by the program in STAND_INS and by `stand_in` below:
- procd: starts what has ended, `system board`, and `service event`, by which rpcd says that a file has changed.
- netifd: `network.interface dump` and `network.device status`, from the files that `service event` has named.
- firewall4: `/usr/sbin/nft` and `/sbin/fw4`. They list jumps to zones and names of rules, from the same files.
- The power: `service event` for `dhcp` kills all daemons if a test says so, and the script starts them again.
So nothing here says what the real netifd, firewall4 or dnsmasq make of the files.

It prints `ok` or `FAILED` and what was looked at, a line each, and ends with 1 at the first line that failed.
"""

import base64
import fcntl
import hashlib
import http.client
import json
import os
import shlex
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

NAMES = ["libubox", "ubus", "uci", "ustream-ssl", "rpcd", "uhttpd"]
OPTIONS = ["BUILD_LUA", "BUILD_EXAMPLES", "LUA_SUPPORT", "UCODE_SUPPORT", "IWINFO_SUPPORT", "RPCSYS_SUPPORT"]
FILES = ["dhcp", "firewall", "network"]
NOBODY = "0" * 32
LIMIT = 240
HERE = Path(__file__).resolve()
OCTET = HERE.parents[2]

SETTINGS = """[appliance]
name = "octet"
[image]
packages = []
drivers = []
modules = []
services = ["gate", "netd"]
[cluster]
boards = 4
router = "openwrt"
uplink = "wan"
ports = ["lan1", "lan2", "lan3", "lan4"]
[[board]]
number = 1
role = "manager"
[lan]
port = "lan5"
[[policy]]
from = "lan"
to = "boards"
service = "gate"
"""

# The owner's own: a port beside the bridge's VLANs, a comment, and sections with all that UCI can say.
OWNERS_NETWORK = """
config bridge-vlan 'mine'
\toption device 'br-lan'
\toption vlan '1'
\tlist ports 'lan8:u*'

config interface 'office'
\toption proto 'wireguard'
\toption private_key 'YWJj'
\tlist addresses '10.9.0.1/24'
\tlist addresses 'fd09::1/64'
\toption note 'it'\\''s a "quote", a $dollar and ünïcode'

config wireguard_office
\toption description 'the other house'
\tlist allowed_ips '10.9.1.0/24'
"""
OWNERS_FIREWALL = """
config rule 'guests'
\toption name 'Guests sleep'
\toption src 'lan'
\toption dest 'wan'
\tlist src_ip '192.168.1.77'
\tlist src_ip '192.168.1.78'
\toption start_time '22:00:00'
\toption target 'DROP'

config include 'own'
\toption path '/etc/firewall.own'
"""
OWNERS_DHCP = """
config host
\toption name 'printer'
\tlist mac '02:00:00:00:00:09'
\toption ip '192.168.1.9'
"""

# A bus program that hands each call to `stand_in`, as procd and netifd would answer it.
STAND_INS = r"""
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <libubox/blobmsg_json.h>
#include <libubus.h>

/* The power: whose numbers are in one of these is killed, this program itself last of all. */
static void cut(const char *given)
{
	FILE *whom = NULL;
	int number;

	if (strstr(given, "\"dhcp\"") && !rename("/tmp/router/cut", "/tmp/router/off"))
		whom = fopen("/tmp/router/off", "r");
	else if (strstr(given, "\"dhcp\"") && !rename("/tmp/router/crash", "/tmp/router/crashed"))
		whom = fopen("/tmp/router/crashed", "r");
	while (whom && fscanf(whom, "%d", &number) == 1)
		kill(number, SIGKILL);
	if (whom)
		fclose(whom);
}

static int answer(struct ubus_context *bus, struct ubus_object *of, struct ubus_request_data *to, const char *method,
                  struct blob_attr *given)
{
	static char said[1 << 20];
	static struct blob_buf reply;
	char line[256];
	char *text = blobmsg_format_json(given, true);
	size_t length;
	FILE *from;

	if (!text)
		return UBUS_STATUS_UNKNOWN_ERROR;
	if (!strcmp(of->name, "service"))
		cut(text);
	setenv("GIVEN", text, 1);
	free(text);
	snprintf(line, sizeof line, "exec /usr/libexec/stand-in '%s' '%s'", of->name, method);
	from = popen(line, "r");
	length = from ? fread(said, 1, sizeof said - 1, from) : 0;
	said[length] = 0;
	if (from)
		pclose(from);
	blob_buf_init(&reply, 0);
	if (!blobmsg_add_json_from_string(&reply, said))
		return UBUS_STATUS_UNKNOWN_ERROR;
	return ubus_send_reply(bus, to, reply.head);
}

#define STANDS_FOR(id, path, call) \
	static const struct ubus_method id##_methods[] = { { .name = call, .handler = answer } }; \
	static struct ubus_object_type id##_type = UBUS_OBJECT_TYPE(path, id##_methods); \
	static struct ubus_object id = { .name = path, .type = &id##_type, .methods = id##_methods, .n_methods = 1 }

STANDS_FOR(of_system, "system", "board");
STANDS_FOR(of_service, "service", "event");
STANDS_FOR(of_interfaces, "network.interface", "dump");
STANDS_FOR(of_devices, "network.device", "status");

int main(void)
{
	struct ubus_context *bus;

	uloop_init();
	bus = ubus_connect(NULL);
	if (!bus)
		return 1;
	ubus_add_uloop(bus);
	if (ubus_add_object(bus, &of_system) || ubus_add_object(bus, &of_service) ||
	    ubus_add_object(bus, &of_interfaces) || ubus_add_object(bus, &of_devices))
		return 1;
	uloop_run();
	return 0;
}
"""

# --- Inside the router: what stands for procd, netifd, firewall4 and the power -----------------------------------------

STATE = Path("/tmp/router")


def sections(text):
    """The sections of a file of UCI: kind, name, options (texts or lists)."""
    found = []
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["config"]:
            found.append((words[1], words[2] if len(words) > 2 else None, {}))
        elif words[:1] == ["option"]:
            found[-1][2][words[1]] = words[2]
        elif words[:1] == ["list"]:
            found[-1][2].setdefault(words[1], []).append(words[2])
    return found


def items(options, key):
    value = options.get(key, [])
    return value.split() if isinstance(value, str) else value


def stand_in(name, method):
    if name == "service":
        package = json.loads(os.environ["GIVEN"])["data"]["package"]
        with open(STATE / "events", "a") as events:
            events.write(package + "\n")
        if not (STATE / "deaf").exists() and package in FILES:
            try:
                sections(Path(f"/etc/config/{package}").read_text())
            except (ValueError, IndexError):
                # A file that ends in its middle: what runs goes on.
                return {}
            shutil.copy(f"/etc/config/{package}", STATE / "running" / package)
        return {}
    running = {file: sections((STATE / "running" / file).read_text()) for file in FILES}

    def of(file, kind):
        return [(name, options) for it, name, options in running[file] if it == kind]

    if name == "system":
        return {"kernel": "0", "hostname": "OpenWrt", "model": "A stand-in", "board_name": "stand-in"}
    if name == "network.interface":
        all = []
        for it, options in of("network", "interface"):
            addresses = [
                [
                    dict(zip(("address", "mask"), (a.split("/")[0], int((a + "/32").split("/")[1]))))
                    for a in items(options, key)
                ]
                for key in ("ipaddr", "ip6addr")
            ]
            device = options.get("device")
            all.append(
                {
                    "interface": it,
                    "up": True,
                    "proto": options.get("proto", "none"),
                    "device": device or "",
                    "l3_device": device or "",
                    "ipv4-address": addresses[0],
                    "ipv6-address": addresses[1],
                }
            )
        return {"interface": all}
    if name == "network.device":
        vlans = [
            {
                "id": int(it["vlan"]),
                "local": it.get("local") != "0",
                "ports": [port.replace(":u*", ":*") for port in items(it, "ports")],
            }
            for _, it in of("network", "bridge-vlan")
        ]
        return {"br-lan": {"up": True, "type": "bridge", "bridge-vlans": vlans}, "wan": {"up": True}}
    if name == "fw4":
        return "Ruleset passes nftables check.\n"
    devices = {it: options.get("device") for it, options in of("network", "interface")}
    lines = ["table inet fw4 {"]
    for hook, side in [("input", "iifname"), ("forward", "iifname"), ("output", "oifname")]:
        lines.append(f"\tchain {hook} {{")
        for _, zone in of("firewall", "zone"):
            known = [f'"{devices[it]}"' for it in items(zone, "network") if devices.get(it)]
            if known:
                known = known[0] if len(known) == 1 else "{ " + ", ".join(known) + " }"
                lines.append(f'\t\t{side} {known} jump {hook}_{zone["name"]}')
        lines.append("\t}")
    lines.append("\tchain rules {")
    for kind in ("rule", "redirect"):
        for _, rule in of("firewall", kind):
            said = " ".join(f"{key} {rule[key]}" for key in sorted(rule) if key != "name")
            lines.append(f'\t\t# {said}\n\t\tcounter comment "!fw4: {rule.get("name", "")}"')
    return "\n".join(lines + ["\t}", "}", ""])


# --- Outside: the machine that the router is, and who asks it ----------------------------------------------------------


def check(name, holds, detail=""):
    print(("ok     " if holds else "FAILED ") + name, flush=True)
    if not holds:
        print(str(detail).rstrip(), flush=True)
        sys.exit(1)


def until(what, holds):
    end = time.monotonic() + LIMIT
    while not (value := holds()):
        if time.monotonic() > end:
            check(f"late: {what}", False)
        time.sleep(0.1)
    return value


def build(sources, work):
    """All six, installed into a folder of their own. Their -Werror is about other compilers."""
    stage, log = work / "stage", open(work / "build.log", "w")
    compiler = work / "cc"
    compiler.write_text('#!/bin/sh\nexec cc "$@" -Wno-error\n')
    compiler.chmod(0o755)

    def run(*words, **more):
        if subprocess.run(words, stdout=log, stderr=log, **more).returncode != 0:
            print((work / "build.log").read_text()[-4000:])
            check(f"built: {' '.join(map(str, words))}", False)

    for name in NAMES:
        flags = [f"-DCMAKE_{kind}_LINKER_FLAGS=-L{stage}/usr/lib" for kind in ("EXE", "SHARED", "MODULE")]
        flags += [f"-D{option}=OFF" for option in OPTIONS]
        run(
            "cmake",
            "-S",
            sources / name,
            "-B",
            work / "build" / name,
            f"-DCMAKE_C_COMPILER={compiler}",
            "-DCMAKE_INSTALL_PREFIX=/usr",
            f"-DCMAKE_PREFIX_PATH={stage}/usr",
            f"-DCMAKE_C_FLAGS=-I{stage}/usr/include",
            *flags,
        )
        run("make", "-C", work / "build" / name, "-j1", "install", f"DESTDIR={stage}")
        commit = ""
        if (sources / name / ".git").exists():
            git = ["git", "-c", "safe.directory=*", "-C", sources / name, "log", "-1", "--format=%H %cs"]
            commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
        print(f"       {name} {commit}", flush=True)
    (work / "stand-ins.c").write_text(STAND_INS)
    libraries = ["-lubus", "-lblobmsg_json", "-lubox"]
    run(
        "cc",
        "-O1",
        "-Wall",
        "-Werror",
        f"-I{stage}/usr/include",
        work / "stand-ins.c",
        "-o",
        stage / "usr/sbin/stand-ins",
        f"-L{stage}/usr/lib",
        *libraries,
    )
    return stage


class Router:
    """The machine: its file system, its daemons, and procd's part of keeping these alive."""

    def __init__(self, work, stage):
        memory = work / "memory"
        memory.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "router", memory], check=True)
        for it in ("upper", "work", "root"):
            (memory / it).mkdir()
        # One below the other may not be inside it.
        shutil.copytree(stage, memory / "stage", symlinks=True)
        self.root = memory / "root"
        overlay = f"lowerdir={memory}/stage:/,upperdir={memory}/upper,workdir={memory}/work"
        subprocess.run(["mount", "-t", "overlay", "-o", overlay, "router", self.root], check=True)
        for it, kind in (("dev", None), ("proc", "proc"), ("tmp", "tmpfs"), ("run", "tmpfs")):
            what = ["--rbind", "/dev"] if kind is None else ["-t", kind, kind]
            subprocess.run(["mount", *what, self.root / it], check=True)
        up = struct.pack("16sh14x", b"lo", 1)
        fcntl.ioctl(socket.socket(), 0x8914, up)
        self.config = self.root / "etc/config"
        self.state = self.root / STATE.relative_to("/")
        self.is_on, self.is_held, self.is_deaf, self.daemons = False, False, False, {}
        self.install()
        threading.Thread(target=self.procd, daemon=True).start()

    def install(self):
        """As a router leaves its maker, and what its owner has added."""
        for folder in ("etc/config", "usr/share/rpcd/acl.d", "usr/libexec/rpcd", "www", "etc/init.d"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        data = OCTET / "tests/openwrt/testdata"
        network = (data / "network").read_text().replace("'br-lan'\n\toption proto", "'br-lan.1'\n\toption proto")
        self.write("network", "# The owner's comment.\n" + network + OWNERS_NETWORK)
        self.write("firewall", (data / "firewall").read_text() + OWNERS_FIREWALL)
        self.write("dhcp", (data / "dhcp").read_text() + OWNERS_DHCP)
        self.write("system", (data / "system").read_text())
        self.write("rpcd", "")
        grants = {"read": {"ubus": {"session": ["access", "login"]}}}
        acl = json.dumps({"unauthenticated": grants})
        (self.root / "usr/share/rpcd/acl.d/unauthenticated.json").write_text(acl)
        everything = {scope: {"*": ["*"]} for scope in ("ubus", "uci", "file")}
        acl = json.dumps({"all": {"read": everything, "write": everything}})
        (self.root / "usr/share/rpcd/acl.d/all.json").write_text(acl)
        ask = f"exec {shlex.quote(sys.executable)} {shlex.quote(str(HERE))} --stand-in"
        self.program("usr/libexec/stand-in", f'{ask} "$@"')
        self.program("usr/sbin/nft", f"{ask} nft list")
        self.program("usr/sbin/fw4", f"{ask} fw4 check")
        self.program("etc/init.d/rpcd", f"kill -TERM $(cat {STATE}/pids/rpcd)")
        self.program("usr/sbin/long", "head -c ${1:-262144} /dev/zero | tr '\\0' x")
        self.program("usr/sbin/slow", "exec sleep 600")
        key, certificate = self.root / "etc/uhttpd.key", self.root / "etc/uhttpd.crt"
        make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=OpenWrt -keyout".split()
        subprocess.run([*make, key, "-out", certificate], check=True, capture_output=True)
        pem = certificate.read_text().split("-----")[2]
        self.fingerprint = "sha256:" + hashlib.sha256(base64.b64decode(pem)).hexdigest()

    def write(self, name, text):
        (self.config / name).write_text(text)

    def program(self, path, line):
        (self.root / path).write_text(f"#!/bin/sh\n{line}\n")
        (self.root / path).chmod(0o755)

    def files(self):
        return {name: (self.config / name).read_text() for name in FILES}

    def run(self, *words, given=None):
        made = subprocess.run(["chroot", self.root, *words], input=given, capture_output=True, text=True)
        if made.returncode != 0:
            check(f"{words[0]} in the router: {made.stderr}", False)
        return made.stdout

    def exported(self, name):
        """The sections of a file as the real `uci` reads them."""
        return sections(self.run("uci", "export", name))

    def ours(self, name):
        """In the words of diff."""
        found = []
        for kind, section, options in self.exported(name):
            if section and section.startswith("octet_"):
                said = ", ".join(
                    f"{key} {value if isinstance(value, str) else ' '.join(value)}" for key, value in options.items()
                )
                found.append(f"{name} {kind} '{section}': {said}")
        return sorted(found)

    def owners(self, name):
        return [it for it in self.exported(name) if not (it[1] or "").startswith("octet_")]

    def is_ours_in(self):
        return [name for name in FILES if "'octet_" in (self.config / name).read_text()]

    def waits(self):
        return (self.root / "run/rpcd/snapshot-files").is_dir()

    def start(self):
        """The power comes."""
        for it in ("run/rpcd", "run/ubus"):
            shutil.rmtree(self.root / it, ignore_errors=True)
        shutil.rmtree(self.state, ignore_errors=True)
        for it in ("running", "pids"):
            (self.state / it).mkdir(parents=True)
        for name in FILES:
            shutil.copy(self.config / name, self.state / "running" / name)
        self.deaf(self.is_deaf)
        self.is_on = True
        self.spawn("ubusd")
        until("the bus", lambda: (self.root / "run/ubus/ubus.sock").exists())
        for it in ("stand-ins", "rpcd", "uhttpd"):
            self.spawn(it)
        until("the objects", lambda: {"uci", "session", "file", "service"} <= self.objects())

    def spawn(self, name):
        words = {
            "ubusd": ["ubusd"],
            "stand-ins": ["stand-ins"],
            "rpcd": ["rpcd", "-t", "30"],
            "uhttpd": "uhttpd -f -h /www -r OpenWrt -x /cgi-bin -u /ubus -t 60 -T 30 -k 20 -A 1 -n 3 -N 100 -C /etc/uhttpd.crt "
            "-K /etc/uhttpd.key -s 127.0.0.1:443".split(),
        }[name]
        log = open(self.root.parent / f"{name}.log", "a")
        child = subprocess.Popen(["chroot", self.root, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.daemons[name] = child
        (self.state / "pids" / name).write_text(str(child.pid))

    def objects(self):
        said = subprocess.run(["chroot", self.root, "ubus", "list"], capture_output=True, text=True)
        return set(said.stdout.split())

    def procd(self):
        """What ends is started again; when the power is cut, all of it."""
        while True:
            time.sleep(0.2)
            if not self.is_on:
                continue
            if (self.state / "off").exists():
                self.cut()
                until("the power is let come", lambda: not self.is_held)
                self.start()
            for name, child in list(self.daemons.items()):
                if child.poll() is not None:
                    time.sleep(1)
                    self.spawn(name)

    def cut(self):
        """The power goes."""
        self.is_on = False
        for child in self.daemons.values():
            child.kill()
            child.wait()

    def pid(self, name):
        return self.daemons[name].pid

    def flag(self, name, text=None):
        if text is None:
            (self.state / name).unlink(missing_ok=True)
        else:
            (self.state / name).write_text(text)

    def deaf(self, is_deaf):
        """Whether the daemons do nothing about a file that has changed. If they do again, they do all of it."""
        self.is_deaf = is_deaf
        self.flag("deaf", "" if is_deaf else None)
        if not is_deaf:
            for name in FILES:
                shutil.copy(self.config / name, self.state / "running" / name)

    def events(self):
        file = self.state / "events"
        return file.read_text().split() if file.exists() else []

    def http(self, body, path="/ubus"):
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection("127.0.0.1", 443, context=context, timeout=LIMIT)
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        status, said = answer.status, answer.read().decode()
        connection.close()
        return status, said

    def call(self, session, object, method, **args):
        """The code, and what comes with it."""
        body = {"jsonrpc": "2.0", "id": 1, "method": "call", "params": [session, object, method, args]}
        answer = json.loads(self.http(json.dumps(body))[1])
        if "error" in answer:
            return answer["error"]["code"], None
        result = answer["result"] + [None]
        return result[0], result[1]

    def log_in(self, name, password):
        code, said = self.call(NOBODY, "session", "login", username=name, password=password)
        return said["ubus_rpc_session"] if code == 0 else f"code {code}"


class Tap:
    """Between a client and the router: the records that the client sends, by TLS's kinds and lengths."""

    def __init__(self, port):
        self.sent, self.server = b"", socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            near, _ = self.server.accept()
            far = socket.create_connection(("127.0.0.1", 443))
            for one, other, is_client in ((near, far, True), (far, near, False)):
                threading.Thread(target=self.pass_on, args=(one, other, is_client), daemon=True).start()

    def pass_on(self, one, other, is_client):
        try:
            while data := one.recv(65536):
                if is_client:
                    self.sent += data
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def records(self):
        sent, self.sent, found = self.sent, b"", []
        while len(sent) >= 5:
            kind, length = sent[0], int.from_bytes(sent[3:5], "big")
            found.append((kind, length))
            sent = sent[5 + length :]
        return found


class Owner:
    """Who types `octetctl openwrt`."""

    def __init__(self, router, octetctl, folder):
        self.router, self.octetctl, self.folder = router, octetctl, folder
        (folder / "appliance.toml").write_text(SETTINGS)
        self.password, self.login, self.address = None, "octet", "127.0.0.1:443"

    def spawn(self, verb, fingerprint=None, **more):
        words = [self.octetctl, "openwrt", verb]
        if verb == "adopt":
            words.append(self.address)
        else:
            words += [
                "--login",
                self.login,
                "--fingerprint",
                fingerprint or self.router.fingerprint,
                "--address",
                self.address,
            ]
            words += ["--settings", self.folder / "appliance.toml", "--octet", OCTET]
        env = {
            **os.environ,
            "XDG_CONFIG_HOME": str(self.folder),
            "OCTET_OPENWRT_PASSWORD": more.get("password", self.password) or "",
        }
        return subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __call__(self, verb, **more):
        child = self.spawn(verb, **more)
        out, error = child.communicate(timeout=600)
        return child.returncode, out + error


def adopting(router, owner):
    tap = Tap(8443)
    owner.address = "127.0.0.1:8443"
    code, said = owner("adopt")
    check("adopt names the certificate that openssl names", code == 0 and router.fingerprint in said, said)
    check(
        "adopt has looked by TLS (control: records of more than 100 bytes)",
        any(it[1] > 100 for it in tap.records()[1:]),
    )
    begin, end = said.index("cat > /usr/share/rpcd"), said.index('echo "the password of octet')
    end = said.index("\n", end)
    code = router.log_in("octet", "anything")
    check("before its commands are pasted nobody is let in as `octet`", code == "code 6", code)
    pid = router.pid("rpcd")
    # As indented as it is printed: a person pastes lines.
    lines = [
        line[4:] if line.startswith("    ") and not said[begin - 1] == "\n" else line
        for line in said[begin:end].splitlines()
    ]
    password = router.run("sh", given="\n".join(lines) + "\n").split()[-1]
    until("rpcd anew", lambda: router.pid("rpcd") != pid and "session" in router.objects())
    owner.password = password
    check(
        "the commands that adopt prints make a login (rpcd takes uhttpd's hash)",
        len(router.log_in("octet", password)) == 32,
    )
    # Others with the same password.
    hashed = router.run("uci", "get", "rpcd.octet.password").strip()
    with open(router.config / "rpcd", "a") as rpcd:
        for name, group in (("second", "octet"), ("root", "*")):
            rpcd.write(f"\nconfig login\n\toption username '{name}'\n\toption password '{hashed}'\n")
            rpcd.write(f"\tlist read '{group}'\n\tlist write '{group}'\n")
    before = router.files()
    tap.records()
    code, said = owner("apply", fingerprint="sha256:" + "07" * 32)
    check("apply with a wrong fingerprint is refused", code != 0 and "not sha256:0707" in said, said)
    sent = tap.records()
    check("and sends the hello and an alert, nothing else", sent and all(length < 64 for _, length in sent[1:]), sent)
    code, said = owner("apply", password="wrong")
    check("a wrong password is refused", code != 0 and "does not let `octet` in" in said, said)
    check("(control: that one was sent)", any(length > 100 for _, length in tap.records()[1:]))
    check(
        "nothing was written, and nobody was told of a file",
        before == router.files() and router.events() == [],
        router.events(),
    )
    owner.address = "127.0.0.1:443"


def there_and_back(router, owner, work):
    texts, owners = router.files(), {name: router.owners(name) for name in FILES}
    code, said = owner("diff")
    check("diff tells what is to come", code == 0 and "+ network bridge-vlan 'octet_vlan_1'" in said, said)
    planned = [line.strip()[2:] for line in said.splitlines() if line.startswith("  + ")]
    check(
        f"(it lists {len(planned)} sections with their options, in all three files)",
        {it.split()[0] for it in planned} == set(FILES),
        said,
    )
    code, said = owner("verify")
    check("verify says that it is not so yet", code != 0 and "is not so" in said, said)
    check("looking writes nothing", router.files() == texts and router.events() == [])
    code, said = owner("apply")
    check("apply is done, and confirmed", code == 0 and "Done, and confirmed" in said, said)
    check("rpcd has told of its files in the order of their names", router.events() == FILES, router.events())
    for name in FILES:
        wanted = sorted(it for it in planned if it.split()[0] == name)
        check(
            f"{name} has the {len(wanted)} sections that diff has named, each option, and no other of ours",
            router.ours(name) == wanted,
            router.ours(name),
        )
        check(
            f"{name} has all sections of the owner's, in their order",
            router.owners(name) == owners[name],
            router.files()[name],
        )
    check("no change waits", not router.waits())
    check("the owner's comment is gone, as UCI does at a commit", "owner's comment" not in router.files()["network"])
    code, said = owner("verify")
    check("verify: as the plan says", code == 0 and "as the plan says" in said, said)
    code, said = owner("diff")
    check("diff: nothing is to be changed", code == 0 and "Nothing is to be changed" in said, said)
    router.flag("events")
    new = {name: ((router.config / name).read_bytes(), (router.config / name).stat().st_mtime_ns) for name in FILES}
    code, said = owner("apply")
    check("a second apply has nothing to do", code == 0 and "Nothing is to be done" in said, said)
    same = {name: ((router.config / name).read_bytes(), (router.config / name).stat().st_mtime_ns) for name in FILES}
    check("and writes nothing", same == new and router.events() == [])
    code, said = owner("release")
    check("release is done, and confirmed", code == 0 and "Done, and confirmed" in said, said)
    for name in FILES:
        check(
            f"{name} is the owner's again, each section and option, in order",
            router.exported(name) == owners[name],
            router.files()[name],
        )
    texts = {
        name: "\n".join(line for line in text.splitlines() if not line.startswith("#")).split()
        for name, text in texts.items()
    }
    check(
        "and word for word, but for the comment",
        {name: text.split() for name, text in router.files().items()} == texts,
        router.files(),
    )


def full(router, owner):
    """The flash takes a page of 4 KiB besides what is there: of `firewall` that is a part."""
    old = router.files()
    pages = sum(-(-it.stat().st_size // 4096) for it in router.config.iterdir())
    copy = router.root.parent / "config-copy"
    shutil.copytree(router.config, copy)
    size = f"size={4 * (pages + 1)}k,mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "full", router.config], check=True)
    shutil.copytree(copy, router.config, dirs_exist_ok=True)
    router.flag("events")
    code, said = owner("apply")
    check(
        "the flash is full: apply says of which file a part is written, and is undone",
        code != 0 and "as it was before" in said and "`/etc/config/firewall`" in said and "`df /overlay`" in said,
        said,
    )
    check("(rpcd has told of all files, and again when it has put them back)", router.events() == FILES * 2, router.events())
    check("no change waits, and all files are the old ones", not router.waits() and router.files() == old, router.files())
    subprocess.run(["umount", router.config], check=True)
    router.deaf(False)


def begun(router, owner):
    """An apply that nobody will confirm: the daemons do nothing, and whoever has asked is killed."""
    router.deaf(True)
    child = owner.spawn("apply")
    until("all files are new", lambda: router.is_ours_in() == FILES and router.waits())
    began = time.monotonic()
    child.kill()
    child.wait()
    return began


def looking(router, owner):
    old = router.files()
    began = begun(router, owner)
    new = router.files()
    for login in ("octet", "second"):
        owner.login = login
        for verb in ("diff", "verify", "apply", "release"):
            code, said = owner(verb)
            check(
                f"not confirmed yet: {verb} of `{login}` is refused",
                code != 0 and "waits to be confirmed" in said,
                said,
            )
            check("and the change waits on", router.waits() and router.files() == new)
    owner.login = "octet"
    took = time.monotonic() - began
    check(f"all of that before the deadline ({took:.0f} s of 90 s)", took < 85)
    until("rpcd undoes it", lambda: router.files() != new)
    took = time.monotonic() - began
    until("nothing waits", lambda: not router.waits())
    check(f"rpcd has put the old files back by itself, after {took:.0f} s", router.files() == old and took > 80)
    code, said = owner("diff")
    check("diff is answered again", code == 0 and "octet_vlan_1" in said, said)

    begun(router, owner)
    new = router.files()
    session = router.log_in("octet", owner.password)
    check(
        "(control: rpcd gives a login of the same user the session that can confirm)",
        router.call(session, "uci", "confirm") == (0, None),
    )
    check("(control: by that it stays)", not router.waits() and router.files() == new)
    router.deaf(False)
    code, said = owner("verify")
    check("(control: it is the whole change)", code == 0, said)
    code, said = owner("release")
    check("release", code == 0, said)
    check("nothing of Octet's is left", router.is_ours_in() == [])

    router.deaf(True)
    child = owner.spawn("apply")
    until("it waits", lambda: router.is_ours_in() == FILES and router.waits())
    os.kill(router.pid("rpcd"), signal.SIGHUP)
    router.deaf(False)
    out, error = child.communicate(timeout=600)
    check(
        "SIGHUP to rpcd while a change waits: the change stays, and apply ends well",
        child.returncode == 0 and "Done" in out and router.is_ours_in() == FILES,
        out + error,
    )
    code, said = owner("release")
    check("release, although the old snapshot still lies there", code == 0 and router.is_ours_in() == [], said)

    # It waits for the roll-back itself, if the daemons do nothing.
    old = router.files()
    router.deaf(True)
    code, said = owner("apply")
    check(
        "an apply that the daemons do not follow is undone, and says so",
        code != 0 and router.files() == old and not router.waits(),
        said,
    )
    router.deaf(False)


def cut(router, owner):
    # The web server first: nobody is told anything.
    daemons = "uhttpd rpcd ubusd stand-ins"

    def flag(whom):
        router.flag("events")
        router.flag("cut" if whom == daemons else "crash", " ".join(str(router.pid(it)) for it in whom.split()))

    def cut_off(verb):
        """The power is cut after the first file, and whoever has asked is gone, too."""
        router.is_held = True
        flag(daemons)
        child = owner.spawn(verb)
        until("the power is cut", lambda: not router.is_on)
        child.kill()
        child.wait()
        router.is_held = False
        until("the router is there", lambda: router.is_on and "uci" in router.objects())

    old = router.files()
    for what, whom, events in (("the power is cut", daemons, FILES[1:]), ("rpcd is killed", "rpcd", FILES)):
        flag(whom)
        code, said = owner("apply")
        check(
            f"{what} after the first file: apply does the rest",
            code == 0 and "Done" in said and router.is_ours_in() == FILES,
            said,
        )
        check(f"(rpcd has told of {', '.join(events)} since)", router.events() == events, router.events())
        code, said = owner("verify")
        check("and it is as the plan says", code == 0, said)
        code, said = owner("release")
        check("release", code == 0 and router.is_ours_in() == [], said)

    cut_off("apply")
    check(
        "the power is cut after the first file, and the client is gone: only dhcp is new",
        router.is_ours_in() == ["dhcp"],
        router.is_ours_in(),
    )
    for verb in ("diff", "verify"):
        code, said = owner(verb)
        check(f"{verb} names the half", "`dhcp` has octet_board_1" in said, said)
    code, said = owner("apply")
    check("apply does the rest", code == 0 and router.is_ours_in() == FILES, said)
    cut_off("release")
    check(
        "the same with release: only dhcp is old", router.is_ours_in() == ["firewall", "network"], router.is_ours_in()
    )
    code, said = owner("release")
    check("release does the rest", code == 0 and router.is_ours_in() == [], said)
    check("all files are the owner's", router.files() == old)

    router.deaf(True)
    flag(daemons)
    code, said = owner("apply")
    half = "`dhcp` is as wanted, `firewall` and `network` are as before"
    check(
        "the power is cut, and the daemons do nothing after it: apply names the half",
        code != 0 and half in said and router.is_ours_in() == ["dhcp"],
        said,
    )
    router.deaf(False)
    code, said = owner("release")
    check("release goes back from there", code == 0 and router.files() == old, said)


def as_listed(router, owner):
    """What DIFFERENCES.md says of rpcd."""

    def log_in(name="octet"):
        return router.log_in(name, owner.password)

    def add(session, name, config="network", **values):
        return router.call(
            session, "uci", "add", config=config, type="interface", name=name, values=values or {"proto": "none"}
        )[0]

    def apply(session, rollback=True, timeout=90):
        return router.call(session, "uci", "apply", rollback=rollback, timeout=timeout)[0]

    def code(session, method, **args):
        return router.call(session, "uci", method, **args)[0]

    one, two, root = log_in(), log_in(), log_in("root")
    check("two logins are two sessions if nothing waits", one != two and len(one) == len(two) == 32)
    check(
        "revert without a file is not understood (2), with one it is done",
        (code(one, "revert"), code(one, "revert", config="network")) == (2, 0),
    )
    check(
        "`commit` is not granted (-32002), an object that is not there is -32000",
        (code(one, "commit"), router.call(one, "none", "x")[0]) == (-32002, -32000),
    )
    check("no session: -32002", code("f" * 32, "get", config="network") == -32002)
    said = code(one, "get", ubus_rpc_session=two, config="network")
    check("`ubus_rpc_session` among what is given: -32602", said == -32602, said)
    check("apply with nothing staged: no data (5)", apply(one) == 5)
    check(
        "confirm and rollback with nothing that waits: no data (5)",
        (code(one, "confirm"), code(one, "rollback")) == (5, 5),
    )
    check("a file that is not there: 4", code(root, "get", config="none") == 4)
    add(one, "first")
    check("apply", apply(one) == 0)
    check(
        "a login of the same user is given the session, one of another is not",
        log_in() == one and log_in("root") not in (one, root),
    )
    check(
        "revert and commit are refused (6), whatever they are given",
        {
            code(s, m, **a)
            for s, m in ((one, "revert"), (two, "revert"), (root, "revert"), (root, "commit"))
            for a in ({}, {"config": "network"}, {"config": "none"})
        }
        == {6},
    )
    check(
        "confirm and rollback of another session are refused (6)",
        {code(two, "confirm"), code(two, "rollback"), code(root, "confirm")} == {6},
    )
    add(two, "second")
    check(
        "apply with a roll-back is refused (6), one without is answered 0",
        (apply(two), apply(two, rollback=False)) == (6, 0),
    )
    check(
        "and applies nothing, but what would be gone back to is gone",
        "second" not in router.files()["network"] and not router.waits(),
    )
    check("the change waits on all the same", code(two, "revert") == 6)
    check(
        "rollback is answered, and undoes nothing",
        code(one, "rollback") == 0 and "'first'" in router.files()["network"],
    )
    check("nothing waits then", code(two, "revert") == 2)

    folder = router.root / f"run/rpcd/uci-{two}"
    folder.mkdir(exist_ok=True)
    (folder / "system").write_text("system.x='y'\n")
    check("a staged file that the login may not write: apply is refused (6)", apply(two) == 6)
    shutil.rmtree(folder)
    router.write("broken", "config 'x\n")
    check("a file that UCI cannot parse: 9", code(root, "get", config="broken") == 9)
    (router.config / "broken").unlink()

    def run(line, **more):
        return router.call(root, "file", "exec", command=line, **more)

    check(
        "a program that writes 262143 bytes is answered, of 262144 it is 8",
        (run("/usr/sbin/long", params=["262143"])[0], run("/usr/sbin/long")[0]) == (0, 8),
    )
    check("streams without a word are no keys", run("/bin/true") == (0, {"code": 0}), run("/bin/true"))
    began = time.monotonic()
    check("a program that takes longer than `-t`: 7", run("/usr/sbin/slow")[0] == 7)
    check(f"(after {time.monotonic() - began:.0f} s)", 29 < time.monotonic() - began < 60)
    check("a program that the ACL does not name: 6", router.call(one, "file", "exec", command="/bin/true")[0] == 6)
    check(
        "the same program with other words: 6",
        router.call(one, "file", "exec", command="/usr/sbin/nft", params=["list"])[0] == 6,
    )

    three = log_in()
    check("add puts a list behind one that is there", [add(three, "x", ports=[it]) for it in ("a", "b")] == [0, 0])
    value = router.call(three, "uci", "get", config="network", section="x", option="ports")
    check("(so)", value == (0, {"value": ["a", "b"]}), value)
    check("add takes an empty list", add(three, "y", ports=[]) == 0)
    four = log_in("root")
    add(four, "z", ports=["a"])
    said = (
        code(four, "set", config="network", section="z", values={"ports": ["c"]}),
        router.call(four, "uci", "get", config="network", section="z", option="ports"),
    )
    check("set puts a list in the place of one that is there", said == (0, (0, {"value": ["c"]})), said)
    said = code(four, "set", config="network", section="z", values={"ports": []})
    check("set does not take an empty one", said == 2, said)
    for options in (["none", "ports"], ["ports", "none"]):
        add(four, "z", ports=["a"])
        said = (
            code(four, "delete", config="network", section="z", options=options),
            router.call(four, "uci", "get", config="network", section="z"),
        )
        check(
            f"delete of the options {' and '.join(options)} does the one that is there, and is answered 0",
            said[0] == 0 and "ports" not in said[1][1]["values"],
            said,
        )
    said = router.call(four, "uci", "get", config="network", section="z", option="ports")
    check("get of an option that is not there is answered 0, without a value", said[0] == 0 and not said[1], said)
    said = router.call(root, "uci", "get", config="network", type="bridge-vlan", match={"ports": "lan8:u*"})
    check("get with `match` finds an item of a list", list(said[1]["values"]) == ["mine"], said)
    said = code(root, "revert", config="none")
    check("revert of a file that is not there: 4", said == 4, said)

    five = log_in()
    add(five, "fifth")
    check("apply again", apply(five) == 0 and router.waits())
    pid = router.pid("rpcd")
    os.kill(pid, signal.SIGHUP)
    until("rpcd is back", lambda: "uci" in router.objects() and code(five, "get", config="network") == 0)
    check(
        "SIGHUP keeps the session, and not that a change waits", code(five, "revert") == 2 and router.pid("rpcd") == pid
    )
    check("what it would go back to is still there, unused", router.waits())
    pid = router.pid("rpcd")
    os.kill(pid, signal.SIGUSR1)
    until("rpcd is back", lambda: router.pid("rpcd") != pid and "uci" in router.objects())
    check(
        "SIGUSR1 ends rpcd, and the next one does not know the session", code(five, "get", config="network") == -32002
    )
    five = log_in()
    add(five, "sixth")
    check("apply again", apply(five) == 0)
    os.kill(router.pid("rpcd"), signal.SIGKILL)
    until("rpcd is back", lambda: router.pid("rpcd") != pid and "uci" in router.objects())
    check(
        "killed, rpcd has lost the session, and the change stays",
        code(five, "revert") == -32002 and "sixth" in router.files()["network"],
    )


def replays(router):
    """The exchanges that the double is held against where there are no recordings."""
    for it in json.loads((OCTET / "tests/openwrt/testdata/exchanges.json").read_text()):
        asked, wanted = it["request"], it["response"]
        status, body = router.http(asked["body"].get("_raw", json.dumps(asked["body"])), asked["path"])
        if "_raw" not in wanted["body"]:
            body = json.loads(body)
            check(
                f"as in exchanges.json: {it['name']}",
                (status, body) == (wanted["status"], wanted["body"]),
                (status, body),
            )
        else:
            check(f"as in exchanges.json: {it['name']}", status == wanted["status"], (status, body))
    padded = '{"jsonrpc":"2.0","id":1,"method":"list"'
    for length, is_taken in ((65536, True), (65537, False)):
        status, body = router.http(padded + " " * (length - len(padded) - 1) + "}")
        check(
            f"a request of {length} bytes is {'taken' if is_taken else 'not taken (-32700)'}",
            ("result" if is_taken else "-32700") in body,
            body,
        )


def inside(sources, octetctl, work):
    router = Router(work, work / "stage")
    router.start()
    folder = work / "owner"
    folder.mkdir()
    owner = Owner(router, octetctl, folder)
    adopting(router, owner)
    there_and_back(router, owner, folder)
    full(router, owner)
    replays(router)
    cut(router, owner)
    looking(router, owner)
    as_listed(router, owner)
    router.cut()
    print("all of it holds")


def main():
    if sys.argv[1:2] == ["--stand-in"]:
        said = stand_in(*sys.argv[2:4])
        sys.stdout.write(said if isinstance(said, str) else json.dumps(said))
        return
    if sys.argv[1:2] == ["--inside"]:
        inside(*map(Path, sys.argv[2:5]))
        return
    if len(sys.argv) != 3 or os.geteuid() != 0:
        sys.exit(__doc__.strip().splitlines()[2].strip() + "   (as root)")
    sources, octetctl = (Path(it).resolve() for it in sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="against-rpcd-") as folder:
        build(sources, Path(folder))
        alone = ["unshare", "--mount", "--net", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
        sys.exit(subprocess.run([*alone, sys.executable, HERE, "--inside", sources, octetctl, folder]).returncode)


if __name__ == "__main__":
    main()
