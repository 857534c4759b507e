//! Programs of the default profile for everyday containers, compiled ahead: compiling takes 0.5 ms of a start.
//!
//! A file for each machine, with four programs. Each is the number of its instructions, then the instructions as the
//! kernel takes them (struct sock_filter), in little-endian order. A test compares them with the compiler's, and writes
//! them anew with `USNEA_UPDATE=1 cargo test --lib compiled`.

use oci_spec::runtime::Capability;

use super::builtin::{TRACING_FROM, relevant};
use super::numbers::Architecture;
use super::policy::SupervisedCalls;
use super::profile::ProfileTarget;
use crate::sys::seccomp::Instruction;

const X86_64: &[u8] = include_bytes!("compiled/x86_64");
const AARCH64: &[u8] = include_bytes!("compiled/aarch64");

/// Length of an instruction in bytes.
const LENGTH: usize = 8;

/// Capabilities of the four programs that matter to the profile, and whether root emulation joins it.
const VARIANTS: [(Option<Capability>, Option<&str>); 4] = [
    (Some(Capability::SysChroot), None),
    (Some(Capability::SysChroot), Some("ids")),
    (None, None),
    (None, Some("ids")),
];

/// Returns the compiled default profile. `None`: not an everyday container.
pub(super) fn find(
    target: &ProfileTarget<'_>,
    supervision: Option<&SupervisedCalls>,
) -> Option<Vec<Instruction>> {
    if target.kernel < TRACING_FROM {
        return None;
    }
    let held = relevant(target.bounding);
    let is_it = |(capability, name): &(Option<Capability>, Option<&str>)| {
        held[..] == *capability.as_slice() && *name == supervision.map(|one| one.name)
    };
    let file = if target.machine == Architecture::Aarch64 { AARCH64 } else { X86_64 };
    program(file, VARIANTS.iter().position(is_it)?)
}

fn program(mut file: &[u8], index: usize) -> Option<Vec<Instruction>> {
    for _ in 0..index {
        let (count, rest) = file.split_first_chunk()?;
        file = rest.get(u32::from_le_bytes(*count) as usize * LENGTH..)?;
    }
    let (count, rest) = file.split_first_chunk()?;
    let bytes = rest.get(..u32::from_le_bytes(*count) as usize * LENGTH)?;
    let instruction = |bytes: &[u8]| Instruction {
        code: u16::from_le_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    };
    Some(bytes.chunks_exact(LENGTH).map(instruction).collect())
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Capabilities;

    use super::super::builtin::builtin;
    use super::super::oci::ConfigFilter;
    use super::super::{Policy, compile};
    use super::*;
    use crate::host::kernel::KernelVersion;
    use crate::security::emulation::{self, Emulation};

    fn compiled(machine: Architecture) -> Vec<u8> {
        let mut file = Vec::new();
        for (capability, name) in VARIANTS {
            let bounding: Capabilities = capability.into_iter().collect();
            let target =
                ProfileTarget { bounding: &bounding, machine, kernel: KernelVersion(6, 1) };
            let mut policies: Vec<Policy> =
                vec![ConfigFilter::read(&builtin(&target).unwrap(), machine).unwrap().policy];
            policies.extend(name.map(|_| Policy {
                architectures: machine.family().to_vec(),
                ..emulation::policy(Emulation::Ids)
            }));
            let program = compile(&policies).unwrap();
            file.extend((program.len() as u32).to_le_bytes());
            for Instruction { code, jt, jf, k } in program {
                file.extend(code.to_le_bytes());
                file.extend([jt, jf]);
                file.extend(k.to_le_bytes());
            }
        }
        file
    }

    #[test]
    fn compiled_programs_are_the_compilers() {
        for (machine, name, file) in
            [(Architecture::X86_64, "x86_64", X86_64), (Architecture::Aarch64, "aarch64", AARCH64)]
        {
            let compiled = compiled(machine);
            if std::env::var_os("USNEA_UPDATE").is_some() {
                let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/security/seccomp/compiled");
                std::fs::write(format!("{folder}/{name}"), compiled).unwrap();
            } else {
                assert!(compiled == file, "{name}: USNEA_UPDATE=1 cargo test --lib compiled");
            }
        }
    }

    #[test]
    fn everyday_containers_have_a_compiled_program() {
        let supervision = emulation::supervision(Emulation::Ids);
        for names in [&[Capability::SysChroot, Capability::Kill][..], &[Capability::Chown], &[]] {
            let bounding: Capabilities = names.iter().copied().collect();
            let target = ProfileTarget::here(&bounding);
            for supervision in [None, Some(&supervision)] {
                let program = find(&target, supervision).unwrap();
                assert!((100..600).contains(&program.len()), "{}", program.len());
            }
            let owners = emulation::supervision(Emulation::Owners);
            assert!(find(&target, Some(&owners)).is_none());
            let old = ProfileTarget { kernel: KernelVersion(4, 7), ..target };
            assert!(find(&old, None).is_none());
        }
        let bounding: Capabilities = [Capability::SysAdmin].into_iter().collect();
        assert!(find(&ProfileTarget::here(&bounding), None).is_none());
    }
}
