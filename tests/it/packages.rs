//! Packages: `packaging/build` and the installation without root. `tests/vm/inside` installs them on a machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Place, binary, finish, need, source};

const EPOCH: &str = "1700000000";

/// Builds packages of `kinds` from the source tree `from`, with `program` inside. Returns the files by name.
fn build(place: &Place, from: &Path, program: &Path, output: &str, kinds: &[&str]) -> PathBuf {
    let output = place.folder(output);
    let mut command = Command::new("bash");
    command.arg(from.join("packaging/build")).arg("--binary").arg(program);
    command.arg("--output").arg(&output).args(kinds);
    command.env("SOURCE_DATE_EPOCH", EPOCH).env("DPKG_DEB_COMPRESSOR_TYPE", "gzip");
    finish(&mut command, "").works();
    output
}

/// Stands in for the program where its content does not matter.
fn small_program(place: &Place) -> PathBuf {
    let program = place.write("program", "#!/bin/sh\n");
    finish(Command::new("chmod").arg("755").arg(&program), "").works();
    program
}

/// Files of a directory, with their content.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).expect("a directory").flatten();
    let mut files: Vec<_> = entries
        .map(|entry| {
            let name = entry.file_name().into_string().expect("a UTF-8 name");
            (name, fs::read(entry.path()).expect("a package"))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn packages_are_the_same_bytes_in_whichever_directory_they_are_built() {
    if !need("dpkg-deb") || !need("rpmbuild") {
        return;
    }
    let place = Place::new();
    let program = small_program(&place);
    let copy = place.folder("copy");
    let copied = "umask 077; for i in packaging man README.md LICENSE Cargo.toml; do cp -R \"$0/$i\" .; done";
    finish(Command::new("sh").current_dir(&copy).args(["-c", copied]).arg(source()), "").works();
    let first = contents(&build(&place, &source(), &program, "first", &[]));
    let second = contents(&build(&place, &copy, &program, "second", &[]));
    let names: Vec<_> = first.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    for ((name, one), (other, two)) in first.iter().zip(&second) {
        assert_eq!(name, other);
        assert!(one == two, "{name} differs");
    }
}

/// Paths of a listing, without directories, with manual pages' folders left out.
fn listed(command: &mut Command) -> BTreeSet<String> {
    let listing = finish(command, "");
    let lines = listing.works().lines().map(str::to_owned);
    lines.filter(|path| !path.ends_with('/') && !path.contains("/man/")).collect()
}

#[test]
fn distribution_packages_hold_the_program_its_names_and_the_generators() {
    if !need("dpkg-deb") || !need("rpmbuild") {
        return;
    }
    let place = Place::new();
    let output = build(&place, &source(), &small_program(&place), "packages", &["deb", "rpm"]);
    let mut files = contents(&output).into_iter().map(|(name, _)| output.join(name));
    let (rpm, deb) = (files.next().expect("rpm"), files.next().expect("deb"));
    let in_rpm = listed(Command::new("rpm").args(["-q", "-p", "-l"]).arg(&rpm));
    let unpacked = place.folder("unpacked");
    finish(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&unpacked), "").works();
    for path in [
        "/etc/apparmor.d/usnea",
        "/usr/bin/usnea",
        "/usr/bin/usnea-oci",
        "/usr/lib/systemd/system-generators/usnea-system-generator",
        "/usr/lib/systemd/user-generators/usnea-user-generator",
        "/usr/share/bash-completion/completions/usnea",
        "/usr/share/fish/vendor_completions.d/usnea.fish",
        "/usr/share/doc/usnea/README.md",
    ] {
        assert!(in_rpm.contains(path), "{path} is not in {in_rpm:?}");
        // Links lead to the program of the same tree.
        let file = unpacked.join(&path[1..]);
        assert!(file.exists(), "{path} is missing in the Debian package, or leads nowhere");
    }
    let page = unpacked.join("usr/share/man/man1/usnea-run.1.gz");
    let shown = finish(Command::new("gzip").arg("-dc").arg(page), "");
    let original = fs::read_to_string(source().join("man/usnea-run.1")).expect("a page");
    assert!(shown.works() == original.trim_end(), "the page differs");
    let owners = finish(Command::new("dpkg-deb").arg("-c").arg(&deb), "");
    for line in owners.works().lines() {
        assert_eq!(line.split_whitespace().nth(1), Some("root/root"), "{line}");
    }
    // Nothing of the system is changed by an installation.
    let control = place.folder("control");
    finish(Command::new("dpkg-deb").arg("-e").arg(&deb).arg(&control), "").works();
    let names: BTreeSet<_> = contents(&control).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["conffiles", "control", "md5sums"].map(str::to_owned).into());
    let scripts = finish(Command::new("rpm").args(["-q", "-p", "--scripts"]).arg(&rpm), "");
    assert_eq!(scripts.works(), "");
}

/// Files below `folder`, relative to it.
fn tree(folder: &Path) -> BTreeSet<String> {
    let mut command = Command::new("find");
    command.arg(folder).args(["!", "-type", "d", "-printf", "%P\\n"]);
    finish(&mut command, "").works().lines().map(str::to_owned).collect()
}

