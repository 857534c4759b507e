//! `--tmpfs CONTAINER[:OPTIONS]` and `--mount type=tmpfs`: a file system in memory that ends with the container.

use std::str::FromStr;

use super::destination::Destination;
use super::size::Size;

/// Tmpfs to mount in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TmpfsMount {
    /// Mount point in the container.
    pub destination: Destination,
    /// Mount flags, one word of each pair in `PAIRS`; docker's default where the options have none.
    pub(super) flags: [&'static str; 4],
    /// Permissions of its topmost folder.
    pub(super) mode: u32,
    /// Size limit: bytes or a share of memory.
    pub(super) size: Option<String>,
    /// Limit of the number of files.
    pub(super) inodes: Option<u64>,
    /// Owner inside the container.
    pub(super) uid: Option<u32>,
    /// Group inside the container.
    pub(super) gid: Option<u32>,
    /// Further words, those of `WORDS`.
    pub(super) words: Vec<&'static str>,
}

/// Pairs of exclusive flags; the first word is docker's default.
const PAIRS: [[&str; 2]; 4] =
    [["rw", "ro"], ["noexec", "exec"], ["nosuid", "suid"], ["nodev", "dev"]];

/// Ignored options: those that a tmpfs has anyway, or that mean nothing in memory.
const NOTHING: [&str; 6] = ["defaults", "relatime", "atime", "diratime", "sync", "async"];

/// Word of a tmpfs that begins with a copy of the root's files at its mount point.
pub(super) const COPY_UP: &str = "tmpcopyup";

