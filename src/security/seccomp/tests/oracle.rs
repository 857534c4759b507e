//! Comparison with libseccomp as the oracle: the same rules in both, the same calls to both programs.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{calls, run};
use crate::security::seccomp::{Action, Architecture, Operator, Policy, Rule, Test, compile};
use crate::sys::seccomp::Instruction;

/// Oracle program: reads rules as words, writes libseccomp's filter.
const SOURCE: &str = r#"
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count_of_words, char **words) {
    for (int i = 2; i < count_of_words; i++)
        if (seccomp_syscall_resolve_name(words[i]) != __NR_SCMP_ERROR) puts(words[i]);
    if (count_of_words > 1) return 0;
    unsigned action, count, argument, op;
    unsigned long long a, b;
    char word[64];
    if (scanf("%u", &action) != 1) return 2;
    scmp_filter_ctx ctx = seccomp_init(action);
    if (!ctx) return 3;
    seccomp_arch_remove(ctx, SCMP_ARCH_NATIVE);
    while (scanf("%63s", word) == 1) {
        if (!strcmp(word, "arch")) {
            if (scanf("%63s", word) != 1) return 4;
            int answer = seccomp_arch_add(ctx, seccomp_arch_resolve_name(word));
            if (answer && answer != -EEXIST) return 5;
            continue;
        }
        struct scmp_arg_cmp tests[6];
        if (scanf("%u %u", &action, &count) != 2 || count > 6) return 6;
        for (unsigned i = 0; i < count; i++) {
            if (scanf("%u %u %llu %llu", &argument, &op, &a, &b) != 4) return 7;
            tests[i] = (struct scmp_arg_cmp){ argument, op, a, b };
        }
        int call = seccomp_syscall_resolve_name(word);
        if (call == __NR_SCMP_ERROR) return 8;
        if (seccomp_rule_add_array(ctx, action, call, count, tests)) return 9;
    }
    return seccomp_export_bpf(ctx, 1) ? 10 : 0;
}
"#;

fn build(folder: &Path) -> PathBuf {
    let (source, program) = (folder.join("oracle.c"), folder.join("oracle"));
    std::fs::write(&source, SOURCE).unwrap();
    let built = Command::new("gcc").arg("-o").arg(&program).arg(&source).arg("-lseccomp").output();
    let built = built.expect("gcc is needed");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    program
}

fn words(policy: &Policy) -> String {
    let mut text = format!("{}\n", policy.default.value());
    for architecture in &policy.architectures {
        let name = match architecture {
            Architecture::X86_64 => "x86_64",
            Architecture::X32 => "x32",
            Architecture::X86 => "x86",
            Architecture::Aarch64 => "aarch64",
            Architecture::Arm => "arm",
        };
        text += &format!("arch {name}\n");
    }
    for rule in &policy.rules {
        text += &format!("{} {} {}", rule.calls[0], rule.action.value(), rule.tests.len());
        for test in &rule.tests {
            let (operator, a, b) = match test.operator {
                Operator::NotEqual => (1, test.value, 0),
                Operator::Less => (2, test.value, 0),
                Operator::LessOrEqual => (3, test.value, 0),
                Operator::Equal => (4, test.value, 0),
                Operator::GreaterOrEqual => (5, test.value, 0),
                Operator::Greater => (6, test.value, 0),
                Operator::Masked(mask) => (7, mask, test.value),
            };
            text += &format!(" {} {operator} {a} {b}", test.argument);
        }
        text += "\n";
    }
    text
}

fn libseccomps(oracle: &Path, policy: &Policy) -> Vec<Instruction> {
    let mut child = Command::new(oracle)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the oracle runs");
    child.stdin.take().unwrap().write_all(words(policy).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}: {}", output.status, words(policy));
    let half = |bytes: &[u8]| u16::from_ne_bytes([bytes[0], bytes[1]]);
    let instruction = |bytes: &[u8]| Instruction {
        code: half(bytes),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    };
    output.stdout.chunks_exact(8).map(instruction).collect()
}

/// Policies on which libseccomp and usnea agree: a single rule for each call, no rule equal to the default, and
/// architectures of the same machine. Masked values have no bits outside the mask: usnea would never find them equal.
fn policies() -> impl Strategy<Value = Policy> {
    const NAMES: [&str; 10] = [
        "mknod",
        "mknodat",
        "execve",
        "ioctl",
        "personality",
        "chmod",
        "clone",
        "setuid",
        "read",
        "capset",
    ];
    let small = || prop_oneof![0u64..4, 0u64..=u64::from(u32::MAX)];
    let operator = prop_oneof![
        Just(Operator::NotEqual),
        Just(Operator::Less),
        Just(Operator::LessOrEqual),
        Just(Operator::Equal),
        Just(Operator::GreaterOrEqual),
        Just(Operator::Greater),
        small().prop_map(Operator::Masked),
    ];
    let test = (operator, small()).prop_map(|(operator, value)| match operator {
        Operator::Masked(mask) => (operator, value & mask),
        _ => (operator, value),
    });
    let action = prop_oneof![Just(Action::Errno(7)), Just(Action::Trap), Just(Action::Log)];
    let rule =
        (action, prop::collection::vec(prop::option::of(test), 6)).prop_map(|(action, tests)| {
            Rule {
                calls: Vec::new(),
                action,
                tests: tests
                    .into_iter()
                    .enumerate()
                    .filter_map(|(place, test)| {
                        let (operator, value) = test?;
                        Some(Test { argument: place as u8, operator, value })
                    })
                    .collect(),
            }
        });
    let rules = (prop::sample::subsequence(NAMES.to_vec(), 1..10), prop::collection::vec(rule, 10))
        .prop_map(|(names, rules)| {
            let named = |(name, rule): (&str, Rule)| Rule { calls: vec![name.to_owned()], ..rule };
            names.into_iter().zip(rules).map(named).collect()
        });
    let architectures =
        prop::sample::subsequence(vec![Architecture::X86, Architecture::X32], 0..=2);
    let default = prop_oneof![Just(Action::Allow), Just(Action::Errno(1))];
    (default, architectures, rules).prop_map(|(default, mut architectures, rules)| {
        architectures.insert(0, Architecture::X86_64);
        Policy { default, architectures, rules, younger: None }
    })
}

