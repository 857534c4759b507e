//! Tars built for the tests, valid or not.

use std::io::Write;

use tar_core::{EntryType, Header};

/// An entry of a tar.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) name: Vec<u8>,
    pub(super) kind: u8,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) mtime: u64,
    pub(super) link: Vec<u8>,
    pub(super) content: Vec<u8>,
    pub(super) device: (u32, u32),
    pub(super) pax: Vec<(String, Vec<u8>)>,
}

impl Item {
    fn new(name: impl AsRef<[u8]>, kind: u8, mode: u32) -> Self {
        let name = name.as_ref().to_vec();
        Self {
            name,
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: 1_000_000_000,
            link: Vec::new(),
            content: Vec::new(),
            device: (0, 0),
            pax: Vec::new(),
        }
    }

    pub(super) fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref().to_vec();
        Self { content, ..Self::new(name, b'0', 0o644) }
    }

    pub(super) fn folder(name: impl AsRef<[u8]>) -> Self {
        Self::new(name, b'5', 0o755)
    }

    pub(super) fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self { link: target.as_ref().to_vec(), ..Self::new(name, b'2', 0o777) }
    }

    pub(super) fn hard_link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self { link: target.as_ref().to_vec(), ..Self::new(name, b'1', 0o644) }
    }

    pub(super) fn pipe(name: impl AsRef<[u8]>) -> Self {
        Self::new(name, b'6', 0o644)
    }

    pub(super) fn device(name: &str, kind: u8, device: (u32, u32)) -> Self {
        Self { device, ..Self::new(name, kind, 0o660) }
    }

    pub(super) fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    pub(super) fn owner(self, uid: u64, gid: u64) -> Self {
        Self { uid, gid, ..self }
    }

    pub(super) fn mtime(self, mtime: u64) -> Self {
        Self { mtime, ..self }
    }

    pub(super) fn kind(self, kind: u8) -> Self {
        Self { kind, ..self }
    }

    pub(super) fn pax(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax.push((key.into(), value.as_ref().to_vec()));
        self
    }

    pub(super) fn xattr(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax(&format!("SCHILY.xattr.{name}"), value)
    }

    pub(super) fn header(&self) -> Header {
        let mut header = Header::new_ustar();
        let _ = header.set_path(&self.name[..self.name.len().min(100)]);
        let _ = header.set_link_name(&self.link[..self.link.len().min(100)]);
        header.set_entry_type(EntryType::from_byte(self.kind));
        header.as_ustar_mut().typeflag = [self.kind];
        header.set_mode(self.mode).unwrap();
        header.as_ustar_mut().uid = number(self.uid);
        header.as_ustar_mut().gid = number(self.gid);
        header.set_mtime(self.mtime).unwrap();
        header.set_size(self.content.len() as u64).unwrap();
        header.set_device(self.device.0, self.device.1).unwrap();
        header.set_checksum();
        header
    }

    fn records(&self) -> Vec<u8> {
        let mut all = self.pax.clone();
        if self.name.len() > 100 {
            all.push(("path".into(), self.name.clone()));
        }
        if self.link.len() > 100 {
            all.push(("linkpath".into(), self.link.clone()));
        }
        all.iter().flat_map(|(key, value)| record(key, value)).collect()
    }
}

/// Encodes a number in octal, or in GNU's base-256 if octal is too short.
fn number(value: u64) -> [u8; 8] {
    let mut field = value.to_be_bytes();
    match value {
        0o10_000_000.. => field[0] |= 0x80,
        _ => field.copy_from_slice(format!("{value:07o}\0").as_bytes()),
    }
    field
}

pub(super) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (1..).map(|digits| rest + digits).find(|all| all.to_string().len() + rest == *all);
    let mut record = format!("{} {key}=", length.unwrap()).into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

/// A tar under construction.
#[derive(Clone, Default)]
pub(super) struct Tar(pub(super) Vec<u8>);

impl Tar {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn of(items: impl IntoIterator<Item = Item>) -> Self {
        items.into_iter().fold(Self::new(), Self::and)
    }

    pub(super) fn and(self, item: Item) -> Self {
        let records = item.records();
        let tar = if records.is_empty() { self } else { self.extension(b'x', &records) };
        tar.raw(&item.header(), &item.content)
    }

    /// Adds a raw header and its content, padded.
    pub(super) fn raw(mut self, header: &Header, content: &[u8]) -> Self {
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn extension(self, kind: u8, content: &[u8]) -> Self {
        let item = Item::file("extension", content).kind(kind);
        self.raw(&item.header(), content)
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}
