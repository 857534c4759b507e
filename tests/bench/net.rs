//! Networks: `cargo bench --bench net [-- -n N]`. Ratios, from candidates that take turns (A B A B ...):
//!
//! - throughput between two containers of a named network, beside a bare veth pair between two namespaces;
//! - throughput into a container through a published port, and out of it, beside the helper alone;
//! - the start of a container without a network, on the default network, with slirp4netns, on a named network, and
//!   podman's default;
//! - the time in which the first and the 200th container join a named network;
//! - answers to names: the median time, and whether 5 000 questions a second are all answered.
//!
//! Needs iperf3, python3, iproute2, slirp4netns. All traffic stays in namespaces that the bench makes, and on loopback.

#[allow(dead_code, reason = "other benches use the rest")]
mod runner;
#[path = "../it/small_root.rs"]
mod small_root;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use runner::{MEASURE, Programs, Runner, measure_memory_of, open_to_all, said};

const ROUNDS: usize = 10;
/// Containers on one network.
const MANY: usize = 200;

/// Throughput between two bare namespaces, in bits a second.
const BARE_PAIR: &str = r#"
unshare -rn sh -ec '
    unshare -n sleep 1000 > /dev/null & other=$!
    until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do :; done
    ip link add name left type veth peer name right netns $other
    ip address add 10.1.1.1/24 dev left; ip link set left up; ip link set lo up
    nsenter --net --target $other sh -ec "ip address add 10.1.1.2/24 dev right; ip link set right up; ip link set lo up"
    nsenter --net --target $other iperf3 -s -1 > /dev/null & server=$!
    until iperf3 -c 10.1.1.2 -t 2 -J > client 2> /dev/null && grep -q sum_received client; do sleep 0.1; done
    wait $server; kill $other' && cat client
"#;

/// Throughput between two containers of a network.
const CONTAINERS: &str = r#"
$U run --rm --network bench $ROOT iperf3 -c server -t 2 -J
"#;

