//! Compiler from a policy to classic BPF.
//!
//! The program checks the architecture, then finds the number by binary search. Adjacent numbers with the same fate
//! form a single range, so docker's profile of 400 calls takes some eight comparisons. All jumps are forward and
//! relative, so parts can simply be concatenated.

use std::collections::BTreeMap;

use super::numbers::X32;
use super::{Action, Architecture, Operator, Policy, Test};
use crate::error::Result;
use crate::fail;
use crate::sys::seccomp::Instruction;

/// Longest program that the kernel accepts: BPF_MAXINSNS (linux/bpf_common.h).
const LONGEST: usize = 4096;

// linux/bpf_common.h
const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const GO: u16 = 0x05; // BPF_JMP | BPF_JA
const IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const IF_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const IF_GREATER_OR_EQUAL: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

// struct seccomp_data
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

type Code = Vec<Instruction>;

/// Fate of a call: the action of the first rule whose tests hold, else the default.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fate {
    rules: Vec<(Vec<Condition>, Action)>,
    default: Action,
}

/// Test on a particular architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Condition {
    test: Test,
    width: ArgumentWidth,
}

/// Significant part of an argument. With 32-bit pointers, the upper half is zero or garbage (so for libseccomp too).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ArgumentWidth {
    Half,
    Whole,
}

/// Compiles policies into a single program: the strictest action that any of them takes on a call counts, as with a
/// filter for each. Errors: the program is too long for the kernel, or a test concerns a non-existent argument.
pub fn compile(policies: &[Policy]) -> Result<Vec<Instruction>> {
    let mut tests =
        policies.iter().flat_map(|policy| &policy.rules).flat_map(|rule| rule.tests.iter());
    if let Some(test) = tests.find(|test| test.argument > 5) {
        fail!("seccomp: a system call has no argument {}", test.argument);
    }
    let architectures = policies.iter().flat_map(|policy| policy.architectures.iter());
    let mut audits: Vec<u32> = architectures.map(|one| one.audit()).collect();
    audits.sort_unstable();
    audits.dedup();
    // Built from the last to the first: each part is the else branch of the part before.
    let mut code = vec![step(RETURN, Action::KillThread.value())];
    for audit in audits {
        let all = policies.iter().map(|policy| ranges(policy, audit));
        let mut ours = vec![step(LOAD, NUMBER)];
        ours.extend(search(&all.reduce(|one, other| join(&one, &other)).unwrap_or_default()));
        code = branch(IF_EQUAL, audit, ours, code);
    }
    code.insert(0, step(LOAD, ARCHITECTURE));
    if code.len() > LONGEST {
        fail!(
            "seccomp: the filter has {} instructions, and the kernel takes {LONGEST}",
            code.len()
        );
    }
    Ok(code)
}

