//! Tests of the default profile, and of profiles in docker's format.

use std::collections::BTreeSet;

use oci_spec::runtime::{Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Data, run};
use crate::host::kernel::KernelVersion;
use crate::security::emulation::{self, Emulation};
use crate::security::seccomp::numbers::X32;
use crate::security::seccomp::{
    Action, Architecture, ConfigFilter, Filter, ProfileTarget, builtin, compile, resolve,
};

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;

const PROFILE_MACHINES: [Architecture; 2] = [Architecture::X86_64, Architecture::Aarch64];

fn capabilities(names: &[Capability]) -> Capabilities {
    names.iter().copied().collect()
}

fn target(bounding: &Capabilities, machine: Architecture) -> ProfileTarget<'_> {
    ProfileTarget { bounding, machine, kernel: KernelVersion(6, 1) }
}

fn default_profile(names: &[Capability], machine: Architecture) -> LinuxSeccomp {
    builtin(&target(&capabilities(names), machine)).unwrap()
}

/// Names that a config allows, with or without tests.
fn allowed(config: &LinuxSeccomp) -> BTreeSet<&str> {
    let rules = config.syscalls().iter().flatten();
    let rules = rules.filter(|rule| rule.action() == LinuxSeccompAction::ScmpActAllow);
    rules.flat_map(|rule| rule.names().iter().map(String::as_str)).collect()
}

/// Answer of the default profile for x86_64.
fn answer(names: &[Capability], call: &str, arguments: [u64; 6]) -> u32 {
    let machine = Architecture::X86_64;
    let config = default_profile(names, machine);
    let policy = ConfigFilter::read(&config, machine).unwrap().policy;
    let number = machine.number(call).unwrap_or_else(|| call.parse().expect("a call"));
    run(&compile(&[policy]).unwrap(), &Data { number, audit: machine.audit(), arguments })
}

#[test]
fn the_default_profile_allows_as_many_calls_as_docker_s() {
    use Capability::*;
    for (names, on_x86, on_arm) in [
        // 361 for all, 3 that trace, socket, personality and clone; arch_prctl and modify_ldt, or 6 of ARM.
        (&[][..], 369, 373),
        (&[SysChroot], 370, 374),
        (&[SysAdmin], 394, 398),
        (&[SysPtrace], 372, 376),
        (&[SysTime, SysNice, Syslog, Bpf, Perfmon], 380, 384),
    ] {
        let count = |machine| allowed(&default_profile(names, machine)).len();
        assert_eq!(count(Architecture::X86_64), on_x86, "{names:?}");
        assert_eq!(count(Architecture::Aarch64), on_arm, "{names:?}");
    }
    let none = Capabilities::new();
    let old = ProfileTarget { kernel: KernelVersion(4, 7), ..target(&none, Architecture::X86_64) };
    let old = builtin(&old).unwrap();
    assert_eq!(allowed(&old).len(), 366);
    assert!(!allowed(&old).contains("ptrace"));
}

#[test]
fn rules_of_the_default_profile_are_docker_s() {
    use Capability::*;
    let first = |value| [value, 0, 0, 0, 0, 0];
    let new_user = libc::CLONE_NEWUSER as u64;
    for (names, call, arguments, expected) in [
        (&[][..], "read", [0; 6], ALLOW),
        (&[], "clone", first(0x1_1200), ALLOW), // a thread's flags, and SIGCHLD
        (&[], "clone", first(new_user | 17), EPERM),
        (&[SysAdmin], "clone", first(new_user), ALLOW),
        (&[], "clone3", [0; 6], ENOSYS),
        (&[SysAdmin], "clone3", [0; 6], ALLOW),
        (&[], "unshare", first(new_user), EPERM),
        (&[], "mount", [0; 6], EPERM),
        (&[SysAdmin], "mount", [0; 6], ALLOW),
        (&[], "personality", first(0x2_0008), ALLOW),
        (&[], "personality", first(0xffff_ffff), ALLOW),
        (&[], "personality", first(0x4_0000), EPERM), // ADDR_NO_RANDOMIZE
        (&[], "socket", first(libc::AF_INET6 as u64), ALLOW),
        (&[], "socket", first(libc::AF_ALG as u64), EPERM),
        (&[], "socket", first(libc::AF_VSOCK as u64), EPERM),
        (&[], "socket", first(12), EPERM),
        (&[], "socket", first(libc::AF_PACKET as u64), ALLOW),
        (&[], "socket", first(45), ALLOW),
        (&[], "socket", first(46), EPERM),
        (&[], "socket", first(1 << 32 | 1), EPERM),
        (&[], "io_uring_setup", [0; 6], EPERM),
        (&[SysAdmin], "io_uring_setup", [0; 6], EPERM),
        (&[], "keyctl", [0; 6], EPERM),
        (&[], "ptrace", [0; 6], ALLOW),
        (&[], "kcmp", [0; 6], EPERM),
        (&[SysPtrace], "kcmp", [0; 6], ALLOW),
        (&[], "chroot", [0; 6], EPERM),
        (&[SysChroot], "chroot", [0; 6], ALLOW),
        (&[], "userfaultfd", [0; 6], EPERM),
        (&[], "removexattrat", [0; 6], ALLOW), // the highest number of the profile
        (&[], "open_tree_attr", [0; 6], ENOSYS), // a younger call
        (&[], "470", [0; 6], ENOSYS),
    ] {
        let found = answer(names, call, arguments);
        assert_eq!(found, expected, "{names:?} {call} {arguments:x?}: {found:#x}");
    }
}

