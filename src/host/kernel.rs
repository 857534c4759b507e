//! Version of the running kernel. Features are tried where that is cheap, not derived from the version: distributions
//! backport features.

/// Major and minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion(pub u32, pub u32);

impl std::fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Returns the release, as `uname -r` prints it.
pub fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Returns the version of the running kernel; 0.0 when its release does not begin with two numbers.
pub fn version() -> KernelVersion {
    parse(&release()).unwrap_or(KernelVersion(0, 0))
}

fn parse(release: &str) -> Option<KernelVersion> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some(KernelVersion(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_begins_with_its_version() {
        assert_eq!(parse("6.18.44-fc-v595"), Some(KernelVersion(6, 18)));
        assert_eq!(parse("5.4-rc1"), Some(KernelVersion(5, 4)));
        assert_eq!(parse("linux"), None);
        assert!(KernelVersion(5, 11) < KernelVersion(6, 2));
    }
}