fn step(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

/// Compiles `if accumulator OP k { yes } else { no }`; both branches return. A conditional jump reaches 255
/// instructions.
fn branch(code: u16, k: u32, yes: Code, no: Code) -> Code {
    let mut all = match u8::try_from(no.len()) {
        Ok(jt) => vec![Instruction { code, jt, jf: 0, k }],
        Err(_) => vec![Instruction { code, jt: 0, jf: 1, k }, step(GO, no.len() as u32)],
    };
    all.extend(no);
    all.extend(yes);
    all
}

/// First numbers of ranges, in order, with the fate of all calls up to the next range.
fn ranges(policy: &Policy, audit: u32) -> Vec<(u32, Fate)> {
    let mut known: BTreeMap<u32, Fate> = BTreeMap::new();
    let ours = policy.architectures.iter().filter(|one| one.audit() == audit);
    let plain = |action| Fate { rules: Vec::new(), default: action };
    for architecture in ours.clone() {
        for rule in &policy.rules {
            for number in rule.calls.iter().filter_map(|name| architecture.number(name)) {
                let fate = known.entry(number).or_insert(plain(policy.default));
                let width = if architecture.is_64_bit() {
                    ArgumentWidth::Whole
                } else {
                    ArgumentWidth::Half
                };
                let conditions = rule.tests.iter().map(|test| Condition { test: *test, width });
                fate.rules.push((conditions.collect(), rule.action));
            }
        }
    }
    let mut ranges = Vec::new();
    // Numbers of x32 count as a foreign architecture's unless the policy has x32; likewise for x86_64.
    let halves = [(0, Architecture::X32), (X32, Architecture::X86_64)];
    for (first, other) in halves {
        let is_ours = ours.clone().any(|one| *one != other);
        let default = plain(if is_ours { policy.default } else { Action::KillThread });
        ranges.push((first, default.clone()));
        for (number, fate) in known.range(first..first + X32) {
            ranges.push((*number, settle(fate.clone())));
            ranges.push((number + 1, default.clone()));
        }
        let highest = known.range(first..first + X32).next_back();
        if let (Some((highest, _)), Some(younger)) = (highest, policy.younger) {
            ranges.pop();
            ranges.push((highest + 1, plain(younger)));
        }
        if audit != Architecture::X32.audit() {
            break;
        }
    }
    ranges.reverse();
    ranges.dedup_by_key(|(first, _)| *first); // a call's own fate comes after the gap that begins with the call
    ranges.reverse();
    ranges.dedup_by(|next, one| next.1 == one.1);
    ranges
}

/// Joins the ranges of two policies: the stricter action counts.
fn join(one: &[(u32, Fate)], other: &[(u32, Fate)]) -> Vec<(u32, Fate)> {
    let of = |ranges: &[(u32, Fate)], number| {
        let next = ranges.partition_point(|(first, _)| *first <= number);
        next.checked_sub(1).map(|index| ranges[index].1.clone())
    };
    let mut firsts: Vec<u32> = one.iter().chain(other).map(|(first, _)| *first).collect();
    firsts.sort_unstable();
    firsts.dedup();
    let fate = |first| Some((first, both(&of(one, first)?, &of(other, first)?)));
    let mut ranges: Vec<(u32, Fate)> = firsts.into_iter().filter_map(fate).collect();
    ranges.dedup_by(|next, one| next.1 == one.1);
    ranges
}

/// Joins two fates into a list of rules whose first match is the stricter of their actions.
fn both(one: &Fate, other: &Fate) -> Fate {
    let mut rules: Vec<(Vec<Condition>, Action)> = Vec::new();
    for (conditions, action) in &one.rules {
        let group = rules.len();
        for (others, its) in &other.rules {
            rules.push(([&conditions[..], others].concat(), *action.min(its)));
        }
        let action = *action.min(&other.default);
        drop_last(&mut rules, group, action);
        rules.push((conditions.clone(), action));
    }
    let of_other = other.rules.iter();
    rules.extend(of_other.map(|(conditions, its)| (conditions.clone(), *its.min(&one.default))));
    let default = one.default.min(other.default);
    drop_last(&mut rules, 0, default);
    Fate { rules, default }
}

/// Drops last rules, down to `least`, whose action is that of all the calls behind them.
fn drop_last(rules: &mut Vec<(Vec<Condition>, Action)>, least: usize, action: Action) {
    while rules.len() > least && rules.last().is_some_and(|(_, one)| *one == action) {
        rules.pop();
    }
}

/// Sorts the strictest rule first, and removes rules behind one without tests: those are never reached.
fn settle(mut fate: Fate) -> Fate {
    fate.rules.sort_by_key(|(_, action)| *action);
    if let Some(end) = fate.rules.iter().position(|(tests, _)| tests.is_empty()) {
        fate.default = fate.rules[end].1;
        fate.rules.truncate(end);
    }
    drop_last(&mut fate.rules, 0, fate.default);
    fate
}

fn search(ranges: &[(u32, Fate)]) -> Code {
    match ranges {
        [] => vec![step(RETURN, Action::KillThread.value())],
        [(_, fate)] => decide(fate),
        _ => shared_search(ranges).unwrap_or_else(|| {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            branch(IF_GREATER_OR_EQUAL, high[0].0, search(high), search(low))
        }),
    }
}

/// Compiles a search in which equal fates share their code: half the instructions, and the kernel's time to take a
/// filter grows with those. `None`: a jump would be too long.
fn shared_search(ranges: &[(u32, Fate)]) -> Option<Code> {
    let mut fates: Vec<&Fate> = Vec::new();
    let mut fate_of = Vec::with_capacity(ranges.len());
    for (_, fate) in ranges {
        let known = fates.iter().position(|one| *one == fate);
        fate_of.push(known.unwrap_or_else(|| {
            fates.push(fate);
            fates.len() - 1
        }));
    }
    let firsts: Vec<u32> = ranges.iter().map(|(first, _)| *first).collect();
    let mut nodes = Vec::with_capacity(ranges.len());
    add_nodes(&firsts, &fate_of, &mut nodes);
    let mut starts = Vec::with_capacity(fates.len());
    let mut code = Vec::new();
    for fate in fates {
        starts.push(nodes.len() + code.len());
        code.extend(decide(fate));
    }
    let distance = |here: usize, to: SearchTarget| {
        let there = match to {
            SearchTarget::Node(node) => node,
            SearchTarget::Fate(fate) => starts[fate],
        };
        u8::try_from(there - here - 1).ok()
    };
    let mut all = Vec::with_capacity(nodes.len() + code.len());
    for (here, node) in nodes.into_iter().enumerate() {
        let (jt, jf) = (distance(here, node.high)?, distance(here, node.low)?);
        all.push(Instruction { code: IF_GREATER_OR_EQUAL, jt, jf, k: node.first });
    }
    all.extend(code);
    Some(all)
}

/// Comparison of a search tree, and its targets.
struct SearchNode {
    first: u32,
    high: SearchTarget,
    low: SearchTarget,
}

#[derive(Clone, Copy)]
enum SearchTarget {
    Node(usize),
    Fate(usize),
}

/// Adds the nodes of the tree over these ranges, each before its children.
fn add_nodes(firsts: &[u32], fates: &[usize], nodes: &mut Vec<SearchNode>) -> SearchTarget {
    if let [fate] = fates {
        return SearchTarget::Fate(*fate);
    }
    let middle = firsts.len() / 2;
    let here = nodes.len();
    let none = SearchTarget::Fate(0);
    nodes.push(SearchNode { first: firsts[middle], high: none, low: none });
    nodes[here].low = add_nodes(&firsts[..middle], &fates[..middle], nodes);
    nodes[here].high = add_nodes(&firsts[middle..], &fates[middle..], nodes);
    SearchTarget::Node(here)
}

fn decide(fate: &Fate) -> Code {
    let mut code = Vec::new();
    let mut rules = &fate.rules[..];
    while let [(conditions, action), ..] = rules {
        let values = alternatives(rules);
        let count = values.len().max(1);
        code.extend(match values.len() {
            0 | 1 => guarded(conditions, *action),
            _ => any_of(&conditions[0], &values, *action),
        });
        rules = &rules[count..];
    }
    code.push(step(RETURN, fate.default.value()));
    code
}

/// Most alternatives in one group: their jumps stay short.
const MOST_ALTERNATIVES: usize = 200;

/// Returns the comparisons of the first rules, if each has the same action and one test: the same argument is equal to,
/// or less than, a value of 32 bits.
fn alternatives(rules: &[(Vec<Condition>, Action)]) -> Vec<(Operator, u32)> {
    let is_alike = |conditions: &[Condition], action: Action| match (conditions, &rules[0]) {
        ([one], (first, its)) => {
            let same = |other: &Condition| {
                other.test.argument == one.test.argument && other.width == one.width
            };
            action == *its && first.first().is_some_and(same)
        }
        _ => false,
    };
    let value = |(conditions, action): &(Vec<Condition>, Action)| {
        let test = conditions.first()?.test;
        let is_simple = matches!(test.operator, Operator::Equal | Operator::Less);
        let value = u32::try_from(test.value).ok()?;
        (is_simple && is_alike(conditions, *action)).then_some((test.operator, value))
    };
    rules.iter().take(MOST_ALTERNATIVES).map_while(value).collect()
}

/// Compiles `if argument is any of these { return action }`; other calls continue behind.
fn any_of(condition: &Condition, values: &[(Operator, u32)], action: Action) -> Code {
    let (low, high) = halves(condition.test.argument);
    let mut code = Vec::with_capacity(values.len() + 4);
    if condition.width == ArgumentWidth::Whole {
        code.push(step(LOAD, high));
        let jf = values.len() as u8 + 2; // over the load of the lower half, the comparisons and the return
        code.push(Instruction { code: IF_EQUAL, jt: 0, jf, k: 0 });
    }
    code.push(step(LOAD, low));
    for (index, (operator, value)) in values.iter().enumerate() {
        let holds = (values.len() - index - 1) as u8;
        let fails = if holds == 0 { 1 } else { 0 };
        code.push(match operator {
            Operator::Less => {
                Instruction { code: IF_GREATER_OR_EQUAL, jt: fails, jf: holds, k: *value }
            }
            _ => Instruction { code: IF_EQUAL, jt: holds, jf: fails, k: *value },
        });
    }
    code.push(step(RETURN, action.value()));
    code
}

/// Target of a jump in a comparison: the next instruction, the next test, or the next rule.
#[derive(Clone, Copy)]
enum To {
    Next,
    Holds,
    Fails,
}

/// Instruction with symbolic jump targets.
type Open = (u16, u32, To, To);

/// Compiles `if all conditions hold { return action }`; other calls continue behind.
fn guarded(conditions: &[Condition], action: Action) -> Code {
    let comparison = |condition: &Condition| match condition.width {
        ArgumentWidth::Whole => whole_comparison(&condition.test),
        ArgumentWidth::Half => half_comparison(&condition.test),
    };
    let parts: Vec<Vec<Open>> = conditions.iter().map(comparison).collect();
    let length = parts.iter().map(Vec::len).sum::<usize>() + 1;
    let mut code = Vec::with_capacity(length);
    for part in parts {
        let end = code.len() + part.len();
        for (operation, k, yes, no) in part {
            let here = code.len() + 1;
            let distance = |to| match to {
                To::Next => 0,
                To::Holds => (end - here) as u8,
                To::Fails => (length - here) as u8,
            };
            code.push(Instruction { code: operation, jt: distance(yes), jf: distance(no), k });
        }
    }
    code.push(step(RETURN, action.value()));
    code
}

/// Offsets of the two halves of an argument: little-endian, as on all architectures here.
fn halves(argument: u8) -> (u32, u32) {
    let low = ARGUMENTS + 8 * u32::from(argument);
    (low, low + 4)
}

fn half_comparison(test: &Test) -> Vec<Open> {
    use To::{Fails, Holds, Next};
    let (low, _) = halves(test.argument);
    let value = test.value as u32;
    let mut code = vec![(LOAD, low, Next, Next)];
    let last = match test.operator {
        Operator::Equal => (IF_EQUAL, value, Holds, Fails),
        Operator::NotEqual => (IF_EQUAL, value, Fails, Holds),
        Operator::Greater => (IF_GREATER, value, Holds, Fails),
        Operator::GreaterOrEqual => (IF_GREATER_OR_EQUAL, value, Holds, Fails),
        Operator::LessOrEqual => (IF_GREATER, value, Fails, Holds),
        Operator::Less => (IF_GREATER_OR_EQUAL, value, Fails, Holds),
        Operator::Masked(mask) => {
            code.push((AND, mask as u32, Next, Next));
            (IF_EQUAL, value, Holds, Fails)
        }
    };
    code.push(last);
    code
}

/// Compiles a test, the upper half of the argument first. Six tests are at most 36 instructions: all jumps are short.
fn whole_comparison(test: &Test) -> Vec<Open> {
    use To::{Fails, Holds, Next};
    let (low, high) = halves(test.argument);
    let (value_high, value_low) = ((test.value >> 32) as u32, test.value as u32);
    let load = |from| (LOAD, from, Next, Next);
    // `argument > value` (or >=) goes to `yes`, all else to `no`.
    let greater = |operation, yes, no| {
        vec![
            load(high),
            (IF_GREATER, value_high, yes, Next),
            (IF_EQUAL, value_high, Next, no),
            load(low),
            (operation, value_low, yes, no),
        ]
    };
    match test.operator {
        Operator::Equal => vec![
            load(high),
            (IF_EQUAL, value_high, Next, Fails),
            load(low),
            (IF_EQUAL, value_low, Holds, Fails),
        ],
        Operator::NotEqual => vec![
            load(high),
            (IF_EQUAL, value_high, Next, Holds),
            load(low),
            (IF_EQUAL, value_low, Fails, Holds),
        ],
        Operator::Greater => greater(IF_GREATER, Holds, Fails),
        Operator::GreaterOrEqual => greater(IF_GREATER_OR_EQUAL, Holds, Fails),
        Operator::LessOrEqual => greater(IF_GREATER, Fails, Holds),
        Operator::Less => greater(IF_GREATER_OR_EQUAL, Fails, Holds),
        Operator::Masked(mask) => vec![
            load(high),
            (AND, (mask >> 32) as u32, Next, Next),
            (IF_EQUAL, value_high, Next, Fails),
            load(low),
            (AND, mask as u32, Next, Next),
            (IF_EQUAL, value_low, Holds, Fails),
        ],
    }
}
