//! Layers of entries that get in each other's way: links, whiteouts and names out of the same few words.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tar_core::{EntryType, Header};

const WORDS: &[&str] = &[
    "a",
    "b",
    "c",
    "..",
    ".",
    "",
    ".wh.a",
    ".wh.b",
    ".wh..wh..opq",
    ".wh..wh.plnk",
    ".wh.",
    ".wh...",
    "/",
    "canary",
    "outside",
    "../outside/canary",
    "/proc/self/fd/3",
    "/dev/shm",
    "../../..",
    "\u{fc}",
];
const KINDS: &[u8] = b"0001112223455667KSgxLZ";
const KEYS: &[&str] = &[
    "path",
    "linkpath",
    "size",
    "mtime",
    "uid",
    "gid",
    "SCHILY.xattr.user.x",
    "SCHILY.xattr.user.overlay.redirect",
    "SCHILY.xattr.trusted.overlay.opaque",
    "GNU.sparse.map",
    "GNU.sparse.size",
    "GNU.sparse.realsize",
    "GNU.sparse.name",
    "GNU.sparse.major",
    "GNU.sparse.minor",
    "GNU.sparse.offset",
    "GNU.sparse.numbytes",
];

#[derive(Arbitrary, Debug)]
struct Item {
    kind: u8,
    name: Vec<u8>,
    link: Vec<u8>,
    mode: u16,
    owner: (u32, u32),
    device: (u8, u8),
    content: Vec<u8>,
    pax: Vec<(u8, Value)>,
}

#[derive(Arbitrary, Debug)]
enum Value {
    Path(Vec<u8>),
    Number(u64),
    Time(i32, u16),
    Bytes(Vec<u8>),
}

/// A path of the few words: they meet each other often.
fn path(choices: &[u8]) -> String {
    let words = choices.iter().take(6).map(|choice| WORDS[usize::from(*choice) % WORDS.len()]);
    words.collect::<Vec<_>>().join("/")
}

fn block(kind: u8, item: &Item, content: &[u8]) -> Vec<u8> {
    let (name, link) = (path(&item.name), path(&item.link));
    let mut header = Header::new_ustar();
    let _ = header.set_path(&name.as_bytes()[..name.len().min(100)]);
    let _ = header.set_link_name(&link.as_bytes()[..link.len().min(100)]);
    header.set_entry_type(EntryType::from_byte(kind));
    header.set_mode(u32::from(item.mode) & 0o7777).expect("a mode");
    let _ = header.set_uid(u64::from(item.owner.0 % 0o10_000_000));
    let _ = header.set_gid(u64::from(item.owner.1 % 0o10_000_000));
    let _ = header.set_mtime(1_000_000_000);
    header.set_size(content.len() as u64).expect("a size");
    header.set_device(item.device.0.into(), item.device.1.into()).expect("a device");
    header.set_checksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn record((key, value): &(u8, Value)) -> Vec<u8> {
    let value = match value {
        Value::Path(choices) => path(choices).into_bytes(),
        Value::Number(number) => number.to_string().into_bytes(),
        Value::Time(seconds, fraction) => format!("{seconds}.{fraction}").into_bytes(),
        Value::Bytes(bytes) => bytes.clone(),
    };
    let key = KEYS[usize::from(*key) % KEYS.len()];
    let rest = key.len() + value.len() + 3;
    let length = (1..).map(|digits| rest + digits).find(|all| all.to_string().len() + rest == *all);
    let head = format!("{} {key}=", length.expect("a length"));
    [head.as_bytes(), &value, b"\n"].concat()
}

fuzz_target!(|items: Vec<Item>| {
    let mut tar = Vec::new();
    for item in items.iter().take(64) {
        let records: Vec<u8> = item.pax.iter().take(8).flat_map(record).collect();
        if !records.is_empty() {
            tar.extend(block(b'x', item, &records));
        }
        let kind = KINDS[usize::from(item.kind) % KINDS.len()];
        let is_empty = matches!(kind, b'1'..=b'6');
        tar.extend(block(kind, item, if is_empty { b"" } else { &item.content }));
    }
    tar.resize(tar.len() + 1024, 0);
    usnea_fuzz::Place::new().unpack(&tar);
});
