//! A registries.conf: parsed, validated, and merged over the files before. Version 1 is supported too. Unknown keys are
//! ignored, as in containers/image: the file is shared with podman, skopeo and buildah of other versions.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::entry::{self, Mirror, MirrorScope, RegistryEntry};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::image::reference::TypedReference;

/// Settings of one file, or of all files merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistriesSettings {
    /// Registries to search for short names (`unqualified-search-registries`).
    pub search: Option<Vec<String>>,
    /// Mode for ambiguous short names (`short-name-mode`).
    pub short_names: Option<ShortNameMode>,
    /// Names of helpers (`credential-helpers`).
    pub helpers: Option<Vec<String>>,
    /// The `[[registry]]` tables, one for each prefix.
    pub entries: Vec<RegistryEntry>,
    /// Short names (`[aliases]`); `None`: cancels an alias of an earlier file.
    pub aliases: BTreeMap<String, Option<TypedReference>>,
}

/// Mode for ambiguous short names (`short-name-mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShortNameMode {
    /// Refuses a short name that may mean several images.
    Enforcing,
    /// Tries all in turn. Podman asks at a terminal.
    #[default]
    Permissive,
    /// Tries all in turn.
    Disabled,
}

/// Versions that a file may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfVersions {
    /// Version 1 or 2.
    Any,
    /// Version 2 only, for a drop-in.
    Version2,
}

