//! A user without subordinate IDs in a real Debian: packages are installed, and nothing in the image is changed for it.
//!
//! The root is an archive that `tests/run` makes once, as root (USNEA_TEST_DEBIAN); packages come from the mirror that it
//! names.

use std::path::PathBuf;
use std::process::Output;

use crate::support::{Place, need_no_subids, need_that, text};

/// Imports the archive as the image `debian`; `None`: this machine has none.
fn debian(place: &Place) -> Option<()> {
    let archive = std::env::var_os("USNEA_TEST_DEBIAN").map(PathBuf::from);
    let archive = archive.filter(|path| path.is_file());
    if !need_that(archive.is_some(), "a Debian root (tests/run makes one as root)") {
        return None;
    }
    run(place, &["import", "-q", text(&archive?), "debian"]);
    Some(())
}

/// Runs usnea, for as long as a mirror takes; what it wrote.
#[track_caller]
fn run(place: &Place, words: &[&str]) -> String {
    let Output { status, stdout, stderr } = place.command(words).output().expect("usnea");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let errors = said(&stderr);
    assert!(
        !errors.contains("Temporary failure resolving") && !errors.contains("Could not connect"),
        "the mirror cannot be reached, and this test needs it: {errors}"
    );
    assert!(status.success(), "{words:?}: {status}: {} {errors}", said(&stdout));
    said(&stdout)
}

#[test]
fn apt_installs_a_package() {
    let place = Place::new();
    if !need_no_subids() || debian(&place).is_none() {
        return;
    }
    let script = "set -e; export DEBIAN_FRONTEND=noninteractive; apt-get -q update >&2; \
        apt-get -q install -y hello >&2; hello; dpkg-query -W -f '${Status}' hello";
    let said = run(&place, &["run", "--rm", "--network", "host", "debian", "sh", "-c", script]);
    assert_eq!(said.trim(), "Hello, world!\ninstall ok installed");
}

/// Makes a package whose files have many owners, with dpkg's own tools, inside: what is packed is what is shown.
const BUILD: &str = "set -e; mkdir -p p/DEBIAN p/opt/many; cd p; \
    printf 'Package: many\\nVersion: 1\\nArchitecture: all\\nMaintainer: nobody <n@n>\\nDescription: many owners\\n' > DEBIAN/control; \
    for id in 1 33 100 998 65533; do echo x > opt/many/$id; chown $id:$((id + 1)) opt/many/$id; done; \
    echo y > opt/many/setuid; chown 33:8 opt/many/setuid; chmod 6755 opt/many/setuid; mkdir opt/many/d; chown 10:20 opt/many/d; chmod 2750 opt/many/d; \
    ln -s d opt/many/l; chown -h 7:7 opt/many/l; cd ..; dpkg-deb -b p /out/many.deb > /dev/null; dpkg-deb -c /out/many.deb";

const LOOK: &str = "dpkg -i /out/many.deb > /dev/null && cd /opt/many && stat -c %n:%u:%g:%a 1 33 100 998 65533 setuid d";

#[test]
fn dpkg_installs_a_package_with_many_owners() {
    let place = Place::new();
    if !need_no_subids() || debian(&place).is_none() {
        return;
    }
    let out = format!("{}:/out", text(&place.folder("out")));
    let listed = run(
        &place,
        &["run", "--rm", "-v", &out, "--root-emulation", "owners", "debian", "sh", "-c", BUILD],
    );
    for owner in ["daemon/bin", "www-data/backup", "www-data/mail", "uucp/dialout"] {
        assert!(listed.contains(owner), "{owner}: {listed}");
    }
    // Where owners are not shown, it installs all the same.
    run(&place, &["run", "--rm", "-v", &out, "debian", "sh", "-c", LOOK]);
    let shown = run(
        &place,
        &["run", "--rm", "-v", &out, "--root-emulation", "owners", "debian", "sh", "-c", LOOK],
    );
    let lines: Vec<&str> = shown.lines().collect();
    let expected = [
        "1:1:2:644",
        "33:33:34:644",
        "100:100:101:644",
        "998:998:999:644",
        "65533:65533:65534:644",
        "setuid:33:8:6755",
        "d:10:20:2750",
    ];
    assert_eq!(lines, expected);
    let off = ["run", "--rm", "-v", &out, "--root-emulation", "off", "debian", "sh", "-c", LOOK];
    let off = place.command(&off).output().expect("usnea");
    assert!(!off.status.success(), "without emulation there is nothing to prove");
}

