//! Tests of config.json's words: their meanings, and refused ones.

use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

use super::{Action, Data, Operator, Rule, Test, run};
use crate::security::seccomp::{Architecture, Filter, FilterProfile, Policy};
use crate::sys::seccomp::Listening;

fn filter(config: Value) -> crate::error::Result<Filter> {
    Filter::of_config(&serde_json::from_value::<LinuxSeccomp>(config).unwrap(), None)
}

fn policy(filter: &Filter) -> &Policy {
    match &filter.profile {
        FilterProfile::Config(policy) => policy,
        other => panic!("{other:?}"),
    }
}

fn error(config: Value) -> String {
    filter(config).unwrap_err().to_string()
}

fn with_rule(rule: Value) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] })
}

#[test]
fn every_word_has_its_meaning() {
    let filter = filter(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_MIPS"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"],
        "syscalls": [
            { "names": ["read", "write"], "action": "SCMP_ACT_ALLOW" },
            { "names": ["clone"], "action": "SCMP_ACT_LOG",
              "args": [{ "index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" },
                       { "index": 3, "value": 5, "op": "SCMP_CMP_GE" }] }
        ]
    }))
    .unwrap();
    assert_eq!(policy(&filter).default, Action::Errno(38));
    assert_eq!(filter.flags, 2 | 4);
    assert_eq!(filter.listening, Listening::No);
    let test = |argument, operator, value| Test { argument, operator, value };
    assert_eq!(
        policy(&filter).rules[1],
        Rule {
            calls: vec!["clone".into()],
            action: Action::Log,
            tests: vec![
                test(0, Operator::Masked(2114060288), 0),
                test(3, Operator::GreaterOrEqual, 5)
            ],
        }
    );
    let ours = Architecture::of_this_machine()[0];
    let call =
        |name| Data { number: ours.number(name).unwrap(), audit: ours.audit(), arguments: [0; 6] };
    assert_eq!(run(&filter.program, &call("read")), libc::SECCOMP_RET_ALLOW);
    assert_eq!(run(&filter.program, &call("openat")), libc::SECCOMP_RET_ERRNO | 38);
}

#[test]
fn actions_are_the_specs() {
    for (word, errno, action) in [
        ("SCMP_ACT_KILL", None, Action::KillThread),
        ("SCMP_ACT_KILL_THREAD", None, Action::KillThread),
        ("SCMP_ACT_KILL_PROCESS", None, Action::KillProcess),
        ("SCMP_ACT_TRAP", None, Action::Trap),
        ("SCMP_ACT_ERRNO", None, Action::Errno(1)),
        ("SCMP_ACT_ERRNO", Some(0), Action::Errno(0)),
        ("SCMP_ACT_TRACE", Some(7), Action::Trace(7)),
        ("SCMP_ACT_NOTIFY", None, Action::Notify),
        ("SCMP_ACT_LOG", None, Action::Log),
    ] {
        let mut rule = json!({ "names": ["read"], "action": word });
        if let Some(errno) = errno {
            rule["errnoRet"] = errno.into();
        }
        let filter = filter(with_rule(rule)).unwrap();
        assert_eq!(policy(&filter).rules[0].action, action, "{word}");
        let listens = filter.listening == Listening::Yes;
        assert_eq!(listens, action == Action::Notify);
    }
}

#[test]
fn two_tests_of_one_argument_are_two_rules() {
    let equal = |value: u64| json!({ "index": 0, "value": value, "op": "SCMP_CMP_EQ" });
    let filter = filter(with_rule(json!({
        "names": ["personality"], "action": "SCMP_ACT_TRAP", "args": [equal(1), equal(2)]
    })))
    .unwrap();
    assert_eq!(policy(&filter).rules.len(), 2);
}

#[test]
fn what_cannot_be_applied_is_an_error() {
    let errno = json!({ "names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096 });
    assert!(error(with_rule(errno)).contains("errnoRet 4096"));
    let allow = json!({ "names": ["read"], "action": "SCMP_ACT_TRAP", "errnoRet": 1 });
    assert!(error(with_rule(allow)).contains("errnoRet means nothing"));
    let args = json!([{ "index": 6, "value": 0, "op": "SCMP_CMP_EQ" }]);
    let index = json!({ "names": ["read"], "action": "SCMP_ACT_TRAP", "args": args });
    assert!(error(with_rule(index)).contains("no argument 6"));
    let unknown = json!({ "names": ["read", "raed"], "action": "SCMP_ACT_TRAP" });
    assert!(error(with_rule(unknown)).contains("'raed'"));
    let agent = json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent" });
    assert!(error(agent).contains("listenerPath, and no rule with SCMP_ACT_NOTIFY"));
    let agent = json!({ "defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "run/agent" });
    assert!(error(agent).contains("listenerPath run/agent: not an absolute path"));
    let metadata = json!({ "defaultAction": "SCMP_ACT_NOTIFY", "listenerMetadata": "x" });
    assert!(error(metadata).contains("listenerMetadata without listenerPath"));
}

#[test]
fn a_newer_call_that_would_be_allowed_costs_nothing() {
    let rule = json!({ "names": ["call_of_2040", "read"], "action": "SCMP_ACT_ALLOW" });
    let config = json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule] });
    assert!(filter(config).is_ok());
}