impl RegistriesSettings {
    /// Merges a later file over these settings.
    pub fn lay_over(&mut self, later: Self) {
        self.search = later.search.or(self.search.take());
        self.short_names = later.short_names.or(self.short_names);
        self.helpers = later.helpers.or(self.helpers.take());
        for entry in later.entries {
            self.entries.retain(|before| before.prefix != entry.prefix);
            self.entries.push(entry);
        }
        self.aliases.extend(later.aliases);
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RegistriesDocument {
    unqualified_search_registries: Option<Vec<String>>,
    short_name_mode: Option<String>,
    credential_helpers: Option<Vec<String>>,
    #[serde(default)]
    registry: Vec<RegistryTable>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    #[serde(default)]
    registries: Version1Tables,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RegistryTable {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    pull_from_mirror: String,
    #[serde(default)]
    mirror: Vec<MirrorTable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MirrorTable {
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: String,
}

#[derive(Default, Deserialize)]
struct Version1Tables {
    #[serde(default)]
    search: RegistryNames,
    #[serde(default)]
    insecure: RegistryNames,
    #[serde(default)]
    block: RegistryNames,
}

#[derive(Default, Deserialize)]
struct RegistryNames {
    #[serde(default)]
    registries: Vec<String>,
}

/// Parses `text`, the content of `file`. Errors, without the file's name: not TOML, or an invalid setting.
pub fn parse(text: &str, file: &Path, formats: ConfVersions) -> Result<RegistriesSettings> {
    let document: RegistriesDocument = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        Error::new(format!("line {line}: {}", error.message().replace('\n', ", ")))
    })?;
    let old = &document.registries;
    let is_old =
        [&old.search, &old.insecure, &old.block].iter().any(|names| !names.registries.is_empty());
    if !is_old {
        return version_2(document, file);
    }
    if formats == ConfVersions::Version2 {
        fail!(
            "a drop-in of version 1, with [registries.search] and its like, must be of version 2"
        );
    }
    if !document.registry.is_empty() || document.unqualified_search_registries.is_some() {
        fail!("it mixes version 1, with [registries.search] and its like, and version 2");
    }
    version_1(document, file)
}

fn version_1(document: RegistriesDocument, file: &Path) -> Result<RegistriesSettings> {
    let mut entries: Vec<RegistryEntry> = Vec::new();
    let Version1Tables { search, insecure, block } = document.registries;
    for (name, blocks) in insecure
        .registries
        .iter()
        .map(|name| (name, false))
        .chain(block.registries.iter().map(|name| (name, true)))
    {
        let location = entry::location(name)?;
        let at = entries.iter().position(|entry| entry.prefix == location);
        let at = at.unwrap_or_else(|| {
            entries.push(RegistryEntry {
                prefix: location.clone(),
                location: Some(location),
                insecure: false,
                blocked: false,
                mirrors: Vec::new(),
                file: file.to_owned(),
            });
            entries.len() - 1
        });
        if let Some(entry) = entries.get_mut(at) {
            entry.blocked |= blocks;
            entry.insecure |= !blocks;
        }
    }
    let search = search.registries.iter().map(|name| searched(name)).collect::<Result<_>>()?;
    let search = Some(search).filter(|names: &Vec<String>| !names.is_empty());
    Ok(RegistriesSettings { search, entries, ..RegistriesSettings::default() })
}

fn version_2(document: RegistriesDocument, file: &Path) -> Result<RegistriesSettings> {
    let mut settings = RegistriesSettings {
        helpers: document.credential_helpers,
        ..RegistriesSettings::default()
    };
    for table in &document.registry {
        let entry = read_table(table, file)?;
        settings.entries.retain(|before| before.prefix != entry.prefix);
        settings.entries.push(entry);
    }
    no_contradictions(&settings.entries)?;
    let names = document.unqualified_search_registries;
    settings.search =
        names.map(|names| names.iter().map(|name| searched(name)).collect()).transpose()?;
    settings.short_names = match document.short_name_mode.as_deref() {
        None | Some("") => None,
        Some("enforcing") => Some(ShortNameMode::Enforcing),
        Some("permissive") => Some(ShortNameMode::Permissive),
        Some("disabled") => Some(ShortNameMode::Disabled),
        Some(other) => fail!("short-name-mode '{}' is not known", other.escape_debug()),
    };
    for (name, value) in document.aliases {
        let value = alias(&name, &value).context(|| format!("the alias '{}'", name.escape_debug()));
        settings.aliases.insert(name, value?);
    }
    Ok(settings)
}

fn read_table(table: &RegistryTable, file: &Path) -> Result<RegistryEntry> {
    let location = match table.location.as_str() {
        "" => None,
        location => Some(entry::location(location)?),
    };
    let prefix = match (table.prefix.as_str(), &location) {
        ("", Some(location)) => location.clone(),
        ("", None) => fail!("a [[registry]] with neither location nor prefix"),
        (prefix, _) => entry::prefix(prefix)?,
    };
    let name = || format!("[[registry]] '{}'", prefix.escape_debug());
    if location.is_none() && !prefix.starts_with("*.") {
        return Err(Error::new("it has no location")).context(name);
    }
    if !table.pull_from_mirror.is_empty() {
        return Err(Error::new("pull-from-mirror belongs to a [[registry.mirror]]")).context(name);
    }
    let read = |mirror| read_mirror(table, mirror);
    let mirrors = table.mirror.iter().map(read).collect::<Result<_>>().context(name)?;
    Ok(RegistryEntry {
        location,
        insecure: table.insecure,
        blocked: table.blocked,
        mirrors,
        file: file.to_owned(),
        prefix,
    })
}

fn read_mirror(table: &RegistryTable, mirror: &MirrorTable) -> Result<Mirror> {
    let digests_alone = table.mirror_by_digest_only;
    let location = entry::location(&mirror.location).context(|| "a [[registry.mirror]]")?;
    let serves = match mirror.pull_from_mirror.as_str() {
        "" if digests_alone => MirrorScope::Digests,
        "" | "all" => MirrorScope::All,
        "digest-only" => MirrorScope::Digests,
        "tag-only" => MirrorScope::Tags,
        other => fail!("pull-from-mirror '{}' is not known", other.escape_debug()),
    };
    if digests_alone && !mirror.pull_from_mirror.is_empty() {
        fail!("mirror-by-digest-only and pull-from-mirror exclude each other");
    }
    Ok(Mirror { location, insecure: mirror.insecure, serves })
}

/// Two prefixes may have the same location; their `insecure` and `blocked` must then be the same.
fn no_contradictions(entries: &[RegistryEntry]) -> Result<()> {
    for (at, one) in entries.iter().enumerate() {
        let others = entries.iter().skip(at + 1).filter(|other| other.location == one.location);
        for other in others.filter(|other| other.location.is_some()) {
            let location = one.location.as_deref().unwrap_or_default();
            for (key, differs) in [
                ("insecure", one.insecure != other.insecure),
                ("blocked", one.blocked != other.blocked),
            ] {
                if differs {
                    fail!("the location '{location}' stands there twice, with different '{key}'");
                }
            }
        }
    }
    Ok(())
}

/// Checks an entry of unqualified-search-registries: a registry without a path.
fn searched(name: &str) -> Result<String> {
    let host = name.trim_end_matches('/');
    let typed: Option<TypedReference> = format!("{host}/x").parse().ok();
    match typed {
        Some(typed) if typed.registry.as_deref() == Some(host) => Ok(host.to_owned()),
        _ => fail!("unqualified-search-registries: '{}' is not a registry", name.escape_debug()),
    }
}

fn alias(name: &str, value: &str) -> Result<Option<TypedReference>> {
    let name: TypedReference = name.parse()?;
    if name.registry.is_some() || name.tag.is_some() || name.digest.is_some() {
        fail!("an alias is a name without registry, tag and digest");
    }
    if value.is_empty() {
        return Ok(None);
    }
    let value: TypedReference = value.parse()?;
    if value.registry.is_none() || value.tag.is_some() || value.digest.is_some() {
        fail!("what it stands for must have a registry, and neither tag nor digest");
    }
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<RegistriesSettings> {
        parse(text, Path::new("/r.conf"), ConfVersions::Any)
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mirror = "[[registry]]\nlocation='a.io'\n[[registry.mirror]]\nlocation='b.io'\n";
        let twice = "[[registry]]\nprefix='a.io'\nlocation='c.io'\n[[registry]]\nprefix='b.io'\nlocation='c.io'\n";
        for (text, why) in [
            ("a = \n", "line 1"),
            ("\n\nregistry = 3", "line 3"),
            ("[[registry]]\ninsecure=true", "neither location nor prefix"),
            ("[[registry]]\nprefix='a.io'", "no location"),
            ("[[registry]]\nlocation='https://a.io'", "begins with http"),
            ("[[registry]]\nprefix='a.*.io'\nlocation='b.io'", "only allowed as *.DOMAIN"),
            ("[[registry]]\nlocation='a.io'\npull-from-mirror='all'", "belongs to"),
            ("[[registry]]\nlocation='a.io'\n[[registry.mirror]]\ninsecure=true", "empty location"),
            (&format!("{mirror}pull-from-mirror='some'"), "'some' is not known"),
            (
                &format!("{mirror}pull-from-mirror='all'")
                    .replace("a.io'", "a.io'\nmirror-by-digest-only=true"),
                "exclude each other",
            ),
            (&format!("{twice}insecure=true"), "different 'insecure'"),
            (&format!("{twice}blocked=true"), "different 'blocked'"),
            ("short-name-mode='maybe'", "'maybe' is not known"),
            ("unqualified-search-registries=['a.io/x']", "'a.io/x' is not a registry"),
            ("unqualified-search-registries=['plain']", "'plain' is not a registry"),
            ("unqualified-search-registries='a.io'", "line 1"),
            ("[aliases]\n'a.io/x'='b.io/x'", "without registry"),
            ("[aliases]\n'x:1'='b.io/x'", "without registry"),
            ("[aliases]\n'x'='y'", "must have a registry"),
            ("[aliases]\n'x'='b.io/x:1'", "neither tag nor digest"),
            ("[registries.search]\nregistries=['a.io']\n[[registry]]\nlocation='b.io'", "mixes"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(
            parse(
                "[registries.block]\nregistries=['a.io']",
                Path::new("/x"),
                ConfVersions::Version2
            )
            .is_err()
        );
    }

    #[test]
    fn keys_that_are_not_known_are_passed_over() {
        let text = "new = 1\n[[registry]]\nlocation = 'a.io/'\ncolour = 'grey'\n[else]\nx = 2\n";
        let settings = read(text).unwrap();
        assert_eq!(settings.entries[0].prefix, "a.io");
        assert_eq!(read("").unwrap(), RegistriesSettings::default());
    }

    #[test]
    fn version_1_says_the_same_in_other_words() {
        let text = "[registries.search]\nregistries = ['registry1.com', 'registry2.com']\n\
            [registries.insecure]\nregistries = ['registry3.com']\n\
            [registries.block]\nregistries = ['registry.untrusted.com', 'registry3.com']\n";
        let settings = read(text).unwrap();
        assert_eq!(settings.search.unwrap(), ["registry1.com", "registry2.com"]);
        let says: Vec<_> = settings
            .entries
            .iter()
            .map(|entry| (entry.prefix.as_str(), entry.insecure, entry.blocked))
            .collect();
        assert_eq!(says, [("registry3.com", true, true), ("registry.untrusted.com", false, true)]);
    }

    #[test]
    fn a_later_file_changes_what_it_names() {
        let mut all = read(
            "unqualified-search-registries=['a.io']\nshort-name-mode='enforcing'\ncredential-helpers=['x']\n\
             [[registry]]\nlocation='a.io'\ninsecure=true\n[[registry]]\nlocation='b.io'\nblocked=true\n\
             [aliases]\n'x'='a.io/x'\n'y'='a.io/y'\n",
        )
        .unwrap();
        all.lay_over(
            read("[[registry]]\nlocation='a.io'\n[aliases]\n'x'=''\n'z'='a.io/z'").unwrap(),
        );
        assert_eq!(all.search.as_deref().unwrap(), ["a.io"]);
        assert_eq!(all.short_names, Some(ShortNameMode::Enforcing));
        let entry = |prefix: &str| all.entries.iter().find(|entry| entry.prefix == prefix).unwrap();
        assert!(!entry("a.io").insecure && entry("b.io").blocked);
        assert_eq!(all.entries.len(), 2);
        let known: Vec<_> =
            all.aliases.iter().map(|(name, to)| (name.as_str(), to.is_some())).collect();
        assert_eq!(known, [("x", false), ("y", true), ("z", true)]);
        all.lay_over(read("unqualified-search-registries=[]\ncredential-helpers=[]").unwrap());
        assert_eq!((all.search, all.helpers), (Some(vec![]), Some(vec![])));
    }

    proptest! {
        #[test]
        fn no_text_breaks_us(
            text in "(\\[\\[registry\\]\\]\n|\\[aliases\\]\n|(location|prefix|blocked|x) ?= ?('[a-z*./:]{0,6}'|true|3)\n|.{0,9}\n){0,6}",
        ) {
            let _ = read(&text);
        }
    }
}
