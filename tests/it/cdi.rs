//! Devices of the Container Device Interface: `--device VENDOR/CLASS=NAME`, `--gpus`, and `usnea cdi`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Place, Ran, drivers, finish, need, not_applicable, within};

/// A place with files of specifications in the user's folder.
struct Cdi(Place);

impl Cdi {
    fn new() -> Self {
        let place = Place::new();
        place.folder("config/cdi");
        Self(place)
    }

    fn describe(&self, file: &str, kind: &str, devices: &Value, edits: &Value) {
        let document = json!({
            "cdiVersion": "0.7.0", "kind": kind, "devices": devices, "containerEdits": edits,
        });
        self.0.write(&format!("config/cdi/{file}"), document.to_string());
    }

    fn command<S: AsRef<std::ffi::OsStr>>(&self, words: &[S]) -> Command {
        let mut command = self.0.command(words);
        command.env("XDG_CONFIG_HOME", self.0.path("config"));
        command
    }

    fn usnea<S: AsRef<std::ffi::OsStr>>(&self, words: &[S]) -> Ran {
        finish(&mut self.command(words), "")
    }

    /// Runs a script in a disposable container of the small root.
    fn run(&self, options: &[&str], script: &str) -> Ran {
        self.usnea(&self.0.arguments(options, &["sh", "-c", script]))
    }
}

fn one(name: &str, edits: &Value) -> Value {
    json!([{ "name": name, "containerEdits": edits }])
}

#[test]
fn a_device_brings_its_files_variables_and_mounts() {
    let cdi = Cdi::new();
    cdi.0.write("library/lib.so", "of the vendor");
    let library = cdi.0.path("library");
    let device = json!({
        "env": ["VENDOR=found", "WORD=vendor"],
        "deviceNodes": [{ "path": "/dev/vendor0", "hostPath": "/dev/zero", "type": "c" }],
        "mounts": [{ "hostPath": library, "containerPath": "/opt/vendor", "options": ["ro", "rbind"] }],
    });
    cdi.describe("vendor.json", "vendor.com/device", &one("first", &device), &json!({}));
    let script = "echo $VENDOR $WORD; head -c 3 /dev/vendor0 | od -An -tx1; cat /opt/vendor/lib.so; \
                  echo x > /opt/vendor/new";
    for driver in drivers() {
        let options =
            ["--storage-driver", driver, "-e", "WORD=user", "--device", "vendor.com/device=first"];
        let ran = cdi.run(&options, script);
        assert_eq!(ran.stdout, "found vendor\n 00 00 00\nof the vendor", "{ran:?}");
        assert!(ran.stderr.contains("Read-only file system"), "{ran:?}");
    }
    // A kept container has them at every start.
    let made =
        ["create", "--name", "kept", "--network", "none", "--device", "vendor.com/device=first"];
    let image = cdi.0.image();
    cdi.usnea(&[&made[..], &[&image, "sh", "-c", "cat /opt/vendor/lib.so"]].concat()).works();
    for _ in 0..2 {
        assert_eq!(cdi.usnea(&["start", "-a", "kept"]).works(), "of the vendor");
    }
    cdi.usnea(&["rm", "kept"]).works();
    cdi.0.nothing_is_left();
}

