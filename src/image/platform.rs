//! Platforms of images, and which of them run on a machine that has no image of its own.

use serde::{Deserialize, Deserializer, Serialize};

use crate::go_json;

/// A platform: `linux/arm64/v8`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Operating system: `linux`.
    pub os: String,
    /// Architecture by Go's name: `amd64`, `arm64`.
    pub architecture: String,
    /// Variant of the architecture: `v7`, `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// The fields of an index's `platform` and of a config, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct WrittenPlatform {
    /// Operating system; empty if missing.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub os: String,
    /// Architecture; empty if missing.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub architecture: String,
    /// Variant; `None` if missing.
    #[serde(deserialize_with = "go_json::text")]
    pub variant: Option<String>,
}

impl WrittenPlatform {
    /// The platform by Go's names. Missing fields are those of this machine.
    pub fn platform(&self) -> Platform {
        let host = Platform::host();
        let os = match self.os.to_ascii_lowercase() {
            os if os.is_empty() => host.os,
            os => os,
        };
        if self.architecture.is_empty() {
            return Platform { os, architecture: host.architecture, variant: host.variant };
        }
        let (architecture, implied) = go_name(&self.architecture.to_ascii_lowercase());
        Platform { os, architecture, variant: self.variant.clone().or(implied).map(variant_name) }
    }

    /// Reads the platform of an index's entry. `None`: missing or empty.
    pub fn of_entry<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Platform>, D::Error> {
        let written = Option::<Self>::deserialize(from)?.unwrap_or_default();
        let is_said = !written.os.is_empty() || !written.architecture.is_empty();
        Ok(is_said.then(|| written.platform()))
    }
}

/// Go's name of an architecture, and the variant that the given name implies.
fn go_name(name: &str) -> (String, Option<String>) {
    let (name, variant) = match name {
        // Names of uname, and of Debian.
        "x86_64" | "x86-64" => ("amd64", None),
        "aarch64" => ("arm64", None),
        "i386" | "i486" | "i586" | "i686" => ("386", None),
        "armhf" | "armv7l" => ("arm", Some("v7")),
        "armel" | "armv6l" => ("arm", Some("v6")),
        other => (other, None),
    };
    (name.to_owned(), variant.map(str::to_owned))
}

/// Returns a variant with its `v`: `v7`, also for `7`.
fn variant_name(name: String) -> String {
    let name = name.to_ascii_lowercase();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("v{name}") } else { name }
}

/// Variant that a missing one stands for.
fn implied_variant(architecture: &str) -> Option<&'static str> {
    match architecture {
        "amd64" => Some("v1"),
        "arm64" => Some("v8"),
        "arm" => Some("v7"),
        _ => None,
    }
}

impl Platform {
    /// The platform of this machine.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "x86" => ("386", None),
            "powerpc64" => ("ppc64le", None),
            other => (other, None),
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }

    /// The platform of podman's --arch, --os and --variant. Missing parts are this machine's.
    pub fn of_parts(
        architecture: Option<String>,
        os: Option<String>,
        variant: Option<String>,
    ) -> Self {
        let is_host = architecture.is_none();
        let written = WrittenPlatform {
            os: os.unwrap_or_default(),
            architecture: architecture.unwrap_or_default(),
            variant: variant.clone(),
        };
        let platform = written.platform();
        // This machine's architecture implies its variant, unless another variant is given.
        match variant {
            Some(variant) if is_host => Self { variant: Some(variant_name(variant)), ..platform },
            _ => platform,
        }
    }

    /// True if programs for this platform run on `wanted`, by the same architecture.
    pub fn serves(&self, wanted: &Self) -> bool {
        self.architecture == wanted.architecture && self.rank(wanted).is_some()
    }

    /// Rank of this platform's programs on `wanted`; 0 is best. `None`: they do not run there. As in containerd: an
    /// older variant serves a newer one, 386 serves amd64, and 32-bit arm serves arm64.
    pub fn rank(&self, wanted: &Self) -> Option<usize> {
        if self.os != wanted.os {
            return None;
        }
        let variants = wanted.variants();
        let is_same = self.architecture == wanted.architecture;
        let own = self.variant.as_deref();
        // A missing variant ranks as the implied one, and last if the implied one is too new.
        let place = |variants: &[String]| {
            let meant = own.or_else(|| implied_variant(&self.architecture));
            match meant {
                Some(meant) => variants.iter().position(|variant| variant == meant),
                None => Some(variants.len()),
            }
            .or_else(|| own.is_none().then_some(variants.len()))
        };
        if is_same {
            return place(&variants);
        }
        let others: Vec<String> = match (&*wanted.architecture, &*self.architecture) {
            ("amd64", "386") => Vec::new(),
            ("arm64", "arm") => (5..=8).rev().map(|level| format!("v{level}")).collect(),
            _ => return None,
        };
        place(&others).map(|place| variants.len() + 1 + place)
    }

    /// The variants that run on this platform, the best first.
    fn variants(&self) -> Vec<String> {
        let own = self.variant.as_deref().or_else(|| implied_variant(&self.architecture));
        let Some(own) = own else { return Vec::new() };
        let lowest = match &*self.architecture {
            "amd64" => 1,
            "arm64" => 8,
            "arm" => 5,
            _ => return vec![own.to_owned()],
        };
        let number = own.strip_prefix('v').unwrap_or(own);
        let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
        let (Ok(major), Ok(minor)) = (major.parse::<u8>(), minor.parse::<u8>()) else {
            return vec![own.to_owned()];
        };
        let mut variants = vec![own.to_owned()];
        variants.extend((1..minor).rev().map(|minor| format!("v{major}.{minor}")));
        variants.extend((lowest..=major).rev().map(|level| format!("v{level}")));
        variants.dedup();
        variants
    }
}