#[test]
fn owners_of_an_image_are_shown() {
    let place = Place::new();
    if !need_no_subids() || debian(&place).is_none() {
        return;
    }
    let script = "stat -c %U:%G:%a /etc/shadow /usr/bin/passwd /usr/bin/chage; find / -xdev -group tty | head -n 1";
    let said =
        run(&place, &["run", "--rm", "--root-emulation", "owners", "debian", "sh", "-c", script]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..3], ["root:shadow:640", "root:root:4755", "root:shadow:2755"], "{said}");
}

/// A call that a signal takes away has done nothing, and one that was answered is not made again: a second mknod of the
/// same name would say so.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_signal_does_not_make_a_call_twice() {
    let place = Place::new();
    if debian(&place).is_none() {
        return;
    }
    let script = "use Time::HiRes qw(ualarm); use POSIX; my ($came, $failed) = (0, 0); \
        POSIX::sigaction(POSIX::SIGALRM, POSIX::SigAction->new(sub { $came++ }, POSIX::SigSet->new, 0)); \
        ualarm(500, 500); \
        for my $id (1 .. 200000) { last if $id > 2000 && $came > 20; my $name = '/dev-' . $id; my $answer; \
            do { $! = 0; $answer = syscall(133, $name, 020644, 0x103) } while $answer && $!{EINTR}; $failed++ if $answer } \
        ualarm(0); print $came > 20 ? 'disturbed' : 'quiet', ' ', $failed";
    let words = ["run", "--rm", "--root-emulation", "seccomp", "debian", "perl", "-e", script];
    assert_eq!(run(&place, &words), "disturbed 0");
}

/// Sequences of the calls that set IDs, in children of their own, with all IDs told after each.
const SEQUENCES: &str = r#"
use strict;
my ($seed, $count) = @ARGV;
srand($seed);
my %calls = (setuid => [105, 1], setgid => [106, 1], setreuid => [113, 2], setregid => [114, 2], setresuid => [117, 3],
    setresgid => [119, 3], setfsuid => [122, 1], setfsgid => [123, 1]);
my @names = sort keys %calls;
sub three { my ($a, $b, $c) = ("\0" x 4) x 3; syscall($_[0], $a, $b, $c); join ",", map { unpack "L", $_ } $a, $b, $c }
sub told {
    my $room = "\0" x 64;
    my $number = syscall(115, 16, $room);
    join " ", three(118), three(120), (map { 0 + syscall($_) } 102, 107, 104, 108), join(",", unpack "L$number", $room)
}
$| = 1;
for my $round (1 .. $count) {
    my @plan = map {
        my $name = $names[rand @names];
        [$name, map { my $id = int rand 5; $id == 4 ? -1 : $id } 1 .. $calls{$name}[1]]
    } 1 .. 1 + int rand 6;
    my $groups = int rand 4;
    if (my $child = fork) { waitpid $child, 0; next }
    my $list = pack "L*", map { $groups - $_ } 1 .. $groups;
    my $set = syscall(116, $groups, $list);
    print "$round setgroups $groups = $set ", told(), "\n";
    for (@plan) {
        my ($name, @ids) = @$_;
        $! = 0;
        my $answer = syscall($calls{$name}[0], map { $_ + 0 } @ids);
        my $errno = $answer == -1 ? $! + 0 : 0;
        print "$round $name @ids = $answer $errno ", told(), "\n";
    }
    if (my $child = fork) { waitpid $child, 0 } else { print "$round child ", told(), "\n" }
    exit 0;
}
"#;

/// The kernel is the oracle: with subordinate IDs it does by itself what is emulated without.
#[test]
#[cfg(target_arch = "x86_64")]
fn ids_change_as_the_kernel_changes_them() {
    let place = Place::new();
    if !crate::support::need_subids() || debian(&place).is_none() {
        return;
    }
    let sequences = |mode: &str| {
        let words = [
            "run",
            "--rm",
            "--root-emulation",
            mode,
            "debian",
            "perl",
            "-e",
            SEQUENCES,
            "7",
            "150",
        ];
        run(&place, &words)
    };
    let (kernels, ours) = (sequences("off"), sequences("seccomp"));
    assert!(kernels.lines().count() > 500, "{kernels}");
    for (kernels, ours) in kernels.lines().zip(ours.lines()) {
        assert_eq!(ours, kernels);
    }
    assert_eq!(ours.len(), kernels.len());
}
