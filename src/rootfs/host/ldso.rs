//! Search paths of the loader for a library: ld.so(8) of glibc, and musl's. Returns paths in the loader's order;
//! `closure` opens them and skips those of another machine.
//!
//! glibc searches DT_RPATH of the object and of all objects that led to it, unless the object has a DT_RUNPATH.
//! DT_RUNPATH of the object alone, the cache and the default folders follow, in this order. LD_LIBRARY_PATH is left out
//! on purpose: it belongs to the user's shell, and will not be set inside. musl takes the search path of the object and
//! of all that led to it, then its own list.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::cache::LibraryCache;
use super::elf::{Elf, ElfTarget};
use super::seen::SeenFiles;

/// Path of glibc's cache.
pub const CACHE: &str = "/etc/ld.so.cache";

/// Object in the program's memory.
#[derive(Clone, Debug)]
pub struct ElfObject {
    /// Path of the object, links not followed: a library's `$ORIGIN` comes from it (_dl_map_object_from_fd). For the
    /// program itself it is the real path, which the kernel reports.
    pub path: PathBuf,
    /// Headers of the object's file.
    pub elf: Rc<Elf>,
    /// Index of the object that made the loader load this one; `None` for the program.
    pub loaded_by: Option<usize>,
}

/// Loader, with its settings from before the first program.
#[derive(Debug)]
pub struct Loader {
    /// Default folders, searched last.
    folders: Vec<PathBuf>,
    kind: LoaderKind,
    target: ElfTarget,
}

#[derive(Debug)]
enum LoaderKind {
    Glibc {
        cache: LibraryCache,
        /// `$LIB`.
        lib: OsString,
    },
    Musl,
}

impl Loader {
    /// Reads the loader at `interpreter` (as the program names it), whose file really is `real`. Notes the files it
    /// reads in `seen`.
    pub fn new(interpreter: &Path, real: &Path, target: ElfTarget, seen: &mut SeenFiles) -> Self {
        let name = interpreter.file_name().unwrap_or_default().to_string_lossy();
        if let Some(machine) = name.strip_prefix("ld-musl-").and_then(|name| name.split('.').next())
        {
            // The prefix is that of the loader as named by the program: /lib/ld-musl-... looks in /etc.
            let prefix = interpreter.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
            let list = prefix.join("etc").join(format!("ld-musl-{machine}.path"));
            return Self { folders: musl_folders(&list, seen), kind: LoaderKind::Musl, target };
        }
        seen.note_state_of(Path::new(CACHE));
        let cache =
            std::fs::read(CACHE).map(|bytes| LibraryCache::parse(&bytes)).unwrap_or_default();
        let kind = LoaderKind::Glibc { cache, lib: lib_token(real) };
        Self { folders: glibc_folders(real, target), kind, target }
    }

    /// True if the loader itself provides `name`: musl has all of libc in one file.
    pub fn provides(&self, name: &OsStr) -> bool {
        const PARTS: [&str; 7] = ["c", "pthread", "rt", "m", "dl", "util", "xnet"];
        let part = name.to_str().and_then(|name| name.strip_prefix("lib")?.split_once('.'));
        matches!(self.kind, LoaderKind::Musl) && part.is_some_and(|(part, _)| PARTS.contains(&part))
    }

    /// Returns the paths to try for `name`, which `objects[by]` needs, in order.
    pub fn places(&self, objects: &[ElfObject], by: usize, name: &OsStr) -> Vec<PathBuf> {
        let object = &objects[by];
        if name.as_bytes().contains(&b'/') {
            // A relative path depends on the working directory, which is not known.
            return self
                .expand(name, object)
                .into_iter()
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
                .collect();
        }
        let mut places = Vec::new();
        match &self.kind {
            LoaderKind::Musl => {
                for ancestor in ancestors(objects, by) {
                    let list = ancestor.elf.runpath.as_ref().or(ancestor.elf.rpath.as_ref());
                    places.extend(self.in_list(list, ancestor, name));
                }
            }
            LoaderKind::Glibc { cache, .. } => {
                if object.elf.runpath.is_none() {
                    for ancestor in
                        ancestors(objects, by).filter(|ancestor| ancestor.elf.runpath.is_none())
                    {
                        places.extend(self.in_list(ancestor.elf.rpath.as_ref(), ancestor, name));
                    }
                }
                places.extend(self.in_list(object.elf.runpath.as_ref(), object, name));
                places.extend(self.in_cache(cache, object, name));
            }
        }
        if !object.elf.no_default_folders {
            places.extend(self.folders.iter().map(|folder| folder.join(name)));
        }
        places
    }

