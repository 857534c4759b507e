//! Which pasta can be trusted.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::program;

/// From when on it is trusted more than slirp4netns: that of Debian 12 (2023_03_09) sends bytes twice, and no end, where
/// the other side closes at once.
const MATURE: u32 = 20_240_220;
/// How long it may take to say which it is.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the one at `path` is of February 2024 or later, by what it says of itself.
pub fn is_mature(path: &Path) -> bool {
    let answer = program::ask(Command::new(path).arg("--version"), PATIENCE);
    answer.is_ok_and(|answer| released(&answer.output).is_some_and(|date| date >= MATURE))
}

/// The date in `pasta 2025_05_03.587980c`, `pasta 0.0~git20230309.7c7625d-1`, as one number.
fn released(output: &str) -> Option<u32> {
    let line = output.lines().next()?.replace('_', "");
    let groups = line.split(|letter: char| !letter.is_ascii_digit());
    let mut dates = groups.filter(|digits| digits.len() == 8 && digits.starts_with("20"));
    dates.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn its_version_is_a_date() {
        for (output, date) in [
            ("pasta 2025_05_03.587980c\nCopyright\n", Some(20_250_503)),
            ("pasta 0.0~git20230309.7c7625d-1\n", Some(20_230_309)),
            ("pasta 0^20240806.gee36266-2.fc40.x86_64\n", Some(20_240_806)),
            ("pasta unknown version\n", None),
            ("", None),
        ] {
            assert_eq!(super::released(output), date, "{output}");
        }
    }
}