#[test]
#[cfg(target_arch = "x86_64")]
fn our_programs_decide_as_libseccomps_do() {
    let folder = tempfile::tempdir().unwrap();
    let oracle = build(folder.path());
    let mut runner = TestRunner::new(Config { cases: 50, ..Config::default() });
    let strategy = (policies(), prop::collection::vec(calls(), 300));
    runner
        .run(&strategy, |(policy, calls)| {
            let (ours, theirs) =
                (compile(std::slice::from_ref(&policy)).unwrap(), libseccomps(&oracle, &policy));
            for data in calls {
                // libseccomp takes -1, which a tracer leaves behind, for a call without a rule.
                if data.number != u32::MAX {
                    prop_assert_eq!(run(&ours, &data), run(&theirs, &data), "{:?}", data);
                }
            }
            Ok(())
        })
        .unwrap();
}

/// Rules of a policy, one for each call: libseccomp's own form.
fn one_call_a_rule(policy: &Policy) -> Policy {
    let one = |rule: &Rule, call: &String| Rule { calls: vec![call.clone()], ..rule.clone() };
    let rules = policy.rules.iter().flat_map(|rule| rule.calls.iter().map(|call| one(rule, call)));
    let mut rules: Vec<Rule> = rules.collect();
    rules.sort_by_key(|rule| format!("{rule:?}"));
    rules.dedup(); // some calls come with several capabilities
    Policy { rules, ..policy.clone() }
}

/// Calls that libseccomp knows by name, on any architecture.
fn known_to_libseccomp(oracle: &Path, names: &[String]) -> Vec<String> {
    let output = Command::new(oracle).arg("known").args(names).output().expect("the oracle runs");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Arguments that the default profile's rules tell apart.
fn telling_arguments() -> Vec<[u64; 6]> {
    let flags = [0, 0x1_1200, 0x1000_0000, 0x0002_0000, 0x7e02_0000, 1 << 32, u64::MAX];
    let families = (0..48).chain([0x2_0000, 0x2_0008, 0xffff_ffff, 0x4_0000, 1 << 32 | 2]);
    flags.into_iter().chain(families).map(|first| [first, 0, 0, 0, 0, 0]).collect()
}

/// The default profile, on every call number of every architecture that a machine's kernel runs. A call that libseccomp
/// is too old to know, or that is younger than the profile, is compared with our own reading.
#[test]
#[cfg(target_arch = "x86_64")]
fn the_default_profile_decides_as_libseccomp_s_program_does() {
    use oci_spec::runtime::{Capabilities, Capability};

    use crate::host::kernel::KernelVersion;
    use crate::security::seccomp::{ConfigFilter, ProfileTarget, builtin};

    let folder = tempfile::tempdir().unwrap();
    let oracle = build(folder.path());
    let sets = [
        &[][..],
        &[Capability::SysChroot],
        &[Capability::SysAdmin, Capability::Bpf],
        &[
            Capability::SysPtrace,
            Capability::SysTime,
            Capability::DacReadSearch,
            Capability::Syslog,
        ],
    ];
    for (machine, set) in [Architecture::X86_64, Architecture::Aarch64]
        .into_iter()
        .flat_map(|machine| sets.map(|set| (machine, set)))
    {
        let bounding: Capabilities = set.iter().copied().collect();
        let target = ProfileTarget { bounding: &bounding, machine, kernel: KernelVersion(6, 1) };
        let read = ConfigFilter::read(&builtin(&target).unwrap(), machine).unwrap();
        let ours = compile(std::slice::from_ref(&read.policy)).unwrap();
        let mut theirs = one_call_a_rule(&read.policy);
        let names: Vec<String> = theirs.rules.iter().map(|rule| rule.calls[0].clone()).collect();
        let known = known_to_libseccomp(&oracle, &names);
        assert!(known.len() > 350, "{known:?}");
        theirs.rules.retain(|rule| known.contains(&rule.calls[0]));
        let theirs = libseccomps(&oracle, &theirs);
        for architecture in machine.family() {
            let first = architecture.number("read").map_or(0, |number| number & 0x4000_0000);
            for number in first..first + 600 {
                let name = architecture.name(number);
                let is_named = name.is_some_and(|name| names.iter().any(|one| one == name));
                let is_known = name.is_none_or(|name| known.iter().any(|one| one == name));
                for arguments in telling_arguments() {
                    let data = super::Data { number, audit: architecture.audit(), arguments };
                    let (mine, its) = (run(&ours, &data), run(&theirs, &data));
                    let younger = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
                    let differs =
                        (is_named && !is_known) || (mine == younger && name != Some("clone3"));
                    let expected =
                        if differs { super::meant(&read.policy, &data).value() } else { its };
                    assert_eq!(mine, expected, "{architecture:?} {name:?} {data:x?} {set:?}");
                }
            }
        }
    }
}