    /// Returns variants of the library for some processors: ld.so prefers a fitting one. The root takes them beside the
    /// ordinary library, since a store on a shared home serves machines of several generations.
    pub fn variants(&self, name: &OsStr) -> Vec<PathBuf> {
        match &self.kind {
            LoaderKind::Musl => Vec::new(),
            LoaderKind::Glibc { cache, .. } => {
                let lines =
                    cache.lines(name, self.target).filter(|line| line.is_for_some_processors());
                lines.map(|line| line.path.clone()).collect()
            }
        }
    }

    fn in_cache(&self, cache: &LibraryCache, object: &ElfObject, name: &OsStr) -> Vec<PathBuf> {
        let is_default = |path: &Path| self.folders.iter().any(|folder| path.starts_with(folder));
        let (some, all): (Vec<_>, Vec<_>) =
            cache.lines(name, self.target).partition(|line| line.is_for_some_processors());
        all.into_iter()
            .chain(some)
            .map(|line| line.path.clone())
            .filter(|path| !(object.elf.no_default_folders && is_default(path)))
            .collect()
    }

    fn in_list(&self, list: Option<&OsString>, object: &ElfObject, name: &OsStr) -> Vec<PathBuf> {
        let entries = list.into_iter().flat_map(|list| list.as_bytes().split(|byte| *byte == b':'));
        entries
            .filter_map(|entry| self.expand(OsStr::from_bytes(entry), object))
            .map(PathBuf::from)
            // Empty and relative entries mean the working directory, which differs inside.
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(name))
            .collect()
    }

    /// Replaces $ORIGIN, $LIB and $PLATFORM. `None` where musl would drop the entry.
    fn expand(&self, text: &OsStr, object: &ElfObject) -> Option<OsString> {
        let origin = object.path.parent().unwrap_or(Path::new("/")).as_os_str();
        let (lib, platform) = match &self.kind {
            LoaderKind::Glibc { lib, .. } => {
                (Some(lib.as_os_str()), Some(OsStr::new(self.target.platform())))
            }
            LoaderKind::Musl => (None, None),
        };
        let mut expanded = Vec::new();
        let mut rest = text.as_bytes();
        while let Some(at) = rest.iter().position(|byte| *byte == b'$') {
            expanded.extend(&rest[..at]);
            let (token, after) = token(&rest[at + 1..]);
            let value = match token {
                b"ORIGIN" => Some(origin),
                b"LIB" => Some(lib?),
                b"PLATFORM" => Some(platform?),
                _ => None,
            };
            match value {
                Some(value) => {
                    expanded.extend(value.as_bytes());
                    rest = after;
                }
                None => {
                    expanded.push(b'$');
                    rest = &rest[at + 1..];
                }
            }
        }
        expanded.extend(rest);
        Some(OsString::from_vec(expanded))
    }
}

/// Returns `objects[by]`, the object that loaded it, and so on up to the program.
fn ancestors(objects: &[ElfObject], by: usize) -> impl Iterator<Item = &ElfObject> {
    std::iter::successors(Some(&objects[by]), |object| {
        object.loaded_by.map(|index| &objects[index])
    })
}

/// Returns the name after a `$`, with or without braces, and the text after it.
fn token(text: &[u8]) -> (&[u8], &[u8]) {
    if let Some(inner) = text.strip_prefix(b"{") {
        let end = inner.iter().position(|byte| *byte == b'}').unwrap_or(0);
        return (&inner[..end], &inner[(end + 1).min(inner.len())..]);
    }
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    text.split_at(text.iter().position(|byte| !is_name(byte)).unwrap_or(text.len()))
}

/// Returns `$LIB`, which is compiled into the loader: the folder of its installation, below / or /usr (lib64,
/// lib/x86_64-linux-gnu).
fn lib_token(loader: &Path) -> OsString {
    let folder = loader.parent().unwrap_or(Path::new("/lib"));
    let below = folder.strip_prefix("/usr").or_else(|_| folder.strip_prefix("/"));
    match below {
        Ok(below)
            if below.starts_with("lib")
                || below.starts_with("lib64")
                || below.starts_with("lib32") =>
        {
            below.as_os_str().to_owned()
        }
        _ => "lib".into(),
    }
}