/// Throughput into a namespace that slirp4netns alone connects, through a port of the host.
const BARE_IN: &str = r#"
unshare -rn sleep 1000 > /dev/null & inside=$!
until [ "$(readlink /proc/$inside/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do :; done
slirp4netns --configure --mtu=65520 --disable-host-loopback --api-socket "$PWD/api" $inside tap0 > /dev/null 2>&1 & helper=$!
until [ -S api ]; do sleep 0.05; done; sleep 0.2
python3 -c 'import socket,sys
s = socket.socket(socket.AF_UNIX); s.connect("api")
s.sendall(b"{\"execute\":\"add_hostfwd\",\"arguments\":{\"proto\":\"tcp\",\"host_addr\":\"127.0.0.1\",\"host_port\":25201,\"guest_addr\":\"10.0.2.100\",\"guest_port\":5201}}")
s.shutdown(1); s.recv(999)'
nsenter --preserve-credentials --user --net --target $inside iperf3 -s -1 > /dev/null & server=$!
until iperf3 -c 127.0.0.1 -p 25201 -t 2 -J > client 2> /dev/null && grep -q sum_received client; do sleep 0.1; done
wait $server; kill $helper $inside; rm -f api; cat client
"#;

/// Throughput into a container through a published port.
const PUBLISHED: &str = r#"
iperf3 -c 127.0.0.1 -p 25202 -t 2 -J
"#;

/// Throughput out of a namespace that slirp4netns alone connects, to a server at the host's loopback.
const BARE_OUT: &str = r#"
unshare -rn sleep 1000 > /dev/null & inside=$!
until [ "$(readlink /proc/$inside/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do :; done
slirp4netns --configure --mtu=65520 $inside tap0 > /dev/null 2>&1 & helper=$!
iperf3 -s -1 -B 127.0.0.1 -p 25203 > /dev/null & server=$!
until nsenter --preserve-credentials --user --net --target $inside iperf3 -c 10.0.2.2 -p 25203 -t 2 -J > client 2> /dev/null &&
    grep -q sum_received client; do sleep 0.1; done
wait $server; kill $helper $inside; cat client
"#;

/// Throughput out of a container, to a server at the host's loopback.
const OUT: &str = r#"
iperf3 -s -1 -B 127.0.0.1 -p 25203 > /dev/null & server=$!
until $U run --rm --network slirp4netns:allow_host_loopback=true $ROOT iperf3 -c 10.0.2.2 -p 25203 -t 2 -J > client &&
    grep -q sum_received client; do sleep 0.1; done
wait $server; cat client
"#;

/// Questions for a name: sends at a steady rate, and prints the median time in ms, the rate and the losses.
const QUESTIONS: &str = r#"
import socket, struct, time, select
name = b"".join(bytes([len(l)]) + l for l in b"server".split(b".")) + b"\0"
question = lambda number: struct.pack("!HHHHHH", number, 0x100, 1, 0, 0, 0) + name + struct.pack("!HH", 1, 1)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
server = [line.split()[1] for line in open("/etc/resolv.conf") if line.startswith("nameserver")][0]
s.connect((server, 53))
times = []
for number in range(300):
    before = time.perf_counter(); s.send(question(number)); s.recv(999)
    times.append(time.perf_counter() - before)
times.sort()
s.setblocking(False)
rate, total, sent, got = 5000, 15000, 0, 0
start = time.perf_counter()
while got < total and time.perf_counter() - start < 10:
    due = min(total, int((time.perf_counter() - start) * rate))
    while sent < due:
        s.send(question(sent & 0xffff)); sent += 1
    select.select([s], [], [], 0.001)
    try:
        while True: s.recv(999); got += 1
    except BlockingIOError: pass
took = time.perf_counter() - start
print(times[len(times) // 2] * 1e3, got / took, total - got)
"#;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == MEASURE) {
        return measure_memory_of(&arguments[1..]);
    }
    let given = arguments.iter().skip_while(|word| *word != "-n").nth(1);
    let rounds = given.map_or(ROUNDS, |number| number.parse().expect("-n takes a number"));
    let place = tempfile::tempdir().expect("a temporary folder");
    open_to_all(place.path());
    let programs = Programs::published_in(place.path());
    for runner in Runner::all() {
        let bench = Bench::make(&programs, &runner, place.path());
        println!("\nas {}, {}", runner.user.name, runner.kind());
        bench.compare_throughput(rounds.div_ceil(2));
        bench.compare_starts(rounds * 2);
        bench.join_many();
        bench.ask_names();
        bench.works("$U rm -fa > /dev/null; $U network prune -f > /dev/null");
    }
    let _ = programs.bench;
    ExitCode::SUCCESS
}

/// Folder of one user, with a store and a network.
struct Bench<'a> {
    runner: &'a Runner,
    folder: PathBuf,
    usnea: String,
}

impl<'a> Bench<'a> {
    fn make(programs: &Programs, runner: &'a Runner, place: &Path) -> Self {
        let folder = place.join(&runner.user.name);
        fs::create_dir(&folder).expect("a folder");
        let runtime = folder.join("run");
        fs::create_dir(&runtime).expect("a folder");
        // As of a login: a folder that is open to others is not used.
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).expect("its mode");
        small_root::make(&folder.join("root"));
        fs::write(folder.join("questions.py"), QUESTIONS).expect("a script");
        if nix::unistd::geteuid().is_root() {
            let owner = format!("{}:{}", runner.user.uid, runner.user.gid);
            let given = Command::new("chown").args(["-R", &owner]).arg(&folder).status();
            assert!(given.is_ok_and(|status| status.success()), "chown of {}", folder.display());
        }
        let usnea = format!("{} --root {}/store", programs.usnea.display(), folder.display());
        let bench = Self { runner, folder, usnea };
        bench.works("$U network create bench > /dev/null");
        bench
    }

    /// Standard output of a script of this user, in which `$U` is usnea with its store.
    fn output(&self, script: &str) -> Result<String, String> {
        let head = format!(
            "U='{}'; ROOT='host:iperf3,python3,sh,sleep'; cd {}; ",
            self.usnea,
            self.folder.display()
        );
        let words = ["/bin/sh", "-ec", &(head + script)].map(str::to_owned);
        let mut command = self.runner.command(&words, &self.folder);
        let output = command.stdout(Stdio::piped()).output();
        let output = output.map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(format!("{}: {}", output.status, said(&output.stderr))),
        }
    }

    fn works(&self, script: &str) -> String {
        self.output(script).unwrap_or_else(|why| panic!("{script}: {why}"))
    }

    /// Bits a second that the receiver of iperf3 counted.
    fn bits(&self, script: &str) -> f64 {
        let text = self.works(script);
        let value: serde_json::Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{script}: {error}: {text}"));
        value
            .pointer("/end/sum_received/bits_per_second")
            .and_then(serde_json::Value::as_f64)
            .expect("a sum")
    }

    fn compare_throughput(&self, rounds: usize) {
        self.works("$U run -d --name server --network bench $ROOT iperf3 -s > /dev/null");
        self.works(
            "$U run -d --name published --network slirp4netns -p 127.0.0.1:25202:5201 $ROOT iperf3 -s > /dev/null; sleep 0.5",
        );
        let scripts = [BARE_PAIR, CONTAINERS, BARE_IN, PUBLISHED, BARE_OUT, OUT];
        let mut all = scripts.map(|_| Vec::new());
        for _ in 0..rounds {
            for (results, script) in all.iter_mut().zip(scripts) {
                results.push(self.bits(script));
            }
        }
        let [bare, containers, bare_in, published, bare_out, out] = all.map(median);
        let show = |what: &str, ours: f64, theirs: f64| {
            println!(
                "{what:44} {:7.2} {:7.2} Gbit/s, ratio {:.2}",
                ours / 1e9,
                theirs / 1e9,
                ours / theirs
            );
        };
        show("between containers / bare veth pair", containers, bare);
        show("published port / slirp4netns alone", published, bare_in);
        show("way out / slirp4netns alone", out, bare_out);
        self.works("$U rm -f -t 0 published > /dev/null");
    }

    /// Milliseconds that a command takes.
    fn time(&self, line: &str) -> f64 {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut command = self.runner.command(&words, &self.folder);
        let start = Instant::now();
        let output = command.output().expect("a program");
        let time = start.elapsed();
        assert!(output.status.success(), "{line}: {}", said(&output.stderr));
        milliseconds(time)
    }

    fn compare_starts(&self, rounds: usize) {
        let run = |network: &str| format!("{} run --rm{network} dir:root true", self.usnea);
        self.works("tar -cf root.tar -C root .");
        let imported = self.output("podman import -q root.tar bench > /dev/null");
        // crun refuses machines that have both cgroup versions.
        let podmans = ["podman run --rm --cgroups disabled", "podman --runtime runc run --rm"];
        let podmans = podmans.map(|podman| format!("{podman} bench true"));
        let tried = podmans.into_iter().map(|line| self.output(&line).map(|_| line));
        let podman = imported.and_then(|_| tried.reduce(Result::or).expect("a command line"));
        let mut lines = vec![
            ("none", run(" --network none")),
            ("default", run("")),
            ("slirp4netns", run(" --network slirp4netns")),
            ("named network", run(" --network bench")),
        ];
        match podman {
            Ok(line) => lines.push(("podman's default", line)),
            Err(why) => println!("podman is left out: {why}"),
        }
        let mut times = vec![Vec::new(); lines.len()];
        for _ in 0..rounds {
            for (times, (_, line)) in times.iter_mut().zip(&lines) {
                times.push(self.time(line));
            }
        }
        let medians: Vec<f64> = times.into_iter().map(median).collect();
        for ((name, _), time) in lines.iter().zip(&medians) {
            println!(
                "{:44} {time:7.1} ms, {:+.1} to none",
                format!("run of true, network {name}"),
                time - medians[0]
            );
        }
        if let [_, default, _, _, podman] = medians[..] {
            println!("{:44} {:.2}", "default network / podman's default", default / podman);
        }
    }

    fn join_many(&self) {
        let times: Vec<f64> = (0..MANY)
            .map(|_| {
                self.time(&format!(
                    "{} run -d --network bench --stop-signal KILL dir:root sleep 10000",
                    self.usnea
                ))
            })
            .collect();
        let (first, last) = (median(times[..10].to_vec()), median(times[MANY - 10..].to_vec()));
        println!(
            "{:44} {first:7.1} {last:7.1} ms, ratio {:.2}",
            format!("run -d, the first ten and the last of {MANY}"),
            last / first
        );
    }

    fn ask_names(&self) {
        let line = self
            .works("$U run --rm --network bench -v $PWD/questions.py:/q.py $ROOT python3 /q.py");
        let words: Vec<f64> =
            line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        if let [median, rate, lost] = words[..] {
            println!(
                "{:44} {median:7.3} ms median, {rate:.0} a second, {lost} lost",
                format!("names, {MANY} containers")
            );
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
