//! Tests that interpret filter programs as classic BPF, like the kernel. The results are compared with two others: a
//! direct evaluation of the policy, and libseccomp.

mod oracle;
mod profiles;
mod words;

use proptest::prelude::*;

use super::{Action, Architecture, Operator, Policy, Rule, Test, compile};
use crate::sys::seccomp::Instruction;

/// Data of a call that the kernel passes to a filter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Data {
    pub(super) number: u32,
    pub(super) audit: u32,
    pub(super) arguments: [u64; 6],
}

impl Data {
    fn word(&self, offset: u32) -> u32 {
        let argument = |offset: u32| self.arguments[offset as usize / 8];
        match offset {
            0 => self.number,
            4 => self.audit,
            16..64 if offset.is_multiple_of(8) => argument(offset - 16) as u32,
            16..64 if offset % 8 == 4 => (argument(offset - 16) >> 32) as u32,
            _ => panic!("a load from {offset}"),
        }
    }
}

/// Runs a program and returns its result. Panics if the program jumps out of itself.
pub(super) fn run(program: &[Instruction], data: &Data) -> u32 {
    let (mut accumulator, mut next) = (0u32, 0usize);
    loop {
        let Instruction { code, jt, jf, k } = program[next];
        next += 1;
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        match code {
            0x20 => accumulator = data.word(k),
            0x54 => accumulator &= k,
            0x05 => next += k as usize,
            0x15 => next += jump(accumulator == k),
            0x25 => next += jump(accumulator > k),
            0x35 => next += jump(accumulator >= k),
            0x45 => next += jump(accumulator & k != 0),
            0x06 => return k,
            _ => panic!("an instruction {code:#x}"),
        }
    }
}

/// Evaluates the policy directly, without a program.
fn meant(policy: &Policy, data: &Data) -> Action {
    let Some(architecture) = Architecture::of_call(data.audit, data.number)
        .filter(|one| policy.architectures.contains(one))
    else {
        return Action::KillThread;
    };
    let is_of = |name: &String| architecture.number(name) == Some(data.number);
    let bits = if architecture.is_64_bit() { u64::MAX } else { u64::from(u32::MAX) };
    let holds = |test: &Test| {
        let argument = data.arguments[usize::from(test.argument)] & bits;
        let value = test.value & bits;
        match test.operator {
            Operator::NotEqual => argument != value,
            Operator::Less => argument < value,
            Operator::LessOrEqual => argument <= value,
            Operator::Equal => argument == value,
            Operator::GreaterOrEqual => argument >= value,
            Operator::Greater => argument > value,
            Operator::Masked(mask) => argument & mask == value,
        }
    };
    let matching = policy
        .rules
        .iter()
        .filter(|rule| rule.calls.iter().any(is_of) && rule.tests.iter().all(holds));
    let numbers = policy.rules.iter().flat_map(|rule| &rule.calls);
    let highest = numbers.filter_map(|name| architecture.number(name)).max();
    let otherwise = match policy.younger {
        Some(younger) if highest.is_some_and(|highest| data.number > highest) => younger,
        _ => policy.default,
    };
    matching.map(|rule| rule.action).min().unwrap_or(otherwise)
}

/// A small range of numbers, so that tests and arguments match.
fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..4, (0u64..3).prop_map(|high| (high << 32) | 1), Just(u64::MAX), any::<u64>()]
}

fn tests() -> impl Strategy<Value = Test> {
    let operator = prop_oneof![
        Just(Operator::NotEqual),
        Just(Operator::Less),
        Just(Operator::LessOrEqual),
        Just(Operator::Equal),
        Just(Operator::GreaterOrEqual),
        Just(Operator::Greater),
        numbers().prop_map(Operator::Masked),
    ];
    (0u8..6, operator, numbers()).prop_map(|(argument, operator, value)| Test {
        argument,
        operator,
        value,
    })
}

fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::KillProcess),
        Just(Action::KillThread),
        Just(Action::Trap),
        (0u16..4096).prop_map(Action::Errno),
        Just(Action::Notify),
        (0u16..9).prop_map(Action::Trace),
        Just(Action::Log),
        Just(Action::Allow),
    ]
}

/// Names of calls, mostly the same few, so that rules overlap.
fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec!["mknod", "mknodat", "chown", "chown32", "execve", "ioctl"]).prop_map(str::to_owned),
        1 => (0u32..460).prop_map(|number| Architecture::X86_64.name(number).unwrap_or("read").to_owned()),
    ]
}