#[test]
fn a_hook_finds_the_files_of_the_container_and_changes_no_image() {
    let cdi = Cdi::new();
    let root = cdi.0.small_root();
    // The last field of the state is the root; a program that reads JSON is not needed for it.
    let script = r#"state=$(cat); root=${state##*\"root\":\"}; root=${root%%\"*}; echo made by "$0" > "$root/made""#;
    let hook = json!({ "hookName": "createContainer", "path": "/bin/sh", "args": ["a-hook", "-c", script] });
    cdi.describe("h.json", "vendor.com/hook", &one("a", &json!({ "hooks": [hook] })), &json!({}));
    for driver in drivers() {
        let ran =
            cdi.run(&["--storage-driver", driver, "--device", "vendor.com/hook=a"], "cat /made");
        assert_eq!(ran.works(), "made by a-hook", "{driver}");
        assert!(!root.join("made").exists(), "{driver}");
    }
    if need("mksquashfs") {
        let file = cdi.0.path("root.sqsh");
        let mut make = Command::new("mksquashfs");
        make.args([&root, &file]).args(["-quiet", "-no-progress", "-all-root"]);
        finish(&mut make, "").works();
        let words = ["run", "--rm", "--network", "none", "--device", "vendor.com/hook=a"];
        let file = file.to_str().expect("UTF-8");
        for driver in drivers() {
            let ran = cdi
                .usnea(&[&words[..], &["--storage-driver", driver, file, "cat", "/made"]].concat());
            assert_eq!(ran.works(), "made by a-hook", "{driver}");
        }
    }
    let image = cdi.0.image();
    let words = [
        "create",
        "--name",
        "kept",
        "--network",
        "none",
        "--device",
        "vendor.com/hook=a",
        &image,
        "cat",
        "/made",
    ];
    cdi.usnea(&words).works();
    assert_eq!(cdi.usnea(&["start", "-a", "kept"]).works(), "made by a-hook");
    cdi.usnea(&["rm", "kept"]).works();
    let fails = json!({ "hookName": "createContainer", "path": "/bin/sh", "args": ["sh", "-c", "echo no device >&2; exit 3"] });
    let hangs = json!({ "hookName": "createRuntime", "path": "/bin/sleep", "args": ["sleep", "600"], "timeout": 1 });
    for (hook, reason) in [(fails, "no device"), (hangs, "time")] {
        cdi.describe(
            "h.json",
            "vendor.com/hook",
            &one("a", &json!({ "hooks": [hook] })),
            &json!({}),
        );
        let ran = cdi.run(&["--device", "vendor.com/hook=a"], "echo ran");
        ran.fails_with(125, &["hook", reason]);
        assert_eq!(ran.stdout, "");
    }
    assert!(within(std::time::Duration::from_secs(20), || {
        crate::support::processes_with("sleep 600").is_empty()
    }));
    cdi.0.nothing_is_left();
}

#[test]
fn hooks_of_nvidia_work_without_their_program_also_with_a_read_only_root() {
    let cdi = Cdi::new();
    let root = cdi.0.small_root();
    fs::create_dir_all(root.join("etc/ld.so.conf.d")).expect("a folder");
    fs::copy("/etc/ld.so.cache", root.join("etc/ld.so.cache")).expect("a cache");
    let cache = fs::read(root.join("etc/ld.so.cache")).expect("a cache");
    // The vendor's library: one of this machine's, under another name.
    let printed = finish(Command::new("/sbin/ldconfig").arg("-p"), "").works().to_owned();
    let library = printed
        .lines()
        .find_map(|line| line.trim().strip_prefix("libz.so.1 (")?.rsplit(" => ").next());
    let library = library.expect("a library");
    let hook = |program: &str, words: &[&str]| {
        let arguments = [&[program.rsplit('/').next().unwrap_or_default()], words].concat();
        json!({ "hookName": "createContainer", "path": program, "args": arguments })
    };
    let missing = "/no/such/nvidia-cdi-hook";
    let edits = json!({
        "mounts": [{ "hostPath": library, "containerPath": "/opt/driver/libz.so.9", "options": ["ro", "rbind"] }],
        "hooks": [
            hook(missing, &["create-symlinks", "--link", "libz.so.9::/opt/driver/libbuild.so"]),
            hook("/no/such/nvidia-ctk", &["hook", "update-ldcache", "--ldconfig-path", "@/sbin/ldconfig", "--folder", "/opt/driver"]),
            hook(missing, &["chmod", "--mode", "750", "--path", "/opt/driver", "--path", "/missing"]),
            hook(missing, &["enable-cuda-compat", "--host-driver-version", "550.1"]),
            hook(missing, &["disable-device-node-modification"]),
        ],
    });
    cdi.describe("h.json", "vendor.com/gpu", &one("a", &edits), &json!({}));
    let script = "readlink /opt/driver/libbuild.so; readlink /opt/driver/libz.so.1; cat /etc/ld.so.conf.d/*; \
                  grep -c /opt/driver/libz.so.1 /etc/ld.so.cache; stat -c %a /opt/driver";
    for driver in drivers() {
        for read_only in [&[][..], &["--read-only"]] {
            let options =
                [&["--storage-driver", driver, "--device", "vendor.com/gpu=a"], read_only].concat();
            let ran = cdi.run(&options, script);
            assert_eq!(ran.works(), "libz.so.9\nlibz.so.9\n/opt/driver\n1\n750", "{driver}");
            assert!(ran.stderr.contains("enable-cuda-compat is skipped"), "{ran:?}");
            assert!(!ran.stderr.contains("modification"), "{ran:?}");
        }
    }
    assert_eq!(fs::read(root.join("etc/ld.so.cache")).expect("a cache"), cache);
    for (words, reason) in [
        (&["create-symlinks", "--odd", "x"][..], "'--odd' is unknown"),
        (&["create-symlinks", "--link"], "has no value"),
        (&["create-symlinks", "--link", "x::/etc"], "/etc"),
    ] {
        let edits = json!({ "hooks": [hook(missing, words)] });
        cdi.describe("h.json", "vendor.com/gpu", &one("a", &edits), &json!({}));
        let ran = cdi.run(&["--device", "vendor.com/gpu=a"], "echo ran");
        ran.fails_with(125, &[reason]);
        assert_eq!(ran.stdout, "");
    }
    cdi.0.nothing_is_left();
}