/// `install.sh` of the unpacked archive, with a home of its own.
fn install(place: &Place, archive: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(archive.join("install.sh"));
    place.prepare(&mut command);
    command.args(arguments).env("HOME", place.folder("home"));
    command
}

#[test]
fn the_archive_installs_into_a_home_and_goes_without_a_trace() {
    let place = Place::new();
    // Without symbols: the archive is compressed.
    let program = place.path("stripped");
    finish(Command::new("strip").arg("-o").arg(&program).arg(binary()), "").works();
    let output = build(&place, &source(), &program, "packages", &["tar"]);
    let (name, _) = contents(&output).remove(0);
    let unpacked = place.folder("unpacked");
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(output.join(&name)).arg("-C").arg(&unpacked);
    finish(&mut tar, "").works();
    let archive = unpacked.join(name.strip_suffix(".tar.gz").expect("an archive"));
    let local = place.folder("home").join(".local");
    // An image of the user's, in the store's default place, which is beside the files of the package.
    fs::create_dir_all(local.join("share/usnea")).expect("a store");
    fs::write(local.join("share/usnea/images.json"), "[]").expect("a file of the store");

    let ran = finish(&mut install(&place, &archive, &[]), "");
    assert!(ran.works().contains(&format!("is installed in {}", local.display())), "{ran:?}");
    // The report of `usnea doctor`.
    assert!(ran.stdout.contains("user namespace"), "{ran:?}");
    let first = tree(&local);
    assert!(first.contains("share/man/man7/usnea-units.7"), "{first:?}");
    let unit = local.join("share/systemd/user/usnea-quadlet.service");
    let unit = fs::read_to_string(unit).expect("the service of Quadlet files");
    assert!(unit.contains(&format!("ExecStart={}/bin/usnea quadlet", local.display())), "{unit}");

    let mut command = Command::new(local.join("bin/usnea"));
    place.prepare(&mut command);
    command.args(["run", "--rm", "--network", "none", "host:echo", "echo", "it runs"]);
    assert_eq!(finish(&mut command, "").works(), "it runs");
    let mut runtime = Command::new(local.join("bin/usnea-oci"));
    assert!(finish(runtime.arg("--version"), "").works().contains("spec"), "the OCI runtime");

    // A later version without one of the files: it goes.
    let completion = "share/fish/vendor_completions.d/usnea.fish";
    let list = local.join("share/doc/usnea/installed-files");
    let gone = local.join("share/usnea-of-before");
    fs::write(&gone, "").expect("a file");
    let earlier = fs::read_to_string(&list).expect("the list");
    fs::write(&list, format!("{earlier}{}\n", gone.display())).expect("the list");
    finish(&mut install(&place, &archive, &[]), "").works();
    assert!(!gone.exists() && local.join(completion).exists());
    assert_eq!(tree(&local), first);

    finish(&mut install(&place, &archive, &["--uninstall"]), "").works();
    assert_eq!(tree(&local), ["share/usnea/images.json".to_owned()].into());
    let again = finish(&mut install(&place, &archive, &["--uninstall"]), "");
    assert!(again.status == 1 && again.stderr.contains("nothing was installed"), "{again:?}");
}

#[test]
fn an_impossible_installation_is_an_error_with_a_hint() {
    let place = Place::new();
    let script = source().join("packaging/install.sh");
    for (arguments, phrases) in [
        (&["--prefix"][..], &["--prefix needs a directory"][..]),
        (&["--prefix", "relative"], &["not an absolute path"]),
        (&["--unknown"], &["unknown argument --unknown", "--help"]),
        (&["--prefix", "/proc"], &["cannot write to /proc", "--prefix"]),
    ] {
        let ran = finish(Command::new(&script).args(arguments).env("HOME", place.path("home")), "");
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(phrases.iter().all(|phrase| ran.stderr.contains(phrase)), "{ran:?}");
    }
}

#[test]
fn the_generator_leaves_the_files_to_podman_s_unless_that_is_masked() {
    let place = Place::new();
    let config = place.folder("config/containers/systemd");
    fs::write(config.join("web.container"), "[Container]\nImage=x\n").expect("a file");
    let podmans = place.write("podman-user-generator", "#!/bin/sh\n");
    let mount = |from: &Path, to: &str| format!("{}:{to}", from.display());
    let generated = |masked: &[&str]| {
        let program = mount(&binary(), "/bin/usnea-user-generator");
        let config = mount(&place.path("config"), "/config");
        let there = mount(&podmans, "/usr/lib/systemd/user-generators/podman-user-generator");
        let mut options = vec!["-v", &program, "-v", &config, "-v", &there];
        options.extend(["-e", "XDG_CONFIG_HOME=/config"]);
        options.extend(masked);
        let script = "mkdir /out && usnea-user-generator /out /out /out && ls /out";
        place.run(&options, script).works().contains("web.service")
    };
    let mask = "/dev/null:/etc/systemd/user-generators/podman-user-generator";
    assert!(!generated(&[]));
    assert!(generated(&["-v", mask]));
    // A folder that the caller names is for usnea alone.
    assert!(generated(&["-e", "QUADLET_UNIT_DIRS=/config/containers/systemd"]));
}
