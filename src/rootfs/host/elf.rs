//! Headers of an ELF file: its machine, its interpreter, the libraries it needs and the paths to search them. `ldso`
//! interprets these values.
//!
//! Files may be broken or hostile. Only the headers, the dynamic section and its strings are read, each within the
//! file's length and the limits below. Any other content is an error, never a panic.

use std::ffi::OsString;
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use object::elf::{self as format, DynamicTag, FileHeader32, FileHeader64, Machine};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{Endianness, ReadCache, ReadRef};

/// Longest string (a path, a search path) that is read. ld.so has no limit; Nix has run paths of several KB. `object`'s
/// own limit of one string is the same 4096.
const LONGEST_STRING: u64 = 4096;
/// Largest dynamic section, in bytes. A 150 MB libLLVM has one of 600 bytes.
const LARGEST_DYNAMIC: u64 = 1 << 20;

/// Properties that must agree between a program, its interpreter and its libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ElfTarget {
    /// `e_machine`.
    pub machine: Machine,
    /// ELFCLASS64, else ELFCLASS32: only this separates x32 from x86-64.
    pub is_64: bool,
    /// ELFDATA2MSB, else ELFDATA2LSB.
    pub is_big_endian: bool,
}

impl ElfTarget {
    /// Returns the usual name of the target.
    pub fn name(self) -> String {
        let name = match (self.machine, self.is_64) {
            (format::EM_X86_64, true) => "x86-64",
            (format::EM_X86_64, false) => "x32",
            (format::EM_386, _) => "i386",
            (format::EM_AARCH64, _) => "aarch64",
            (format::EM_ARM, _) => "arm",
            (format::EM_RISCV, _) => "riscv",
            (format::EM_PPC64, _) => "ppc64",
            (format::EM_S390, _) => "s390x",
            (format::EM_LOONGARCH, _) => "loongarch",
            (other, _) => return format!("ELF machine {}", other.0),
        };
        name.to_owned()
    }

    /// Returns `$PLATFORM`: the string that the kernel puts into AT_PLATFORM.
    pub fn platform(self) -> &'static str {
        match self.machine {
            format::EM_X86_64 => "x86_64",
            format::EM_386 => "i686",
            format::EM_AARCH64 => "aarch64",
            format::EM_ARM => "v7l",
            _ => "",
        }
    }

    /// True if this machine's kernel may run the target. A disabled 32-bit kernel interface shows at exec.
    pub fn runs_here(self) -> bool {
        match std::env::consts::ARCH {
            "x86_64" => matches!(self.machine, format::EM_X86_64 | format::EM_386),
            "aarch64" => matches!(self.machine, format::EM_AARCH64 | format::EM_ARM),
            "x86" => self.machine == format::EM_386,
            "arm" => self.machine == format::EM_ARM,
            "riscv64" => self.machine == format::EM_RISCV,
            "powerpc64" => self.machine == format::EM_PPC64,
            "s390x" => self.machine == format::EM_S390,
            "loongarch64" => self.machine == format::EM_LOONGARCH,
            // A machine missing from the list: exec decides.
            _ => true,
        }
    }
}

/// Headers of one ELF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    /// Machine, class and byte order.
    pub target: ElfTarget,
    /// PT_INTERP: the loader. `None` in libraries and static programs.
    pub interpreter: Option<PathBuf>,
    /// DT_NEEDED, in order.
    pub needed: Vec<OsString>,
    /// DT_SONAME.
    pub soname: Option<OsString>,
    /// DT_RPATH, as written.
    pub rpath: Option<OsString>,
    /// DT_RUNPATH, as written.
    pub runpath: Option<OsString>,
    /// DF_1_NODEFLIB: no search in the default folders, nor of their libraries in the cache.
    pub no_default_folders: bool,
}

impl Elf {
    /// Reads the headers of `source`. `None`: no ELF file at all. Errors: a broken ELF file (InvalidData).
    pub fn read(mut source: impl Read + Seek) -> io::Result<Option<Self>> {
        let mut ident = Vec::with_capacity(16);
        source.rewind()?;
        source.by_ref().take(16).read_to_end(&mut ident)?;
        if !ident.starts_with(&format::ELFMAG) {
            return Ok(None);
        }
        let cache = ReadCache::new(source);
        match ident.get(4) {
            Some(1) => read_class::<FileHeader32<Endianness>, _>(&cache),
            Some(2) => read_class::<FileHeader64<Endianness>, _>(&cache),
            _ => Err(broken("neither 32 nor 64 bits")),
        }
        .map(Some)
    }
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("broken ELF file: {why}"))
}

fn read_class<'data, E, R>(data: R) -> io::Result<Elf>
where
    E: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let header = E::parse(data).map_err(|_| broken("its header is cut off"))?;
    let endian = header.endian().map_err(|_| broken("unknown byte order"))?;
    let segments = header
        .program_headers(endian, data)
        .map_err(|_| broken("its program headers are outside the file"))?;
    let mut elf = Elf {
        target: ElfTarget {
            machine: header.e_machine(endian),
            is_64: header.is_type_64(),
            is_big_endian: endian == Endianness::Big,
        },
        interpreter: None,
        needed: Vec::new(),
        soname: None,
        rpath: None,
        runpath: None,
        no_default_folders: false,
    };
    for segment in segments {
        if segment.p_type(endian) == format::PT_INTERP {
            let path = string_at(data, segment.p_offset(endian).into())
                .filter(|path| !path.is_empty())
                .ok_or_else(|| broken("its interpreter is outside the file"))?;
            elf.interpreter = Some(path.into());
        }
    }
    read_dynamic::<E, R>(&mut elf, segments, endian, data)?;
    Ok(elf)
}