#[test]
fn a_call_that_the_profile_denies_never_reaches_the_supervisor() {
    let none = Capabilities::new();
    let filter = |json: Value| {
        let resolved = resolve(&json.to_string(), &ProfileTarget::here(&none)).unwrap();
        Filter::of_config(&resolved, Some(emulation::supervision(Emulation::Ids))).unwrap()
    };
    let ours = Architecture::native();
    let answer = |filter: &Filter, call: &str, mode: u64| {
        let number = ours.number(call).unwrap();
        run(
            &filter.program,
            &Data { number, audit: ours.audit(), arguments: [0, 0, mode, 0, 0, 0] },
        )
    };
    let allows = |names: &[&str]| {
        json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
                "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }] })
    };
    let half = filter(allows(&["fchown", "mknodat", "removexattrat"]));
    assert_eq!(answer(&half, "fchown", 0), NOTIFY);
    assert_eq!(answer(&half, "setuid", 0), EPERM);
    assert_eq!(answer(&half, "mknodat", libc::S_IFCHR.into()), NOTIFY);
    assert_eq!(answer(&half, "mknodat", libc::S_IFREG.into()), ALLOW);
    assert_eq!(answer(&filter(allows(&["removexattrat"])), "mknodat", libc::S_IFCHR.into()), EPERM);
    // A rule with a test: what is denied stays denied, and the rest is handed over.
    let tested = filter(json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{
        "names": ["mknodat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
        "args": [{ "index": 2, "value": 0o170000, "valueTwo": libc::S_IFBLK, "op": "SCMP_CMP_MASKED_EQ" }] }] }));
    assert_eq!(answer(&tested, "mknodat", libc::S_IFBLK.into()), EPERM);
    assert_eq!(answer(&tested, "mknodat", libc::S_IFCHR.into()), NOTIFY);
    let default = Filter::of_builtin(
        &ProfileTarget::here(&none),
        Some(emulation::supervision(Emulation::Ids)),
    );
    let default = default.unwrap();
    assert_eq!(answer(&default, "setuid", 0), NOTIFY);
    assert_eq!(answer(&default, "chroot", 0), EPERM);
    assert!(default.denies(&["keyctl", "add_key"]) && !default.denies(&["keyctl", "chroot"]));
    assert!(half.denies(&["keyctl"]) && !tested.denies(&["keyctl"]));
}

