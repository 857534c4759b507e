//! Package manager of this machine (os-release(5)), for hints that are commands to type.

/// Families of distributions that hints are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DistributionFamily {
    /// Debian, Ubuntu and their derivatives.
    Debian,
    /// Fedora, RHEL, Rocky, Alma, CentOS.
    Fedora,
    /// openSUSE and SLES.
    Suse,
    /// Arch and its derivatives.
    Arch,
    /// Alpine.
    Alpine,
    /// Any other.
    Other,
}

/// Package that a hint may ask to install.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Package {
    /// newuidmap, newgidmap
    Uidmap,
    /// getsubids
    Getsubids,
    /// pasta
    Passt,
    /// slirp4netns
    Slirp4netns,
}

/// Names of this machine in os-release(5); empty where the file has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DistributionNames {
    /// `ID`, such as `debian`.
    pub id: String,
    /// `VARIANT_ID`, such as `server`.
    pub variant: String,
    /// `VERSION_ID`, such as `12`.
    pub version: String,
}

/// Returns the family of this machine.
pub fn family() -> DistributionFamily {
    os_release().map_or(DistributionFamily::Other, |text| family_in(&text))
}

/// Returns this machine's names in os-release(5).
pub fn names() -> DistributionNames {
    let text = os_release().unwrap_or_default();
    let value = |key| value(&text, key).unwrap_or_default().to_owned();
    DistributionNames {
        id: value("ID"),
        variant: value("VARIANT_ID"),
        version: value("VERSION_ID"),
    }
}

fn os_release() -> Option<String> {
    let places = ["/etc/os-release", "/usr/lib/os-release"];
    places.iter().find_map(|path| std::fs::read_to_string(path).ok())
}

fn value<'a>(os_release: &'a str, key: &str) -> Option<&'a str> {
    let value = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', '\'']))
}

fn family_in(os_release: &str) -> DistributionFamily {
    let value = |key: &str| value(os_release, key);
    // ID first, then ID_LIKE from the closest relative on, as os-release(5) orders them.
    let words = [value("ID"), value("ID_LIKE")].into_iter().flatten();
    words
        .flat_map(str::split_whitespace)
        .find_map(family_of_word)
        .unwrap_or(DistributionFamily::Other)
}

fn family_of_word(word: &str) -> Option<DistributionFamily> {
    match word {
        "debian" | "ubuntu" => Some(DistributionFamily::Debian),
        "fedora" | "rhel" | "centos" => Some(DistributionFamily::Fedora),
        "suse" | "opensuse" | "sles" => Some(DistributionFamily::Suse),
        "arch" => Some(DistributionFamily::Arch),
        "alpine" => Some(DistributionFamily::Alpine),
        _ => None,
    }
}

impl DistributionFamily {
    /// Returns the command that installs `package`.
    pub fn install(self, package: Package) -> String {
        let name = match package {
            // slirp4netns in its place where a release has no pasta.
            Package::Passt if lacks_passt(&names()) => self.name_of(Package::Slirp4netns),
            package => self.name_of(package),
        };
        match self {
            Self::Debian => format!("sudo apt install {name}"),
            Self::Fedora => format!("sudo dnf install {name}"),
            Self::Suse => format!("sudo zypper install {name}"),
            Self::Arch => format!("sudo pacman -S {name}"),
            Self::Alpine => format!("sudo apk add {name}"),
            Self::Other => format!("install the package {name}"),
        }
    }

    fn name_of(self, package: Package) -> &'static str {
        match (package, self) {
            (Package::Uidmap, Self::Fedora) => "shadow-utils",
            (Package::Uidmap | Package::Getsubids, Self::Suse | Self::Arch) => "shadow",
            (Package::Uidmap, Self::Alpine) => "shadow-uidmap",
            (Package::Getsubids, Self::Fedora) => "shadow-utils-subid",
            (Package::Getsubids, Self::Alpine) => "shadow-subids",
            (Package::Uidmap | Package::Getsubids, _) => "uidmap",
            (Package::Passt, _) => "passt",
            (Package::Slirp4netns, _) => "slirp4netns",
        }
    }
}

/// True if the release has no passt package: Debian has it since 12, Ubuntu since 22.10.
fn lacks_passt(names: &DistributionNames) -> bool {
    let before = |first: f64| names.version.parse::<f64>().is_ok_and(|version| version < first);
    match names.id.as_str() {
        "debian" => before(12.0),
        "ubuntu" => before(22.1),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_package_is_named_that_a_release_has_not() {
        for (id, version, lacks) in [
            ("debian", "11", true),
            ("debian", "12", false),
            ("debian", "", false),
            ("ubuntu", "20.04", true),
            ("ubuntu", "22.04", true),
            ("ubuntu", "22.10", false),
            ("ubuntu", "24.04", false),
            ("fedora", "40", false),
        ] {
            let names = DistributionNames {
                id: id.into(),
                version: version.into(),
                ..DistributionNames::default()
            };
            assert_eq!(lacks_passt(&names), lacks, "{id} {version}");
        }
    }

    #[test]
    fn a_family_is_known_by_its_relatives() {
        for (text, family) in [
            ("ID=debian\nVERSION_ID=\"12\"\n", DistributionFamily::Debian),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", DistributionFamily::Debian),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", DistributionFamily::Fedora),
            ("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n", DistributionFamily::Suse),
            ("ID=alpine\n", DistributionFamily::Alpine),
            ("VERSION_ID=debian\n", DistributionFamily::Other),
            ("", DistributionFamily::Other),
        ] {
            assert_eq!(family_in(text), family, "{text}");
        }
    }

    #[test]
    fn a_hint_names_the_package_as_the_distribution_does() {
        assert_eq!(DistributionFamily::Debian.install(Package::Uidmap), "sudo apt install uidmap");
        assert_eq!(
            DistributionFamily::Fedora.install(Package::Uidmap),
            "sudo dnf install shadow-utils"
        );
    }
}
