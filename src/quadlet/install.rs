//! Links of `[Install]`, as `systemctl enable` makes them.

use super::source::QuadletFile;
use super::unit_file::UnitFile;

/// Link in the folder of units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitLink {
    /// Path of the link, relative to the folder of units.
    pub path: String,
    /// Target of the link.
    pub target: String,
}

/// Links of the service `service_file`, such as `a.service`.
pub fn links(source: &QuadletFile, unit: &UnitFile, service_file: &str) -> Vec<UnitLink> {
    let words = |key| {
        let list = unit.list("Install", key);
        list.into_iter().flat_map(|setting| setting.value.split_whitespace())
    };
    let is_name = |name: &&str| !name.contains('/') && !name.is_empty() && !name.starts_with('.');
    let mut links: Vec<UnitLink> = words("Alias")
        .filter(is_name)
        .map(|alias| UnitLink { path: alias.to_owned(), target: service_file.to_owned() })
        .collect();
    let Some(enabled) = enabled_name(source, unit, service_file) else { return links };
    for (key, suffix) in
        [("WantedBy", "wants"), ("RequiredBy", "requires"), ("UpheldBy", "upholds")]
    {
        links.extend(words(key).filter(is_name).map(|name| UnitLink {
            path: format!("{name}.{suffix}/{enabled}"),
            target: format!("../{service_file}"),
        }));
    }
    links
}

/// Name under which the service is enabled. `None`: a template without a default instance.
fn enabled_name(source: &QuadletFile, unit: &UnitFile, service_file: &str) -> Option<String> {
    let Some(template) = service_file.strip_suffix("@.service") else {
        return Some(service_file.to_owned());
    };
    debug_assert!(source.is_template());
    let instance = unit.last("Install", "DefaultInstance")?;
    Some(format!("{template}@{}.service", instance.value))
}