#[test]
fn a_machine_without_graphics_processors_is_told() {
    if ["/dev/nvidiactl", "/dev/kfd"].iter().any(|path| Path::new(path).exists()) {
        return not_applicable("this machine has a graphics processor");
    }
    let cdi = Cdi::new();
    cdi.run(&["--gpus", "all"], "echo ran").fails_with(125, &["no graphics processors"]);
    cdi.usnea(&["cdi", "generate"]).fails_with(125, &["no graphics processors"]);
    cdi.usnea(&["cdi", "generate", "--vendor", "amd"]).fails_with(125, &["no graphics processors"]);
    cdi.0.nothing_is_left();
}

#[test]
fn gpus_are_devices_of_nvidias_kind_else_of_amds() {
    let cdi = Cdi::new();
    let device = |name: &str| json!({ "name": name, "containerEdits": { "env": [format!("GPU_{name}=1")] } });
    let devices = json!([device("0"), device("1"), device("all")]);
    let shown = |value: &str| {
        let ran = cdi.run(&["--gpus", value], "env");
        let mut all: Vec<String> = ran
            .works()
            .lines()
            .filter(|line| line.starts_with("GPU_"))
            .map(str::to_owned)
            .collect();
        all.sort();
        all.join(" ")
    };
    cdi.run(&["--gpus", "all"], "env").fails_with(125, &["--gpus all", "no graphics processors"]);
    cdi.describe("amd.json", "amd.com/gpu", &devices, &json!({ "env": ["GPU_amd=1"] }));
    assert_eq!(shown("1"), "GPU_0=1 GPU_amd=1");
    cdi.describe("nvidia.json", "nvidia.com/gpu", &devices, &json!({ "env": ["GPU_nvidia=1"] }));
    assert_eq!(shown("all"), "GPU_all=1 GPU_nvidia=1");
    assert_eq!(shown("2"), "GPU_0=1 GPU_1=1 GPU_nvidia=1");
    assert_eq!(shown("\"device=1\""), "GPU_1=1 GPU_nvidia=1");
    assert_eq!(shown("driver=amd,count=1"), "GPU_0=1 GPU_amd=1");
    cdi.run(&["--gpus", "3"], "env")
        .fails_with(125, &["no specification has the device nvidia.com/gpu=2"]);
    cdi.0.nothing_is_left();
}