#[test]
fn a_joined_program_is_the_stricter_of_its_policies() {
    let strategy =
        (super::policies(), super::policies(), prop::collection::vec(super::calls(), 1..200));
    let mut runner = proptest::test_runner::TestRunner::default();
    runner
        .run(&strategy, |(one, other, calls)| {
            let program = match compile(&[one.clone(), other.clone()]) {
                Ok(program) => program,
                // Two long policies can exceed the kernel's limit together.
                Err(error) => {
                    prop_assert!(error.to_string().contains("the kernel takes 4096"), "{error}");
                    return Err(proptest::test_runner::TestCaseError::reject("too long"));
                }
            };
            for data in &calls {
                let expected = super::meant(&one, data).min(super::meant(&other, data));
                prop_assert_eq!(run(&program, data), expected.value(), "{:?}", data);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn younger_calls_are_missing_on_each_architecture() {
    for machine in PROFILE_MACHINES {
        let config = default_profile(&[], machine);
        let program = compile(&[ConfigFilter::read(&config, machine).unwrap().policy]).unwrap();
        for architecture in machine.family() {
            let named = allowed(&config);
            let numbers = named.iter().filter_map(|name| architecture.number(name));
            let highest = numbers.chain(architecture.number("clone3")).max().unwrap();
            let answer = |number| {
                run(&program, &Data { number, audit: architecture.audit(), arguments: [0; 6] })
            };
            assert_ne!(answer(highest), ENOSYS, "{architecture:?}");
            assert_eq!(answer(highest + 1), ENOSYS, "{architecture:?}");
            let last = if *architecture == Architecture::X86_64 { X32 - 1 } else { u32::MAX };
            assert_eq!(answer(last), ENOSYS, "{architecture:?}");
        }
        // Programs of another machine are killed.
        let foreign = Data { number: 0, audit: 0x8000_0016, arguments: [0; 6] };
        assert_eq!(run(&program, &foreign), Action::KillThread.value());
    }
}

fn resolved(profile: &Value, names: &[Capability]) -> LinuxSeccomp {
    let bounding = capabilities(names);
    resolve(&profile.to_string(), &target(&bounding, Architecture::X86_64)).unwrap()
}

#[test]
fn conditions_choose_the_rules() {
    let allows = |conditions: Value, names: &[Capability]| {
        let mut rule = json!({ "names": ["mount"], "action": "SCMP_ACT_ALLOW", "comment": "x" });
        rule.as_object_mut().unwrap().extend(conditions.as_object().unwrap().clone());
        let profile = json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule] });
        !allowed(&resolved(&profile, names)).is_empty()
    };
    use Capability::{Chown, SysAdmin};
    for (conditions, names, expected) in [
        (json!({}), &[][..], true),
        (json!({ "includes": {}, "excludes": {} }), &[], true),
        (json!({ "includes": null, "args": null }), &[], true),
        (json!({ "includes": { "caps": ["CAP_SYS_ADMIN"] } }), &[], false),
        (json!({ "includes": { "caps": ["CAP_SYS_ADMIN"] } }), &[SysAdmin], true),
        (json!({ "includes": { "caps": ["CAP_SYS_ADMIN", "CAP_CHOWN"] } }), &[SysAdmin], false),
        (
            json!({ "includes": { "caps": ["CAP_SYS_ADMIN", "CAP_CHOWN"] } }),
            &[SysAdmin, Chown],
            true,
        ),
        (json!({ "includes": { "caps": ["CAP_OF_2040"] } }), &[SysAdmin], false),
        (json!({ "excludes": { "caps": ["CAP_SYS_ADMIN", "CAP_CHOWN"] } }), &[Chown], false),
        (json!({ "excludes": { "caps": ["CAP_SYS_ADMIN"] } }), &[Chown], true),
        (json!({ "includes": { "arches": ["amd64", "x32"] } }), &[], true),
        (json!({ "includes": { "arches": ["x86", "arm64"] } }), &[], false),
        (json!({ "excludes": { "arches": ["amd64"] } }), &[], false),
        (json!({ "includes": { "minKernel": "6.1" } }), &[], true),
        (json!({ "includes": { "minKernel": "6.2" } }), &[], false),
        (json!({ "includes": { "minKernel": "" } }), &[], true),
        (json!({ "excludes": { "minKernel": "4.8" } }), &[], false),
        (
            json!({ "includes": { "minKernel": "4.8" }, "excludes": { "caps": ["CAP_CHOWN"] } }),
            &[],
            true,
        ),
    ] {
        assert_eq!(allows(conditions.clone(), names), expected, "{conditions} {names:?}");
    }
}

#[test]
fn fields_of_a_profile_become_those_of_a_config() {
    let config = resolved(
        &json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS", "defaultErrnoRet": 1,
            "archMap": [
                { "architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"] },
                { "architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"] },
                { "architecture": "SCMP_ARCH_RISCV64", "subArchitectures": null },
            ],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "listenerPath": "/run/agent", "listenerMetadata": "x",
            "syscalls": [
                { "name": "read", "action": "SCMP_ACT_NOTIFY", "args": [], "comment": "" },
                { "names": ["no_such_call"], "action": "SCMP_ACT_KILL" },
                { "names": ["write", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errno": "EIO", "errnoRet": 1,
                  "args": [{ "index": 1, "value": 18446744073709551615u64, "valueTwo": 3, "op": "SCMP_CMP_GT" }] },
            ]
        }),
        &[],
    );
    let expected = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "listenerPath": "/run/agent", "listenerMetadata": "x",
        "syscalls": [
            { "names": ["read"], "action": "SCMP_ACT_NOTIFY" },
            { "names": ["write"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5,
              "args": [{ "index": 1, "value": 18446744073709551615u64, "valueTwo": 3, "op": "SCMP_CMP_GT" }] },
        ]
    });
    assert_eq!(serde_json::to_value(&config).unwrap(), expected);
}