/// Returns the default folders, which are compiled in as well: the loader's own folder, then those of the common
/// layouts. A folder that a loader does not use costs nothing: a library there is in the cache already, or of another
/// class.
fn glibc_folders(loader: &Path, target: ElfTarget) -> Vec<PathBuf> {
    let lib = lib_token(loader);
    let mut folders = vec![Path::new("/").join(&lib), Path::new("/usr").join(&lib)];
    folders.extend(loader.parent().map(Path::to_owned));
    let common = if target.is_64 {
        ["/lib64", "/usr/lib64", "/lib", "/usr/lib"]
    } else {
        ["/lib", "/usr/lib", "/lib32", "/usr/lib32"]
    };
    folders.extend(common.map(PathBuf::from));
    let mut known = std::collections::HashSet::new();
    folders.retain(|folder| known.insert(folder.clone()));
    folders
}

/// Returns the list at `path`, separated by newlines or colons (musl, ldso/dynlink.c), else musl's own.
fn musl_folders(path: &Path, seen: &mut SeenFiles) -> Vec<PathBuf> {
    seen.note_state_of(path);
    let list = std::fs::read(path).unwrap_or_else(|_| b"/lib:/usr/local/lib:/usr/lib".to_vec());
    list.split(|byte| matches!(byte, b':' | b'\n'))
        .filter(|folder| folder.starts_with(b"/"))
        .map(|folder| OsStr::from_bytes(folder).into())
        .collect()
}

#[cfg(test)]
mod tests {
    use object::elf as format;

    use super::*;

    const TARGET: ElfTarget =
        ElfTarget { machine: format::EM_X86_64, is_64: true, is_big_endian: false };

    fn object(
        path: &str,
        rpath: Option<&str>,
        runpath: Option<&str>,
        loaded_by: Option<usize>,
    ) -> ElfObject {
        let elf = Elf {
            target: TARGET,
            interpreter: None,
            needed: Vec::new(),
            soname: None,
            rpath: rpath.map(OsString::from),
            runpath: runpath.map(OsString::from),
            no_default_folders: false,
        };
        ElfObject { path: path.into(), elf: Rc::new(elf), loaded_by }
    }

    fn glibc() -> Loader {
        let lib = "lib64".into();
        Loader {
            folders: vec!["/lib64".into()],
            kind: LoaderKind::Glibc { cache: LibraryCache::default(), lib },
            target: TARGET,
        }
    }

    fn places(loader: &Loader, objects: &[ElfObject]) -> Vec<String> {
        let places = loader.places(objects, objects.len() - 1, OsStr::new("x"));
        places.iter().map(|place| place.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn rpath_is_inherited_and_runpath_is_not() {
        let main = object("/m/main", Some("/main"), None, None);
        let rpath = object("/m/liba", Some("/liba"), None, Some(0));
        assert_eq!(places(&glibc(), &[main.clone(), rpath]), ["/liba/x", "/main/x", "/lib64/x"]);
        let runpath = object("/m/liba", Some("/ignored"), Some("/liba"), Some(0));
        assert_eq!(places(&glibc(), &[main, runpath]), ["/liba/x", "/lib64/x"]);
        let main = object("/m/main", None, Some("/main"), None);
        let neither = object("/m/liba", None, None, Some(0));
        assert_eq!(places(&glibc(), &[main, neither]), ["/lib64/x"]);
    }

    #[test]
    fn tokens_are_replaced_and_relative_entries_passed_over() {
        let list = "$ORIGIN/../lib:${ORIGIN}:/usr/$LIB/$PLATFORM::rel:/a$ORIGINAL/b:/${LIB:/end$";
        let main = object("/opt/bin/main", None, Some(list), None);
        let wanted = [
            "/opt/bin/../lib/x",
            "/opt/bin/x",
            "/usr/lib64/x86_64/x",
            "/a$ORIGINAL/b/x",
            "/${LIB/x",
            "/end$/x",
            "/lib64/x",
        ];
        assert_eq!(places(&glibc(), &[main]), wanted);
    }

    #[test]
    fn musl_inherits_both_kinds_and_serves_libc_itself() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/ld-musl-x86_64.path"), "/one:/two\n/three\n")
            .unwrap();
        let interpreter = folder.path().join("lib/ld-musl-x86_64.so.1");
        let musl = Loader::new(&interpreter, &interpreter, TARGET, &mut SeenFiles::default());
        let main = object("/m/main", None, Some("/main"), None);
        let library = object("/m/liba", Some("$ORIGIN:/$LIB"), None, Some(0));
        assert_eq!(
            places(&musl, &[main, library]),
            ["/m/x", "/main/x", "/one/x", "/two/x", "/three/x"]
        );
        assert!(
            musl.provides(OsStr::new("libpthread.so.0")) && musl.provides(OsStr::new("libc.so"))
        );
        assert!(
            !musl.provides(OsStr::new("libcurl.so.4")) && !glibc().provides(OsStr::new("libc.so"))
        );
    }
}