#[test]
fn a_group_that_the_caller_has_is_kept_and_one_that_he_lacks_is_told() {
    let cdi = Cdi::new();
    let ours = nix::unistd::getgroups().expect("groups");
    let main = nix::unistd::getegid();
    let Some(ours) = ours.into_iter().find(|group| *group != main) else {
        crate::support::not_applicable("a user in two groups");
        return;
    };
    cdi.describe(
        "a.json",
        "v/c",
        &one("a", &json!({ "additionalGids": [ours.as_raw()] })),
        &json!({}),
    );
    let kept = cdi.run(&["--group-add", "keep-groups"], "id -G");
    assert_eq!(cdi.run(&["--device", "v/c=a"], "id -G").works(), kept.works());
    cdi.describe("a.json", "v/c", &one("a", &json!({ "additionalGids": [4_000_000] })), &json!({}));
    let ran = cdi.run(&["--device", "v/c=a"], "id -u");
    ran.works();
    assert!(ran.stderr.contains("groups 4000000: you are not a member"), "{ran:?}");
    cdi.0.nothing_is_left();
}

#[test]
fn devices_are_listed_and_faults_of_files_are_told() {
    let cdi = Cdi::new();
    assert_eq!(cdi.usnea(&["cdi", "check"]).works(), "");
    cdi.describe("a.json", "v/c", &one("a", &json!({ "env": ["A=1"] })), &json!({}));
    let yaml = "cdiVersion: 0.6.0\nkind: vendor.com/net\ndevices:\n- name: b\n  containerEdits:\n    env: [B=1]\n";
    cdi.0.write("config/cdi/b.yaml", yaml);
    assert_eq!(cdi.usnea(&["cdi", "list", "-q"]).works(), "v/c=a\nvendor.com/net=b");
    let row = cdi.usnea(&["cdi", "ls", "--format", "{{.Kind}} {{.Device}} {{.File}}"]);
    let file = cdi.0.path("config/cdi/b.yaml");
    assert_eq!(row.works().lines().nth(1), Some(&*format!("vendor.com/net b {}", file.display())));
    assert_eq!(
        cdi.run(&["--device", "vendor.com/net=b", "--device", "v/c=a"], "echo $A$B").works(),
        "11"
    );
    cdi.0.write("config/cdi/c.yaml", "cdiVersion: [\n");
    cdi.0.write("config/cdi/d.json", yaml.replace("vendor.com", "other.com"));
    cdi.describe("e.json", "v/c", &one("a", &json!({ "env": ["A=2"] })), &json!({}));
    let checked = cdi.usnea(&["cdi", "check"]);
    let faults = checked.exits(1);
    for (line, words) in faults.lines().zip(["c.yaml: ", "d.json: ", "v/c=a: in "]) {
        assert!(line.contains(words), "{faults}");
    }
    assert_eq!(faults.lines().count(), 3, "{faults}");
    cdi.run(&["--device", "v/c=a"], "true").fails_with(125, &["device v/c=a is in ", "e.json"]);
    cdi.run(&["--device", "v/c=nope"], "true")
        .fails_with(125, &["--device", "no specification has the device v/c=nope"]);
    cdi.run(&["--device", "v/c="], "true").fails_with(125, &["no name of a device"]);
    // Container and host see the same of a FIFO: nothing that waits.
    finish(Command::new("mkfifo").arg(cdi.0.path("config/cdi/f.json")), "").works();
    assert_eq!(cdi.usnea(&["cdi", "check"]).exits(1).lines().count(), 4);
    cdi.0.nothing_is_left();
}

#[test]
fn what_a_device_lacks_on_this_machine_is_an_error_before_the_start() {
    let cdi = Cdi::new();
    for (edits, reason) in [
        (json!({ "deviceNodes": [{ "path": "/dev/no-such-device" }] }), "/dev/no-such-device"),
        (json!({ "mounts": [{ "hostPath": "/no/such", "containerPath": "/x" }] }), "/no/such"),
        (json!({ "hooks": [{ "hookName": "poststop", "path": "/no/hook" }] }), "/no/hook"),
        (json!({ "intelRdt": { "closID": "a" } }), "intelRdt needs root"),
    ] {
        cdi.describe("a.json", "v/c", &one("a", &edits), &json!({}));
        let ran = cdi.run(&["--device", "v/c=a"], "echo ran");
        ran.fails_with(125, &[reason]);
        assert_eq!(ran.stdout, "");
    }
    assert!(!Path::new("/dev/no-such-device").exists() && fs::metadata("/no").is_err());
    cdi.0.nothing_is_left();
}
