//! `usnea volume export` and `import`: the files of a volume as a tar archive. Containers may write to them at the same
//! time.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::record::{folder, named};
use crate::container::Usnea;
use crate::container::stores;
use crate::error::{Context, Error, Result};
use crate::files::{self, Lock};
use crate::image::archive::output::{ArchiveOutput, ArchiveSink};
use crate::image::compression;
use crate::image::diff::{LayerSource, merged_tar};
use crate::image::extract::destination::{
    FirstMember, MemberDestination, MemberOwners, OtherKind, extract_if_any,
};
use crate::userns;

/// Writes all files of the volume `text` to `output` as a tar archive.
pub fn export(usnea: &Usnea, text: &str, output: &ArchiveSink) -> Result<()> {
    let store = usnea.store()?;
    let (_held, data) = held(store, text)?;
    let base = usnea.base()?;
    let owners = stores::owners_of_containers(base);
    // Containers have written the files.
    let files = LayerSource { is_written: true, ..LayerSource::from(data) };
    let write = || merged_tar(&[files], &owners, ArchiveOutput::create(output)?)?.put();
    userns::in_base(base, write).context(|| format!("cannot export volume {text}"))
}

/// Source of a tar archive, plain or compressed.
pub enum TarInput<'a> {
    /// File, which is opened once the volume is found.
    File(&'a Path),
    /// Stream of the caller.
    Stream(Box<dyn Read + 'a>),
}

/// Unpacks a tar archive into the volume `text`. Existing files with the same names are replaced.
pub fn import(usnea: &Usnea, text: &str, input: TarInput<'_>) -> Result<()> {
    let store = usnea.store()?;
    let (_held, data) = held(store, text)?;
    let base = usnea.base()?;
    let owners = stores::owners_of_containers(base);
    let unpack = || {
        let packed: Box<dyn Read + '_> = match input {
            TarInput::File(path) => {
                Box::new(File::open(path).context(|| path.display().to_string())?)
            }
            TarInput::Stream(stream) => stream,
        };
        let plain = BufReader::with_capacity(256 << 10, compression::open(packed)?);
        let into = |_: FirstMember| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let data = rustix::fs::open(&data, flags, Mode::empty());
            Ok(MemberDestination::In(data.context(|| data_of(text))?))
        };
        // The export of an empty volume has no members.
        extract_if_any(plain, MemberOwners::Recorded(&owners), OtherKind::Refused, into).map(|_| ())
    };
    userns::in_base(base, unpack).context(|| format!("cannot import into volume {text}"))
}

fn data_of(text: &str) -> String {
    format!("the files of volume {text}")
}

/// Returns a shared lock that protects the volume against removal, and the folder of its files.
fn held(store: &Path, text: &str) -> Result<(File, std::path::PathBuf)> {
    let (name, volume) = named(store, text)?;
    let place = folder(store).join(name.as_str());
    let held = files::hold(&place, Lock::Shared);
    let held = held.context(|| format!("cannot lock {}", place.display()))?;
    let held =
        held.ok_or_else(|| Error::not_found(format!("volume {name} was removed meanwhile")))?;
    Ok((held, volume.data(store)))
}