#[test]
fn a_wrong_field_is_an_error_with_its_path() {
    let rule = |rule: Value| json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{}, rule] });
    let full = |more: Value| {
        let mut rule = json!({ "names": ["read"], "action": "SCMP_ACT_TRAP" });
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] })
    };
    let arg = |arg: Value| full(json!({ "args": [arg] }));
    for (profile, expected) in [
        (json!([]), "the profile: not an object"),
        (json!({}), "defaultAction: missing"),
        (json!({ "defaultAction": 1 }), "defaultAction: not a string"),
        (
            json!({ "defaultAction": "SCMP_ACT_PERHAPS" }),
            "defaultAction: unknown word 'SCMP_ACT_PERHAPS'",
        ),
        (json!({ "defaultAction": "SCMP_ACT_ALLOW", "sycalls": [] }), "sycalls: unknown field"),
        (json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": {} }), "syscalls: not a list"),
        (
            json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096 }),
            "defaultErrnoRet: 4096: the highest is 4095",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "EPREM" }),
            "defaultErrno: no error is called 'EPREM'",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"] }),
            "flags[0]: unknown word 'X'",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "archMap": [{ "architecture": "SCMP_ARCH_X86" }] }),
            "archMap: not together with architectures",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "archMap": [{}] }),
            "archMap[0].architecture: missing",
        ),
        (json!({ "defaultAction": "SCMP_ACT_NOTIFY" }), "SCMP_ACT_NOTIFY without listenerPath"),
        (rule(json!({})), "syscalls[0].names: missing"),
        (full(json!({ "name": "write" })), "syscalls[0].name: not together with names"),
        (full(json!({ "names": [1] })), "syscalls[0].names[0]: not a string"),
        (full(json!({ "action": null })), "syscalls[0].action: missing"),
        (full(json!({ "errnoRet": -1 })), "syscalls[0].errnoRet: not a whole number of 0 or more"),
        (full(json!({ "comment": 1 })), "syscalls[0].comment: not a string"),
        (full(json!({ "include": {} })), "syscalls[0].include: unknown field"),
        (full(json!({ "includes": { "cap": [] } })), "syscalls[0].includes.cap: unknown field"),
        (
            full(json!({ "excludes": { "minKernel": "4" } })),
            "syscalls[0].excludes.minKernel: not a kernel's version",
        ),
        (
            full(json!({ "includes": { "minKernel": "0.0" } })),
            "syscalls[0].includes.minKernel: not a kernel's version",
        ),
        (
            arg(json!({ "index": 6, "op": "SCMP_CMP_EQ" })),
            "syscalls[0].args[0].index: 6: the arguments",
        ),
        (arg(json!({ "index": 0 })), "syscalls[0].args[0].op: missing"),
        (
            arg(json!({ "index": 0, "op": "SCMP_CMP_IS" })),
            "syscalls[0].args[0].op: unknown word 'SCMP_CMP_IS'",
        ),
        (
            arg(json!({ "index": 0, "op": "SCMP_CMP_EQ", "value": 1.5 })),
            "syscalls[0].args[0].value: not a whole number",
        ),
    ] {
        let bounding = Capabilities::new();
        let error = resolve(&profile.to_string(), &ProfileTarget::here(&bounding)).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{profile}: {error}");
    }
    let bounding = Capabilities::new();
    let error = resolve("{", &ProfileTarget::here(&bounding)).unwrap_err();
    assert!(error.to_string().starts_with("not JSON: "), "{error}");
}

/// A profile that uses every field, as the seed of mutations.
const SEED: &str = include_str!("../../../../tests/fuzz/corpus/seccomp/every-field.json");

#[test]
fn a_mutated_profile_is_an_error_or_a_program() {
    let strategy = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..6);
    let bounding = capabilities(&[Capability::SysAdmin]);
    let target = ProfileTarget::here(&bounding);
    let compiled = |text: &str| {
        let config = resolve(text, &target)?;
        let policy = ConfigFilter::read(&config, target.machine)?.policy;
        compile(&[policy])
    };
    assert!(compiled(SEED).is_ok());
    let mut runner = proptest::test_runner::TestRunner::default();
    runner
        .run(&strategy, |changes| {
            let mut bytes = SEED.as_bytes().to_vec();
            for (place, byte, kind) in changes {
                let place = place.index(bytes.len());
                match kind {
                    0 => bytes[place] = byte & 0x7f,
                    1 => drop(bytes.remove(place)),
                    _ => bytes.insert(place, byte & 0x7f),
                }
            }
            let Ok(program) = compiled(&String::from_utf8_lossy(&bytes)) else { return Ok(()) };
            for number in 0..500 {
                // Panics where a program leaves itself.
                run(&program, &Data { number, audit: target.machine.audit(), arguments: [7; 6] });
            }
            Ok(())
        })
        .unwrap();
}