/// Reads the dynamic section into `elf`. A static program has none.
fn read_dynamic<'data, E, R>(
    elf: &mut Elf,
    segments: &'data [E::ProgramHeader],
    endian: Endianness,
    data: R,
) -> io::Result<()>
where
    E: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let entries = dynamic_entries::<E, R>(segments, endian, data)?;
    let value = |wanted: DynamicTag| {
        entries.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value)
    };
    let strings =
        value(format::DT_STRTAB).and_then(|address| file_offset::<E>(segments, endian, address));
    let string = |offset: u64| {
        strings
            .and_then(|strings| string_at(data, strings.checked_add(offset)?))
            .ok_or_else(|| broken("a name is outside the file"))
    };
    let named = |tag: DynamicTag| value(tag).map(string).transpose();

    for (_, offset) in entries.iter().filter(|(tag, _)| *tag == format::DT_NEEDED) {
        elf.needed.push(string(*offset)?);
    }
    elf.soname = named(format::DT_SONAME)?;
    elf.rpath = named(format::DT_RPATH)?;
    elf.runpath = named(format::DT_RUNPATH)?;
    let flags = value(format::DT_FLAGS_1).unwrap_or_default();
    elf.no_default_folders = flags & NODEFLIB != 0;
    Ok(())
}

/// Returns the entries of the dynamic section up to its end mark.
fn dynamic_entries<'data, E, R>(
    segments: &'data [E::ProgramHeader],
    endian: Endianness,
    data: R,
) -> io::Result<Vec<(DynamicTag, u64)>>
where
    E: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let is_dynamic = |segment: &&E::ProgramHeader| segment.p_type(endian) == format::PT_DYNAMIC;
    let Some(segment) = segments.iter().find(is_dynamic) else {
        return Ok(Vec::new());
    };
    if segment.p_filesz(endian).into() > LARGEST_DYNAMIC {
        return Err(broken("its dynamic section is absurdly large"));
    }
    let section = segment
        .dynamic(endian, data)
        .map_err(|_| broken("its dynamic section is outside the file"))?
        .unwrap_or_default();
    let entries = section.iter().map(|entry| (entry.tag(endian), entry.val(endian)));
    Ok(entries.take_while(|(tag, _)| *tag != format::DT_NULL).collect())
}

/// DF_1_NODEFLIB of <elf.h>.
const NODEFLIB: u64 = 0x800;

/// Returns the offset in the file of a loaded address.
fn file_offset<E>(segments: &[E::ProgramHeader], endian: Endianness, address: u64) -> Option<u64>
where
    E: FileHeader<Endian = Endianness>,
{
    segments.iter().find_map(|segment| {
        let into = address.checked_sub(segment.p_vaddr(endian).into())?;
        let loaded =
            segment.p_type(endian) == format::PT_LOAD && into < segment.p_filesz(endian).into();
        loaded.then(|| segment.p_offset(endian).into().checked_add(into)).flatten()
    })
}

fn string_at<'data>(data: impl ReadRef<'data>, offset: u64) -> Option<OsString> {
    let end = data.len().ok()?.min(offset.checked_add(LONGEST_STRING)?);
    if offset >= end {
        return None;
    }
    let bytes = data.read_bytes_at_until(offset..end, 0).ok()?;
    Some(OsString::from_vec(bytes.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn shell() -> Vec<u8> {
        std::fs::read("/bin/sh").unwrap()
    }

    #[test]
    fn the_shell_names_its_loader_and_libc() {
        let elf = Elf::read(Cursor::new(shell())).unwrap().unwrap();
        assert!(elf.interpreter.is_some());
        assert!(!elf.needed.is_empty());
        assert!(elf.target.runs_here());
    }

    #[test]
    fn a_script_is_no_elf_file() {
        assert_eq!(Elf::read(Cursor::new(b"#!/bin/sh\n")).unwrap(), None);
        assert_eq!(Elf::read(Cursor::new(b"")).unwrap(), None);
    }

    #[test]
    fn a_header_alone_is_broken() {
        for length in [4, 5, 16, 20, 63, 64, 100] {
            let error = Elf::read(Cursor::new(&shell()[..length])).unwrap_err();
            assert!(error.to_string().starts_with("broken ELF file: "), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512), class in 0u8..4) {
            let mut file = b"\x7fELF\0\x01\x01".to_vec();
            file[4] = class;
            file.extend(bytes);
            let _ = Elf::read(Cursor::new(file));
        }

        #[test]
        fn a_damaged_program_never_panics(
            damage in proptest::collection::vec((0usize..4096, any::<u8>()), 1..20),
            length in 64usize..200_000,
        ) {
            let mut file = shell();
            file.truncate(length);
            // The program headers are in the first bytes, and point to the dynamic section.
            for (at, byte) in damage {
                if let Some(target) = file.get_mut(at % 1024) {
                    *target = byte;
                }
            }
            let _ = Elf::read(Cursor::new(file));
        }
    }
}