/// Groups of exclusive words that config.json takes as they are. The first word of a group is the default, and not
/// written.
const WORDS: [&[&str]; 5] = [
    &["notmpcopyup", COPY_UP],
    &["rprivate", "private", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"],
    &["", "noatime", "strictatime"],
    &["", "nodiratime"],
    &["", "dirsync"],
];

impl TmpfsMount {
    /// docker's defaults: writable by all, no programs, no set-user-ID, no devices, half of memory.
    pub(super) fn new(destination: Destination) -> Self {
        Self {
            destination,
            flags: PAIRS.map(|[default, _]| default),
            mode: 0o1777,
            size: None,
            inodes: None,
            uid: None,
            gid: None,
            words: Vec::new(),
        }
    }

    /// The same, in which programs run.
    pub(super) fn with_programs(destination: Destination) -> Self {
        let mut tmpfs = Self::new(destination);
        tmpfs.flags[1] = "exec";
        tmpfs
    }

    /// Options of the OCI mount.
    pub(super) fn options(&self) -> Vec<String> {
        let mut options: Vec<String> = self.flags.iter().map(|flag| (*flag).to_owned()).collect();
        options.push(format!("mode={:o}", self.mode));
        options.extend(self.size.as_ref().map(|size| format!("size={size}")));
        options.extend(self.inodes.map(|inodes| format!("nr_inodes={inodes}")));
        options.extend(self.uid.map(|uid| format!("uid={uid}")));
        options.extend(self.gid.map(|gid| format!("gid={gid}")));
        options.extend(self.words.iter().map(|word| (*word).to_owned()));
        options
    }

    fn take(&mut self, option: &str) -> Result<(), String> {
        let pair = PAIRS.iter().enumerate().find_map(|(index, pair)| {
            let word = pair.iter().find(|word| **word == option)?;
            Some((index, *word))
        });
        if let Some((index, word)) = pair {
            self.flags[index] = word;
            return Ok(());
        }
        if let Some(group) =
            WORDS.iter().find(|group| !option.is_empty() && group.contains(&option))
        {
            self.words.retain(|word| !group.contains(word));
            let word = group.iter().skip(1).find(|word| **word == option);
            self.words.extend(word.filter(|word| **word != "private"));
            return Ok(());
        }
        let number = |text: &str| match text.parse() {
            Ok(id) if id != u32::MAX && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(id),
            _ => Err(format!("'{option}': not an ID")),
        };
        match option.split_once('=') {
            Some(("mode", mode)) => self.mode = parse_mode(mode)?,
            Some(("size", size)) => self.size = Some(parse_size(size)?),
            Some(("nr_inodes", inodes)) => self.inodes = Some(inodes.parse::<Size>()?.bytes()),
            Some(("uid", uid)) => self.uid = Some(number(uid)?),
            Some(("gid", gid)) => self.gid = Some(number(gid)?),
            _ if NOTHING.contains(&option) => {}
            _ => return Err(format!("'{option}' is not an option of a tmpfs")),
        }
        Ok(())
    }
}

/// Parses permissions in octal, the sticky bit and its like included.
pub(super) fn parse_mode(text: &str) -> Result<u32, String> {
    let octal = !text.is_empty() && text.bytes().all(|byte| (b'0'..b'8').contains(&byte));
    match u32::from_str_radix(text, 8) {
        Ok(mode) if octal && mode <= 0o7777 => Ok(mode),
        _ => Err(format!("'{text}' is not a mode in octal, such as 1777")),
    }
}

/// Parses a size: bytes, or a share of memory such as `10%` (tmpfs(5)).
fn parse_size(text: &str) -> Result<String, String> {
    match text.strip_suffix('%').map(str::parse::<u8>) {
        Some(Ok(percent @ 1..=100)) => Ok(format!("{percent}%")),
        Some(_) => Err(format!("'{text}' is not a share of memory")),
        None => super::size::parse_some(text).map(|size| size.to_string()),
    }
}

impl FromStr for TmpfsMount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (destination, options) = match text.split_once(':') {
            Some((destination, options)) => (destination, Some(options)),
            None => (text, None),
        };
        let mut tmpfs = Self::new(destination.parse()?);
        for option in options.into_iter().flat_map(|options| options.split(',')) {
            tmpfs.take(option)?;
        }
        Ok(tmpfs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tmpfs_has_dockers_defaults_and_what_was_asked() {
        for (text, options) in [
            ("/t", "rw,noexec,nosuid,nodev,mode=1777"),
            ("/t:size=64m", "rw,noexec,nosuid,nodev,mode=1777,size=67108864"),
            ("/t:size=5%", "rw,noexec,nosuid,nodev,mode=1777,size=5%"),
            ("/t:exec,suid,dev,ro", "ro,exec,suid,dev,mode=1777"),
            ("/t:relatime,sync,rprivate,notmpcopyup", "rw,noexec,nosuid,nodev,mode=1777"),
            ("/t:tmpcopyup,shared,private", "rw,noexec,nosuid,nodev,mode=1777,tmpcopyup"),
            (
                "/t:noatime,nodiratime,dirsync,rslave,strictatime",
                "rw,noexec,nosuid,nodev,mode=1777,nodiratime,dirsync,rslave,strictatime",
            ),
            (
                "/t:mode=0755,uid=5,gid=6,nr_inodes=1k",
                "rw,noexec,nosuid,nodev,mode=755,nr_inodes=1024,uid=5,gid=6",
            ),
        ] {
            assert_eq!(text.parse::<TmpfsMount>().unwrap().options().join(","), options, "{text}");
        }
    }

    #[test]
    fn a_malformed_tmpfs_is_refused() {
        for wrong in [
            "",
            "t",
            "/",
            "/t:",
            "/t:x",
            "/t:size",
            "/t:size=",
            "/t:size=0",
            "/t:size=0%",
            "/t:size=101%",
            "/t:size=-1",
            "/t:mode=8",
            "/t:mode=+7",
            "/t:mode=10000",
            "/t:uid=a",
            "/t:uid=+1",
            "/t:gid=4294967295",
            "/t:rw,,ro",
        ] {
            assert!(wrong.parse::<TmpfsMount>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "/t:\\PC*") {
            let _ = text.parse::<TmpfsMount>();
        }

        #[test]
        fn options_are_read_again_as_they_are_printed(mode in 0..=0o7777_u32, uid in 0..u32::MAX, size in 1..1_u64 << 60) {
            let first: TmpfsMount = format!("/t:ro,dev,mode={mode:o},uid={uid},size={size}").parse().unwrap();
            let again = format!("/t:{}", first.options().join(",")).parse();
            prop_assert_eq!(again, Ok(first));
        }
    }
}