fn policies() -> impl Strategy<Value = Policy> {
    let rules = (
        prop::collection::vec(names(), 1..20),
        actions(),
        prop_oneof![Just(Vec::new()), prop::collection::vec(tests(), 0..4)],
    )
        .prop_map(|(calls, action, tests)| Rule { calls, action, tests });
    let all = vec![
        Architecture::X86_64,
        Architecture::X32,
        Architecture::X86,
        Architecture::Aarch64,
        Architecture::Arm,
    ];
    let younger = prop::option::of(actions());
    let parts =
        (actions(), prop::sample::subsequence(all, 0..=5), prop::collection::vec(rules, 0..12));
    (parts, younger).prop_map(|((default, architectures, rules), younger)| Policy {
        default,
        architectures,
        rules,
        younger,
    })
}

fn calls() -> impl Strategy<Value = Data> {
    let audit = prop::sample::select(vec![
        0xc000_003eu32,
        0xc000_003e,
        0x4000_0003,
        0xc000_00b7,
        0x4000_0028,
        0x8000_0016,
    ]);
    let number = prop_oneof![
        names().prop_map(|name| Architecture::X86_64.number(&name).unwrap_or(212)),
        names().prop_map(|name| Architecture::X32.number(&name).unwrap_or(0x4000_0000)),
        names().prop_map(|name| Architecture::X86.number(&name).unwrap_or(1)),
        names().prop_map(|name| Architecture::Aarch64.number(&name).unwrap_or(1)),
        0u32..1000,
        any::<u32>(),
    ];
    (number, audit, prop::array::uniform6(numbers())).prop_map(|(number, audit, arguments)| Data {
        number,
        audit,
        arguments,
    })
}

proptest! {
    #[test]
    fn a_program_decides_as_its_policy_says(
        policy in policies(),
        calls in prop::collection::vec(calls(), 1..200),
    ) {
        let program = compile(std::slice::from_ref(&policy)).unwrap();
        for data in &calls {
            prop_assert_eq!(run(&program, data), meant(&policy, data).value(), "{:?}", data);
        }
    }
}

#[test]
fn rules_that_a_jump_cannot_cross_are_crossed_all_the_same() {
    // Three hundred calls of many fates: each half is longer than a conditional jump reaches.
    let rules: Vec<Rule> = (0..300u32)
        .filter_map(|number| Some((number, Architecture::X86_64.name(number)?)))
        .map(|(number, name)| Rule {
            calls: vec![name.to_owned()],
            action: Action::Errno(number as u16),
            tests: vec![Test { argument: 1, operator: Operator::GreaterOrEqual, value: 5 }],
        })
        .collect();
    let policy = Policy {
        default: Action::Allow,
        architectures: vec![Architecture::X86_64],
        rules,
        younger: None,
    };
    let program = compile(std::slice::from_ref(&policy)).unwrap();
    assert!(program.len() > 1000, "{}", program.len());
    for number in 0..600 {
        for argument in [4, 5] {
            let data = Data { number, audit: 0xc000_003e, arguments: [0, argument, 0, 0, 0, 0] };
            assert_eq!(run(&program, &data), meant(&policy, &data).value(), "{data:?}");
        }
    }
}

#[test]
fn a_policy_that_is_too_long_for_the_kernel_is_an_error() {
    let test = |value| Test { argument: 0, operator: Operator::NotEqual, value };
    let rule =
        |value| Rule { calls: vec!["read".into()], action: Action::Trap, tests: vec![test(value)] };
    let policy = |count| Policy {
        default: Action::Allow,
        architectures: vec![Architecture::X86_64],
        rules: (0..count).map(rule).collect(),
        younger: None,
    };
    assert!(compile(&[policy(800)]).is_ok());
    assert!(compile(&[policy(1000)]).unwrap_err().to_string().contains("instructions"));
}

#[test]
fn calls_that_follow_each_other_share_their_comparisons() {
    let rule = Rule {
        calls: (0..300).filter_map(|n| Architecture::X86_64.name(n)).map(str::to_owned).collect(),
        action: Action::Allow,
        tests: Vec::new(),
    };
    let policy = Policy {
        default: Action::Errno(1),
        architectures: vec![Architecture::X86_64],
        rules: vec![rule],
        younger: None,
    };
    assert!(compile(std::slice::from_ref(&policy)).unwrap().len() < 20);
}