impl std::str::FromStr for Platform {
    type Err = String;

    /// Parses `OS/ARCH[/VARIANT]`, or `ARCH` alone.
    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split('/').collect();
        let good = |word: &&str| {
            !word.is_empty()
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        let bad = || format!("'{text}' is not a platform: OS/ARCH[/VARIANT], such as linux/arm64");
        if !words.iter().all(good) {
            return Err(bad());
        }
        let of = |os: &str, architecture: &str, variant: Option<&str>| {
            let variant = variant.map(str::to_owned);
            let (os, architecture) = (os.to_owned(), architecture.to_owned());
            WrittenPlatform { os, architecture, variant }.platform()
        };
        match words[..] {
            [arch] => Ok(of("linux", arch, None)),
            [os, arch] => Ok(of(os, arch, None)),
            [os, arch, variant] => Ok(of(os, arch, Some(variant))),
            _ => Err(bad()),
        }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn the_nearest_variant_that_runs_there_serves() {
        // Wanted platform, and the available ones, the best first.
        for (wanted, order) in [
            ("linux/arm/v7", &["arm/v7", "arm/v6", "arm/v5"][..]),
            ("linux/arm", &["arm/v7", "arm/v6", "arm/v5"]),
            ("linux/arm", &["arm", "arm/v6"]),
            ("linux/arm/v6", &["arm/v6", "arm/v5", "arm"]),
            ("linux/arm/v8", &["arm/v8", "arm/v7", "arm/v6"]),
            ("linux/amd64/v3", &["amd64/v3", "amd64/v2", "amd64/v1", "386"]),
            ("linux/amd64/v3", &["amd64/v2", "amd64", "386"]),
            ("linux/amd64", &["amd64", "386"]),
            ("linux/arm64", &["arm64", "arm/v8", "arm/v7", "arm/v6"]),
            ("linux/arm64/v9", &["arm64/v9", "arm64/v8", "arm/v8"]),
            ("linux/arm64/v8.2", &["arm64/v8.2", "arm64/v8.1", "arm64/v8"]),
            ("linux/ppc64le", &["ppc64le"]),
            ("linux/riscv64/rva23u64", &["riscv64/rva23u64", "riscv64"]),
        ] {
            let ranks: Vec<_> =
                order.iter().map(|text| of(&format!("linux/{text}")).rank(&of(wanted))).collect();
            assert!(ranks.iter().all(Option::is_some), "{wanted}: {ranks:?}");
            assert!(ranks.is_sorted_by(|a, b| a < b), "{wanted}: {ranks:?}");
        }
        for (wanted, other) in [
            ("linux/arm/v6", "linux/arm/v7"),
            ("linux/amd64", "linux/amd64/v2"),
            ("linux/amd64", "windows/amd64"),
            ("linux/386", "linux/amd64"),
            ("linux/arm64", "linux/arm64/v9"),
            ("linux/arm64", "linux/amd64"),
            ("linux/s390x", "linux/ppc64le"),
        ] {
            assert_eq!(of(other).rank(&of(wanted)), None, "{wanted} {other}");
        }
        assert!(!of("linux/386").serves(&of("linux/amd64")));
    }

    #[test]
    fn a_platform_is_normalized_and_what_it_does_not_say_is_this_machines() {
        let written = |os: &str, architecture: &str, variant: Option<&str>| {
            let variant = variant.map(str::to_owned);
            WrittenPlatform { os: os.into(), architecture: architecture.into(), variant }.platform()
        };
        assert_eq!(written("", "", None), Platform::host());
        assert_eq!(written("Linux", "x86_64", None), of("linux/amd64"));
        assert_eq!(written("linux", "armhf", None), of("linux/arm/v7"));
        assert_eq!(written("linux", "arm", Some("7")), of("linux/arm/v7"));
        assert_eq!(of("aarch64").to_string(), "linux/arm64");
    }
}
